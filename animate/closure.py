"""Lips and lids that close where the driver's close: monotone maps between two faces' openings.

Adding offsets, even scaled ones, leaves a gap (or an overlap) when the two faces' resting openings differ.
Here the opening at each pair of opposite points is mapped on its own, and the correction is carried into
the skin around. All shapes are canonical (`animate.pose`) with IOD 1; openings run along y.
"""

from __future__ import annotations

import functools

import numpy as np

from animate import measures, pose
from animate import topology as mesh

#: Below the driver's resting opening a map is at most this steep: lips that rest a hair apart in the driver
#: would otherwise flutter by a whole open mouth in a portrait that rests open.
MAX_SLOPE = 4.0
#: Lids below this part of their resting opening count as closing: there the portrait's opening is at most the
#: driver's, and from there it runs towards its own resting opening.
CLOSING = 0.4
#: An excess up to this, in IOD, is tracking noise and no smile.
EASE_FROM = 0.02


def map_opening(
    gap: np.ndarray, rest: np.ndarray, own: np.ndarray, above: np.ndarray, base: np.ndarray | float
) -> np.ndarray:
    """The portrait's opening for the driver's `gap` (T, ...): monotone, f(rest) = own, identity between
    equals.

    rest: the driver's opening in the reference; own: the portrait's; above: slope beyond rest. Below rest
    the map falls to f(0) = 0 (or, where that would be steeper than MAX_SLOPE, with that slope), and near 0
    its slope is at most `base`. Negative gaps (overlapping points) stay as they are.
    """
    resting = np.maximum(rest, 1e-6)
    reached = np.clip(own, 0.0, MAX_SLOPE * resting)
    slope = reached / resting  # (...)
    low = np.minimum(base, slope)
    t = np.clip((gap / resting - CLOSING) / (1 - CLOSING), 0.0, 1.0)
    below = gap * (low + (slope - low) * t * t * (3 - 2 * t)) + (own - reached)
    below = np.where(gap < 0, gap + (own - reached), below)
    # A driver whose points overlap at rest has no scale of its own: only its changes count.
    below = np.where(rest <= 1e-6, own + (gap - rest), below)
    return np.where(gap >= rest, own + above * (gap - rest), below)


def ease_opening(opened: np.ndarray, excess: np.ndarray) -> np.ndarray:
    """What is left of `opened` (T, ...) >= 0 for a mouth that rests further open than the driver's, by
    `excess`.

    Openings would add up to a gape. So the excess is used up as the mouth opens: from twice the excess on,
    the portrait is as open as the driver. Monotone (slope 0.25 or more), and `opened` itself where there is
    no excess.
    """
    excess = np.maximum(excess - EASE_FROM, 0.0)
    t = np.clip(opened / np.maximum(2 * excess, 1e-9), 0.0, 1.0)
    return opened - excess * t * t * (3 - 2 * t)


def ease_jaw(
    offsets: np.ndarray, jaw: np.ndarray, driver: np.ndarray, portrait: np.ndarray, reference: np.ndarray
) -> np.ndarray:
    """Offsets (T, 478, 3) whose jaw part `jaw` is cut to what `ease_opening` leaves an open mouth to open."""
    rest = measures.mouth_opening(reference)
    opened = np.maximum(measures.mouth_opening(driver) - rest, 0.0)  # (T,)
    eased = ease_opening(opened, measures.mouth_opening(portrait) - rest)
    kept = np.where(opened > 1e-4, eased / np.maximum(opened, 1e-4), 1.0)
    return offsets - (1 - kept)[:, None, None] * jaw


def ease_width(
    offsets: np.ndarray, lips: np.ndarray, driver: np.ndarray, portrait: np.ndarray, reference: np.ndarray
) -> np.ndarray:
    """Offsets (T, 478, 3) that widen a mouth which is wide already by what `ease_opening` leaves.

    A smile on top of a smile would reach to the ears. lips: (478,) how much each point belongs to the lips.
    """
    rest = measures.mouth_width(reference)
    wider = np.maximum(measures.mouth_width(driver) - rest, 0.0)  # (T,)
    eased = ease_opening(wider, measures.mouth_width(portrait) - rest)
    kept = np.where(wider > 1e-4, eased / np.maximum(wider, 1e-4), 1.0)
    offsets = offsets.copy()
    offsets[..., 0] *= 1 - (1 - kept)[:, None] * lips
    return offsets


