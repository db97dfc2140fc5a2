"""Landmark maps have the official colours, order and rounding."""

import numpy as np
import pytest

from animate import landmark_map, pose
from animate.errors import OptionError


def frontal(size: float = 256.0) -> np.ndarray:
    """A frontal face in the middle of a square picture, each point in the middle of a pixel."""
    return np.floor(pose.canonical_face() * size * 0.28 + (size / 2, size * 0.35, 0)) + (0.5, 0.5, 0)


@pytest.mark.parametrize(
    ("point", "colour"),
    [
        (374, (180, 200, 10)),
        (386, (180, 200, 10)),
        (282, (180, 220, 10)),
        (145, (10, 200, 180)),
        (159, (10, 200, 180)),
        (52, (10, 220, 180)),
        (88, (100, 100, 30)),
        (318, (100, 150, 50)),
        (80, (120, 100, 200)),
        (310, (150, 120, 100)),
    ],
)
def test_each_group_has_its_colour(point, colour):
    landmarks = frontal(512)
    landmarks[[13, 312, 311, 310, 82, 81, 80], 1] -= 12  # an open mouth, so that lines do not cover each other
    x, y = landmarks[point, :2].astype(int)
    assert tuple(landmark_map.draw(landmarks, (512, 512))[y, x]) == colour


def test_the_follow_your_emoji_map_has_no_outline_and_no_outer_lips():
    landmarks = frontal(512)
    image = landmark_map.draw(landmarks, (512, 512))
    for point in (152, 234, 454, 17, 0, 61, 291):
        x, y = landmarks[point, :2].astype(int)
        assert not image[y, x].any()
    drawn = {tuple(c) for c in image.reshape(-1, 3)} - {(0, 0, 0)}
    assert drawn == {colour for colour, _ in landmark_map.STYLES["follow-your-emoji"].chains} | {(255, 0, 0)}


def test_irises_are_squares_of_six_red_pixels():
    landmarks = frontal()
    image = landmark_map.draw(landmarks, (256, 256))
    red = (image == (255, 0, 0)).all(axis=-1)
    assert red.sum() == 2 * 36
    for centre in (468, 473):
        x, y = landmarks[centre, :2].astype(int)
        assert red[y - 3 : y + 3, x - 3 : x + 3].all()


def test_an_iris_at_the_border_is_cut_not_wrapped():
    landmarks = np.full((478, 3), -50.0)
    landmarks[468, :2] = (1.2, 1.7)
    image = landmark_map.draw(landmarks, (64, 48))
    assert (image == (255, 0, 0)).all(axis=-1).sum() == 4 * 4 and image[:4, :4, 0].all()


def test_points_outside_the_picture_take_their_lines_with_them():
    landmarks = frontal()
    whole = landmark_map.draw(landmarks, (256, 256))
    landmarks[145, 1] = -1.0
    left_out = landmark_map.draw(landmarks, (256, 256))
    colour = (10, 200, 180)
    assert (left_out == colour).all(axis=-1).sum() < (whole == colour).all(axis=-1).sum()
    landmarks[:, 0] += 1000
    assert not landmark_map.draw(landmarks, (256, 256)).any()
    assert not landmark_map.draw(np.full((478, 3), np.nan), (256, 256)).any()


def test_aniportrait_is_thicker_with_outline_and_lips_and_without_irises():
    landmarks = frontal(512)
    image = landmark_map.draw(landmarks, (512, 512), "aniportrait")
    expected = {
        152: (10, 200, 10),
        84: (10, 180, 20),
        314: (20, 10, 180),
        40: (20, 80, 100),
        270: (80, 100, 20),
    }
    for point, colour in expected.items():
        x, y = landmarks[point, :2].astype(int)
        assert tuple(image[y, x]) == colour
    assert not (image == (255, 0, 0)).all(axis=-1).any()
    x, y = landmarks[10, :2].astype(int)
    assert not image[y, x].any(), "the forehead stays open"


@pytest.mark.parametrize("style", sorted(landmark_map.STYLES))
def test_lines_are_those_of_mediapipes_own_drawing(style):
    drawing = pytest.importorskip("mediapipe.python.solutions.drawing_utils")
    from mediapipe.framework.formats import landmark_pb2

    landmarks, (width, height) = frontal(256) - (60, 0, 0), (256, 200)  # partly outside
    points = landmark_pb2.NormalizedLandmarkList()
    for x, y, _ in landmarks:
        points.landmark.add(x=x / width, y=y / height)
    look = landmark_map.STYLES[style]
    edges = {
        edge: drawing.DrawingSpec(color=colour, thickness=look.thickness)
        for colour, chain in look.chains
        for edge in zip(chain[:-1], chain[1:], strict=True)
    }
    expected = np.zeros((height, width, 3), np.uint8)
    drawing.draw_landmarks(expected, points, edges.keys(), None, edges)
    image = landmark_map.draw(landmarks, (width, height), style)
    pupils = (image == (255, 0, 0)).all(axis=-1)
    np.testing.assert_array_equal(image[~pupils], expected[~pupils])


def test_antialiased_lines_move_with_fractions_of_a_pixel():
    landmarks = frontal()
    moved = landmarks + (0.3, 0.0, 0.0)
    np.testing.assert_array_equal(landmark_map.draw(landmarks, (256, 256)), landmark_map.draw(moved, (256, 256)))
    soft = [landmark_map.draw(points, (256, 256), antialias=True) for points in (landmarks, moved)]
    assert (soft[0] != soft[1]).any()


def test_face_mask_fills_the_oval_without_the_forehead():
    assert len(landmark_map.FACE_MASK_OVAL) == 26
    landmarks = frontal()
    mask = landmark_map.face_mask(landmarks, (256, 240))
    assert mask.shape == (240, 256) and set(np.unique(mask)) == {0, 255}
    nose, forehead = landmarks[4, :2].astype(int), landmarks[10, :2].astype(int)
    assert mask[nose[1], nose[0]] == 255 and mask[forehead[1] + 2, forehead[0]] == 0


def test_unknown_style_and_empty_size_are_refused():
    with pytest.raises(OptionError, match="follow-your-emoji, aniportrait"):
        landmark_map.draw(frontal(), (256, 256), "canny")
    with pytest.raises(OptionError, match="0x256"):
        landmark_map.draw(frontal(), (0, 256))
