"""AKD and LMD: where the output's landmarks are, against where the truth's are."""

from __future__ import annotations

import numpy as np

from bench.metrics.base import FrameMean, Sample
from bench.metrics.tracks import MESH

SIDE = 256
"""Side in px of the pictures that AKD is quoted for."""


class AKD(FrameMean):
    """Average keypoint distance in px of a picture whose longer side is 256 px, of MediaPipe's 478 points.

    The paper has face-alignment's 68 points; its numbers are of the same size but not the same.
    """

    name = "akd"
    direction = "lower"
    unit = "px of a 256 px picture"
    source = "First Order Motion Model (Siarohin et al. 2019), section 4.1, with MediaPipe's 478 points"
    needs = MESH
    reads_face = True

    def measure(self, sample: Sample) -> float | None:
        if sample.output_landmarks is None or sample.truth_landmarks is None:
            return None
        distance = np.linalg.norm((sample.output_landmarks - sample.truth_landmarks)[:, :2], axis=-1).mean()
        return float(distance * SIDE / max(sample.truth.shape[:2]))


class LMD(FrameMean):
    """Landmark mean distance in MediaPipe's own coordinates, in thousandths.

    x is divided by the picture's width and y by its height, as MediaPipe gives its points; the distance is the mean
    Euclidean one of the 478 points in the picture plane. ExprBench quotes LMD x 1e-3 and says no more.
    """

    name = "lmd"
    direction = "lower"
    unit = "1e-3 of the picture's sides"
    source = "ExprBench (Wang et al. 2025, FantasyPortrait, section 4), our reading of it"
    needs = MESH
    reads_face = True

    def measure(self, sample: Sample) -> float | None:
        if sample.output_landmarks is None or sample.truth_landmarks is None:
            return None
        height, width = sample.truth.shape[:2]
        gap = (sample.output_landmarks - sample.truth_landmarks)[:, :2] / (width, height)
        return float(1000 * np.linalg.norm(gap, axis=-1).mean())
