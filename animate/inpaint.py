"""Filling what a picture does not show from what it shows around it."""

from __future__ import annotations

import cv2
import numpy as np


def push_pull(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Fills unknown pixels smoothly from known ones over a pyramid (Gortler et al. 1996, "The Lumigraph", sec. 3.4).

    Args:
        image: (h, w, C) float32; known: (h, w) float32 in [0, 1].
    Returns:
        (h, w, C) float32, equal to `image` where known is 1.
    """
    if min(image.shape[:2]) <= 2 or known.min() >= 1:
        total = max(float(known.sum()), 1e-6)
        mean = (image * known[..., None]).sum((0, 1)) / total
        return image * known[..., None] + mean * (1 - known[..., None])
    size = ((image.shape[1] + 1) // 2, (image.shape[0] + 1) // 2)
    weight = cv2.resize(known, size, interpolation=cv2.INTER_AREA)
    colour = cv2.resize(image * known[..., None], size, interpolation=cv2.INTER_AREA)
    colour = colour.reshape(*weight.shape, -1)
    coarse = push_pull(colour / np.maximum(weight, 1e-6)[..., None], np.minimum(weight * 4, 1))
    up = cv2.resize(coarse, image.shape[1::-1], interpolation=cv2.INTER_LINEAR).reshape(image.shape)
    return image * known[..., None] + up * (1 - known[..., None])


def fill_small(image: np.ndarray, known: np.ndarray, side: int) -> np.ndarray:
    """`push_pull` at no more than `side` pixels, brought back to the picture's size; float32."""
    scale = min(1.0, side / max(image.shape[:2]))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.float32)
    share = cv2.resize(known, small.shape[1::-1], interpolation=cv2.INTER_AREA)
    filled = push_pull(small, (share > 0.9).astype(np.float32))
    return cv2.resize(filled, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
