"""FaceCurves: what the sound says about the lower face, at the speech model's own rate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

#: Frames a second of everything between the sound and the output's own frame rate.
RATE = 50


def frame_places(fps: Fraction, first: int, count: int, rate: int = RATE) -> tuple[np.ndarray, np.ndarray]:
    """Where output frames first, first + 1, ... lie on rows of `rate` a second: the row before, and the share (float64)
    of the way to the next. Frame n is at exactly n / fps: no step is added up, no rounding grows."""
    frames = np.arange(first, first + count, dtype=np.int64)
    whole, rest = np.divmod(frames * (rate * fps.denominator), fps.numerator)
    return whole, rest / fps.numerator


@dataclass
class FaceCurves:
    """Curves over n rows, row i at (start + i) / RATE seconds from the sound's beginning.

    coefficients: (n, K) float32 of `LowerFaceBasis`, 0 is the neutral face, in standard deviations.
    closure: (n,) float32 in [0, 1], the probability that the lips meet.
    jaw: (n,) float32 >= 0, the mouth's opening in inter-ocular distances.
    features: (n, C) float32, the sound's features (`talking_face.features`).
    """

    coefficients: np.ndarray
    closure: np.ndarray
    jaw: np.ndarray
    features: np.ndarray
    start: int = 0

    def __len__(self) -> int:
        return len(self.coefficients)

    def take(self, first: int, last: int) -> FaceCurves:
        """The rows whose absolute index lies in [first, last)."""
        rows = slice(max(0, first - self.start), max(0, last - self.start))
        arrays = {name: getattr(self, name)[rows] for name in ("coefficients", "closure", "jaw", "features")}
        return replace(self, **arrays, start=max(first, self.start))
