"""Head pose: decompose and compose undo each other, and an expression does not turn the head."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from animate import pose, topology
from animate.errors import FaceError, MotionError

angle = st.floats(-0.7, 0.7)


def test_canonical_face_is_symmetric_with_unit_eye_distance():
    face = pose.canonical_face()
    assert face.shape == (478, 3) and face.dtype == np.float32
    np.testing.assert_array_equal(face[topology.MIRROR] * (-1, 1, 1), face)
    assert pose.inter_ocular(face) == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(face[list(topology.RIGID)].mean(axis=0), 0, atol=1e-6)
    assert face[topology.NOSE_TIP, 2] < face[topology.RIGHT_EYE[0], 2] < face[234, 2], "z grows away from the camera"
    assert face[topology.FOREHEAD, 1] < 0 < face[topology.CHIN, 1], "y runs down"


@settings(max_examples=40, deadline=None)
@given(angle, angle, angle, st.floats(5, 2000), st.integers(0, 2**31))
def test_compose_undoes_decompose(x, y, z, scale, seed):
    rng = np.random.default_rng(seed)
    shape = pose.canonical_face() + rng.normal(0, 0.02, (3, 478, 3))
    given_pose = pose.Pose(np.full((3, 3), (x, y, z)), rng.normal(0, 500, (3, 3)), np.full(3, scale))
    landmarks = pose.compose(shape, given_pose)
    found, canonical = pose.decompose(landmarks)
    np.testing.assert_allclose(pose.compose(canonical, found), landmarks, atol=1e-8 * scale + 1e-9)


@settings(max_examples=40, deadline=None)
@given(angle, angle, angle, st.floats(5, 2000))
def test_decompose_finds_the_pose_of_the_canonical_face(x, y, z, scale):
    given_pose = pose.Pose(np.array([[x, y, z]]), np.array([[320.0, 240.0, -7.0]]), np.array([scale]))
    found, shape = pose.decompose(pose.compose(pose.canonical_face()[None], given_pose))
    np.testing.assert_allclose(found.rotation, given_pose.rotation, atol=1e-6)
    np.testing.assert_allclose(found.translation, given_pose.translation, atol=1e-5 * scale)
    np.testing.assert_allclose(found.scale, scale, rtol=1e-6)
    np.testing.assert_allclose(shape[0], pose.canonical_face(), atol=1e-6)


def test_an_open_mouth_and_raised_brows_leave_the_pose_alone():
    face = np.array(pose.canonical_face(), np.float64)
    moved = face.copy()
    moved[list(topology.LOWER_LIP + topology.CHIN_POINTS), 1] += 0.4
    moved[list(topology.RIGHT_BROW + topology.LEFT_BROW), 1] -= 0.1
    found, _ = pose.decompose(np.stack([face, moved]) * 100)
    np.testing.assert_allclose(found.rotation, 0, atol=1e-6)
    np.testing.assert_allclose(found.scale, 100, rtol=1e-6)


def test_angles_have_the_documented_signs_and_are_invertible():
    nose = pose.canonical_face()[topology.NOSE_TIP]
    for axis, (coordinate, name) in enumerate(((1, "pitch looks down"), (0, "yaw turns to the image's right"))):
        turned = pose.rotation_matrices(pose.rotation_from_angles(0.3 * np.eye(3)[axis]))[0] @ nose
        assert turned[coordinate] > nose[coordinate], name
    rolled = pose.rotation_matrices(pose.rotation_from_angles([0, 0, 0.3]))[0] @ (1.0, 0.0, 0.0)
    assert rolled[1] > 0, "roll is clockwise on the screen"
    angles = np.random.default_rng(1).uniform(-0.7, 0.7, (20, 3))
    np.testing.assert_allclose(pose.head_angles(pose.rotation_from_angles(angles)), angles, atol=1e-12)


def test_mean_face_does_not_depend_on_where_the_faces_are():
    rng = np.random.default_rng(0)
    shapes = pose.canonical_face() + rng.normal(0, 0.01, (6, 478, 3))
    poses = pose.Pose(rng.normal(0, 0.1, (6, 3)), rng.normal(0, 300, (6, 3)), rng.uniform(50, 200, 6))
    mean = pose.mean_face(pose.compose(shapes, poses), topology.MIRROR)
    aligned = pose.decompose(mean)[1][0]
    np.testing.assert_allclose(aligned, pose.canonical_face(), atol=0.03)
    np.testing.assert_array_equal(mean[topology.MIRROR] * (-1, 1, 1), mean)


def test_unusable_landmarks_are_refused():
    with pytest.raises(FaceError, match="one place"):
        pose.decompose(np.zeros((478, 3)))
    with pytest.raises(FaceError, match="finite"):
        pose.decompose(np.full((478, 3), np.nan))
    with pytest.raises(FaceError, match="shape"):
        pose.decompose(np.zeros((2, 468, 3)))
    with pytest.raises(MotionError, match="do not match"):
        pose.compose(np.zeros((2, 478, 3)), pose.Pose(np.zeros((3, 3)), np.zeros((3, 3)), np.ones(3)))
