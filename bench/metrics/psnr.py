"""PSNR: peak signal-to-noise ratio."""

from __future__ import annotations

import numpy as np

from bench.metrics.base import FrameMean, Sample

CAP = 60.0
"""dB given to frames that are nearly or wholly equal, so that one of them cannot lift a clip's mean to
infinity."""


def psnr(output: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """Peak signal-to-noise ratio inside a mask, at most ``CAP``.

    Args:
        output, truth: (h, w, 3) float32 RGB in [0, 1].
        mask: (h, w) bool with at least one pixel.

    Returns:
        10 log10(1 / mean squared error) in dB.
    """
    error = float(np.square(output[mask] - truth[mask]).mean())
    return CAP if error <= 10 ** (-CAP / 10) else -10.0 * float(np.log10(error))


class FacePSNR(FrameMean):
    """PSNR inside the truth's face oval, mean over frames."""

    name = "face_psnr"
    direction = "higher"
    unit = f"dB, at most {CAP:g}"
    source = "ITU-T J.340 (2010), peak value 1"

    def measure(self, sample: Sample) -> float | None:
        mask = sample.regions.mask("face")
        return None if mask is None else psnr(sample.output_crop, sample.truth_crop, mask)


class PSNR(FrameMean):
    """PSNR over the whole frame, mean over frames."""

    name = "psnr"
    direction = "higher"
    unit = f"dB, at most {CAP:g}"
    source = "ITU-T J.340 (2010), peak value 1; ExprBench (Wang et al. 2025, FantasyPortrait, section 4)"

    def measure(self, sample: Sample) -> float:
        pictures = (image[..., :3].astype(np.float32) / 255 for image in (sample.output, sample.truth))
        return psnr(*pictures, np.ones(sample.truth.shape[:2], bool))
