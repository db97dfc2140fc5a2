"""The clip's own face with another mouth: what is exchanged, what stays."""

import numpy as np
import pytest

from animate import measures, pose
from animate import topology as mesh
from animate.motion import Motion
from talking_face.blending import RestingFace, blend, corner_lifts, exchange_weights


@pytest.fixture(scope="module")
def talk() -> Motion:
    return Motion.builtin("talk")


@pytest.fixture(scope="module")
def rest(talk) -> RestingFace:
    return RestingFace(talk.shapes, talk.rotation, float(talk.fps))


def test_lips_chin_and_jaw_are_exchanged_and_nose_eyes_and_forehead_stay():
    weights = exchange_weights()
    assert (weights[list(mesh.LIPS)] == 1).all() and weights[mesh.CHIN] == 1
    stay = [*mesh.NOSE, *mesh.RIGHT_EYE, *mesh.LEFT_EYE, *mesh.RIGHT_BROW, *mesh.LEFT_IRIS, mesh.FOREHEAD, 234, 454]
    assert (weights[stay] == 0).all()
    edges = np.abs(weights[mesh.TRIANGLES] - weights[np.roll(mesh.TRIANGLES, 1, axis=1)])
    assert edges[~np.isin(mesh.TRIANGLES, mesh.LIPS + mesh.NOSE).any(axis=1)].max() < 0.8, "no tear over the cheeks"


def test_level_0_gives_the_own_landmarks_back():
    rng = np.random.default_rng(0)
    own, spoken = rng.normal(size=(2, 3, 478, 3))
    spoken[:, list(mesh.NOSE)] = own[:, list(mesh.NOSE)]
    mixed = blend(own, spoken, np.array([0.0, 0.5, 1.0]))
    assert np.array_equal(mixed[0], own[0])
    assert np.allclose(mixed[2, mesh.CHIN], spoken[2, mesh.CHIN])
    assert np.allclose(mixed[1, mesh.CHIN], (own[1] + spoken[1])[mesh.CHIN] / 2)


def test_the_mouth_hangs_from_the_frames_own_nose():
    own = np.repeat(pose.canonical_face()[None].astype(np.float64), 2, axis=0) * 100
    lower = own + np.array([0.0, 7.0, 0.0])  # a pose that is wrong by 7 px
    assert np.allclose(blend(own, lower, np.ones(2)), own)


def test_the_mouth_rests_whatever_it_says(rest, talk):
    mood = np.repeat(corner_lifts(talk.shapes).mean(axis=0, keepdims=True), len(talk), axis=0)
    shapes = rest.at(talk.rotation, mood)
    assert np.ptp(measures.mouth_opening(talk.shapes)) > 0.1
    assert np.abs(measures.mouth_opening(shapes) - measures.mouth_opening(rest.neutral)).max() < 0.015


def test_a_resting_face_turns_as_the_tracker_turns_faces(talk):
    """The tracker's mesh gets a longer chin in this clip as the head nods, and no longer one as the mouth opens."""
    rng = np.random.default_rng(1)
    angles = rng.normal(size=(300, 3)) * (0.2, 0.1, 0.05)
    opening = np.abs(rng.normal(size=300)) * 0.1
    shapes = np.repeat(pose.canonical_face()[None].astype(np.float64), 300, axis=0)
    shapes[:, list(mesh.LOWER_LIP), 1] += opening[:, None]
    shapes[:, mesh.CHIN, 1] += 0.1 * angles[:, 0] + 0.5 * opening
    rotation = pose.rotation_from_angles(angles)
    made = RestingFace(shapes, rotation, 25.0).at(rotation, corner_lifts(shapes))
    chin = made[:, mesh.CHIN, 1]
    slope, at_rest = np.polyfit(angles[:, 0], chin, 1)
    assert abs(slope - 0.1) < 0.02
    assert (chin - slope * angles[:, 0] - at_rest).std() < 0.1 * (0.5 * opening).std()


def test_a_smile_that_lasts_stays_in_the_resting_face(rest, talk):
    calm = corner_lifts(rest.neutral)[None]
    lifted = rest.at(talk.rotation[:1], calm + 0.05) - rest.at(talk.rotation[:1], calm)
    assert (lifted[0, list(mesh.OUTER_MOUTH_CORNERS), 1] < -0.005).all()


def test_a_clip_that_never_closes_its_mouth_gets_closed_lips(talk):
    shapes = talk.shapes
    shapes[:, list(mesh.LOWER_LIP), 1] += 0.08
    face = RestingFace(shapes, talk.rotation, float(talk.fps))
    assert measures.mouth_opening(shapes).min() > 0.07 and abs(measures.mouth_opening(face.neutral)) < 0.013


def test_speech_opens_the_mouth_and_leaves_the_head_alone(rest, talk):
    offsets = rest.speech(talk)
    spoken = measures.mouth_opening(rest.neutral + offsets)
    assert np.corrcoef(spoken, measures.mouth_opening(talk.shapes))[0, 1] > 0.98
    rigid = np.abs(offsets[:, [168, 6, 197]]).max()
    assert rigid < 0.03
    assert np.abs(rest.speech(talk, {"lips": 0.0, "jaw": 0.0})[:, list(mesh.LIPS)]).max() < np.abs(offsets).max() / 3
