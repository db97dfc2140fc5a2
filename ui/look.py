"""Measures of how well a picture shows a face: size, turn, sharpness, cover. Used by `mien check`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from animate.faces import Face, FaceTracker

SIDE = 160  # px of the square that a face is scaled to before its edges are measured


@dataclass(frozen=True)
class Expression:
    """lip_gap: inter-ocular distances. eye_opening: the wider eye's, over its width. yaw, pitch: degrees."""

    lip_gap: float
    eye_opening: float
    yaw: float
    pitch: float


@dataclass(frozen=True)
class FaceLook(Expression):
    """One face in one picture.

    inter_ocular: px. sharpness: edge energy (Laplacian) over contrast at a fixed face size. lip_detail,
    eye_detail: mean gradient inside lips and eyes over the whole face's. disagreement: mean distance between
    the mesh and the mesh found in the mirror image, in inter-ocular distances, the larger of lips and eyes;
    infinite where the mirror image shows no face. A face that is partly hidden leaves the mesh guessing, and
    the two guesses differ.
    """

    inter_ocular: float
    sharpness: float
    lip_detail: float
    eye_detail: float
    disagreement: float


def expression_of(landmarks: np.ndarray) -> Expression:
    """How open mouth and eyes are and how the head is turned; landmarks (478, 3) px."""
    from animate.expression import expression_features

    features = expression_features(landmarks)
    pitch, yaw = np.degrees(features[17:19])
    return Expression(float(max(features[:3])), float(max(features[6:8])), float(yaw), float(pitch))


def look_at(image: np.ndarray, face: Face, tracker: FaceTracker) -> FaceLook:
    """Measures a face in (H, W, 3) uint8 RGB."""
    from animate.pose import inter_ocular

    expression = expression_of(face.landmarks)
    distance = float(inter_ocular(face.landmarks))
    grey, points = _crop(image, face.landmarks)
    sharpness, lips, eyes = _edges(grey, points)
    return FaceLook(
        **vars(expression),
        inter_ocular=distance,
        sharpness=sharpness,
        lip_detail=lips,
        eye_detail=eyes,
        disagreement=_disagreement(image, face.landmarks, tracker) / distance,
    )


def _crop(image: np.ndarray, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The face as (SIDE, SIDE) float32 grey and its points (478, 2) there."""
    import cv2

    low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    side = float((high - low).max()) * 1.1
    scale = SIDE / side
    offset = SIDE / 2 - (low + high) / 2 * scale
    if scale < 1:  # warpAffine does not average: without this, small detail would turn into false edges
        image = cv2.GaussianBlur(image, (0, 0), 0.4 / scale)
    matrix = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])
    grey = cv2.cvtColor(cv2.warpAffine(image, matrix, (SIDE, SIDE)), cv2.COLOR_RGB2GRAY)
    return grey.astype(np.float32), landmarks[:, :2] * scale + offset


def _edges(grey: np.ndarray, points: np.ndarray) -> tuple[float, float, float]:
    """Sharpness, lip detail and eye detail of a cropped face."""
    import cv2

    from animate import topology

    margin = SIDE * 3 // 16
    core = slice(margin, SIDE - margin)
    sharpness = cv2.Laplacian(grey, cv2.CV_32F)[core, core].std() / max(grey[core, core].std(), 1.0)
    gradient = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))

    def mean_inside(indices: tuple[int, ...]) -> float:
        outline = cv2.convexHull(points[list(indices)].round().astype(np.int32))
        mask = cv2.fillConvexPoly(np.zeros(grey.shape, np.uint8), outline, 1)
        return float(gradient[mask > 0].mean()) if mask.any() else 0.0

    face = max(mean_inside(topology.FACE_OVAL), 1e-3)
    eyes = min(mean_inside(topology.RIGHT_EYE), mean_inside(topology.LEFT_EYE))
    return float(sharpness), mean_inside(topology.LIPS) / face, eyes / face


def _disagreement(image: np.ndarray, landmarks: np.ndarray, tracker: FaceTracker) -> float:
    """Mean distance in px between the mesh and the mirrored mesh of the mirror image, in lips or eyes."""
    from animate import topology

    width = image.shape[1]
    faces = tracker.detect(np.ascontiguousarray(image[:, ::-1]))
    if not faces:
        return float("inf")
    meshes = [topology.mirror_landmarks(face.landmarks, width) for face in faces]
    nearest = min(meshes, key=lambda mesh: float(np.abs(mesh - landmarks).mean()))
    distance = np.linalg.norm((nearest - landmarks)[:, :2], axis=1)
    return float(max(distance[list(topology.REGIONS[name])].mean() for name in ("lips", "eyes")))
