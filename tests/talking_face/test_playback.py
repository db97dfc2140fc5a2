"""Sound and picture of different length: which frame is shown when."""

from fractions import Fraction
from itertools import islice

import numpy as np
import pytest

from animate.errors import OptionError
from animate.media import VideoReader, VideoWriter
from talking_face import playback
from talking_face.playback import DubOptions, forth_and_back, ping_pong


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """A video of 11 frames, each grey as its number says, at a rate that is no whole number."""
    path = tmp_path_factory.mktemp("counted") / "clip.mkv"
    with VideoWriter(path, Fraction(30000, 1001), crf=0) as writer:
        for t in range(11):
            writer.write(np.full((64, 64, 3), 20 * t + 20, np.uint8))
    return path


def test_ping_pong_shows_no_frame_twice_in_a_row():
    assert list(islice(ping_pong(4), 11)) == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2]
    assert list(islice(ping_pong(2), 4)) == [0, 1, 0, 1]
    assert list(islice(ping_pong(1), 3)) == [0, 0, 0]


@pytest.mark.parametrize("most", [10**9, 5 * 3 * 64 * 64, 1])
def test_backwards_every_frame_comes_whatever_the_pieces(counted, monkeypatch, most):
    monkeypatch.setattr(playback, "BACKWARDS", most)
    shown = list(islice(forth_and_back(VideoReader(counted), 11), 38))
    assert [index for index, _ in shown] == list(islice(ping_pong(11), 38))
    assert [round((float(frame.mean()) - 20) / 20) for _, frame in shown] == [index for index, _ in shown]


def test_a_single_frame_goes_on(counted):
    assert [index for index, _ in islice(forth_and_back(VideoReader(counted), 1), 3)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("longer", "shorter", "pictures", "spoken", "frames"),
    [
        ("loop", "rest", 10, 25, 25),
        ("hold", "rest", 10, 25, 25),
        ("trim", "rest", 10, 25, 10),
        ("loop", "rest", 25, 10, 25),
        ("loop", "keep", 25, 10, 25),
        ("loop", "trim", 25, 10, 10),
        ("trim", "trim", 7, 7, 7),
    ],
)
def test_how_many_frames_there_are(longer, shorter, pictures, spoken, frames):
    assert DubOptions(longer, shorter).frames(pictures, spoken) == frames


@pytest.mark.parametrize("options", [{"longer": "stretch"}, {"shorter": "loop"}])
def test_unknown_ways_are_told_with_those_that_there_are(options):
    with pytest.raises(OptionError, match="choose from"):
        DubOptions(**options)
