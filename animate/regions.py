"""Expression regions: small upright windows round the mouth and each eye in which the network paints.

A window is a square that moves, turns and scales with the target face, so the network always sees a mouth of the same
size in the same place, and noise that is fixed in the window is fixed on the face. The picture outside the
windows, and inside them wherever the gate is 0, stays the warp's.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from animate import topology
from animate.pose import inter_ocular

PIXELS_PER_IOD = 96.0


@dataclass(frozen=True)
class Region:
    """One kind of window.

    `size`: side in pixels; `mirrored`: the window is flipped left to right, so that both eyes look alike.
    """

    name: str
    size: int
    mirrored: bool = False


MOUTH = Region("mouth", 128)
RIGHT_EYE = Region("right_eye", 64)
LEFT_EYE = Region("left_eye", 64, mirrored=True)
REGIONS = (MOUTH, RIGHT_EYE, LEFT_EYE)


def window_matrix(landmarks: np.ndarray, region: Region) -> np.ndarray:
    """(2, 3) float32 affine from picture pixels to window pixels for a face's landmarks (478, 3)."""
    points = landmarks[:, :2]
    right_eye, left_eye = points[[33, 133]].mean(0), points[[362, 263]].mean(0)
    axis = left_eye - right_eye
    axis = axis / (np.linalg.norm(axis) + 1e-6)
    if region is MOUTH:
        lips = points[list(topology.MOUTH_CORNERS) + [13, 14]]
        centre = 0.5 * lips[:2].mean(0) + 0.5 * lips[2:].mean(0)
    else:
        centre = left_eye if region is LEFT_EYE else right_eye
    scale = PIXELS_PER_IOD / float(inter_ocular(landmarks))
    sign = -1.0 if region.mirrored else 1.0
    linear = scale * np.array([[sign * axis[0], sign * axis[1]], [-axis[1], axis[0]]])
    middle = (region.size - 1) / 2
    return np.concatenate([linear, (middle - linear @ centre)[:, None]], axis=1).astype(np.float32)


def cut(image: np.ndarray, matrix: np.ndarray, region: Region) -> np.ndarray:
    """(S, S, C) window of a picture; pixels are averaged where the window is coarser than the picture."""
    scale = float(np.hypot(*matrix[0, :2]))
    side = region.size
    if scale > 0.67:
        return cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    factor = min(8, int(np.ceil(0.67 / scale)))
    fine = matrix * factor
    fine[:, 2] += (factor - 1) / 2
    big = cv2.warpAffine(
        image, fine, (side * factor, side * factor), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return cv2.resize(big, (side, side), interpolation=cv2.INTER_AREA)


def to_window(landmarks: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """(N, 2) float32 window positions of landmarks (N, 2 or 3)."""
    return (landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def gate(landmarks: np.ndarray, matrix: np.ndarray, region: Region) -> np.ndarray:
    """(S, S) float32 in [0, 1]: where the network may paint. 1 inside lips or lids and a little beyond, soft edges."""
    points = to_window(landmarks, matrix)
    if region is MOUTH:
        contours = [_loop(points, topology.INNER_LIPS_UPPER, topology.INNER_LIPS_LOWER)]
        reach, feather = 9, 4.0
    else:
        upper = topology.LEFT_EYE_UPPER if region is LEFT_EYE else topology.RIGHT_EYE_UPPER
        lower = topology.LEFT_EYE_LOWER if region is LEFT_EYE else topology.RIGHT_EYE_LOWER
        contours = [_loop(points, upper, lower)]
        reach, feather = 7, 3.0
    mask = np.zeros((region.size, region.size), np.uint8)
    for contour in contours:
        fixed = [np.round(contour * 16).astype(np.int32)]
        cv2.fillPoly(mask, fixed, 255, cv2.LINE_AA, 4)
        cv2.polylines(mask, fixed, True, 255, 2, cv2.LINE_AA, 4)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    soft = cv2.GaussianBlur(cv2.dilate(mask, kernel).astype(np.float32) / 255, (0, 0), feather)
    return soft * _border(region.size)


# Follow-Your-Emoji's colours for eyes and inner lips (landmark_map.py); the outer lips and the iris are drawn too,
# since a window has the pixels for them. Sub-pixel lines: whole-pixel ones would make the painted lips tremble.
_CURVES = (
    (topology.OUTER_LIPS_UPPER, (60, 160, 60)),
    (topology.OUTER_LIPS_LOWER, (60, 60, 160)),
    (topology.INNER_LIPS_LOWER[:6], (100, 100, 30)),
    (topology.INNER_LIPS_LOWER[5:], (100, 150, 50)),
    (topology.INNER_LIPS_UPPER[:6], (120, 100, 200)),
    (topology.INNER_LIPS_UPPER[5:], (150, 120, 100)),
    (topology.RIGHT_EYE_LOWER, (10, 200, 180)),
    (topology.RIGHT_EYE_UPPER, (10, 200, 180)),
    (topology.LEFT_EYE_LOWER, (180, 200, 10)),
    (topology.LEFT_EYE_UPPER, (180, 200, 10)),
)


def region_map(target: np.ndarray, matrix: np.ndarray, region: Region) -> np.ndarray:
    """(S, S, 3) uint8 expression-aware landmark map of the target (478, 3) px in a window; a mirrored window sees the
    mirrored face's colours."""
    points = to_window(target, matrix)
    if region.mirrored:
        points = points[list(topology.MIRROR)]
    canvas = np.zeros((region.size, region.size, 3), np.uint8)
    fixed = np.round(np.clip(points, -999, 999) * 16).astype(np.int32)
    if region is not MOUTH:
        for centre in (468, 473):
            radius = np.linalg.norm(points[centre + 1 : centre + 5] - points[centre], axis=1).mean()
            cv2.circle(canvas, fixed[centre].tolist(), int(radius * 16), (255, 0, 0), -1, cv2.LINE_AA, 4)
    for indices, colour in _CURVES:
        cv2.polylines(canvas, [fixed[list(indices)]], False, colour, 1, cv2.LINE_AA, 4)
    return canvas


def _loop(points: np.ndarray, upper: tuple[int, ...], lower: tuple[int, ...]) -> np.ndarray:
    return np.concatenate([points[list(upper)], points[list(lower)[-2:0:-1]]])


def _border(size: int) -> np.ndarray:
    ramp = np.clip(np.minimum(np.arange(size), np.arange(size)[::-1]) / 4.0, 0, 1).astype(np.float32)
    return ramp[:, None] * ramp[None]
