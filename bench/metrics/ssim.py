"""SSIM: structural similarity."""

from __future__ import annotations

import cv2
import numpy as np

from bench.metrics.base import FrameMean, Sample, luminance


def ssim_map(output: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Structural similarity of two grey pictures, pixel by pixel.

    Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity", section
    III-B: Gaussian window of 11 px and sigma 1.5, K1 = 0.01, K2 = 0.03, dynamic range 1.

    Args:
        output, truth: (h, w) float32 in [0, 1].

    Returns:
        (h, w) float32 in [-1, 1].
    """

    def blur(image: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(image, (11, 11), 1.5, borderType=cv2.BORDER_REFLECT)

    output, truth = output.astype(np.float64), truth.astype(np.float64)
    mean_o, mean_t = blur(output), blur(truth)
    var_o, var_t = blur(output**2) - mean_o**2, blur(truth**2) - mean_t**2
    covariance = blur(output * truth) - mean_o * mean_t
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mean_o * mean_t + c1) * (2 * covariance + c2)
    return (top / ((mean_o**2 + mean_t**2 + c1) * (var_o + var_t + c2))).astype(np.float32)


class FaceSSIM(FrameMean):
    """SSIM of the luminance, mean of its map inside the truth's face oval."""

    name = "face_ssim"
    direction = "higher"
    unit = "[-1, 1]"
    source = "Wang et al. 2004, Image quality assessment, section III-B"

    def measure(self, sample: Sample) -> float | None:
        mask = sample.regions.mask("face")
        if mask is None:
            return None
        similarity = ssim_map(luminance(sample.output_crop), luminance(sample.truth_crop))
        return float(similarity[mask].mean())
