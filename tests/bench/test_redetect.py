"""Finding a face anew on a finished frame: always the same way, and never somebody else's."""

import numpy as np
import pytest

from bench.metrics.opening import mouth_opening
from bench.redetect import Redetector, middle


def moved(mesh, shift=(0.0, 0.0), scale=1.0, tilt=0.0):
    turn = scale * np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    found = mesh.copy()
    found[:, :2] = (mesh[:, :2] - middle(mesh)) @ turn.T + middle(mesh) + shift
    return found


@pytest.fixture
def pair(face):
    """Twice the same person side by side, and both meshes."""
    picture, mesh = face
    return np.concatenate([picture, picture], 1), mesh, mesh + np.array([picture.shape[1], 0, 0], np.float32)


def test_a_still_picture_stands_still_wherever_the_search_begins(face, redetector):
    picture, mesh = face
    turns = np.arange(12)
    begun = [moved(mesh, (14 * np.sin(t), 9 * np.cos(2 * t)), 1 + 0.1 * np.sin(3 * t), 0.17 * np.cos(t)) for t in turns]
    openings = np.array([mouth_opening(redetector(picture, near)) for near in begun])
    assert openings.std() < 0.0014


def test_a_face_that_is_gone_is_not_its_neighbour(pair, redetector):
    picture, left, right = pair
    gone = picture.copy()
    gone[:, :320] = 127
    assert redetector(gone, left, [middle(right)]) is None
    assert redetector(gone, right, [middle(left)]) is not None


def test_who_is_alone_may_sit_anywhere(pair, redetector):
    picture, left, right = pair
    gone = picture.copy()
    gone[:, :320] = 127
    assert np.linalg.norm(middle(redetector(gone, left)) - middle(right)) < 3


def test_a_neighbour_does_not_hinder(pair, redetector):
    picture, left, right = pair
    found = redetector(picture, left, [middle(right)])
    assert np.linalg.norm(middle(found) - middle(left)) < 3


def test_a_blank_picture_has_no_face(face):
    assert Redetector()(np.full((200, 200, 3), 127, np.uint8), face[1] / 2) is None
