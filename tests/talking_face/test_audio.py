"""Sound in: every kind of file and array, exact lengths, one sentence for what is wrong, constant memory."""

import math
import struct
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from animate import ffmpeg
from animate.errors import MediaError, OptionError
from talking_face.audio import SAMPLE_RATE, SoundCheck, describe, duration_of, load_audio, stream_audio


def write_wav(path: Path, samples: np.ndarray, rate: int) -> Path:
    """16-bit WAV of (N,) or (N, C) floats."""
    samples = samples[:, None] if samples.ndim == 1 else samples
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples.clip(-1, 1) * 32767).astype("<i2").tobytes())
    return path


def tone(seconds: float, rate: int = SAMPLE_RATE, frequency: float = 220, level: float = 0.5) -> np.ndarray:
    return level * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def encode(path: Path, *arguments: str) -> Path:
    """A file that ffmpeg makes from its own test sources."""
    done = ffmpeg.run([ffmpeg.binary(), "-v", "error", "-nostdin", *arguments, str(path)])
    assert done.returncode == 0, done.stderr
    return path


PICTURE = ["-f", "lavfi", "-i", "testsrc=size=64x64:rate=5:duration={}"]
SINE = ["-f", "lavfi", "-i", "sine=220:duration={}:sample_rate=48000"]


def video(path: Path, picture: float, sound: float, late: float = 0) -> Path:
    sources = [part.format(picture) for part in PICTURE] + ["-itsoffset", str(late)]
    return encode(path, *sources, *[part.format(sound) for part in SINE], "-c:v", "mpeg4", "-c:a", "aac")


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000, 96000])
def test_files_of_any_rate_become_16_khz(tmp_path, rate):
    sound = load_audio(write_wav(tmp_path / "a.wav", tone(1.25, rate), rate))
    assert sound.dtype == np.float32 and sound.ndim == 1
    assert abs(len(sound) - 20000) <= 1
    wanted = tone(1.25)[500:-500]
    np.testing.assert_allclose(sound[500 : 500 + len(wanted)], wanted, atol=0.01)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 96000])
def test_arrays_of_any_rate_become_16_khz(rate):
    sound = load_audio(tone(1.25, rate), rate)
    assert sound.dtype == np.float32 and abs(len(sound) - 20000) <= 1
    np.testing.assert_allclose(sound[500:19500], tone(1.25)[500:19500], atol=0.01)


@pytest.mark.parametrize("channels", [1, 2, 3, 8, 9, 40])
def test_channels_are_averaged(tmp_path, channels):
    samples = np.zeros((8000, channels))
    samples[:, min(3, channels - 1)] = tone(0.5)
    wanted = tone(0.5) / channels
    np.testing.assert_allclose(load_audio(samples, SAMPLE_RATE), wanted, atol=1e-6)
    np.testing.assert_allclose(load_audio(write_wav(tmp_path / "a.wav", samples, SAMPLE_RATE)), wanted, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint8])
def test_integers_are_scaled_by_their_range(dtype):
    info = np.iinfo(dtype)
    middle = 128 if dtype == np.uint8 else 0
    sound = load_audio(np.array([info.min, middle, info.max], dtype), SAMPLE_RATE)
    np.testing.assert_allclose(sound, [-1, 0, 1], atol=0.01)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 96000])
def test_one_sample_is_a_sound(tmp_path, rate):
    for sound in (
        load_audio(write_wav(tmp_path / "a.wav", np.full(1, 0.5), rate)),
        load_audio(np.full(1, 0.5), rate),
    ):
        assert 1 <= len(sound) <= 2 and np.isfinite(sound).all()


@pytest.mark.parametrize("suffix", ["mp3", "m4a", "ogg", "flac"])
def test_compressed_files_keep_their_length_and_time(tmp_path, suffix):
    path = encode(tmp_path / f"a.{suffix}", *[part.format(2) for part in SINE])
    sound = load_audio(path)
    assert abs(len(sound) - 32000) <= 16
    assert np.abs(sound[:160]).max() > 0.05  # no encoder's delay in front


def test_sound_that_begins_late_keeps_its_place_under_the_picture(tmp_path):
    path = video(tmp_path / "late.mp4", picture=3, sound=1, late=0.5)
    sound = load_audio(path)
    heard = np.flatnonzero(np.abs(sound) > 0.02) / SAMPLE_RATE
    assert abs(heard[0] - 0.5) < 0.03 and abs(heard[-1] - 1.5) < 0.03
    assert abs(duration_of(path) - 1.5) < 0.03


def test_blocks_make_up_the_whole(tmp_path):
    path = write_wav(tmp_path / "a.wav", tone(3.21, 44100), 44100)
    blocks = list(stream_audio(path, seconds=0.5))
    assert [len(block) for block in blocks[:-1]] == [8000] * 6
    assert 0 < len(blocks[-1]) <= 8000
    np.testing.assert_array_equal(np.concatenate(blocks), load_audio(path))


