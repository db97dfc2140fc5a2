"""Several sounds as one: at their times, as long as asked for, never clipped."""

import wave

import numpy as np
import pytest

from animate.errors import MediaError, OptionError
from talking_face.mixdown import LOUDEST, RATE, Voice, mix


def tone(path, seconds: float, level: float, hertz: float = 440.0, rate: int = 16_000, channels: int = 1):
    samples = level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes(np.repeat(np.rint(samples * 32767)[:, None], channels, axis=1).astype("<i2").tobytes())
    return path


def heard(path) -> np.ndarray:
    with wave.open(str(path), "rb") as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32767


def level(samples: np.ndarray, begin: float, end: float) -> float:
    return float(np.abs(samples[round(begin * RATE) : round(end * RATE)]).max(initial=0.0))


def test_each_voice_is_heard_at_its_time_and_silence_elsewhere(tmp_path):
    first = tone(tmp_path / "a.wav", 0.5, 0.3)
    second = tone(tmp_path / "b.wav", 0.5, 0.6, rate=44_100, channels=2)
    factor = mix([Voice(first), Voice(second, delay=1.0)], 2.0, tmp_path / "mix.wav")
    made = heard(tmp_path / "mix.wav")
    assert len(made) == 2 * RATE and factor == 1
    assert level(made, 0.1, 0.4) == pytest.approx(0.3, abs=0.02) and level(made, 1.1, 1.4) == pytest.approx(
        0.6, abs=0.02
    )
    assert level(made, 0.55, 0.95) < 1e-3 and level(made, 1.55, 2.0) < 1e-3


def test_what_would_clip_is_made_quieter_as_a_whole(tmp_path):
    loud = tone(tmp_path / "a.wav", 0.5, 0.9)
    quiet = tone(tmp_path / "b.wav", 0.4, 0.2)
    factor = mix([Voice(loud), Voice(loud), Voice(quiet, delay=0.6)], 1.0, tmp_path / "mix.wav")
    made = heard(tmp_path / "mix.wav")
    assert np.abs(made).max() == pytest.approx(LOUDEST, abs=1e-3) and factor == pytest.approx(LOUDEST / 1.8, rel=0.05)
    assert level(made, 0.7, 0.9) == pytest.approx(0.2 * factor, rel=0.1)


def test_a_piece_of_a_file_repeats_until_the_end(tmp_path):
    # half a second of silence, then a tone of which 0.2 s are wanted
    path = tmp_path / "a.wav"
    samples = np.concatenate([np.zeros(8000), 0.5 * np.sin(np.arange(16_000) * 0.5)])
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(np.rint(samples * 32767).astype("<i2").tobytes())
    mix([Voice(path, start=0.3, length=0.4, repeat=True)], 1.2, tmp_path / "mix.wav")
    made = heard(tmp_path / "mix.wav")
    for start in (0.0, 0.4, 0.8):
        assert level(made, start + 0.01, start + 0.18) < 0.02 and level(made, start + 0.22, start + 0.38) > 0.45


def test_a_looped_sound_that_ends_before_its_picture_keeps_the_pictures_time(tmp_path):
    short = tone(tmp_path / "a.wav", 0.2, 0.5)
    mix([Voice(short, length=0.5, repeat=True)], 1.0, tmp_path / "mix.wav")
    made = heard(tmp_path / "mix.wav")
    assert level(made, 0.25, 0.48) < 1e-2 and level(made, 0.52, 0.68) > 0.45


def test_what_is_not_a_voice_is_refused(tmp_path):
    with pytest.raises(OptionError, match="length"):
        Voice(tmp_path / "a.wav", repeat=True)
    with pytest.raises(OptionError, match="begin"):
        Voice(tmp_path / "a.wav", delay=-1)
    with pytest.raises(MediaError, match="written"):
        mix([], 1.0, tmp_path / "nowhere" / "mix.wav")
