"""The square round a face: where it lies, what it holds, and how a drawn one is laid back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from animate.square_crop import SquareCrop


def face(x: float, y: float, width: float, height: float) -> np.ndarray:
    """(478, 2) points that fill a box round (x, y)."""
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (478, 2))
    points[:2] = [[-0.5, -0.5], [0.5, 0.5]]
    return points * (width, height) + (x, y)


boxes = st.tuples(st.floats(60, 340), st.floats(60, 240), st.floats(10, 110), st.floats(10, 110))


@given(boxes, boxes)
def test_all_that_the_face_will_do_inside_the_picture_lies_in_the_square(start, later):
    own, moved = face(*start), face(*later)
    both = np.concatenate([own, moved])
    crop = SquareCrop.around(own, (400, 300), 64, np.array([both.min(0), both.max(0)]))
    seen = both[((both >= 0) & (both <= (399, 299))).all(1)]
    placed = crop.landmarks(seen)
    assert placed.min() >= -0.5 and placed.max() <= 63.5


@given(boxes)
def test_the_square_lies_in_the_picture_where_it_fits(box):
    crop = SquareCrop.around(face(*box), (400, 300), 64)
    if crop.side <= 300:
        assert crop.left >= 0 and crop.top >= 0 and crop.left + crop.side <= 400 and crop.top + crop.side <= 300


def test_landmarks_land_where_their_pixels_land():
    image = np.zeros((300, 400, 3), np.uint8)
    image[150:153, 200:203] = 255  # its middle is pixel (201, 151)
    crop = SquareCrop(left=150, top=100, side=100, width=400, height=300, size=300)
    rows, columns = np.nonzero(crop.cut(image)[..., 0] > 128)
    placed = crop.landmarks(np.array([[201.0, 151.0]]))[0]
    np.testing.assert_allclose(placed, [columns.mean(), rows.mean()], atol=0.01)


@pytest.mark.parametrize("box", [(200, 150, 50, 60), (60, 60, 110, 110), (200, 150, 390, 290)])
def test_an_unchanged_square_laid_back_leaves_the_picture_as_it_was(box):
    image = np.random.default_rng(1).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    crop = SquareCrop.around(face(*box), (400, 300), 64)
    crop = SquareCrop(crop.left, crop.top, crop.side, 400, 300, size=crop.side)
    assert np.array_equal(crop.lay(image, crop.cut(image)), image)


def test_the_edge_is_soft_inside_the_picture_and_hard_at_its_border():
    crop = SquareCrop(left=0, top=100, side=200, width=400, height=300, size=200)
    out = crop.lay(np.zeros((300, 400, 3), np.uint8), np.full((200, 200, 3), 255, np.uint8))[..., 0]
    row, column = out[250, :200].astype(int), out[100:300, 50].astype(int)
    assert row[0] == 255 and row[-1] < 20 and (np.diff(row) <= 0).all() and np.abs(np.diff(row)).max() < 40
    assert column[0] < 20 and column[-1] == 255
    assert not out[:100].any() and not out[:, 200:].any()


def test_transparency_stays_the_pictures():
    image = np.zeros((300, 400, 4), np.uint8)
    image[:150, ..., 3] = 200
    crop = SquareCrop(left=100, top=50, side=200, width=400, height=300, size=64)
    out = crop.lay(image, np.full((64, 64, 3), 255, np.uint8))
    assert np.array_equal(out[..., 3], image[..., 3]) and (out[150, 200, :3] == 255).all()


def test_a_square_larger_than_the_picture_repeats_its_border():
    image = np.random.default_rng(2).integers(0, 255, (80, 100, 3), dtype=np.uint8)
    crop = SquareCrop.around(face(50, 40, 80, 70), (100, 80), 192)
    assert crop.side > 100 and crop.cut(image).shape == (192, 192, 3)
    assert crop.lay(image, crop.cut(image)).shape == image.shape
