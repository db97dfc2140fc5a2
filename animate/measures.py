"""What a face does, in numbers: openings, widths, heights, gaze, and which frame of a clip is the neutral
one.

All functions take canonical shapes (..., 478, 3) (see `animate.pose`) and answer in their unit, normally IOD.
"""

from __future__ import annotations

import numpy as np

from animate import topology as mesh
from animate.errors import FaceError

_LIP_PAIRS = np.array(mesh.LIP_PAIRS)
_EYE_PAIRS = np.array(mesh.EYE_PAIRS)
_CORNERS = np.array(mesh.EYE_CORNERS)
_IRISES = np.array(mesh.IRIS_CENTRES)
# Each eye's corners from image left to image right, so that gaze and widths have one sense in both eyes.
_LEFT_TO_RIGHT = np.array([[33, 133], [362, 263]])


def lip_gaps(shape: np.ndarray) -> np.ndarray:
    """Openings (..., 9) between the inner lips at `topology.LIP_PAIRS`, along y; overlap is negative."""
    return shape[..., _LIP_PAIRS[:, 1], 1] - shape[..., _LIP_PAIRS[:, 0], 1]


def lid_gaps(shape: np.ndarray) -> np.ndarray:
    """Openings (..., 2, 7) between the lids at `topology.EYE_PAIRS`, along y; negative where they overlap."""
    return shape[..., _EYE_PAIRS[..., 1], 1] - shape[..., _EYE_PAIRS[..., 0], 1]


def eye_widths(shape: np.ndarray) -> np.ndarray:
    """Distance (..., 2) of each eye's corners: right eye, left eye."""
    corners = shape[..., _CORNERS, :]
    return np.linalg.norm(corners[..., 1, :] - corners[..., 0, :], axis=-1)


def eye_openings(shape: np.ndarray) -> np.ndarray:
    """Mean lid gap over eye width (..., 2): about 0.25 open, 0 closed. Right eye, left eye."""
    return lid_gaps(shape).mean(axis=-1) / eye_widths(shape)


def mouth_opening(shape: np.ndarray) -> np.ndarray:
    """Mean inner-lip gap (...,) at the middle three pairs."""
    return lip_gaps(shape)[..., 3:6].mean(axis=-1)


def mouth_width(shape: np.ndarray) -> np.ndarray:
    """Distance (...,) of the outer mouth corners."""
    right, left = mesh.OUTER_MOUTH_CORNERS
    return np.linalg.norm(shape[..., left, :] - shape[..., right, :], axis=-1)


def brow_heights(shape: np.ndarray) -> np.ndarray:
    """How far each brow's mean lies above its eye's corners (..., 2): right, left."""
    eyes = shape[..., _CORNERS, 1].mean(axis=-1)
    return eyes - np.stack([shape[..., np.array(brow), 1].mean(axis=-1) for brow in mesh.BROWS], axis=-1)


def corner_heights(shape: np.ndarray) -> np.ndarray:
    """How far each outer mouth corner lies above the lips' middle (..., 2): right, left; smiles lift."""
    middle = shape[..., np.array([0, 17]), 1].mean(axis=-1)[..., None]
    return middle - shape[..., np.array(mesh.OUTER_MOUTH_CORNERS), 1]


def lower_face_length(shape: np.ndarray) -> np.ndarray:
    """Nose base to chin (...,) less the mouth's opening: the same whether the jaw hangs or not."""
    length = np.linalg.norm(shape[..., mesh.CHIN, :] - shape[..., mesh.NOSE_BASE, :], axis=-1)
    return length - np.maximum(mouth_opening(shape), 0)


