"""Putting pictures together: layers over one another, residuals into the picture they were made for."""

from __future__ import annotations

import cv2
import numpy as np


def blend(below: np.ndarray, above: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """(h, w, 3) uint8: `above` over `below` with alpha (h, w) uint8."""
    a = cv2.merge([alpha, alpha, alpha]).astype(np.uint16)
    return ((above * a + below * (255 - a) + 127) // 255).astype(np.uint8)


def paste(frame: np.ndarray, residual: np.ndarray, matrix: np.ndarray, offset: tuple[int, int] = (0, 0)) -> None:
    """Adds a window's gated residual to the picture, in place.

    Args:
        frame: (h, w, 3) uint8 whose pixel (0, 0) is the picture's pixel `offset`.
        residual: (S, S, 3) float32 in grey levels, 0 at the window's border.
        matrix: the window's matrix (picture to window).
    """
    inverse = cv2.invertAffineTransform(matrix)
    side = residual.shape[0]
    corners = np.array([[-0.5, -0.5], [side - 0.5, -0.5], [-0.5, side - 0.5], [side - 0.5, side - 0.5]])
    corners = corners @ inverse[:, :2].T + inverse[:, 2] - offset
    x0, y0 = np.maximum(np.floor(corners.min(0)).astype(int), 0)
    x1, y1 = np.minimum(np.ceil(corners.max(0)).astype(int) + 1, frame.shape[1::-1])
    if x1 <= x0 or y1 <= y0:
        return
    shifted = inverse.copy()
    shifted[:, 2] -= (offset[0] + x0, offset[1] + y0)
    grown = cv2.warpAffine(residual, shifted, (int(x1 - x0), int(y1 - y0)), flags=cv2.INTER_CUBIC)
    view = frame[y0:y1, x0:x1]
    view[:] = np.clip(np.rint(view + grown), 0, 255).astype(np.uint8)


def side_by_side(*frames: np.ndarray) -> np.ndarray:
    """(H, sum of W, 3) uint8: frames scaled to the first one's height, left to right; transparency is dropped."""
    height = frames[0].shape[0]
    scaled = []
    for frame in frames:
        width = max(1, round(frame.shape[1] * height / frame.shape[0]))
        same = frame.shape[:2] == (height, width)
        picture = frame[..., :3]
        scaled.append(picture if same else cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA))
    return np.hstack(scaled)


def flatten(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) picture; a transparent one is laid on mid grey."""
    if image.shape[2] == 3:
        return image
    alpha = image[..., 3:].astype(np.float32) / 255
    return (image[..., :3] * alpha + 128 * (1 - alpha)).round().astype(np.uint8)
