"""Landmark LLE: regularised, safe where the public code fails, row by row."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from talking_face.lle import _smallest, _weights, project_lle

NUMBERS = st.floats(-5, 5, width=32)


@pytest.fixture(scope="module")
def faces():
    """Frames (300, 6) near a plane of two dimensions, as a basis' coefficients of real speech are."""
    rng = np.random.default_rng(0)
    return (rng.normal(size=(300, 2)) @ rng.normal(size=(2, 6)) + 0.05 * rng.normal(size=(300, 6))).astype(np.float32)


def test_blend_0_changes_nothing(faces):
    rows = np.random.default_rng(1).normal(size=(20, 6)).astype(np.float32)
    assert np.array_equal(project_lle(rows, faces, blend=0), rows)


def test_rows_move_towards_the_real_frames(faces):
    rows = faces[:50] + np.random.default_rng(1).normal(size=(50, 6)).astype(np.float32)

    def away(points):
        return np.linalg.norm(points[:, None] - faces[None], axis=-1).min(axis=1).mean()

    assert away(project_lle(rows, faces, blend=1.0)) < 0.4 * away(rows)
    assert away(project_lle(rows, faces, blend=0.2)) < 0.95 * away(rows)


def test_a_row_among_its_neighbours_is_rebuilt(faces):
    rows = faces[:200:10] * 0.5
    assert np.abs(project_lle(rows, faces, blend=1.0) - rows).max() < 0.15


def test_weights_sum_to_1_and_stay_bounded_with_duplicates():
    offsets = np.ones((1, 10, 6)) * np.array([1.0, 2, 0, 0, 0, 0])
    weights = _weights(offsets, 0.1)
    assert weights.sum() == pytest.approx(1)
    assert weights == pytest.approx(np.full((1, 10), 0.1))


@given(
    rows=arrays(np.float32, st.tuples(st.integers(1, 5), st.just(3)), elements=NUMBERS),
    frames=arrays(np.float32, st.tuples(st.integers(0, 14), st.just(3)), elements=NUMBERS),
    blend=st.floats(0, 1),
)
@settings(deadline=None, max_examples=150)
def test_any_database_gives_finite_rows_of_its_own(rows, frames, blend):
    out = project_lle(rows, frames, blend=blend)
    assert out.shape == rows.shape and out.dtype == np.float32
    assert np.isfinite(out).all()
    singly = np.concatenate([project_lle(row[None], frames, blend=blend) for row in rows])
    assert np.allclose(out, singly, atol=1e-4)


@given(row=arrays(np.float32, (1, 4), elements=NUMBERS), copies=st.integers(1, 15))
@settings(deadline=None, max_examples=50)
def test_a_query_equal_to_all_its_neighbours_stays(row, copies):
    assert np.allclose(project_lle(row, np.repeat(row, copies, axis=0), blend=1.0), row, atol=1e-5)


def test_one_coefficient_and_one_frame():
    assert project_lle(np.array([[2.0]]), np.array([[1.0]]), blend=0.5) == pytest.approx(np.array([[1.5]]))


@pytest.mark.parametrize(("columns", "count"), [(1500, 10), (1501, 10), (1499, 3), (40, 10), (10, 10)])
def test_the_smallest_are_found_without_sorting_all(columns, count):
    values = np.random.default_rng(0).normal(size=(30, columns))
    found = np.sort(_smallest(values, count), axis=1)
    assert np.array_equal(found, np.sort(np.argsort(values, axis=1)[:, :count], axis=1))


def test_a_minute_takes_a_moment():
    rng = np.random.default_rng(0)
    rows, frames = rng.normal(size=(3000, 12)), rng.normal(size=(1500, 12))
    spent = []
    for _ in range(3):
        began = time.process_time()
        project_lle(rows, frames)
        spent.append(time.process_time() - began)
    assert min(spent) < 0.3  # 0.03 to 0.06 s on an idle core
