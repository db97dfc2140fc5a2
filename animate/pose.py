"""Head pose: landmarks = scale * R @ canonical shape + translation, by weighted Procrustes on stable points.

Axes are those of `Face.landmarks`: x right, y down, z away from the camera (the nose tip has negative z). The
canonical face is frontal, left-right symmetric, its inter-ocular distance is 1 and its origin the mean of
`topology.RIGID`, a point a little behind the bridge of the nose.
Rebuild the canonical face: `python -m animate.pose build FOLDER` (a folder of portraits).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from animate import topology
from animate.errors import FaceError, MotionError

CANONICAL_FACE_FILE = topology.FACE_MESH_FILE.with_name("canonical_face.safetensors")

_RIGID = np.array(topology.RIGID)
_RIGID_WEIGHTS = np.array(topology.RIGID_WEIGHTS) / np.sum(topology.RIGID_WEIGHTS)


@dataclass(frozen=True)
class Pose:
    """Where a head is, frame by frame.

    rotation: (T, 3) rotation vectors, radians, canonical to camera axes.
    translation: (T, 3) px, where the canonical origin lands (x, y, z).
    scale: (T,) px per canonical unit (one inter-ocular distance of the average face).
    """

    rotation: np.ndarray
    translation: np.ndarray
    scale: np.ndarray


@functools.cache
def canonical_face() -> np.ndarray:
    """The mean frontal face (478, 3) float32, IOD = 1, origin at the mean of RIGID, x right, y down, z
    negative nearer to the camera. Read-only. Mean over the portraits of the training data, so no one
    person's face."""
    from safetensors.numpy import load_file

    face = load_file(CANONICAL_FACE_FILE)["canonical_face"]
    face.flags.writeable = False
    return face


def eye_centres(landmarks: np.ndarray) -> np.ndarray:
    """Midpoints of the eye corners (..., 2, 3) of landmarks (..., 478, 3): right eye, left eye."""
    corners = landmarks[..., np.array(topology.EYE_CORNERS), :]  # (..., 2 eyes, 2 corners, 3)
    return corners.mean(axis=-2)


def inter_ocular(landmarks: np.ndarray) -> np.ndarray:
    """The distance (...,) of the two eye centres in 3-D, in the unit of `landmarks` (..., 478, 3)."""
    centres = eye_centres(np.asarray(landmarks))
    return np.linalg.norm(centres[..., 1, :] - centres[..., 0, :], axis=-1)


def rotation_matrices(rotation: np.ndarray) -> np.ndarray:
    """Matrices (T, 3, 3) float64 of rotation vectors (T, 3), by Rodrigues' formula."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(np.asarray(rotation, np.float64).reshape(-1, 3)).as_matrix()


def rotation_vectors(matrices: np.ndarray) -> np.ndarray:
    """Rotation vectors (T, 3) float64 of matrices (T, 3, 3)."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_matrix(matrices).as_rotvec()


def head_angles(rotation: np.ndarray) -> np.ndarray:
    """Pitch, yaw, roll (T, 3) in radians of rotation vectors (T, 3): R = roll(z) @ yaw(y) @ pitch(x).

    Pitch is positive when the head looks down, yaw when it turns to the image's right, roll clockwise.
    """
    from scipy.spatial.transform import Rotation

    pitch, yaw, roll = Rotation.from_rotvec(np.reshape(rotation, (-1, 3))).as_euler("xyz").T
    return np.stack([pitch, -yaw, roll], axis=-1)


def rotation_from_angles(angles: np.ndarray) -> np.ndarray:
    """Rotation vectors (T, 3) of pitch, yaw, roll (T, 3): the inverse of `head_angles`."""
    from scipy.spatial.transform import Rotation

    angles = np.reshape(angles, (-1, 3)) * (1.0, -1.0, 1.0)
    return Rotation.from_euler("xyz", angles).as_rotvec()


