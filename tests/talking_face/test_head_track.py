"""A clip's head movement under another motion, at any frame rate and for any length."""

import tempfile
from fractions import Fraction

import numpy as np
import pytest

from animate import pose
from animate.motion import Motion
from talking_face.following import FollowedFace
from talking_face.head_track import HeadTrack


@pytest.fixture(scope="module")
def nod() -> Motion:
    return Motion.builtin("nod")


@pytest.fixture(scope="module")
def track(nod) -> HeadTrack:
    """Of a video of that head, whose face is away in frames 10 to 12."""
    valid = np.ones(len(nod), bool)
    valid[10:13] = False
    file = tempfile.TemporaryFile()
    landmarks = nod.landmarks() * (100 / nod.pixels_per_unit) * valid[:, None, None]
    file.write(landmarks.astype(np.float32).tobytes())
    return HeadTrack(FollowedFace(file, valid, nod.fps, (640, 480)))


def test_the_head_turns_as_in_the_clip(nod, track):
    turned = pose.head_angles(track.at(0, len(nod), nod.fps)[0])
    wanted = pose.head_angles(nod.rotation)
    assert np.ptp(np.degrees(wanted[:, 0])) > 5
    assert np.corrcoef(turned[:, 0], wanted[:, 0])[0, 1] > 0.97
    assert abs(np.ptp(turned[:, 0]) - np.ptp(wanted[:, 0])) < np.radians(3)


def test_frames_without_a_face_are_bridged(nod, track):
    rotation, translation, scale = track.at(8, 8, nod.fps)
    steps = np.diff(np.concatenate([rotation, translation, scale[:, None]], axis=1), axis=0)
    assert np.abs(steps).max() < 0.1 and (scale > 0.8).all()


def test_another_rate_is_met_exactly_and_a_longer_speech_goes_back_the_way_it_came(nod, track):
    last = len(nod) - 1
    there = track.at(0, last + 1, nod.fps)
    both = track.at(0, 2 * last + 1, nod.fps)
    for whole, part in zip(both, there, strict=True):
        assert np.allclose(whole[last:], part[::-1]) and np.allclose(whole[: last + 1], part)
    rate = nod.fps * Fraction(3, 2)
    faster = track.at(30_000, 3, rate)[0]  # frame 30,000 lies on the clip's frame 20,000
    period = 2 * last
    place = 20_000 % period
    assert np.allclose(faster[0], there[0][place if place <= last else period - place])


def test_a_motion_keeps_its_expression(nod, track):
    talk = Motion.builtin("talk")
    moved = track.put_on(talk, 5)
    assert np.array_equal(moved.expression, talk.expression) and len(moved) == len(talk)
    assert np.allclose(moved.rotation, track.at(5, len(talk), talk.fps)[0], atol=1e-6)


def test_a_clip_of_one_frame_holds_still(nod):
    file = tempfile.TemporaryFile()
    file.write((nod.landmarks()[:1] * 100).astype(np.float32).tobytes())
    track = HeadTrack(FollowedFace(file, np.ones(1, bool), Fraction(25), (640, 480)))
    rotation, translation, scale = track.at(0, 5, Fraction(30))
    assert np.abs(rotation).max() < 1e-6 and np.abs(translation).max() < 1e-6 and np.allclose(scale, 1)
