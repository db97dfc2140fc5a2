"""Soft masks of a dubbed face: what may change, along the face's own outline, and where the lips are."""

from __future__ import annotations

import cv2
import numpy as np

from animate import pose
from animate import topology as mesh
from animate.inpaint import push_pull
from animate.layers import smoothstep

#: Heights on the canonical face between which the face's mask sets in: under the eyes, above all that moves.
RISE = (0.30, 0.55)
#: Beyond the face's outline, in IOD: how far its mask stays whole, and the breadth of its edge.
FACE_REACH, FACE_EDGE = 0.02, 0.10
#: The same for the lips' mask, and how near the lips the skin may still be their own shade.
LIPS_REACH, LIPS_EDGE, LIPS_SHADE = 0.10, 0.18, 0.13
#: How far beyond the mouth's corners their creases belong to it.
LIPS_CORNERS = 0.10
#: IOD in pixels at which colours are compared, and the softness of the comparison in IOD.
_COLOUR_IOD, _COLOUR_SOFT = 24.0, 0.10
#: Pixels per IOD of the grid on which distances are worked out.
_GRID_IOD = 20.0
_HEIGHTS = pose.canonical_face()[: mesh.SKIN_POINTS, 1].astype(np.float64)
_LOWER = np.flatnonzero(_HEIGHTS > RISE[0])


def face_box(shapes: tuple[np.ndarray, ...], size: tuple[int, int], margin: float = 0.35) -> tuple[int, int, int, int]:
    """(x0, y0, x1, y1) of the pixels that a dubbed frame works on: the lower faces (478, 3) px and a margin in IOD,
    inside a picture of (width, height)."""
    reach = margin * float(pose.inter_ocular(shapes[0]))
    lower = np.concatenate([points[_LOWER, :2] for points in shapes])
    low, high = np.floor(lower.min(axis=0) - reach), np.ceil(lower.max(axis=0) + reach) + 1
    x0, y0 = (int(np.clip(v, 0, limit - 1)) for v, limit in zip(low, size, strict=True))
    x1, y1 = (int(np.clip(v, 1, limit)) for v, limit in zip(high, size, strict=True))
    return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)


def face_mask(own: np.ndarray, new: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(h, w) float32 in [0, 1]: 1 over the lower face, old and new outline united, 0 beyond it and from the eyes up.

    own, new: landmarks (478, 3) of the frame and of what it becomes, in the mask's own pixels.
    """
    iod = float(pose.inter_ocular(own))
    away = np.minimum(*(_distance(points[list(mesh.FACE_OVAL), :2], shape, iod) for points in (own, new)))
    soft = 1 - smoothstep(away, FACE_REACH, FACE_REACH + FACE_EDGE)
    return (soft * smoothstep(_height_map(own, shape), *RISE)).astype(np.float32)


def lips_mask(points: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(h, w) float32 in [0, 1]: 1 over the lips and a little beyond, with soft edges; and (h, w) bool: so far from them
    that nothing of them is seen.

    points: landmarks (478, 3) in the mask's own pixels.
    """
    iod = float(pose.inter_ocular(points))
    loop = points[[*mesh.OUTER_LIPS_UPPER, *mesh.OUTER_LIPS_LOWER[-2:0:-1]], :2].astype(np.float64)
    across = loop[0] - loop[10]  # the corners are the first and the eleventh point
    across *= LIPS_CORNERS * iod / (np.linalg.norm(across) + 1e-6)
    loop[0] += across
    loop[10] -= across
    away = _distance(loop, shape, iod)
    return (1 - smoothstep(away, LIPS_REACH, LIPS_REACH + LIPS_EDGE)).astype(np.float32), away > LIPS_SHADE


def colour_change(below: np.ndarray, above: np.ndarray, known: np.ndarray, iod: float) -> np.ndarray:
    """(h, w, 3) float32: what to add to `above` so that its colours go over smoothly into those of `below`.

    known: (h, w) bool, where both show the same skin; the difference there is carried over everything else.
    """
    scale = min(1.0, _COLOUR_IOD / iod)
    small = cv2.resize(below - above, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    where = cv2.resize(known.astype(np.float32), small.shape[1::-1], interpolation=cv2.INTER_AREA)
    filled = push_pull(small, (where > 0.95).astype(np.float32))
    filled = cv2.GaussianBlur(filled, (0, 0), max(0.5, _COLOUR_SOFT * iod * scale))
    return cv2.resize(filled, below.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def _distance(loop: np.ndarray, shape: tuple[int, int], iod: float) -> np.ndarray:
    """(h, w) float32: how far each pixel lies outside of a polygon (n, 2) px, in IOD; negative inside.

    Worked out from the polygon itself, on a coarse grid: a mask that grew or moved by whole pixels would flicker.
    """
    size = [max(2, round(side * _GRID_IOD / iod)) for side in shape]
    y, x = (((np.arange(n) + 0.5) * side / n - 0.5) for n, side in zip(size, shape, strict=True))
    y, x = y[:, None, None], x[None, :, None]
    ax, ay = loop.T
    bx, by = np.roll(loop, -1, axis=0).T
    along = np.clip(
        ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / np.maximum((bx - ax) ** 2 + (by - ay) ** 2, 1e-9), 0, 1
    )
    away = np.sqrt(((x - ax - along * (bx - ax)) ** 2 + (y - ay - along * (by - ay)) ** 2).min(axis=-1))
    with np.errstate(divide="ignore", invalid="ignore"):
        crossed = ((ay > y) != (by > y)) & (x < (bx - ax) * (y - ay) / (by - ay) + ax)
    inside = crossed.sum(axis=-1) % 2 == 1
    signed = (np.where(inside, -away, away) / iod).astype(np.float32)
    return cv2.resize(signed, shape[::-1], interpolation=cv2.INTER_LINEAR)


def _height_map(landmarks: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(h, w) float32: how far down the face a pixel lies, in canonical heights, by the affine map that fits best."""
    columns = np.concatenate([landmarks[: mesh.SKIN_POINTS, :2], np.ones((mesh.SKIN_POINTS, 1))], axis=1)
    a, b, c = np.linalg.lstsq(columns.astype(np.float64), _HEIGHTS, rcond=None)[0]
    ys, xs = np.arange(shape[0])[:, None], np.arange(shape[1])[None]
    return (a * xs + b * ys + c).astype(np.float32)
