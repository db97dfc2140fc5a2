"""Jerk: does the mouth move as smoothly, or as abruptly, as the speaker's own?"""

from __future__ import annotations

import numpy as np

from bench.metrics.speech import Figure, MouthCurves, SpeechMetric, SpeechTruth

STILL = 1.0
"""Jerk of a real mouth, in inter-ocular distances per second cubed, below which nothing can be relative to it."""


def mean_jerk(mouth: MouthCurves, counted: np.ndarray) -> float | None:
    """Mean absolute third difference of the opening over counted frames, inter-ocular distances / s^3."""
    runs = counted[:-3] & counted[1:-2] & counted[2:-1] & counted[3:]
    if not runs.any():
        return None
    return float(np.abs(np.diff(mouth.opening, 3)[runs]).mean()) * float(mouth.fps) ** 3


class Jerk(SpeechMetric):
    """The opening's mean jerk over the real clip's: 1 is as lively as the real mouth, more trembles, less drifts.

    The real clip's holds its tracker's noise, which third differences magnify: a smooth mouth that is right stays
    below 1.
    """

    name = "jerk"
    direction = "one"
    unit = "ratio"
    source = "ours; mean absolute third difference of the opening over the tracked clip's"
    unfit = "the speaker's mouth does not move"

    def measure(self, truth: SpeechTruth, predicted: MouthCurves) -> Figure | None:
        real = mean_jerk(truth.curves, truth.counted)
        if real is None or real < STILL:
            return None
        return Figure(mean_jerk(predicted, truth.counted) / real)
