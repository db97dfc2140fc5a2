"""Warping error: what is left of a frame when the one before is moved onto it along the optical flow."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from bench.metrics.base import FrameMean, Sample

SIDE = 256
"""Frames are shrunk to this longer side in px, so that flow costs the same on every clip."""


def optical_flow(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where the pixels of ``a`` went in ``b``: (h, w, 2) float32 px, by OpenCV's dense inverse search.

    Kroeger et al. 2016, "Fast optical flow using dense inverse search".

    Args:
        a, b: (h, w) uint8.
    """
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(a, b, None)


def seen_in_both(forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """(h, w) bool, False where a pixel is covered or uncovered: the flow there and back does not return.

    Sundaram et al. 2010, "Dense point trajectories by GPU-accelerated large displacement optical flow", equation 5.
    """
    back = _sample(backward, forward)
    gap = ((forward + back) ** 2).sum(-1)
    return gap < 0.01 * ((forward**2).sum(-1) + (back**2).sum(-1)) + 0.5


def warping_error(before: np.ndarray, now: np.ndarray) -> float | None:
    """Mean squared error of a frame against the one before, warped onto it, where both show the same.

    Lai et al. 2018, "Learning blind video temporal consistency", section 4.2, equation 9.

    Args:
        before, now: (h, w, 3) uint8.

    Returns:
        Mean over pixels of the squared difference summed over RGB in [0, 1]; None where nothing is in both.
    """
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (now, before)]
    to_before = optical_flow(*greys)
    mask = seen_in_both(to_before, optical_flow(*greys[::-1]))
    if not mask.any():
        return None
    difference = (now.astype(np.float32) - _sample(before.astype(np.float32), to_before)) / 255
    return float((difference[mask] ** 2).sum(-1).mean())


def _sample(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """The picture at every pixel's place plus its flow."""
    height, width = flow.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(image, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


@dataclass
class WarpingError(FrameMean):
    """Warping error of the output along its own flow, times 1000, so that it needs no truth.

    What it measures is trembling and tearing, not likeness: a frozen picture has 0. Read it beside the row ``truth``.
    """

    name = "warping_error"
    direction = "lower"
    unit = "1e-3 of the squared range"
    source = "Lai et al. 2018, Learning blind video temporal consistency, section 4.2; flow by OpenCV's DIS"
    requires = frozenset()
    unfit = "no two frames in a row"

    before: np.ndarray | None = field(default=None, init=False)
    index: int = field(default=-2, init=False)

    def measure(self, sample: Sample) -> float | None:
        frame = sample.shared("small", lambda: small(sample.output))
        before, follows = self.before, sample.index == self.index + 1
        self.before, self.index = frame, sample.index
        error = warping_error(before, frame) if follows and before is not None else None
        return None if error is None else 1000 * error


def small(image: np.ndarray, side: int = SIDE) -> np.ndarray:
    """A picture shrunk by area averaging to a longer side of at most ``side`` px, (h, w, 3) uint8."""
    factor = side / max(image.shape[:2])
    image = np.ascontiguousarray(image[..., :3])
    if factor >= 1:
        return image
    size = (max(round(image.shape[1] * factor), 1), max(round(image.shape[0] * factor), 1))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