def fit_similarity(
    source: np.ndarray, target: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rotation (T, 3, 3), translation (T, 3) and scale (T,) that carry source (N, 3) to target (T, N, 3).

    Weighted least squares in closed form: Umeyama 1991, section II, with weights (N,) that sum to 1. The
    scale is the ratio of weighted sizes rather than Umeyama's optimum: the latter shrinks with every
    misfit, so an expression would zoom the head.
    """
    source_mean = weights @ source  # (3,)
    target_mean = np.einsum("n,tnc->tc", weights, target)
    a = source - source_mean
    b = target - target_mean[:, None]
    covariance = np.einsum("n,tni,nj->tij", weights, b, a)
    u, _, vt = np.linalg.svd(covariance)
    # A reflection would fit a flat point set as well; the last singular direction is turned to forbid it.
    u[..., :, 2] *= np.sign(np.linalg.det(u @ vt))[:, None]
    rotation = u @ vt
    scale = np.sqrt(np.einsum("n,tni->t", weights, b**2) / np.einsum("n,ni->", weights, a**2))
    translation = target_mean - scale[:, None] * (rotation @ source_mean)
    return rotation, translation, scale


def decompose(landmarks: np.ndarray) -> tuple[Pose, np.ndarray]:
    """Head pose and canonical shape of landmarks (T, 478, 3) or (478, 3) px.

    Returns `Pose` (always with a leading T) and the shape (T, 478, 3) float64 in canonical axes, unit IOD
    of the average face. `compose(shape, pose)` gives the landmarks back exactly. Raises FaceError when
    points are not finite or all lie in one place.
    """
    points = np.asarray(landmarks, np.float64)
    points = points[None] if points.ndim == 2 else points
    if points.shape[-2:] != (topology.POINTS, 3):
        raise FaceError(f"Landmarks must have the shape (T, {topology.POINTS}, 3), not {points.shape}.")
    if not np.isfinite(points).all() or (np.ptp(points[:, _RIGID], axis=1).max(axis=-1) <= 0).any():
        raise FaceError("The landmarks of a frame are not finite or lie all in one place: no head pose exists.")
    source = canonical_face()[_RIGID].astype(np.float64)
    rotation, translation, scale = fit_similarity(source, points[:, _RIGID], _RIGID_WEIGHTS)
    shape = (points - translation[:, None]) @ rotation / scale[:, None, None]  # row vectors: @ R is R^T x
    return Pose(rotation_vectors(rotation), translation, scale), shape


def decompose_long(landmarks: np.ndarray, chunk: int = 256) -> tuple[Pose, np.ndarray]:
    """`decompose` of a long clip (T, 478, 3), a few frames at a time and the shapes in float32: the working memory
    does not grow with the clip."""
    shapes = np.empty(landmarks.shape, np.float32)
    poses = []
    for first in range(0, max(1, len(landmarks)), chunk):
        part, shape = decompose(landmarks[first : first + chunk])
        shapes[first : first + chunk] = shape
        poses.append(part)
    joined = (np.concatenate([getattr(p, name) for p in poses]) for name in ("rotation", "translation", "scale"))
    return Pose(*joined), shapes


def compose(shape: np.ndarray, pose: Pose) -> np.ndarray:
    """Landmarks (T, 478, 3) px = scale * R @ shape + translation, of shape (T or 1, 478, 3)."""
    matrices = rotation_matrices(pose.rotation)
    if len(shape) not in (1, len(matrices)):
        raise MotionError(f"{len(shape)} shapes do not match {len(matrices)} poses.")
    turned = np.asarray(shape, np.float64) @ matrices.transpose(0, 2, 1)
    return turned * np.reshape(pose.scale, (-1, 1, 1)) + np.reshape(pose.translation, (-1, 1, 3))


def mean_face(faces: np.ndarray, mirror: np.ndarray, rounds: int = 10) -> np.ndarray:
    """The symmetric generalised-Procrustes mean (478, 3) of faces (N, 478, 3), in the canonical face's frame.

    Every face counts together with its mirror image, so yaw and roll of the set cancel; the pitch is the
    set's own mean pitch. Gower 1975, generalised Procrustes analysis.
    """
    both = np.concatenate([faces, (faces * (-1.0, 1.0, 1.0))[:, mirror]]).astype(np.float64)
    both = (both - both[:, _RIGID].mean(axis=1, keepdims=True)) / inter_ocular(both)[:, None, None]
    mean = both.mean(axis=0)  # symmetric about x = 0, and every round keeps it so
    for _ in range(rounds):
        rotation, translation, scale = fit_similarity(mean[_RIGID], both[:, _RIGID], _RIGID_WEIGHTS)
        mean = np.mean((both - translation[:, None]) @ rotation / scale[:, None, None], axis=0)
        mean = (mean - mean[_RIGID].mean(axis=0)) / inter_ocular(mean)
    return ((mean + (mean * (-1.0, 1.0, 1.0))[mirror]) / 2).astype(np.float32)  # exact to the last bit


def build(folder: Path, output: Path = CANONICAL_FACE_FILE) -> int:
    """Write the canonical face from the largest face of each portrait in `folder`; returns their number."""
    from safetensors.numpy import save_file

    from animate.faces import create_tracker
    from animate.media import read_image

    tracker = create_tracker()
    paths = sorted(p for p in Path(folder).iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    found = (tracker.detect(read_image(path)[..., :3]) for path in paths)
    faces = [detected[0].landmarks for detected in found if detected]
    if not faces:
        raise FaceError(f"{folder} holds no picture with a face to build the canonical face from.")
    face = mean_face(np.stack(faces), topology.MIRROR)
    save_file({"canonical_face": face}, output, metadata={"source": f"mean of {len(faces)} portraits"})
    output.chmod(0o644)  # safetensors writes files that only their owner can read
    return len(faces)


if __name__ == "__main__":
    import sys

    if len(sys.argv) != 3 or sys.argv[1] != "build":
        sys.exit("usage: python -m animate.pose build FOLDER")
    print(f"canonical face of {build(Path(sys.argv[2]))} portraits -> {CANONICAL_FACE_FILE}")
