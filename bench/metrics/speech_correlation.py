"""Correlation of curves: does the mouth open, widen and close when the speaker's own does?"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from bench.metrics.opening import LEAST_FRAMES, correlation
from bench.metrics.speech import Figure, MouthCurves, SpeechMetric, SpeechTruth

STILL = 0.005
"""Standard deviation in inter-ocular distances (a third of a millimetre) below which a predicted opening or width is
taken for constant, so that its correlation is 0 by definition: lips that press and relax a little do not talk."""

STILL_CLOSURE = 0.02
"""The same of a predicted closure."""

MAX_LAG = 8
"""Frames by which a prediction is shifted at most when its lag is looked for."""


def correlation_at(
    truth: SpeechTruth, predicted: np.ndarray, real: np.ndarray, lag: int = 0, still: float = STILL
) -> float:
    """Pearson's correlation of (T,) curves over counted frames when the prediction is `lag` frames late.

    0 where the prediction deviates by less than `still`, and where fewer than `LEAST_FRAMES` pairs of frames are left.
    """
    count = len(real)
    frames = np.arange(max(0, -lag), min(count, count - lag))
    frames = frames[truth.counted[frames] & truth.counted[frames + lag]]
    if len(frames) < LEAST_FRAMES or predicted[frames + lag].std() < still:
        return 0.0
    return correlation(predicted[frames + lag], real[frames])


def best_lag(truth: SpeechTruth, predicted: MouthCurves) -> tuple[int, float]:
    """Lag in frames, positive when the prediction is late, and the correlation of the openings there.

    Of lags that are equally good the smallest.
    """
    lags = sorted(range(-MAX_LAG, MAX_LAG + 1), key=lambda lag: (abs(lag), lag))
    found = {lag: correlation_at(truth, predicted.opening, truth.curves.opening, lag) for lag in lags}
    lag = max(lags, key=lambda lag: found[lag])
    return lag, found[lag]


class _CurveCorrelation(SpeechMetric):
    direction = "higher"
    unit = "[-1, 1]"
    source = "ours; Pearson correlation over time with the tracked clip, at lag 0"
    least_deviation: ClassVar[float]
    still: ClassVar[float] = STILL

    @staticmethod
    @abstractmethod
    def curve(mouth: MouthCurves) -> np.ndarray:
        """The curve that is compared, (T,)."""

    def fit(self, truth: SpeechTruth) -> bool:
        """Whether the clip's own curve moves enough to be compared with."""
        real = self.curve(truth.curves)[truth.counted]
        return len(real) >= LEAST_FRAMES and float(real.std()) >= self.least_deviation

    def measure(self, truth: SpeechTruth, predicted: MouthCurves) -> Figure | None:
        if not self.fit(truth):
            return None
        return Figure(correlation_at(truth, self.curve(predicted), self.curve(truth.curves), still=self.still))


class OpenCorrelation(_CurveCorrelation):
    """Correlation of the mouth's opening; clips whose speaker hardly opens the mouth (standard deviation below
    0.01 inter-ocular distances) are left out."""

    name = "open_corr"
    least_deviation = 0.01
    unfit = "the speaker's lips hardly move (standard deviation below 0.01 inter-ocular distances)"

    @staticmethod
    def curve(mouth: MouthCurves) -> np.ndarray:
        return mouth.opening


class BestOpenCorrelation(OpenCorrelation):
    """The opening's correlation at the lag where it is best: what a clip whose sound and picture are out of step
    would give in step. Chance gains from the choice, too: compare with the row ``mismatched``."""

    name = "open_corr_best"
    source = f"ours; the highest Pearson correlation over lags of up to {MAX_LAG} frames"

    def measure(self, truth: SpeechTruth, predicted: MouthCurves) -> Figure | None:
        return Figure(best_lag(truth, predicted)[1]) if self.fit(truth) else None


class WidthCorrelation(_CurveCorrelation):
    """Correlation of the mouth's width: spread for ee, drawn in for oo."""

    name = "width_corr"
    least_deviation = 0.01
    unfit = "the mouth's width hardly changes (standard deviation below 0.01 inter-ocular distances)"

    @staticmethod
    def curve(mouth: MouthCurves) -> np.ndarray:
        return mouth.width


class ClosureCorrelation(_CurveCorrelation):
    """Correlation of `MouthCurves.closure`: it knows only whether the lips (nearly) meet."""

    name = "closure_corr"
    least_deviation = 0.05
    still = STILL_CLOSURE
    unfit = "the speaker's lips never or always meet (standard deviation of the closure below 0.05)"

    @staticmethod
    def curve(mouth: MouthCurves) -> np.ndarray:
        return mouth.closure
