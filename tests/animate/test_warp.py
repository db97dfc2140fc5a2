"""The warp: exact at rest, still behind the head, lips as separate sides."""

import numpy as np
import pytest

from animate import topology
from animate.inpaint import push_pull
from animate.pose import inter_ocular
from animate.warp import PortraitWarp


@pytest.fixture(scope="module")
def person(astronaut):
    from animate.segmentation import PersonSegmenter

    with PersonSegmenter() as segmenter:
        return segmenter.mask(astronaut)


@pytest.fixture(scope="module")
def warp(astronaut, astronaut_landmarks, person):
    return PortraitWarp(astronaut, astronaut_landmarks, person)


def whole(warp, target):
    out = warp.image.copy()
    field = warp.field(target)
    x0, y0, x1, y1 = field.box
    out[y0:y1, x0:x1] = warp.render(field)
    return out


def opened(landmarks, by):
    """Landmarks whose lower lip and chin are `by` inter-ocular distances lower."""
    out = landmarks.copy()
    lower = sorted({*topology.LOWER_LIP, *topology.CHIN_POINTS})
    out[lower, 1] += by * inter_ocular(landmarks)
    return out


def test_the_portraits_own_landmarks_give_the_portrait_back(warp):
    difference = np.abs(whole(warp, warp.source).astype(int) - warp.image)
    assert difference.mean() < 0.2
    assert np.percentile(difference, 99.9) <= 6


def test_the_background_behind_a_moving_head_stays(warp, person):
    moved = warp.source + np.float32([0.3 * warp.iod, 0, 0])
    out = whole(warp, moved)
    far = person < 0.01
    far[:, int(warp.source[:, 0].max() + warp.iod) :] = False  # where the moved head may now be
    far[:, : int(warp.source[:, 0].min() - 1.5 * warp.iod)] &= True
    changed = np.abs(out.astype(int) - warp.image).max(-1) > 12
    assert changed[far].mean() < 0.02


def test_the_face_follows_a_shift_exactly(warp):
    shift = 7
    out = whole(warp, warp.source + np.float32([shift, 0, 0]))
    x, y = warp.source[4, :2].astype(int)
    patch = warp.image[y - 10 : y + 10, x - 10 : x + 10].astype(int)
    assert np.abs(out[y - 10 : y + 10, x - 10 + shift : x + 10 + shift].astype(int) - patch).mean() < 3


def test_opening_the_mouth_moves_the_lower_lip_and_leaves_the_upper(warp):
    target = opened(warp.source, 0.3)
    field = warp.field(target)
    x0, y0 = field.box[:2]
    k = warp.scale

    def source_of(index):
        x, y = (target[index, :2] - (x0, y0)) * k
        return np.array([field.map_x[round(y), round(x)], field.map_y[round(y), round(x)]])

    for index in (17, 0):  # the outer lips' middle points come from where they were
        assert np.linalg.norm(source_of(index) - warp.source[index, :2]) < 3


def test_the_hidden_cheek_of_a_turned_head_does_not_tear(warp):
    from scipy.spatial.transform import Rotation

    centre = warp.source.mean(0)
    turned = (warp.source - centre) @ Rotation.from_euler("y", 35, degrees=True).as_matrix().T + centre
    field = warp.field(turned.astype(np.float32))
    jump = np.abs(np.diff(field.map_x, axis=1))[field.inside[:, 1:]]
    assert np.percentile(jump, 99) < 6 / warp.scale
    assert np.isfinite(field.map_x).all()


def test_transparency_travels_with_the_head(warp):
    alpha = np.zeros(warp.image.shape[:2], np.uint8)
    x, y = warp.source[4, :2].astype(int)
    alpha[y - 5 : y + 5, x - 5 : x + 5] = 255
    field = warp.field(warp.source + np.float32([20, 0, 0]))
    carried = warp.carry(alpha, field)
    assert carried[y - field.box[1], x + 20 - field.box[0]] > 200
    assert carried[y - field.box[1], x - field.box[0]] < 50


def test_push_pull_keeps_what_is_known_and_stays_between_its_values():
    rng = np.random.default_rng(0)
    image = rng.uniform(50, 200, (37, 53, 3)).astype(np.float32)
    known = (rng.random((37, 53)) > 0.7).astype(np.float32)
    filled = push_pull(image, known)
    assert np.allclose(filled[known > 0], image[known > 0])
    assert filled.min() >= 49 and filled.max() <= 201


def test_a_neighbour_in_the_picture_stays(astronaut, astronaut_landmarks):
    pair = np.hstack([astronaut, astronaut[:, :380]])
    neighbour = astronaut_landmarks + np.float32([512, 0, 0])
    warp = PortraitWarp(pair, astronaut_landmarks, np.ones(pair.shape[:2], np.float32), [neighbour])
    out = whole(warp, astronaut_landmarks + np.float32([0, 15, 0]))
    low, high = neighbour[:, :2].min(0).astype(int), neighbour[:, :2].max(0).astype(int)
    region = np.s_[low[1] : high[1], low[0] : high[0]]
    assert np.array_equal(out[region], pair[region])


def test_what_the_warp_cannot_know_is_the_openings_and_what_the_head_uncovers(warp):
    def at(mask, field, point):
        x, y = ((point[:2] - field.box[:2] + 0.5) * warp.scale - 0.5).round().astype(int)
        return mask[y, x]

    rest = warp.field(warp.source)
    mask = warp.unknown(rest)
    assert 0 <= mask.min() and mask.max() <= 1 and mask.mean() < 0.05
    for point in (4, 50, 280, 9):  # nose, cheeks, forehead
        assert at(mask, rest, warp.source[point]) < 0.05

    target = opened(warp.source, 0.3)
    field = warp.field(target)
    assert at(warp.unknown(field), field, target[[13, 14]].mean(0)) > 0.95

    shifted = warp.field(warp.source + np.float32([0.4 * warp.iod, 0, 0]))
    edge = warp.head.alpha[int(warp.source[10, 1]) - warp.box[1]] > 0.9
    left = np.array([warp.box[0] + np.flatnonzero(edge)[0] + 0.1 * warp.iod, warp.source[10, 1]])
    assert at(warp.unknown(shifted), shifted, left) > 0.6 > at(mask, rest, left)
