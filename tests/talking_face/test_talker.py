from fractions import Fraction

import numpy as np
import pytest

from animate import measures
from animate.errors import OptionError
from talking_face.talker import EMBEDDED, Talker, TalkOptions
from weights.errors import WeightsError

CALM = TalkOptions(head_motion=0, blinks=False)


@pytest.fixture(scope="module")
def talker():
    if not (EMBEDDED / "config.json").is_file():
        pytest.skip("the speech model is not in weights/embedded/talk")
    return Talker.from_pretrained()


@pytest.fixture(scope="module")
def sound():
    """Six seconds of syllables in a voice of 120 Hz, with a pause of two seconds."""
    time = np.arange(6 * 16000) / 16000
    voice = sum(np.sin(2 * np.pi * 120 * k * time) / k for k in range(1, 20))
    spoken = np.clip(np.sin(2 * np.pi * 2 * time), 0, 1) * ((time < 2) | (time > 4))
    return (0.1 * voice * spoken).astype(np.float32)


def opening(motion):
    return measures.mouth_opening(motion.neutral + motion.expression)


def test_as_many_frames_as_the_sound_lasts(talker, sound):
    assert len(talker.motion(sound, 25)) == 150
    assert len(talker.motion(sound, Fraction(30000, 1001))) == 180


def test_the_mouth_moves_with_the_syllables(talker, sound):
    mouth = opening(talker.motion(sound, 25, CALM))
    assert mouth[:50].std() > 0.01


def test_silence_closes_the_lips_and_stills_them(talker, sound):
    mouth = opening(talker.motion(sound, 25, CALM))[66:94]
    assert mouth.max() < 0.015 and np.abs(np.diff(mouth)).max() < 1e-3


def test_pieces_are_the_whole(talker, sound):
    whole = talker.motion(np.tile(sound, 5), 25)
    pieces = list(talker.motions(iter(np.array_split(np.tile(sound, 5), 7)), 25))
    assert len(pieces) > 1
    np.testing.assert_allclose(np.concatenate([p.expression for p in pieces]), whole.expression, atol=1e-4)
    np.testing.assert_allclose(np.concatenate([p.rotation for p in pieces]), whole.rotation, atol=1e-5)


@pytest.mark.parametrize("chunk", [160, 640, 5000])
def test_a_stream_says_nearly_what_the_file_says(talker, sound, chunk):
    stream, parts = talker.stream(25, CALM), []
    for first in range(0, len(sound), chunk):
        parts.append(stream.push(sound[first : first + chunk]))
    parts = [p for p in [*parts, stream.finish()] if p is not None]
    live = np.concatenate([opening(p) for p in parts])
    assert len(live) == 150
    assert np.abs(live - opening(talker.motion(sound, 25, CALM))).mean() < 5e-3


def test_a_streams_frames_come_within_the_look_ahead(talker, sound):
    stream, frames = talker.stream(25, CALM), 0
    for first in range(0, len(sound), 640):
        part = stream.push(sound[first : first + 640])
        frames += 0 if part is None else len(part)
        heard = (first + 640) / 16000
        assert frames / 25 >= heard - talker.look_ahead - 0.1 - 2 / 25


def test_the_seed_decides(talker, sound):
    one, two = (talker.motion(sound, 25, TalkOptions(seed=s)) for s in (1, 2))
    again = talker.motion(sound, 25, TalkOptions(seed=1))
    np.testing.assert_array_equal(one.rotation, again.rotation)
    assert np.abs(one.rotation - two.rotation).max() > 1e-3


def test_a_lively_style_opens_the_mouth_further(talker, sound):
    calm, lively = (opening(talker.motion(sound, 25, TalkOptions(style=s))).std() for s in ("calm", "lively"))
    assert lively > calm


@pytest.mark.parametrize("samples", [1, 160, 3200])
def test_sounds_of_next_to_nothing(talker, samples):
    motion = talker.motion(np.zeros(samples, np.float32), 25)
    assert len(motion) == max(1, round(samples * 25 / 16000))


@pytest.mark.parametrize("method", ["loudness", "mean"])
def test_the_baselines_need_no_network(sound, method):
    mouth = opening(Talker.from_pretrained(method=method).motion(sound, 25, CALM))
    assert (mouth[:50].std() > 0.01) == (method == "loudness")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"mouth": -1}, "mouth's strength"),
        ({"head_motion": 2}, "head motion"),
        ({"emotion": "bored"}, "Unknown emotion 'bored': choose from neutral, happy"),
        ({"style": "wild"}, "Unknown style 'wild'"),
        ({"style": float("nan")}, "Unknown style"),
        ({"seed": -1}, "seed"),
    ],
)
def test_wrong_options_say_what_is_right(wrong, sentence):
    with pytest.raises(OptionError, match=sentence):
        TalkOptions(**wrong)


def test_an_unknown_method():
    with pytest.raises(OptionError, match="choose one of mini"):
        Talker.from_pretrained(method="magic")


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(WeightsError, match="no speech model"):
        Talker.from_pretrained(tmp_path)


def test_no_frames_a_second(sound):
    with pytest.raises(OptionError, match="frame rate"):
        Talker.from_pretrained(method="loudness").motion(sound, 0)
