"""Face quality of a portrait, by a rule over its landmarks.

Ibrahim et al. 2025, "A lightweight face quality assessment framework" (arXiv 2507.15961), trains a random forest on
normalised landmarks and quality scores of surveillance pictures that are not published. No set of portraits with
quality scores is at hand, so nothing is trained here: the same kinds of features (pose, size, eyes) and those of the
ISO/IEC 29794-5 family that landmarks alone do not tell (sharpness, exposure) are multiplied by a rule that can be read.
The number orders pictures; it is no probability and not the paper's.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import cv2
import numpy as np

from animate import pose, topology
from animate.measures import eye_openings
from bench.metrics.base import FrameMean, Sample, luminance
from bench.metrics.tracks import MESH

UNIT = 48
"""Inter-ocular distance in px at which faces are compared."""

SHARP = 30.0
"""Variance of the Laplacian of an 8-bit grey face of that size at which half of the mark for sharpness is given."""

OPEN = 0.18
"""Lid gap over eye width of plainly open eyes."""

TURN = 35.0
"""Degrees of turn and nod at which the mark for frontality is 1 / e."""


@dataclass(frozen=True)
class QualityMarks:
    """Marks in [0, 1], 1 is best.

    Attributes:
        frontality: the head looks at the camera.
        sharpness: there are edges.
        eyes: both eyes are open.
        visible: the face lies inside the picture; hands and hair before it are not seen by this rule.
        exposure: the skin is neither dark nor burnt out.
        size: the face has pixels enough.
    """

    frontality: float
    sharpness: float
    eyes: float
    visible: float
    exposure: float
    size: float

    @property
    def quality(self) -> float:
        """Geometric mean: one bad mark spoils the picture."""
        marks = np.array(list(asdict(self).values()))
        return float(np.exp(np.log(np.maximum(marks, 1e-4)).mean()))


def grey_face(image: np.ndarray, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The face at a size of its own: (h, w) float32 grey in [0, 255] with 48 px between the eyes, and its (h, w) bool
    mask; both empty where the face lies outside."""
    low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    unit = max(float(pose.inter_ocular(landmarks)), 1e-3)
    factor = UNIT / unit
    size = np.minimum(np.ceil((high - low) * factor).astype(int) + 1, 8 * UNIT)
    matrix = np.array([[factor, 0, -factor * low[0]], [0, factor, -factor * low[1]]])
    grey = np.ascontiguousarray(luminance(image[..., :3].astype(np.float32)))
    if factor < 1:
        # Sampling a large picture coarsely would make noise of its detail.
        grey = cv2.GaussianBlur(grey, (0, 0), 0.5 / factor)
    face = cv2.warpAffine(grey, matrix, tuple(int(side) for side in size), flags=cv2.INTER_LINEAR)
    oval = ((landmarks[list(topology.FACE_OVAL), :2] - low) * factor).round().astype(np.int32)
    mask = np.zeros(face.shape, np.uint8)
    cv2.fillPoly(mask, [oval], 1)
    inside = cv2.warpAffine(np.ones(grey.shape, np.uint8), matrix, face.shape[::-1], flags=cv2.INTER_NEAREST)
    return face, (mask & inside).astype(bool)


def sharpness(image: np.ndarray, landmarks: np.ndarray) -> float:
    """Variance of the Laplacian of the grey face at 48 px between the eyes, 8-bit steps squared."""
    face, mask = grey_face(image, landmarks)
    if not mask.any():
        return 0.0
    edges = cv2.Laplacian(face, cv2.CV_32F)
    return (
        float(edges[cv2.erode(mask.astype(np.uint8), np.ones((5, 5))).astype(bool)].var()) if mask.sum() > 100 else 0.0
    )


def quality_marks(image: np.ndarray, landmarks: np.ndarray) -> QualityMarks:
    """The marks of a face.

    Args:
        image: (H, W, 3) uint8 RGB.
        landmarks: (478, 3) px.
    """
    place, shape = pose.decompose(landmarks)
    pitch, yaw, _ = np.degrees(pose.head_angles(place.rotation))[0]
    edges = sharpness(image, landmarks)
    face, mask = grey_face(image, landmarks)
    skin = face[mask]
    burnt = float(((skin < 8) | (skin > 247)).mean()) if len(skin) else 1.0
    level = float(skin.mean()) / 255 if len(skin) else 0.0
    plane, (height, width) = landmarks[:, :2], image.shape[:2]
    inside = ((plane >= 0) & (plane <= (width - 1, height - 1))).all(1).mean()
    return QualityMarks(
        frontality=float(np.exp(-(yaw**2 + pitch**2) / TURN**2)),
        sharpness=edges / (edges + SHARP),
        eyes=float(np.clip(eye_openings(shape)[0].min() / OPEN, 0, 1)),
        visible=float(inside),
        exposure=float(np.clip(level / 0.25, 0, 1) * np.clip((1 - level) / 0.1, 0, 1) * (1 - burnt)),
        size=float(np.clip(pose.inter_ocular(landmarks) / UNIT, 0, 1)),
    )


class FaceQualityRule(FrameMean):
    """Quality of the output's faces by a rule over landmarks and pixels, mean over frames; a frame in which no face is
    found has 0. Nobody's judgement is in it: see the module."""

    name = "face_quality_rule"
    direction = "higher"
    unit = "[0, 1]"
    source = "ours, a rule over the features of Ibrahim et al. 2025 (arXiv 2507.15961), not its trained forest"
    needs = MESH
    requires = frozenset()

    def measure(self, sample: Sample) -> float | None:
        if not sample.redetected:
            return None
        if sample.output_landmarks is None:
            return 0.0
        return quality_marks(sample.output, sample.output_landmarks).quality
