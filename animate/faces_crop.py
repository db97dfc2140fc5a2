"""What networks see of a picture: tiles to look for faces on, and upright, area-filtered crops of a face."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["Roi", "crop_roi", "overlap", "picture_tiles", "shrink", "suppress"]

# Of the mesh's points: outer eye corners, from which MediaPipe takes the in-plane rotation.
_EYE_OUTER = (33, 263)
# MediaPipe's mesh was trained on squares half as wide again as the landmarks' bounds.
_MARGIN = 1.5


@dataclass(frozen=True)
class Roi:
    """A square: centre (x, y) and side in pixels, in-plane angle in radians (clockwise on the screen)."""

    x: float
    y: float
    side: float
    angle: float = 0.0

    @classmethod
    def from_landmarks(cls, points: np.ndarray, margin: float = _MARGIN) -> Roi:
        """The upright square round (N, >= 2) mesh points, `margin` times their longer side."""
        plane = np.asarray(points, dtype=np.float64)[:, :2]
        across = plane[_EYE_OUTER[1]] - plane[_EYE_OUTER[0]]
        angle = math.atan2(across[1], across[0])
        axes = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        upright = plane @ axes.T
        low, high = upright.min(0), upright.max(0)
        x, y = axes.T @ ((low + high) / 2)
        return cls(float(x), float(y), float((high - low).max() * margin), angle)

    def to_picture(self, size: float) -> np.ndarray:
        """(2, 3) affine matrix from the pixels of a size x size crop to the picture's pixels."""
        scale = self.side / size
        c, s = math.cos(self.angle) * scale, math.sin(self.angle) * scale
        middle = (size - 1) / 2
        return np.array([[c, -s, self.x - (c - s) * middle], [s, c, self.y - (s + c) * middle]])


def crop_roi(image: np.ndarray, roi: Roi, size: int) -> np.ndarray:
    """Cut `roi` out of (H, W, 3) uint8 as (size, size, 3), turned upright; black outside the picture.

    Shrinking by more than two goes through an area filter first: plain bilinear sampling of a large face
    aliases, and its landmarks jitter with the grid.
    """
    matrix = roi.to_picture(size)
    factor = int(roi.side / size)
    if factor >= 2:
        reach = roi.side * 0.7072 + factor  # half a diagonal
        height, width = image.shape[:2]
        x0, y0 = max(int(roi.x - reach), 0), max(int(roi.y - reach), 0)
        x1, y1 = min(int(roi.x + reach) + 1, width), min(int(roi.y + reach) + 1, height)
        # Whole multiples of the factor keep the scale exact.
        x1, y1 = x0 + (x1 - x0) // factor * factor, y0 + (y1 - y0) // factor * factor
        if x1 - x0 < factor or y1 - y0 < factor:
            return np.zeros((size, size, 3), dtype=np.uint8)
        image = cv2.resize(
            image[y0:y1, x0:x1], ((x1 - x0) // factor, (y1 - y0) // factor), interpolation=cv2.INTER_AREA
        )
        matrix = matrix / factor
        shift = (factor - 1) / 2  # the small picture's first pixel is centred here in the large one
        matrix[:, 2] -= (np.array([x0, y0]) + shift) / factor
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_CONSTANT)


def overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection of one (4,) box with (N, 4) boxes over the smaller area of the two: (N,) in [0, 1].

    The smaller area, not the union, so that a part of a face found on a tile counts as the face.
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    inner = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = np.clip(inner, 0, None).prod(1)
    smaller = np.minimum((boxes[:, 2:] - boxes[:, :2]).prod(1), np.prod(np.asarray(box[2:]) - box[:2]))
    return shared / np.maximum(smaller, 1e-9)


def suppress(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> list[int]:
    """Greedy non-maximum suppression: indices kept, best score first."""
    kept: list[int] = []
    for i in np.argsort(-np.asarray(scores), kind="stable"):
        if not kept or overlap(boxes[i], boxes[kept]).max() < threshold:
            kept.append(int(i))
    return kept


def shrink(image: np.ndarray, longest: int) -> tuple[np.ndarray, float]:
    """A copy with at most `longest` pixels a side, and the factor from its pixels to the picture's."""
    factor = max(image.shape[:2]) / longest
    if factor <= 1:
        return image, 1.0
    height, width = (max(1, round(side / factor)) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), factor


def picture_tiles(image: np.ndarray, scale: int) -> list[tuple[np.ndarray, float, float, float]]:
    """Tiles of about 384 px as (tile, x, y, factor): picture pixel = offset + factor * tile pixel.

    Scale 0 is the picture inside a black frame of its own size (for a face that fills it), 1 the picture
    itself; 2, 3 and 4 are squares of 0.66, 0.36 and 0.2 of its longer side, 2, 4 and 7 along it, that
    overlap.
    """
    if scale <= 1:
        small, factor = shrink(image, 384)
        if scale == 1:
            return [(small, 0, 0, factor)]
        pad_y, pad_x = small.shape[0] // 2, small.shape[1] // 2
        framed = cv2.copyMakeBorder(small, pad_y, pad_y, pad_x, pad_x, cv2.BORDER_CONSTANT)
        return [(framed, -pad_x * factor, -pad_y * factor, factor)]
    per_side, share = {2: (2, 0.66), 3: (4, 0.36), 4: (7, 0.2)}[scale]
    small, factor = shrink(image, round(384 / share))
    height, width = small.shape[:2]
    tile = round(max(height, width) * share)
    return [
        (np.ascontiguousarray(small[y : y + tile, x : x + tile]), x * factor, y * factor, factor)
        for y in _starts(height, tile, per_side)
        for x in _starts(width, tile, per_side)
    ]


def _starts(length: int, tile: int, count: int) -> list[int]:
    """Evenly spread first pixels of at most `count` tiles over a side."""
    return sorted({round(i * max(length - tile, 0) / (count - 1)) for i in range(count)})