def test_a_stream_that_is_dropped_ends_its_decoder(tmp_path):
    blocks = stream_audio(write_wav(tmp_path / "a.wav", tone(60), SAMPLE_RATE), seconds=0.1)
    next(blocks)
    blocks.close()  # raises where the decoder cannot be ended
    assert not list(blocks)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "does not exist"),
        (b"", r"is empty \(0 bytes\)"),
        (b"These are words and no sound.\n" * 50, "cannot be read as sound or video"),
    ],
    ids=["missing", "empty", "text"],
)
def test_what_is_no_sound_file_is_said(tmp_path, content, sentence):
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    for read in (load_audio, duration_of):
        with pytest.raises(MediaError, match=sentence) as caught:
            read(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_is_no_sound_file(tmp_path):
    with pytest.raises(MediaError, match="is a folder"):
        load_audio(tmp_path)


def test_a_file_without_samples_is_said(tmp_path):
    path = write_wav(tmp_path / "a.wav", np.zeros(0), SAMPLE_RATE)
    with pytest.raises(MediaError, match=r"holds no sound \(0 s\)"):
        load_audio(path)


def test_a_video_without_sound_is_said(tmp_path):
    path = encode(tmp_path / "a.mp4", *[part.format(1) for part in PICTURE], "-c:v", "mpeg4")
    for read in (load_audio, duration_of):
        with pytest.raises(MediaError, match="has no sound"):
            read(path)


def test_samples_that_are_no_numbers_are_said(tmp_path):
    path = tmp_path / "a.wav"
    data = np.array([0.1, np.nan, 0.2] * 100, "<f4").tobytes()
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 3, 1, 16000, 64000, 4, 32,
                       b"data", len(data))  # fmt: skip
    path.write_bytes(head + data)
    with pytest.raises(MediaError, match="not numbers"):
        load_audio(path)


@pytest.mark.parametrize(
    ("samples", "rate", "error", "sentence"),
    [
        (np.zeros(10), None, OptionError, "needs its rate"),
        (np.zeros(10), 5, OptionError, "rate 5 is out of range"),
        (np.zeros((2, 48000)), 16000, OptionError, "channels last"),
        (np.zeros((2, 2, 2)), 16000, OptionError, r"\(2, 2, 2\)"),
        (np.zeros(10, complex), 16000, OptionError, "complex128"),
        (np.zeros(0), 16000, MediaError, r"no samples \(0 s\)"),
        (np.full(10, np.inf), 16000, MediaError, "not numbers"),
    ],
)
def test_what_is_no_sound_array_is_said(samples, rate, error, sentence):
    with pytest.raises(error, match=sentence):
        load_audio(samples, rate)


def test_impossible_blocks_are_refused(tmp_path):
    with pytest.raises(OptionError, match="0 s are impossible"):
        next(stream_audio(tmp_path / "a.wav", seconds=0))


def test_damage_in_the_middle_is_noted(tmp_path):
    path = encode(tmp_path / "a.mp3", *[part.format(3) for part in SINE])
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3000] = bytes(3000)
    path.write_bytes(data)
    notes = []
    assert sum(map(len, stream_audio(path, notes=notes))) > SAMPLE_RATE
    assert len(notes) == 1 and str(path) in notes[0] and "damaged" in notes[0]


def test_duration_of_a_sound_file(tmp_path):
    assert duration_of(write_wav(tmp_path / "a.wav", tone(2.5, 44100), 44100)) == pytest.approx(2.5, abs=0.01)


@pytest.mark.parametrize(("picture", "sound"), [(30, 29), (30, 5), (2, 4)])
def test_duration_is_that_of_the_sound_not_of_the_picture(tmp_path, picture, sound):
    path = video(tmp_path / "a.mp4", picture, sound)
    assert duration_of(path) == pytest.approx(sound, abs=0.05)
    assert duration_of(path) == pytest.approx(len(load_audio(path)) / SAMPLE_RATE, abs=0.05)


def test_silence_is_noted_once():
    assert describe([np.zeros(16000, np.float32)] * 3) == ["The sound is silent: the lips stay closed."]


def test_clipping_is_noted():
    sound = (tone(2, level=4).clip(-1, 1) * 1.0).astype(np.float32)
    assert [note for note in describe([sound]) if "clipped" in note]
    assert describe([sound * 0.5]) == []


def test_very_quiet_sound_is_noted_with_its_level():
    notes = describe([tone(2, level=0.005).astype(np.float32)])
    assert len(notes) == 1 and "-49 dBFS" in notes[0]


def test_good_sound_has_no_notes(shared):
    path = shared / "data/train/A_clear/audio/cognitive-serv__sampledata_audiofiles_katiesteve.wav"
    if not path.is_file():
        pytest.skip("the speech of data/train is not there")
    assert describe(stream_audio(path)) == []


def test_check_counts_what_passes_by():
    check = SoundCheck()
    for size in (0, 1, 7, 8000):
        check.add(tone(1)[:size].astype(np.float32))
    assert check.samples == 8008
    assert check.loudest == pytest.approx(20 * math.log10(0.5 / math.sqrt(2)), abs=0.1)


PEAK = """
import resource, sys
from talking_face.audio import SoundCheck, stream_audio
check = SoundCheck()
for block in stream_audio(sys.argv[1]):
    check.add(block)
print(check.samples, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, check.notes())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in other units elsewhere")
def test_an_hour_needs_no_more_memory_than_a_minute(tmp_path):
    peaks = []
    for minutes in (1, 60):
        path, rate = tmp_path / "long.wav", 1000
        head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + 60 * minutes * rate, b"WAVE", b"fmt ", 16, 1, 1, rate,
                           rate, 1, 8, b"data", 60 * minutes * rate)  # fmt: skip
        path.write_bytes(head + bytes([128, 138, 128, 118]) * (15 * minutes * rate))
        done = subprocess.run([sys.executable, "-c", PEAK, path], capture_output=True, text=True, check=True)
        samples, peak = map(int, done.stdout.split()[:2])
        assert abs(samples - 60 * minutes * SAMPLE_RATE) <= 16
        peaks.append(peak)
    assert peaks[1] < peaks[0] + 20 * 1024  # KiB; the hour's samples alone are 220 MiB
