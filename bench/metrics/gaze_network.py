"""Gaze by a published network, L2CS-Net, where its weights are at hand."""

from __future__ import annotations

from bench.metrics.base import FrameMean, Sample
from bench.metrics.gaze import angles_between
from bench.metrics.local_weights import describe, weights_missing

WEIGHTS = "l2cs-gaze"


class GazeL2CS(FrameMean):
    """Mean angle between the gazes that L2CS-Net reads off the output and the driver, head and eyes together."""

    name = "gaze_l2cs"
    direction = "lower"
    unit = "degrees"
    source = "gaze MAE of ExprBench (FantasyPortrait, section 4); gaze by Abdelrahman et al. 2023"
    requires = frozenset({"driver"})
    needs = describe(WEIGHTS)
    reads_face = True

    @classmethod
    def missing(cls) -> str | None:
        return weights_missing(WEIGHTS)

    def measure(self, sample: Sample) -> float | None:
        if sample.output_landmarks is None or sample.target_landmarks is None:
            return None
        from bench.metrics.l2cs import gaze

        ours, theirs = gaze(sample.output, sample.output_landmarks), gaze(sample.target, sample.target_landmarks)
        return float(angles_between(ours, theirs))
