"""Whether a hand or a microphone covers a mouth: its lips have not the colour that they usually have.

A tracker goes on guessing lips below a hand. Their pixels then differ from the skin around them in another way than
this person's lips do, on one side at least.
"""

from __future__ import annotations

import cv2
import numpy as np

from animate import topology as mesh

#: Size of the patch that a mouth is looked at in, and the width of the mouth in it, px.
PATCH, WIDTH = (64, 48), 34
#: Lips that differ from the skin by less than this tell nothing, in Lab units: drawings, old photographs, statues.
FAINT = 5.0
#: A mouth whose contrast is further from the usual than this share of it is covered.
FAR = 0.75


def lip_contrast(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """(6,) Lab colour of the lips less that of the skin around them: right half, left half.

    image: (H, W, 3) uint8 RGB; landmarks: (478, 3) px. NaN where the mouth lies outside the picture.
    """
    points = np.asarray(landmarks, np.float32)[:, :2]
    right, left = points[list(mesh.OUTER_MOUTH_CORNERS)]
    across = (left - right) / WIDTH
    middle = (left + right) / 2
    axes = np.stack([across, np.array([-across[1], across[0]])], axis=1)  # patch pixels to image pixels
    matrix = np.concatenate([axes, (middle - axes @ (np.array(PATCH) / 2))[:, None]], axis=1)
    patch = cv2.warpAffine(image, matrix, PATCH, flags=cv2.INTER_AREA | cv2.WARP_INVERSE_MAP)
    lab = cv2.cvtColor(patch.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    seen = np.linalg.inv(axes) @ (points - middle).T + np.array(PATCH)[:, None] / 2
    lips, around = _masks(seen.T.astype(np.float32))
    halves = np.arange(PATCH[0]) < PATCH[0] // 2
    out = np.full(6, np.nan)
    for part, columns in enumerate((halves, ~halves)):
        inner, outer = lips & columns, around & columns
        if inner.any() and outer.any():
            out[3 * part : 3 * part + 3] = lab[inner].mean(axis=0) - lab[outer].mean(axis=0)
    return out


def _masks(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lips without what is between them, and the skin around, (h, w) bool, of points (478, 2) px of a patch."""
    outer = points[[*mesh.OUTER_LIPS_UPPER, *mesh.OUTER_LIPS_LOWER[-2:0:-1]]]
    inner = points[[*mesh.INNER_LIPS_UPPER, *mesh.INNER_LIPS_LOWER[-2:0:-1]]]
    whole = np.zeros(PATCH[::-1], np.uint8)
    cv2.fillPoly(whole, [np.round(outer).astype(np.int32)], 1)
    lips = whole.copy()
    cv2.fillPoly(lips, [np.round(inner).astype(np.int32)], 0)
    near = cv2.dilate(whole, np.ones((5, 5), np.uint8))
    wide = cv2.dilate(whole, np.ones((17, 17), np.uint8))
    return lips.astype(bool), (wide > 0) & (near == 0)


def covered(contrasts: np.ndarray) -> np.ndarray:
    """(n,) bool: which of n mouths of one person are covered, by their `lip_contrast` (n, 6).

    At least a fifth of them have to be free. Nobody is judged where lips hardly differ from the skin.
    """
    contrasts = np.asarray(contrasts, np.float64)
    known = np.isfinite(contrasts).all(axis=1)
    if not known.any():
        return np.zeros(len(contrasts), bool)
    halves = np.linalg.norm(np.nan_to_num(contrasts).reshape(-1, 2, 3), axis=2)
    strength = halves.min(axis=1)  # a hand hides one half first, and makes its contrast weak
    clear = known & (strength >= 0.6 * np.percentile(strength[known], 80))
    usual = np.median(contrasts[clear], axis=0)
    if np.linalg.norm(usual) < FAINT:
        return np.zeros(len(contrasts), bool)
    away = np.linalg.norm((contrasts - usual).reshape(-1, 2, 3), axis=2)
    limit = FAR * np.linalg.norm(usual.reshape(2, 3), axis=1).mean()
    return ~known | (away > limit).any(axis=1)
