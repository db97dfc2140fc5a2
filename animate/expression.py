"""A face's expression as a short vector: what the expression tokens are made from."""

from __future__ import annotations

import numpy as np

from animate import topology
from animate.pose import decompose, head_angles

FEATURES = 20


def expression_features(landmarks: np.ndarray) -> np.ndarray:
    """(20,) float32 of landmarks (478, 3) px, measured in the canonical pose, lengths in inter-ocular distances.

    0-2 lip gaps (right, middle, left); 3 mouth width; 4 upper lip to nose; 5 lower lip to chin; 6-7 right and left eye
    opening over width; 8-11 gaze of the right and left iris (x, y) over eye width; 12-13 corner heights; 14-15 brow
    heights; 16 lip thickness; 17-19 pitch, yaw, roll in radians.
    """
    pose, shapes = decompose(landmarks[None])
    shape = shapes[0]
    out = np.empty(FEATURES, np.float32)
    out[0:3] = [shape[b, 1] - shape[a, 1] for a, b in ((81, 178), (13, 14), (311, 402))]
    out[3] = np.linalg.norm(shape[308] - shape[78])
    out[4] = shape[13, 1] - shape[2, 1]
    out[5] = shape[152, 1] - shape[14, 1]
    eyes = (
        (33, 133, topology.RIGHT_EYE_UPPER, topology.RIGHT_EYE_LOWER, 468),
        (362, 263, topology.LEFT_EYE_UPPER, topology.LEFT_EYE_LOWER, 473),
    )
    for i, (a, b, upper, lower, iris) in enumerate(eyes):
        width = np.linalg.norm(shape[b] - shape[a])
        out[6 + i] = np.mean([shape[lower[k], 1] - shape[upper[k], 1] for k in (3, 4, 5)]) / width
        out[8 + 2 * i : 10 + 2 * i] = (shape[iris] - 0.5 * (shape[a] + shape[b]))[:2] / width
    centre = 0.5 * (shape[13, 1] + shape[14, 1])
    out[12], out[13] = shape[61, 1] - centre, shape[291, 1] - centre
    out[14], out[15] = shape[105, 1] - shape[33, 1], shape[334, 1] - shape[263, 1]
    out[16] = shape[17, 1] - shape[0, 1] - out[1]
    out[17:20] = np.ravel(head_angles(pose.rotation))[:3]
    return out


_SWAP = np.array([2, 1, 0, 3, 4, 5, 7, 6, 10, 11, 8, 9, 13, 12, 15, 14, 16, 17, 18, 19])
_SIGN = np.ones(FEATURES, np.float32)
_SIGN[[8, 10, 18, 19]] = -1


def mirror_features(features: np.ndarray) -> np.ndarray:
    """The features (..., k * 20) of the mirrored face: left and right change places, yaw and roll change sign."""
    parts = features.reshape(*features.shape[:-1], -1, FEATURES)
    return (parts[..., _SWAP] * _SIGN).reshape(features.shape)
