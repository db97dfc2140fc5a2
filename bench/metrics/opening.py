"""Opening correlation: do mouth and eyes open when the driver's do?"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from animate import pose, topology
from bench.metrics.base import Metric, Sample

DETECTOR_NOISE = 0.004
"""Standard deviation in inter-ocular distances below which an output's opening is taken for constant: a still
picture's own, because its place in the detector's crop depends on the truth."""

LEAST_FRAMES = 8
"""A correlation over fewer frames is chance."""


def mouth_opening(landmarks: np.ndarray) -> np.ndarray:
    """Mean gap of the inner lips over the inter-ocular distance, (..., 478, 3) px -> (...)."""
    return _gap(landmarks, topology.LIP_PAIRS)


def eye_opening(landmarks: np.ndarray) -> np.ndarray:
    """Mean gap of both eyes' lids over the inter-ocular distance, (..., 478, 3) px -> (...)."""
    return _gap(landmarks, topology.EYE_PAIRS)


def correlation(output: np.ndarray, truth: np.ndarray) -> float:
    """Pearson's correlation of two series of one length; 0 where either of them is constant."""
    output, truth = np.asarray(output, np.float64), np.asarray(truth, np.float64)
    output, truth = output - output.mean(), truth - truth.mean()
    scale = np.sqrt((output**2).sum() * (truth**2).sum())
    return float((output * truth).sum() / scale) if scale > 1e-12 else 0.0


def _gap(landmarks: np.ndarray, pairs: object) -> np.ndarray:
    upper, lower = np.asarray(pairs).reshape(-1, 2).T
    gap = np.linalg.norm(landmarks[..., upper, :] - landmarks[..., lower, :], axis=-1).mean(-1)
    return gap / pose.inter_ocular(landmarks)


@dataclass
class _OpeningCorrelation(Metric):
    direction = "higher"
    unit = "[-1, 1]"
    source = "ours; Pearson correlation over time of openings re-detected on output and driver"
    needs = "mediapipe's face mesh (Apache-2.0, inside its wheel)"
    requires = frozenset({"driver"})
    reads_face = True
    least_deviation: ClassVar[float]

    output_openings: list[float] = field(default_factory=list, init=False)
    truth_openings: list[float] = field(default_factory=list, init=False)

    @abstractmethod
    def opening(self, landmarks: np.ndarray) -> float:
        """The opening of one set of landmarks."""

    def update(self, sample: Sample) -> None:
        if not sample.redetected or sample.target_landmarks is None:
            return
        seen = sample.output_landmarks is not None
        self.output_openings.append(float(self.opening(sample.output_landmarks)) if seen else np.nan)
        self.truth_openings.append(float(self.opening(sample.target_landmarks)))

    def value(self) -> float | None:
        """The clip's correlation; None where the driver's opening varies less than ``least_deviation``, NaN where the
        output shows the face on too few frames."""
        if len(self.truth_openings) < LEAST_FRAMES or np.std(self.truth_openings) < self.least_deviation:
            return None
        output, truth = np.array(self.output_openings), np.array(self.truth_openings)
        seen = ~np.isnan(output)
        if seen.sum() < LEAST_FRAMES:
            return float("nan")
        if output[seen].std() < DETECTOR_NOISE:
            return 0.0
        return correlation(output[seen], truth[seen])


class MouthCorrelation(_OpeningCorrelation):
    """Correlation of the mouth's opening; clips whose driver hardly moves the lips (deviation < 0.01) are
    left out."""

    name = "mouth_corr"
    least_deviation = 0.01
    unfit = "the driver's lips hardly move (standard deviation below 0.01 inter-ocular distances)"

    def opening(self, landmarks: np.ndarray) -> float:
        return mouth_opening(landmarks)


class EyeCorrelation(_OpeningCorrelation):
    """Correlation of the eyes' opening; clips whose driver hardly moves the lids (deviation < 0.01) are
    left out."""

    name = "eye_corr"
    least_deviation = 0.01
    unfit = "the driver's lids hardly move (standard deviation below 0.01 inter-ocular distances)"

    def opening(self, landmarks: np.ndarray) -> float:
        return eye_opening(landmarks)
