"""Flicker: how much a face trembles from frame to frame, against how much the truth does."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from bench.metrics.base import Metric, Sample, crop


def second_difference(before: np.ndarray, now: np.ndarray, after: np.ndarray, mask: np.ndarray) -> float:
    """Mean absolute second difference over time inside a mask.

    Args:
        before, now, after: (h, w, 3) float32 RGB in [0, 1], three frames in a row.
        mask: (h, w) bool with at least one pixel.
    """
    return float(np.abs(before[mask] - 2 * now[mask] + after[mask]).mean())


@dataclass
class Flicker(Metric):
    """Mean absolute second difference over time inside the truth's face, output over truth.

    Above 1 the output trembles more than the truth; below 1 it is smoother than the truth (its noise is
    missing, or it does not move).
    """

    name = "flicker"
    direction = "one"
    unit = "ratio"
    source = "ours; second difference in place of the first, so that even motion does not count"

    recent: deque[Sample] = field(default_factory=lambda: deque(maxlen=3), init=False)
    output_total: float = field(default=0.0, init=False)
    truth_total: float = field(default=0.0, init=False)

    def update(self, sample: Sample) -> None:
        if self.recent and sample.index != self.recent[-1].index + 1:
            self.recent.clear()
        self.recent.append(sample)
        if len(self.recent) < 3:
            return
        regions = self.recent[1].regions
        mask = regions.mask("face")
        if mask is None:
            return
        self.output_total += second_difference(*(crop(s.output, regions.box) for s in self.recent), mask)
        self.truth_total += second_difference(*(crop(s.truth, regions.box) for s in self.recent), mask)

    def value(self) -> float | None:
        return self.output_total / self.truth_total if self.truth_total > 0 else None
