"""The interior prior: mouth textures and eyeballs."""

import numpy as np
import pytest

from animate.mouth_table import MouthShape, MouthTable, build, mouth_opening, sample_texture, weighted_median
from animate.pose import inter_ocular
from animate.prior import EYES, InteriorPrior, eye_opening
from animate.warp import PortraitWarp


@pytest.fixture(scope="module")
def warp(astronaut, astronaut_landmarks):
    return PortraitWarp(astronaut, astronaut_landmarks)


@pytest.fixture(scope="module")
def prior(warp):
    return InteriorPrior(warp)


def drawn(prior, target):
    field = prior.warp.field(target)
    bare = prior.warp.render(field)
    return bare, prior.fill(bare.copy(), target, field.box[:2]), field.box


def wide_open(landmarks):
    from animate import topology

    out = landmarks.copy()
    lower = sorted({*topology.LOWER_LIP, *topology.CHIN_POINTS})
    out[lower, 1] += 0.3 * inter_ocular(landmarks)
    return out


def test_mouth_coordinates_invert(astronaut_landmarks):
    shape = MouthShape.of(astronaut_landmarks)
    u, v = np.meshgrid(np.linspace(0.15, 0.85, 7), np.linspace(0.1, 0.9, 5))
    x, y = shape.positions(u, v)
    u2, v2 = shape.coordinates(x, y)
    assert np.allclose(u, u2, atol=1e-4) and np.allclose(v, v2, atol=1e-2)


def test_the_shipped_table_is_small_and_plausible():
    from animate.mouth_table import TABLE_PATH

    assert TABLE_PATH.stat().st_size < 1_000_000
    table = MouthTable.load()
    texture = table.lookup(0.2, 0.7)
    assert texture.shape == (24, 48, 3)
    assert 0.02 < texture.min() and texture.max() < 2


def test_table_lookup_is_continuous():
    table = MouthTable.load()
    openings = np.linspace(0.01, 0.5, 200)
    textures = np.array([table.lookup(o, 0.7).mean() for o in openings])
    assert np.abs(np.diff(textures)).max() < 0.03


def test_an_opened_mouth_is_filled_and_the_rest_untouched(prior):
    target = wide_open(prior.warp.source)
    bare, filled, box = drawn(prior, target)
    changed = np.abs(bare.astype(int) - filled).max(-1) > 0
    ys, xs = np.nonzero(changed)
    assert len(ys) > 200
    points = target[:, :2] - box[:2]
    lips, eyes = points[[78, 308, 13, 14]], points[[33, 133, 362, 263, 159, 145, 386, 374]]
    near = np.zeros_like(changed)
    for group in (lips, eyes):
        low, high = group.min(0) - 12, group.max(0) + 12
        near[int(low[1]) : int(high[1]), int(low[0]) : int(high[0])] = True
    assert not (changed & ~near).any()


def test_a_closed_mouth_is_left_alone(prior):
    from animate.dataset import close_mouth

    target = close_mouth(prior.warp.source, 0.0)
    bare, filled, box = drawn(prior, target)
    low, high = (target[[61, 291, 0, 17], :2] - box[:2]).min(0), (target[[61, 291, 0, 17], :2] - box[:2]).max(0)
    region = np.s_[int(low[1]) : int(high[1]), int(low[0]) : int(high[0])]
    assert np.array_equal(bare[region], filled[region])


def test_the_iris_goes_where_the_gaze_points(prior, astronaut):
    target = prior.warp.source.copy()
    shift = 0.12 * np.linalg.norm(target[33, :2] - target[133, :2])
    target[468:478, 0] += shift
    _, filled, box = drawn(prior, target)
    points = target[:, :2] - box[:2]
    for corners, *_, iris in EYES:
        row = int(round(points[iris, 1]))
        low, high = sorted((points[corners[0], 0], points[corners[1], 0]))
        strip = filled[row - 1 : row + 2, int(low) + 3 : int(high) - 3].astype(float).mean((0, 2))
        darkness = (strip.max() - strip) ** 2
        centre = (darkness * np.arange(len(strip))).sum() / darkness.sum() + int(low) + 3
        before = points[iris, 0] - shift
        assert centre > before + 0.3 * shift


def test_a_closed_eye_keeps_the_warps_lids(prior):
    from animate.dataset import close_eyes

    target = close_eyes(prior.warp.source, prior.warp.source, 1.0)
    for corners, upper, lower, _ in EYES:
        assert eye_opening(target, corners, upper, lower) < 0.03
    bare, filled, _ = drawn(prior, target)
    assert np.abs(bare.astype(int) - filled).max() <= 1 or mouth_opening(target) > 0.012


def test_a_table_gives_back_the_texture_it_was_built_from(astronaut, astronaut_landmarks):
    texture = sample_texture(astronaut, astronaut_landmarks)
    table = build([(str(i), 0.1, 0.7, texture) for i in range(9)])
    assert np.allclose(table.lookup(0.1, 0.7), texture, atol=2e-3)


def test_weighted_median_follows_the_weights():
    values = np.array([[0.0], [1.0], [10.0]])
    assert weighted_median(values, np.array([1.0, 1.0, 1.0]))[0] == 1
    assert weighted_median(values, np.array([1.0, 1.0, 5.0]))[0] == 10
