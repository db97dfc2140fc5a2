"""Where the truth's face, mouth, inner lips and eyes are in a frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from animate import topology

FACE_MARGIN = 0.10
"""Margin round the face oval's box, as a share of its longer side: the crop that all pixel metrics share."""

PART_MARGIN = 0.12
"""Margin round the mouth's and the eyes' boxes, in inter-ocular distances."""

LEAST_PIXELS = 9
"""A region with fewer pixels says nothing and is left out."""

_INNER_LIPS = tuple(topology.INNER_LIPS_UPPER) + tuple(topology.INNER_LIPS_LOWER)[::-1]
_OUTER_LIPS = tuple(topology.OUTER_LIPS_UPPER) + tuple(topology.OUTER_LIPS_LOWER)
_LEFT_EYE = tuple(topology.LEFT_EYE_UPPER) + tuple(topology.LEFT_EYE_LOWER)
_RIGHT_EYE = tuple(topology.RIGHT_EYE_UPPER) + tuple(topology.RIGHT_EYE_LOWER)


@dataclass(frozen=True)
class Regions:
    """Masks of one frame's face inside one crop.

    Attributes:
        box: the crop (x0, y0, x1, y1) in px, ends excluded.
        face, mouth, inner, eyes: (h, w) bool masks of the crop; ``face`` is the face oval's inside,
            ``mouth`` and ``eyes`` are boxes, ``inner`` is the inner lips' polygon.
    """

    box: tuple[int, int, int, int]
    face: np.ndarray
    mouth: np.ndarray
    inner: np.ndarray
    eyes: np.ndarray

    def mask(self, name: str) -> np.ndarray | None:
        """The named mask, or None when it has fewer than ``LEAST_PIXELS`` pixels."""
        mask = getattr(self, name)
        return mask if np.count_nonzero(mask) >= LEAST_PIXELS else None


def face_box(landmarks: np.ndarray, size: tuple[int, int], margin: float = FACE_MARGIN) -> tuple[int, int, int, int]:
    """Integer box round the face oval.

    Args:
        landmarks: (478, 2 or 3) px.
        size: (width, height) of the frame that the box is clipped to.
        margin: share of the box's longer side that is added on every side.

    Returns:
        (x0, y0, x1, y1) px, ends excluded; at least one pixel wide and high.
    """
    oval = landmarks[list(topology.FACE_OVAL), :2]
    low, high = oval.min(0), oval.max(0)
    pad = margin * float((high - low).max())
    x0, y0 = np.floor(low - pad).astype(int)
    x1, y1 = np.ceil(high + pad).astype(int) + 1
    x0, y0 = min(max(x0, 0), size[0] - 1), min(max(y0, 0), size[1] - 1)
    return int(x0), int(y0), int(min(max(x1, x0 + 1), size[0])), int(min(max(y1, y0 + 1), size[1]))


def face_regions(landmarks: np.ndarray, size: tuple[int, int], inter_ocular: float) -> Regions:
    """Masks of a face.

    Args:
        landmarks: (478, 2 or 3) px of the truth's face.
        size: (width, height) of the frame.
        inter_ocular: distance of the eyes in px; sets the margin of the mouth's and the eyes' boxes.
    """
    box = face_box(landmarks, size)
    shape = (box[3] - box[1], box[2] - box[0])
    points = landmarks[:, :2] - np.array(box[:2], dtype=np.float32)
    pad = PART_MARGIN * inter_ocular
    eyes = _box_mask(points[list(_LEFT_EYE)], shape, pad) | _box_mask(points[list(_RIGHT_EYE)], shape, pad)
    return Regions(
        box=box,
        face=_polygon_mask(points[list(topology.FACE_OVAL)], shape),
        mouth=_box_mask(points[list(_OUTER_LIPS)], shape, pad),
        inner=_polygon_mask(points[list(_INNER_LIPS)], shape),
        eyes=eyes,
    )


def _polygon_mask(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, dtype=np.uint8)
    cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 1, shift=4)
    return mask.astype(bool)


def _box_mask(points: np.ndarray, shape: tuple[int, int], pad: float) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    x0, y0 = np.maximum(np.floor(points.min(0) - pad).astype(int), 0)
    x1, y1 = np.maximum(np.ceil(points.max(0) + pad).astype(int) + 1, 0)
    mask[y0:y1, x0:x1] = True
    return mask
