"""AED and APD as published: parameters of a 3-D face model, read off the pictures by SMIRK.

SMIRK's encoder is a download with its own code. Trace it once into one file:

    encoder = SmirkEncoder(); encoder.load_state_dict(…)            # SMIRK's own code and checkpoint
    class Both(torch.nn.Module):
        def forward(self, x):                                       # (B, 3, 224, 224) RGB in [0, 1]
            found = encoder(x)
            return found["expression_params"], found["pose_params"]  # (B, 50), (B, 3)
    torch.jit.trace(Both().eval(), torch.rand(1, 3, 224, 224)).save("smirk_encoder.torchscript")

and put it into ~/.cache/mien/smirk.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from bench.metrics.base import FrameMean, Sample
from bench.metrics.local_weights import describe, weight_file, weights_missing

WEIGHTS = "smirk"
SIDE = 224
CROP_SCALE = 1.4
"""Side of the square that SMIRK sees over the mean of the two sides of the landmarks' box."""


def face_square(image: np.ndarray, landmarks: np.ndarray, side: int, scale: float) -> np.ndarray:
    """An upright square round a face, (side, side, 3) uint8; outside the picture it is black.

    A larger square is averaged over areas: cut out at the picture's own scale, then made smaller.

    Args:
        image: (H, W, 3) uint8.
        landmarks: (478, 2 or 3) px; the first pixel's middle is at 0.5.
        side: px of the result.
        scale: side of the square over the larger side of the landmarks' box.
    """
    low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    length = max(float((high - low).max()) * scale, 1e-6)
    cut = max(int(np.ceil(length)), side)
    square = _sampled(image, cut / length, (cut - 1) / 2 - cut / length * ((low + high) / 2 - 0.5), cut)
    return square if cut == side else cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA)


def smirk_square(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The face as the demo published with SMIRK cuts it, (224, 224, 3) uint8; outside the picture it is black.

    The square's side is a whole number of px; its corners come to lie on the middles of the corner pixels. As there,
    values are linear between four neighbours however much smaller the face becomes; they are rounded, where the demo
    cuts the fraction off.

    Args:
        image: (H, W, 3) uint8.
        landmarks: (478, 2 or 3) px.
    """
    low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    length = max(int(float((high - low).mean()) * CROP_SCALE), 1)
    factor = (SIDE - 1) / length
    return _sampled(image, factor, factor * (length / 2 - (low + high) / 2), SIDE)


def _sampled(image: np.ndarray, factor: float, shift: np.ndarray, side: int) -> np.ndarray:
    matrix = np.array([[factor, 0, shift[0]], [0, factor, shift[1]]])
    return cv2.warpAffine(np.ascontiguousarray(image[..., :3]), matrix, (side, side), flags=cv2.INTER_LINEAR)


@lru_cache(maxsize=1)
def network():
    """The traced encoder, loaded once a process."""
    import torch

    return torch.jit.load(str(weight_file(WEIGHTS)), map_location="cpu").eval()


def parameters(image: np.ndarray, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Expression (e,) and pose (3,) parameters of a face."""
    import torch

    crop = torch.from_numpy(smirk_square(image, landmarks)).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        expression, pose = network()(crop)
    return expression[0].numpy(), pose[0].numpy()


class _Parameters(FrameMean):
    direction = "lower"
    requires = frozenset({"driver"})
    needs = describe(WEIGHTS)
    reads_face = True
    part: int

    @classmethod
    def missing(cls) -> str | None:
        return weights_missing(WEIGHTS)

    def measure(self, sample: Sample) -> float | None:
        if sample.output_landmarks is None or sample.target_landmarks is None:
            return None
        output = sample.shared("smirk output", lambda: parameters(sample.output, sample.output_landmarks))
        target = sample.shared("smirk target", lambda: parameters(sample.target, sample.target_landmarks))
        return float(np.abs(output[self.part] - target[self.part]).mean())


class AED(_Parameters):
    """Average expression distance: mean absolute difference of SMIRK's expression parameters."""

    name = "aed"
    unit = "FLAME parameters"
    source = "ExprBench (FantasyPortrait, section 4); parameters by SMIRK (Retsinas et al. 2024)"
    part = 0


class APD(_Parameters):
    """Average pose distance: mean absolute difference of SMIRK's head rotation."""

    name = "apd"
    unit = "radians"
    source = "ExprBench (FantasyPortrait, section 4); pose by SMIRK (Retsinas et al. 2024)"
    part = 1
