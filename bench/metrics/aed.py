"""AED and APD from the mesh: average distance of expression and of head pose between output and driver."""

from __future__ import annotations

import numpy as np

from animate import pose, topology
from bench.metrics.tracks import PairedTracks, face_pair

MOVING = np.array(
    sorted({*topology.LIPS, *topology.REGIONS["eyes"], *topology.REGIONS["brows"], *topology.REGIONS["jaw"]})
)
"""Landmarks that expressions move."""


def expression_distance(output: np.ndarray, target: np.ndarray) -> float:
    """Mean distance of two sets of expression offsets over the points that expressions move.

    Args:
        output, target: (T, 478, 3) offsets in inter-ocular distances.
    """
    return float(np.linalg.norm((output - target)[:, MOVING], axis=-1).mean())


def rotation_distance(output: np.ndarray, target: np.ndarray) -> float:
    """Mean angle in degrees between two sets of rotation vectors (T, 3)."""
    a, b = pose.rotation_matrices(output), pose.rotation_matrices(target)
    cosine = (np.einsum("tij,tij->t", a, b) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean())


class AEDMesh(PairedTracks):
    """Average expression distance of our canonical decomposition, each face measured from its own rest.

    Not comparable with published AED, whose parameters are a 3-D face model's (`aed`). A constant error of expression
    is not seen; ``landmark`` and ``lmd`` see it.
    """

    name = "aed_mesh"
    direction = "lower"
    unit = "inter-ocular distances"
    source = "ours, after the average expression distance of ExprBench (FantasyPortrait, section 4)"

    def measure(self, output: np.ndarray, target: np.ndarray) -> float:
        ours, theirs = face_pair(output, target, float(self.reference.fps))
        return expression_distance(ours.expression, theirs.expression)


class APDMesh(PairedTracks):
    """Average pose distance of our canonical decomposition: the mean angle between the heads' rotations.

    Systems that add the driver's movement to the portrait's own pose keep a constant angle to the driver; it counts.
    """

    name = "apd_mesh"
    direction = "lower"
    unit = "degrees"
    source = "ours, after the average pose distance of ExprBench (FantasyPortrait, section 4)"

    def measure(self, output: np.ndarray, target: np.ndarray) -> float:
        return rotation_distance(pose.decompose_long(output)[0].rotation, pose.decompose_long(target)[0].rotation)


class MovementMesh(PairedTracks):
    """Average distance of the heads' movement: the mean angle between their rotations, each from its own mean.

    What `apd_mesh` says without the constant angle of systems that keep the portrait's own pose. A picture that stands
    still has as much as the driver moves.
    """

    name = "movement_mesh"
    direction = "lower"
    unit = "degrees"
    source = "ours, after the average pose distance of ExprBench (FantasyPortrait, section 4)"

    def measure(self, output: np.ndarray, target: np.ndarray) -> float:
        return rotation_distance(*(from_mean(pose.decompose_long(face)[0].rotation) for face in (output, target)))


def from_mean(rotation: np.ndarray) -> np.ndarray:
    """Rotation vectors (T, 3) relative to their mean rotation."""
    from scipy.spatial.transform import Rotation

    turns = Rotation.from_rotvec(np.asarray(rotation, np.float64))
    return (turns * turns.mean().inv()).as_rotvec()
