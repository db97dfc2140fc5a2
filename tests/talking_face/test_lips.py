"""Lips that meet and never cross, on the motion and on any portrait."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from animate import measures
from animate import topology as mesh
from animate.motion import Motion
from animate.retarget import retarget
from talking_face.lips import MET_AT, close_lips, met, open_jaw, rest_like


@pytest.fixture(scope="module")
def spoken(small_basis):
    """Shapes (n, 478, 3) of all kinds of mouths, some with crossing lips."""
    rows = np.random.default_rng(0).normal(size=(40, len(small_basis))) * 1.5
    return small_basis.neutral.astype(np.float64) + small_basis.decode(rows)


@given(closure=st.floats(0, 1))
@settings(deadline=None, max_examples=40)
def test_lips_never_cross(spoken, closure):
    gaps = measures.lip_gaps(close_lips(spoken, np.full(len(spoken), closure)))
    assert gaps.min() > -1e-9


@given(closure=st.floats(MET_AT, 1))
@settings(deadline=None, max_examples=40)
def test_all_nine_pairs_meet(spoken, closure):
    assert np.abs(measures.lip_gaps(close_lips(spoken, np.full(len(spoken), closure)))).max() < 1e-9


def test_no_closure_leaves_open_mouths_alone(spoken):
    opened = spoken[measures.lip_gaps(spoken).min(axis=1) > 0]
    assert len(opened) and np.allclose(close_lips(opened, np.zeros(len(opened))), opened)


def test_closing_is_monotone(spoken):
    openings = [measures.mouth_opening(close_lips(spoken, np.full(len(spoken), c))) for c in np.linspace(0, 1, 21)]
    assert (np.diff(openings, axis=0) < 1e-9).all()
    assert (np.diff(met(np.linspace(0, 1, 101))) >= 0).all()


def test_the_jaw_takes_up_a_wide_mouth(small_basis):
    wide = open_jaw(small_basis.neutral[None].astype(np.float64), np.array([0.3]), trust=1.0)
    assert measures.mouth_opening(wide)[0] == pytest.approx(0.3, abs=0.02)
    shut = close_lips(wide, np.array([0.9]))
    assert shut[0, mesh.CHIN, 1] < wide[0, mesh.CHIN, 1] - 0.2
    upper = list(mesh.OUTER_LIPS_UPPER)
    assert np.abs(shut[0, upper, 1] - wide[0, upper, 1]).max() < 0.05


def test_pressed_lips_are_thinner_than_lips_that_touch(small_basis):
    both = np.repeat(small_basis.neutral[None].astype(np.float64), 2, axis=0)
    touching, pressed = close_lips(both, np.array([0.9, 1.0]))
    red = [(0, 13), (14, 17)]
    assert sum(pressed[b, 1] - pressed[a, 1] for a, b in red) < sum(touching[b, 1] - touching[a, 1] for a, b in red)


def closed_and_open(basis, opening=0.15) -> Motion:
    """Two frames: lips that meet, and an open mouth."""
    neutral = basis.neutral.astype(np.float64)
    shapes = open_jaw(np.repeat(neutral[None], 2, axis=0), np.array([0.0, opening]), trust=1.0)
    shapes = close_lips(shapes, np.array([0.9, 0.0]))
    none = np.zeros((2, 3))
    gaze = np.repeat(measures.gaze_of(neutral)[None], 2, axis=0)
    return Motion(25, none, none, np.ones(2), shapes - neutral, gaze, np.ones(2, bool), basis.neutral)


def test_a_portrait_that_smiles_with_its_teeth_closes_its_lips(small_basis, astronaut):
    from animate import pose
    from animate.faces import create_tracker

    landmarks = create_tracker().detect(astronaut)[0].landmarks

    def openings(motion):
        shapes = pose.decompose(retarget(landmarks, motion))[1]
        return measures.mouth_opening(shapes / pose.inter_ocular(shapes)[:, None, None])

    motion = closed_and_open(small_basis)
    assert openings(motion)[0] > 0.08  # relative motion alone leaves her smiling
    closed, opened = openings(rest_like(motion, landmarks))
    assert abs(closed) < 0.005 and opened == pytest.approx(0.15, abs=0.06)


def test_rest_like_changes_no_shape(small_basis):
    from animate import pose

    landmarks = pose.compose(small_basis.neutral[None], pose.Pose(np.zeros((1, 3)), np.zeros((1, 3)), np.ones(1)))[0]
    landmarks[list(mesh.LOWER_LIP), 1] += 0.1
    motion = closed_and_open(small_basis)
    told = rest_like(motion, 100 * landmarks)
    assert np.allclose(told.shapes, motion.shapes, atol=1e-6)
    assert measures.mouth_opening(told.neutral) > measures.mouth_opening(motion.neutral) + 0.05
