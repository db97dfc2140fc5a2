"""Gaze: by how many degrees the output looks elsewhere than the driver."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from animate import pose
from animate.arkit import EYEBALL_RADIUS
from animate.measures import eye_openings, gaze_of
from bench.metrics.tracks import PairedTracks

LEAST_OPEN = 0.12
"""Lid gap over eye width below which an iris is hidden and says nothing."""

LEAST_SEEN = 0.25
"""Share of the driver's open eyes that must be open in the output, too."""


def gaze_vectors(positions: np.ndarray) -> np.ndarray:
    """Unit vectors (..., 3) of iris positions (..., 2) over the eye's width: x right, y down, z into the picture."""
    plane = np.clip(positions / EYEBALL_RADIUS, -1, 1)
    length = np.linalg.norm(plane, axis=-1, keepdims=True)
    plane = plane / np.maximum(length, 1)
    depth = -np.sqrt(np.maximum(1 - (plane**2).sum(-1, keepdims=True), 0))
    return np.concatenate([plane, depth], axis=-1)


def angles_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angles (...,) in degrees between unit vectors (..., 3)."""
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(-1)))


@dataclass
class GazeMesh(PairedTracks):
    """Mean angle between the eyes' directions in the head, from the irises of the mesh; both eyes, open ones only.

    An output whose eyes are shut on three quarters of the frames on which the driver's are open has no value.

    An offline stand-in for a gaze network: the angle comes from where the iris lies between the eye's corners, on a
    ball of 0.42 of the eye's width, so that people whose eyes are cut differently are a few degrees apart. Compare
    systems, not papers.
    """

    name = "gaze_mesh"
    direction = "lower"
    unit = "degrees"
    source = "ours, after the gaze MAE of ExprBench (FantasyPortrait, section 4)"
    unfit = "no frame with open eyes"
    spoilt = "the output's eyes are shut on nearly all frames on which the driver's are open"

    def measure(self, output: np.ndarray, target: np.ndarray) -> float | None:
        shapes = [pose.decompose_long(mesh)[1] for mesh in (output, target)]
        ours, theirs = (eye_openings(shape) > LEAST_OPEN for shape in shapes)  # (T, 2)
        seen = ours & theirs
        if not theirs.any():
            return None
        if seen.sum() < LEAST_SEEN * theirs.sum():
            return float("nan")
        return float(angles_between(*(gaze_vectors(gaze_of(shape)) for shape in shapes))[seen].mean())
