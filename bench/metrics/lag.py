"""Lag: by how many frames the mouth comes after the speaker's own."""

from __future__ import annotations

from bench.metrics.speech import Figure, MouthCurves, SpeechTruth
from bench.metrics.speech_correlation import MAX_LAG, STILL, OpenCorrelation, best_lag


class Lag(OpenCorrelation):
    """Frames, at the clip's own rate, of the best opening correlation: positive when the prediction is late.

    A clip whose own sound lags its picture shows here, too, so the median over clips is what counts. A constant
    prediction has none.
    """

    name = "lag"
    direction = "zero"
    unit = f"frames, within {MAX_LAG}"
    source = f"ours; argmax of the opening's correlation over lags of up to {MAX_LAG} frames"
    summary = "median"

    def measure(self, truth: SpeechTruth, predicted: MouthCurves) -> Figure | None:
        if not self.fit(truth) or predicted.opening[truth.counted].std() < STILL:
            return None
        return Figure(float(best_lag(truth, predicted)[0]))