def close_lips(target: np.ndarray, driver: np.ndarray, portrait: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """`target` (T, 478, 3) with its lips' openings mapped from the driver's; both lips give way by half.

    driver: the driver's shapes (T, 478, 3); portrait, reference: (478, 3), the two faces' resting shapes.
    Lips never cross, unless portrait and reference are one and the same shape, whose tracking noise is then
    left alone.
    """
    own, rest = measures.lip_gaps(portrait), measures.lip_gaps(reference)
    length = measures.lower_face_length(portrait) / measures.lower_face_length(reference)
    gaps = measures.lip_gaps(driver)
    above = np.clip(length, 0.6, 1.6)
    wanted = map_opening(gaps, rest, own, above, np.inf)
    opened = above * np.maximum(gaps - rest, 0.0)
    wanted = wanted + ease_opening(opened, own - rest) - opened
    if np.abs(portrait - reference).max() > 1e-3:
        wanted = np.maximum(wanted, 0.0)
    missing = wanted - measures.lip_gaps(target)  # (T, 9)
    target[..., 1] += missing @ lip_spread().T
    return target


def close_eyes(target: np.ndarray, driver: np.ndarray, portrait: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """`target` (T, 478, 3) with each eye's openings mapped from the driver's; the upper lid moves most."""
    own, rest, now = measures.lid_gaps(portrait), measures.lid_gaps(reference), measures.lid_gaps(driver)
    narrow = np.minimum(1.0, measures.eye_widths(portrait) / measures.eye_widths(reference))[:, None]
    above = np.clip(np.maximum(own, 1e-3) / np.maximum(rest, 1e-3), 0.6, 1.6)
    missing = map_opening(now, rest, own, above, narrow) - measures.lid_gaps(target)  # (T, 2, 7)
    for eye, spread in enumerate(lid_spread()):
        target[..., 1] += missing[:, eye] @ spread.T
    return target


@functools.cache
def lip_spread() -> np.ndarray:
    """Where (478, 9) the y of each point goes when a pair of the inner lips has to open by 1.

    The pair itself moves by a half each way. A lip moves as a whole, so that its red keeps its thickness;
    beyond the outer lip line the skin fades out, to the nose above and over the chin below.
    """
    face = pose.canonical_face().astype(np.float64)
    pairs = np.array(mesh.LIP_PAIRS)
    return _spread(
        face,
        pairs,
        members=(mesh.UPPER_LIP, mesh.LOWER_LIP),
        fixed=mesh.LIP_CORNERS,
        shares=(-0.5, 0.5),
        fade=0.16,
        thickness=0.14,
    )


@functools.cache
def lid_spread() -> tuple[np.ndarray, np.ndarray]:
    """The same for the lids, (478, 7) per eye: the upper lid takes 0.7 and fades out towards the crease."""
    face = pose.canonical_face().astype(np.float64)
    eyes = (
        (mesh.RIGHT_EYE_PAIRS, mesh.RIGHT_EYE_UPPER, mesh.RIGHT_EYE_LOWER, mesh.RIGHT_EYE_CORNERS),
        (mesh.LEFT_EYE_PAIRS, mesh.LEFT_EYE_UPPER, mesh.LEFT_EYE_LOWER, mesh.LEFT_EYE_CORNERS),
    )
    return tuple(
        _spread(
            face,
            np.array(pairs),
            members=(upper[1:-1], lower[1:-1]),
            fixed=corners + mesh.RIGHT_IRIS + mesh.LEFT_IRIS,
            shares=(-0.7, 0.3),
            fade=0.10,
            thickness=0.0,
        )
        for pairs, upper, lower, corners in eyes
    )


def _spread(
    face: np.ndarray,
    pairs: np.ndarray,
    members: tuple[tuple[int, ...], tuple[int, ...]],
    fixed: tuple[int, ...],
    shares: tuple[float, float],
    fade: float,
    thickness: float,
) -> np.ndarray:
    """(478, pairs) shares of a correction: a point takes those of the two pairs between which it lies in x,
    the upper or the lower side's, whole up to `thickness` from the opening's edge and then fading over
    `fade`."""
    middle = face[pairs].mean(axis=1)  # (pairs, 3)
    order = np.argsort(middle[:, 0])
    stations = middle[order, 0]
    ends = stations[[0, -1]] + np.array([-1, 1]) * 1.5 * np.abs(np.diff(stations))[[0, -1]]
    x = np.concatenate([ends[:1], stations, ends[1:]])
    out = np.zeros((len(face), len(pairs)))
    line = np.interp(face[:, 0], stations, middle[order, 1])
    depth = np.interp(face[:, 0], stations, middle[order, 2])
    side = (face[:, 1] > line).astype(int)
    for which, points in enumerate(members):
        side[list(points)] = which
    edge = np.stack([np.interp(face[:, 0], stations, face[pairs[order, s], 1]) for s in (0, 1)])  # (2, 478)
    away = np.hypot(face[:, 1] - edge[side, np.arange(len(face))], 0.5 * (face[:, 2] - depth))
    share = np.take(shares, side) * np.exp(-((np.maximum(away - thickness, 0) / fade) ** 2))
    share[list(fixed)] = 0.0
    for rank, pair in enumerate(order):
        tent = np.zeros(len(x))
        tent[rank + 1] = 1.0
        out[:, pair] = share * np.interp(face[:, 0], x, tent)
    for row, pair in enumerate(pairs):
        for s in (0, 1):
            out[pair[s]] = 0.0
            out[pair[s], row] = shares[s]
    return out
