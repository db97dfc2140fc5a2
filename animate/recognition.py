"""Recognition: is this face that face? dlib's CC0 ResNet, offline, where extra `bench` is installed."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np

CHIP = 150
"""Side in px of the aligned face that the network was trained on."""

FIVE_POINTS = (263, 362, 33, 133, 2)
"""Mesh indices in the order of dlib's five points: left eye's outer and inner corner, right eye's, base
of the nose."""

_MODEL = "dlib_face_recognition_resnet_model_v1.dat"


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Cosine of the angle of two vectors."""
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def descriptor(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Descriptor of a face by dlib's ResNet.

    The face is aligned as dlib does in training: a similarity takes its five points onto dlib's mean
    face, 150 px with a padding of 0.25. The five points are taken from the mesh, so that no second
    detector has a say.

    Args:
        image: (H, W, 3) uint8 RGB.
        landmarks: (478, 3) px of the face in it.

    Returns:
        (128,) float64. Two photos of one person lie within a Euclidean distance of 0.6; the cosine of two
        unlike persons is still about 0.8, so differences in the second decimal count.
    """
    import dlib

    points = [dlib.point(*np.round(landmarks[i, :2]).astype(int).tolist()) for i in FIVE_POINTS]
    rectangle = dlib.rectangle(*(int(v) for v in (*landmarks[:, :2].min(0), *landmarks[:, :2].max(0))))
    shape = dlib.full_object_detection(rectangle, points)
    chip = dlib.get_face_chip(np.ascontiguousarray(image[..., :3]), shape, size=CHIP, padding=0.25)
    return np.array(_network().compute_face_descriptor(chip))


def _weights() -> Path | None:
    # The package itself is not imported: it asks for pkg_resources, which newer setuptools no longer have.
    spec = importlib.util.find_spec("face_recognition_models")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "models" / _MODEL
        if path.is_file():
            return path
    return None


@lru_cache(maxsize=1)
def _network():
    import dlib

    return dlib.face_recognition_model_v1(str(_weights()))


def missing() -> str | None:
    """What has to be installed before `descriptor` works, as "needs …", or None."""
    absent = [] if importlib.util.find_spec("dlib") else ["dlib"]
    absent += [] if _weights() else ["face-recognition-models"]
    return f"needs {' and '.join(absent)} (pip install 'mien[bench]')" if absent else None
