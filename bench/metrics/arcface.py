"""Identity by ArcFace, insightface's recognition network, where its (non-commercial) weights are at hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from animate import topology
from animate.recognition import cosine
from bench.metrics.base import Sample
from bench.metrics.identity import Identity
from bench.metrics.onnx_network import picture_batch, run
from weights.registry import get

WEIGHTS, FILE = "insightface-buffalo_l", "w600k_r50.onnx"
NEEDS = f"insightface buffalo_l, {FILE} ({get(WEIGHTS).licence})"

SIDE = 112
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Where ArcFace expects image-left eye, image-right eye, nose tip and mouth corners, px of 112."""

POINTS = (*topology.IRIS_CENTRES, topology.NOSE_TIP, *topology.OUTER_MOUTH_CORNERS)


def network_file() -> Path | None:
    """The network, in insightface's own folder or where `weights.places` says."""
    from weights import places

    return get(WEIGHTS).find(FILE) or places.find_file(WEIGHTS, FILE)


def missing() -> str | None:
    """What has to be there before `embedding` works."""
    if network_file() is not None:
        return None
    return f"needs {FILE} of insightface's buffalo_l ({get(WEIGHTS).licence}), to be put into ~/.cache/mien/{WEIGHTS}"


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(2, 3) turn, scale and shift that carry points (N, 2) nearest to others, least squares, without mirroring."""
    a, b = (points[:, 0] + 1j * points[:, 1] for points in (source, target))
    middle_a, middle_b = a.mean(), b.mean()
    factor = (np.conj(a - middle_a) @ (b - middle_b)) / (np.abs(a - middle_a) ** 2).sum()
    shift = middle_b - factor * middle_a
    return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])


def aligned(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The face as ArcFace was trained on it, (112, 112, 3) uint8.

    A face that becomes less than half as large is blurred before; insightface's own code samples it as it is.
    """
    matrix = similarity(landmarks[list(POINTS), :2].astype(np.float64), TEMPLATE)
    shrink = float(np.hypot(*matrix[0, :2]))
    image = np.ascontiguousarray(image[..., :3])
    if shrink < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), 0.4 / shrink)
    return cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR)


def embedding(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """(512,) float32 descriptor of a face; the cosine of two strangers is about 0."""
    return run(network_file(), picture_batch(aligned(image, landmarks), (0.5,) * 3, (0.5,) * 3))[0]


@dataclass
class IdentityArcFace(Identity):
    """Cosine similarity of ArcFace's descriptors of output and portrait, mean over every fifth frame."""

    name = "identity_arcface"
    source = "Deng et al. 2019, ArcFace, section 3; CSIM of EmojiBench++ and its peers"
    needs = NEEDS

    portrait: np.ndarray | None = field(default=None, init=False)

    @classmethod
    def missing(cls) -> str | None:
        return missing()

    def measure(self, sample: Sample) -> float | None:
        if sample.output_landmarks is None:
            return None
        if self.portrait is None:
            self.portrait = embedding(self.reference.image, self.reference.landmarks)
        return cosine(embedding(sample.output, sample.output_landmarks), self.portrait)
