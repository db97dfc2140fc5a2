"""Tracked clips: whatever order their frames are shown in, faces are looked for on the same share of them."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from animate.faces import FaceTrack
from bench.runner.clip import TrackedClip

STRIDE = 5


def clip(frames, fps=25):
    landmarks = np.zeros((frames, 478, 3), np.float32) + np.arange(frames)[:, None, None]
    redetected = np.full_like(landmarks, np.nan)
    redetected[::STRIDE] = landmarks[::STRIDE]
    track = FaceTrack(landmarks, np.ones(frames, bool), Fraction(fps), (64, 64))
    return TrackedClip(Path("clip.mp4"), 0, 64, track, redetected, np.arange(frames), STRIDE)


def looked(made):
    return [index for index in range(len(made)) if made.looked(index)]


@pytest.mark.parametrize("frames", [60, 75, 99, 100, 101, 126])
def test_a_loop_is_looked_at_as_often_as_the_clip(frames):
    made = clip(frames).looped(24)
    assert len(looked(made)) == pytest.approx(600 / STRIDE, rel=0.05)
    assert all(made.found(index) is not None for index in looked(made))


@pytest.mark.parametrize(("fps", "count"), [(30, 180), (24, 144), (12, 72)])
def test_another_rate_is_looked_at_where_there_is_something_to_find(fps, count):
    made = clip(150).resampled(Fraction(fps), count)
    assert len(looked(made)) >= 0.8 * count / STRIDE
    assert all(made.found(index)[0, 0] == made.order[index] for index in looked(made))


def test_elsewhere_nothing_was_looked_for():
    made = clip(60).looped(10)
    assert all(made.found(index) is None for index in range(len(made)) if not made.looked(index))
