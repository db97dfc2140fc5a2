"""Landmark distance: where the output's face is, against where the truth's is."""

from __future__ import annotations

import numpy as np

from animate import pose
from bench.metrics.base import FrameMean, Sample


def landmark_distance(output: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance of two sets of landmarks in the picture plane over the truth's inter-ocular distance.

    Args:
        output, truth: (478, 3) px; z is used for the inter-ocular distance only, so that a turned head
            does not shrink the unit.
    """
    distance = np.linalg.norm(output[:, :2] - truth[:, :2], axis=-1).mean()
    return float(distance / pose.inter_ocular(truth))


class LandmarkDistance(FrameMean):
    """Mean distance of the mesh re-detected on the output to the one re-detected on the truth."""

    name = "landmark"
    direction = "lower"
    unit = "inter-ocular distances"
    source = "average keypoint distance, First Order Motion Model (Siarohin et al. 2019), section 4.1"
    needs = "mediapipe's face mesh (Apache-2.0, inside its wheel)"
    reads_face = True

    def measure(self, sample: Sample) -> float | None:
        if sample.output_landmarks is None or sample.truth_landmarks is None:
            return None
        return landmark_distance(sample.output_landmarks, sample.truth_landmarks)
