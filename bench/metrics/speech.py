"""What the speech metrics have in common: a mouth's curves over time, and a figure per clip of a prediction.

The metrics of `bench.metrics.base` look at pictures frame by frame. These look at curves: what a method's motion
does with the mouth, beside what the clip's own tracked face does, over the whole clip at once.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from animate import measures
from bench.metrics.base import Direction

if TYPE_CHECKING:
    from animate.motion import Motion
    from talking_face.phones import Phone

CLOSED_SOFTNESS = 0.02
"""Inter-ocular distances of opening over which ``closure`` falls to 1 / e."""

CLOSED_SHARE = 5
"""Percentile of a tracked clip's opening that is taken for its closed lips: speech closes them several times a
second, and trackers draw closed lips between 0 and 0.03."""

LARGEST_CLOSED = 0.03
"""Inter-ocular distances that closed lips are apart at most: where the lips never meet, the percentile is open."""

SpeechDirection = Direction | Literal["zero"]
"""Which values are better; "zero" are those nearer to zero."""


@dataclass(frozen=True)
class MouthCurves:
    """A mouth over T frames, frame n at n / fps seconds.

    Attributes:
        fps: frames per second, rational.
        opening: (T,) mean gap of the inner lips at their middle three pairs, in inter-ocular distances.
        width: (T,) distance of the outer mouth corners, same unit.
        closed: the opening of lips that meet, same unit.
    """

    fps: Fraction
    opening: np.ndarray
    width: np.ndarray
    closed: float = 0.0

    @classmethod
    def of_track(cls, motion: Motion) -> MouthCurves:
        """Of a tracked clip, whose closed lips are found by `CLOSED_SHARE` and are at most `LARGEST_CLOSED` apart.

        Only frames that show the face count for that.
        """
        opening = measures.mouth_opening(motion.shapes)
        seen = opening[motion.valid] if motion.valid.any() else opening
        closed = min(float(np.percentile(seen, CLOSED_SHARE)), LARGEST_CLOSED)
        return cls(motion.fps, opening, measures.mouth_width(motion.shapes), closed)

    @classmethod
    def of_talker(cls, motion: Motion) -> MouthCurves:
        """Of a method's motion, whose neutral face is at rest with closed lips, at most `LARGEST_CLOSED` apart.

        Taken from the neutral face and not from the curve, so that a mouth that never closes is not credited.
        """
        closed = min(float(measures.mouth_opening(motion.neutral)), LARGEST_CLOSED)
        shapes = motion.shapes
        return cls(motion.fps, measures.mouth_opening(shapes), measures.mouth_width(shapes), closed)

    @property
    def gap(self) -> np.ndarray:
        """(T,) opening above the closed level, inter-ocular distances; negative where lips are pressed."""
        return self.opening - self.closed

    @property
    def closure(self) -> np.ndarray:
        """(T,) in (0, 1]: exp(-max(gap, 0) / 0.02). 1 where the lips meet, 0.37 at a gap of 0.02, 0.05 at 0.06."""
        return np.exp(-np.maximum(self.gap, 0) / CLOSED_SOFTNESS)

    def __len__(self) -> int:
        return len(self.opening)

    def resample(self, fps: Fraction) -> MouthCurves:
        """The same curves at another rate, linear between frames, of the same length in seconds."""
        if fps == self.fps:
            return self
        times = [n * self.fps / fps for n in range(max(1, round(len(self) * fps / self.fps)))]
        at, frames = np.array(times, float), np.arange(len(self))
        opening, width = (np.interp(at, frames, curve) for curve in (self.opening, self.width))
        return replace(self, fps=fps, opening=opening, width=width)


@dataclass(frozen=True)
class SpeechTruth:
    """A clip as every method is measured against it.

    Attributes:
        curves: of the clip's tracked face.
        counted: (T,) bool, frames that show the face and have sound; the others count nowhere.
        phones: alignment of the sound, in seconds from the first frame; None where there is no aligner.
    """

    curves: MouthCurves
    counted: np.ndarray
    phones: Sequence[Phone] | None = None

    def frames(self, start: float, end: float, margin: int = 0) -> np.ndarray:
        """Indices of the counted frames in [start, end) seconds, and up to `margin` frames beside it."""
        fps = float(self.curves.fps)
        # A frame that lies exactly on a boundary must not fall to a rounded product.
        first, last = math.ceil(start * fps - 1e-6) - margin, math.ceil(end * fps - 1e-6) + margin
        inside = np.arange(max(first, 0), min(last, len(self.counted)))
        return inside[self.counted[inside]]


@dataclass(frozen=True)
class Figure:
    """One clip's value in a column, and how much it weighs among the clips."""

    value: float
    weight: float = 1.0


class SpeechMetric(ABC):
    """One column of the speech report.

    Class attributes:
        name, direction, unit, source, needs: as in `bench.metrics.base.Metric`.
        summary: how clips become one figure: "mean" (weighted) or "median".
        unfit: why a clip may have no value here.
    """

    name: ClassVar[str]
    direction: ClassVar[SpeechDirection]
    unit: ClassVar[str]
    source: ClassVar[str]
    needs: ClassVar[str] = ""
    summary: ClassVar[str] = "mean"
    unfit: ClassVar[str] = "nothing to measure"

    @classmethod
    def missing(cls) -> str | None:
        """What has to be installed before this metric can be computed; None when it can be."""
        return None

    @abstractmethod
    def measure(self, truth: SpeechTruth, predicted: MouthCurves) -> Figure | None:
        """A prediction's figure on a clip; None when the clip is not fit to measure.

        Args:
            truth: the clip.
            predicted: as many frames at the same rate.
        """

    @classmethod
    def summarise(cls, figures: Sequence[Figure]) -> float | None:
        """One figure of several clips; None of none."""
        if not figures:
            return None
        values = np.array([figure.value for figure in figures])
        if cls.summary == "median":
            return float(np.median(values))
        return float(np.average(values, weights=[figure.weight for figure in figures]))


def aligner_missing() -> str | None:
    """What the metrics that need phones lack; None when the aligner is installed."""
    from importlib.util import find_spec

    return None if find_spec("pocketsphinx") else "pocketsphinx is not installed: pip install 'mien[bench]'"
