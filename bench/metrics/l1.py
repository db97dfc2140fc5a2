"""L1: mean absolute error of the pixels of a region."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from bench.metrics.base import FrameMean, Sample


def l1(output: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """Mean absolute difference inside a mask.

    Args:
        output, truth: (h, w, 3) float32 RGB in [0, 1].
        mask: (h, w) bool with at least one pixel.

    Returns:
        Mean over pixels and channels, in [0, 1].
    """
    return float(np.abs(output[mask] - truth[mask]).mean())


class _RegionL1(FrameMean):
    direction = "lower"
    unit = "[0, 1]"
    source = "First Order Motion Model (Siarohin et al. 2019), section 4.1, restricted to a region of the face"
    region: ClassVar[str]
    open_only: ClassVar[bool] = False

    def measure(self, sample: Sample) -> float | None:
        mask = sample.regions.mask(self.region)
        if mask is None or (self.open_only and not sample.mouth_open):
            return None
        return l1(sample.output_crop, sample.truth_crop, mask)


class FaceL1(_RegionL1):
    """L1 inside the truth's face oval."""

    name = "face_l1"
    region = "face"


class MouthL1(_RegionL1):
    """L1 in a box round the truth's lips."""

    name = "mouth_l1"
    region = "mouth"


class InnerL1(_RegionL1):
    """L1 inside the truth's inner lips, only frames whose mouth is open by 0.06 more than the portrait's."""

    name = "inner_l1"
    region = "inner"
    open_only = True
    unfit = "no frame opens the mouth enough"


class EyesL1(_RegionL1):
    """L1 in a box round each of the truth's eyes."""

    name = "eyes_l1"
    region = "eyes"


class L1(FrameMean):
    """L1 over the whole frame."""

    name = "l1"
    direction = "lower"
    unit = "[0, 1]"
    source = "First Order Motion Model (Siarohin et al. 2019), section 4.1"

    def measure(self, sample: Sample) -> float:
        return float(np.abs(sample.output[..., :3].astype(np.float32) - sample.truth[..., :3]).mean() / 255)
