"""What several metrics build on: a clip's landmarks of output and driver, side by side, kept until the clip ends."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from animate import pose
from animate.faces import FaceTrack
from animate.measures import gaze_of, neutral_frame
from bench.metrics.base import Metric, Reference, Sample

MESH = "mediapipe's face mesh (Apache-2.0, inside its wheel)"


@dataclass
class PairedTracks(Metric):
    """A metric of the frames on which both the output's face and the driver's were found.

    Attributes:
        targets_seen: number of the frame and driver's mesh of all frames that show the driver, found in the output or
            not.
    """

    requires = frozenset({"driver"})
    needs = MESH
    takes_reference = True
    reads_face = True

    reference: Reference
    targets_seen: list[tuple[int, np.ndarray]] = field(default_factory=list, init=False)
    indices: list[int] = field(default_factory=list, init=False)
    outputs: list[np.ndarray] = field(default_factory=list, init=False)
    targets: list[np.ndarray] = field(default_factory=list, init=False)

    def update(self, sample: Sample) -> None:
        if not sample.redetected or sample.target_landmarks is None:
            return
        self.targets_seen.append((sample.index, sample.target_landmarks))
        if sample.output_landmarks is None:
            return
        self.indices.append(sample.index)
        self.outputs.append(sample.output_landmarks)
        self.targets.append(sample.target_landmarks)

    @abstractmethod
    def measure(self, output: np.ndarray, target: np.ndarray) -> float | None:
        """The clip's value of (T, 478, 3) px of either face."""

    def value(self) -> float | None:
        if not self.outputs:
            return float("nan") if self.targets_seen else None
        return self.measure(np.stack(self.outputs), np.stack(self.targets))


def track_of(indices: list[int], landmarks: list[np.ndarray], fps: Fraction) -> FaceTrack:
    """The frames from 0 to the last index as a track; those without landmarks are bridged and not valid."""
    return FaceTrack.from_sightings(indices, landmarks, indices[-1] + 1, Fraction(fps), (0, 0))


@dataclass(frozen=True)
class Face3D:
    """A face over time without whose face it is.

    Attributes:
        rotation: (T, 3) rotation vectors of the head.
        expression: (T, 478, 3) offsets from the face's own rest, canonical axes, in inter-ocular distances.
        gaze: (T, 2, 2) iris positions in eye coordinates over the eye's width.
        shapes: (T, 478, 3) canonical shapes in inter-ocular distances.
    """

    rotation: np.ndarray
    expression: np.ndarray
    gaze: np.ndarray
    shapes: np.ndarray


def face_pair(output: np.ndarray, target: np.ndarray, fps: float) -> tuple[Face3D, Face3D]:
    """Both faces by our canonical decomposition (`animate.pose`), each measured from its own rest.

    At rest are the frames on which the driver is the most neutral (`animate.measures.neutral_frame`), the same frames
    for both: what makes two people's faces differ cancels out, and so does an expression that is wrong in the same way
    throughout.

    Args:
        output, target: (T, 478, 3) px.
    """
    poses, shapes = zip(pose.decompose_long(output), pose.decompose_long(target), strict=True)
    seen = np.ones(len(target), bool)
    _, chosen = neutral_frame(shapes[1], poses[1].rotation, seen, fps)
    faces = []
    for place, shape in zip(poses, shapes, strict=True):
        rest = shape[chosen].mean(0)
        unit = float(pose.inter_ocular(rest))
        faces.append(Face3D(place.rotation, (shape - rest) / unit, gaze_of(shape), shape / unit))
    return faces[0], faces[1]
