"""The geometry of crops: what is cut out lies where the matrices say."""

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from animate.faces_crop import Roi, crop_roi, overlap, picture_tiles, shrink, suppress


@settings(max_examples=40, deadline=None)
@given(
    x=st.floats(80, 220), y=st.floats(80, 220), side=st.floats(40, 500), angle=st.floats(-3.1, 3.1),
    u=st.floats(8, 55), v=st.floats(8, 55),
)  # fmt: skip
def test_a_crop_shows_what_its_matrix_points_at(x, y, side, angle, u, v):
    """On a ramp the colour of a crop pixel is the place it came from, with and without area filtering."""
    height, width = 300, 300
    ramp = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1) * (255 / 300)
    image = np.dstack([ramp, np.zeros((height, width))]).round().astype(np.uint8)
    roi = Roi(x, y, side, angle)
    crop = crop_roi(image, roi, 64)
    matrix = roi.to_picture(64)
    u, v = round(u), round(v)
    where = matrix[:, :2] @ (u, v) + matrix[:, 2]
    reach = side / 64 * 2 + 2
    if (where > reach).all() and (where < 299 - reach).all():
        assert np.abs(crop[v, u, :2] / (255 / 300) - where).max() < 2.0


def test_roi_of_landmarks_is_upright_on_the_eyes():
    points = np.zeros((478, 3))
    points[33], points[263] = (10, 10, 0), (20, 20, 0)
    points[34:200] = (15, 15, 0)
    assert np.isclose(Roi.from_landmarks(points).angle, np.pi / 4)


def test_overlap_counts_a_part_as_the_whole():
    boxes = np.array([[0, 0, 10, 10], [20, 20, 30, 30]])
    assert overlap(np.array([2, 2, 6, 6]), boxes).tolist() == [1.0, 0.0]
    assert suppress(np.array([[0, 0, 10, 10], [1, 1, 9, 9], [40, 40, 50, 50]]), np.array([0.5, 0.9, 0.7]), 0.5) == [
        1,
        2,
    ]


def test_tiles_cover_the_picture_and_know_where_they_lie():
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 256, (12, 20, 3), dtype=np.uint8), (900, 540), interpolation=cv2.INTER_CUBIC)
    for scale in (1, 2, 3, 4):
        seen = np.zeros(image.shape[:2], bool)
        small, factor = None, None
        for tile, x, y, factor in picture_tiles(image, scale):
            height, width = (round(side * factor) for side in tile.shape[:2])
            seen[round(y) : round(y) + height + 1, round(x) : round(x) + width + 1] = True
            part = image[round(y) : round(y) + height, round(x) : round(x) + width]
            small = cv2.resize(part, tile.shape[1::-1], interpolation=cv2.INTER_AREA)
            assert np.abs(small.astype(int) - tile).mean() < 4
        assert seen.all()


def test_shrink_leaves_small_pictures_alone():
    image = np.zeros((30, 40, 3), np.uint8)
    assert shrink(image, 40) == (image, 1.0) or shrink(image, 40)[0] is image
    small, factor = shrink(image, 20)
    assert small.shape == (15, 20, 3) and factor == 2
