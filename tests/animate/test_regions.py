"""Windows: upright, of one scale, and pasted back where they came from."""

import cv2
import numpy as np
import pytest

from animate import regions, topology
from animate.compositing import blend, paste, side_by_side
from animate.regions import LEFT_EYE, MOUTH, REGIONS, RIGHT_EYE


def turned(landmarks, degrees, scale=1.0):
    matrix = cv2.getRotationMatrix2D((256, 256), degrees, scale)
    out = landmarks * scale
    out[:, :2] = landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    return out.astype(np.float32), matrix


@pytest.mark.parametrize("region", REGIONS, ids=lambda r: r.name)
@pytest.mark.parametrize(("degrees", "scale"), [(0, 1.0), (25, 0.6), (-40, 1.7)])
def test_a_window_turns_and_scales_with_the_face(astronaut_landmarks, region, degrees, scale):
    straight = regions.to_window(astronaut_landmarks, regions.window_matrix(astronaut_landmarks, region))
    moved, _ = turned(astronaut_landmarks, degrees, scale)
    again = regions.to_window(moved, regions.window_matrix(moved, region))
    assert np.abs(straight - again).max() < 0.5


def test_both_eye_windows_have_the_nose_on_the_same_side(astronaut_landmarks):
    for region, inner, outer in ((RIGHT_EYE, 133, 33), (LEFT_EYE, 362, 263)):
        points = regions.to_window(astronaut_landmarks, regions.window_matrix(astronaut_landmarks, region))
        assert points[inner, 0] > points[outer, 0]


@pytest.mark.parametrize("region", REGIONS, ids=lambda r: r.name)
def test_the_gate_covers_the_opening_and_ends_before_the_border(astronaut_landmarks, region):
    matrix = regions.window_matrix(astronaut_landmarks, region)
    gate = regions.gate(astronaut_landmarks, matrix, region)
    assert gate.shape == (region.size,) * 2 and 0 <= gate.min() and gate.max() <= 1
    assert gate[0].max() == gate[-1].max() == gate[:, 0].max() == gate[:, -1].max() == 0
    centre = {"mouth": (13, 14), "right_eye": (159, 145), "left_eye": (386, 374)}[region.name]
    x, y = regions.to_window(astronaut_landmarks, matrix)[list(centre)].mean(0)
    assert gate[round(y), round(x)] > 0.95


def test_a_constant_residual_is_added_where_the_window_lies(astronaut, astronaut_landmarks):
    matrix = regions.window_matrix(astronaut_landmarks, MOUTH)
    gate = regions.gate(astronaut_landmarks, matrix, MOUTH)
    frame = np.full_like(astronaut, 100)
    paste(frame, np.repeat(gate[..., None], 3, 2) * 40, matrix)
    x, y = astronaut_landmarks[[13, 14], :2].mean(0).round().astype(int)
    assert abs(int(frame[y, x, 0]) - 140) <= 2
    assert (frame[:50] == 100).all()


def test_pasting_with_an_offset_is_pasting_into_a_crop(astronaut, astronaut_landmarks):
    matrix = regions.window_matrix(astronaut_landmarks, MOUTH)
    residual = np.random.default_rng(0).normal(0, 30, (128, 128, 3)).astype(np.float32)
    residual *= regions.gate(astronaut_landmarks, matrix, MOUTH)[..., None]
    whole, crop = astronaut.copy(), astronaut[40:, 60:].copy()
    paste(whole, residual, matrix)
    paste(crop, residual, matrix, (60, 40))
    assert np.array_equal(whole[40:, 60:], crop)


def test_a_mirrored_windows_map_has_the_right_eyes_colours(astronaut_landmarks):
    matrix = regions.window_matrix(astronaut_landmarks, LEFT_EYE)
    left = regions.region_map(astronaut_landmarks, matrix, LEFT_EYE).reshape(-1, 3)
    brightest = left[(left[:, 1] > 150) & (left[:, 2] > 120)]
    assert len(brightest) > 10  # (10, 200, 180), not (180, 200, 10)


def test_the_map_draws_lips_and_iris(astronaut_landmarks):
    matrix = regions.window_matrix(astronaut_landmarks, RIGHT_EYE)
    drawn = regions.region_map(astronaut_landmarks, matrix, RIGHT_EYE)
    x, y = regions.to_window(astronaut_landmarks, matrix)[topology.RIGHT_IRIS[0]].round().astype(int)
    assert tuple(drawn[y, x]) == (255, 0, 0)


def test_blend_is_exact_at_its_ends():
    rng = np.random.default_rng(1)
    a, b = (rng.integers(0, 256, (9, 7, 3), np.uint8) for _ in range(2))
    assert np.array_equal(blend(a, b, np.zeros((9, 7), np.uint8)), a)
    assert np.array_equal(blend(a, b, np.full((9, 7), 255, np.uint8)), b)


def test_side_by_side_scales_to_the_first_height():
    joined = side_by_side(np.zeros((40, 30, 3), np.uint8), np.zeros((80, 100, 4), np.uint8))
    assert joined.shape == (40, 80, 3)
