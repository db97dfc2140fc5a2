"""Detail: gradient energy of the output over the truth's."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from bench.metrics.base import Metric, Sample, luminance


def gradient_energy(image: np.ndarray, mask: np.ndarray) -> float:
    """Mean squared Sobel magnitude of a picture's luminance inside a mask.

    Args:
        image: (h, w, 3) float32 RGB in [0, 1].
        mask: (h, w) bool with at least one pixel.

    Returns:
        Mean of gx² + gy², with 3×3 Sobel kernels scaled to the derivative per pixel (divided by 8).
    """
    grey = luminance(image)
    gx = cv2.Sobel(grey, cv2.CV_32F, 1, 0, scale=1 / 8)
    gy = cv2.Sobel(grey, cv2.CV_32F, 0, 1, scale=1 / 8)
    return float((gx[mask] ** 2 + gy[mask] ** 2).mean())


@dataclass
class InnerDetail(Metric):
    """Gradient energy inside the truth's inner lips, output over truth, over a clip's frames with an open
    mouth.

    A blurred mouth is below 1, an invented or torn one above.
    """

    name = "inner_detail"
    direction = "one"
    unit = "ratio"
    unfit = "no frame opens the mouth enough"
    source = "ours; gradient energy after Krotkov 1988, Focusing, section 4 (Tenengrad)"

    output_energy: float = field(default=0.0, init=False)
    truth_energy: float = field(default=0.0, init=False)

    def update(self, sample: Sample) -> None:
        mask = sample.regions.mask("inner")
        if mask is None or not sample.mouth_open:
            return
        # Energies are summed before they are divided: a frame with a flat mouth would send its own ratio
        # to infinity.
        self.output_energy += gradient_energy(sample.output_crop, mask)
        self.truth_energy += gradient_energy(sample.truth_crop, mask)

    def value(self) -> float | None:
        return self.output_energy / self.truth_energy if self.truth_energy > 0 else None