def eye_frames(shape: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each eye's own coordinates: origin (..., 2, 3), axes (..., 2, 3, 3) as rows, width (..., 2).

    Origin: the corners' midpoint. Rows: along the corners towards image right; down; away from the camera.
    """
    corners = shape[..., _LEFT_TO_RIGHT, :]
    along = corners[..., 1, :] - corners[..., 0, :]
    width = np.linalg.norm(along, axis=-1)
    x = along / width[..., None]
    down = np.array([0.0, 1.0, 0.0]) - x[..., 1:2] * x
    y = down / np.linalg.norm(down, axis=-1, keepdims=True)
    return corners.mean(axis=-2), np.stack([x, y, np.cross(x, y)], axis=-2), width


def iris_positions(shape: np.ndarray) -> np.ndarray:
    """Iris centres (..., 2, 3) in `eye_frames`, over eye width: x to image right, y down, z away."""
    origin, axes, width = eye_frames(shape)
    offset = shape[..., _IRISES, :] - origin
    return np.einsum("...ij,...j->...i", axes, offset) / width[..., None]


def gaze_of(shape: np.ndarray) -> np.ndarray:
    """Gaze (..., 2, 2): x and y of the iris centres in eye coordinates, right eye then left eye."""
    return iris_positions(shape)[..., :2]


def _off(values: np.ndarray, target: np.ndarray, tolerance: float) -> np.ndarray:
    """Mean over N of |values - target| (T, N) in tolerances; a term that is far off says no more than
    "far"."""
    return np.minimum(np.abs(values - target) / tolerance, 6.0).mean(axis=-1)


def neutral_frame(shapes: np.ndarray, rotation: np.ndarray, valid: np.ndarray, fps: float) -> tuple[int, np.ndarray]:
    """The clip's most neutral frame and the few frames (indices) whose mean is the neutral face.

    Neutral is what the face returns to. First the calm frames: lips near the clip's most closed (10th
    percentile), eyes open as usual (not the widest, not shut). Then the calm frame nearest to the calm
    frames' median in mouth width, brows, corners, gaze and head turn, with the head near frontal and little
    movement around it. shapes: (T, 478, 3) canonical; rotation: (T, 3); valid: (T,) bool. Raises FaceError
    without a valid frame.
    """
    seen = np.flatnonzero(valid)
    if not len(seen):
        raise FaceError("No frame of the clip shows a face, so there is no neutral frame to start from.")
    s, turn = shapes[seen], rotation[seen]
    eyes, mouth = eye_openings(s), mouth_opening(s)[:, None]
    # Where blinks fill much of a clip the median is half shut: the usual opening lies a little above it.
    usual = np.maximum(np.percentile(eyes, 60, axis=0), 1e-3)
    closed = np.percentile(mouth, 10, axis=0)
    cost = 2.0 * _off(np.maximum(mouth, closed), closed, 0.03) + 1.5 * _off(eyes / usual, np.ones(2), 0.15)
    calm = (mouth[:, 0] <= closed + 0.04) & (eyes >= 0.75 * usual).all(axis=1)
    calm = calm if calm.sum() >= 3 else np.ones(len(s), bool)
    looks = (
        (mouth_width(s)[:, None], 0.06),
        (brow_heights(s), 0.04),
        (corner_heights(s), 0.04),
        (gaze_of(s).reshape(-1, 4), 0.06),
        (turn, 0.10),
    )
    cost += sum(_off(values, np.median(values[calm], axis=0), tolerance) for values, tolerance in looks)
    cost += 2.0 * (np.linalg.norm(turn, axis=-1) / 0.25) ** 2  # beyond 15 degrees the far cheek is guesswork
    if len(s) > 1:
        cost += np.abs(np.gradient(s, axis=0)).mean(axis=(1, 2)) * fps / 0.1
    # A neutral moment lasts: a frame between two others that are as neutral beats a lucky single one.
    padded = np.pad(cost, 1, mode="edge")
    cost = (padded[:-2] + 2 * cost + padded[2:]) / 4
    best = int(np.argmin(cost))
    near = np.abs(seen - seen[best]) <= max(1, round(fps * 0.08))
    return int(seen[best]), seen[near & (cost <= cost[best] * 1.25 + 1e-9)]
