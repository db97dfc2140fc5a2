"""Faces that the output lost: they must not make a figure better."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.metrics.base import Metric, Sample

MOST_LOST = 0.1
"""Share of the frames on which a face is expected that may be without one; beyond it the metrics that read the face
have no value."""


@dataclass
class FaceTally:
    """How often an output's face was looked for and not found.

    First Order Motion Model (Siarohin et al. 2019, section 4.1) gives the missing keypoint rate beside the keypoint
    distance, whose mean forgets lost frames. Here the rate decides whether there is a mean at all.

    Attributes:
        looked: frames on which the target shows a face and the output was searched for it.
        lost: of these, frames on which none was found.
    """

    looked: int = 0
    lost: int = 0

    def update(self, sample: Sample) -> None:
        """Take in the next frame."""
        self.looked += sample.face_expected
        self.lost += sample.face_lost

    @property
    def too_many(self) -> bool:
        """Whether more than ``MOST_LOST`` are lost."""
        return self.lost > MOST_LOST * self.looked

    def value(self, metric: Metric) -> float | None:
        """The metric's value; NaN where the output lost too many faces for a metric that reads them."""
        return float("nan") if self.spoils(metric) else metric.value()

    def why(self, metric: Metric) -> str:
        """Why a value is NaN."""
        if self.spoils(metric):
            return f"the output shows no face on {self.lost} of the {self.looked} frames that should show one"
        return metric.spoilt

    def spoils(self, metric: Metric) -> bool:
        """Whether a metric reads faces and too many are lost."""
        return metric.reads_face and self.too_many


def is_spoilt(value: float | None) -> bool:
    """Whether a value says that the output, and not the case, is unfit to measure."""
    return value is not None and not np.isfinite(value)
