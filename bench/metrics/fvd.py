"""FVD: do a system's clips, all together, look and move like real ones to I3D?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np

from bench.metrics.base import Sample, SetMetric, joined
from bench.metrics.frechet import frechet_distance
from bench.metrics.local_weights import describe, weight_file, weights_missing

WEIGHTS = "fvd-i3d"

LENGTH = 16
"""Frames a window; windows follow each other and a rest is left out."""

SIDE = 224
"""Side in px of what the network sees."""

LEAST = 4
"""Windows of either kind below which a distribution is none."""


@lru_cache(maxsize=1)
def network():
    """I3D as TorchScript (its archive holds its own restricted program, no pickled Python), loaded once a process."""
    import torch

    return torch.jit.load(str(weight_file(WEIGHTS)), map_location="cpu").eval()


def features(frames: np.ndarray) -> np.ndarray:
    """(d,) features of a window (T, 224, 224, 3) uint8, before the last layer."""
    import torch

    pixels = torch.from_numpy(frames).permute(3, 0, 1, 2)[None].float() / 127.5 - 1  # (1, 3, T, h, w)
    with torch.no_grad():
        return network()(pixels, rescale=False, resize=False, return_features=True)[0].numpy()


@dataclass
class FVD(SetMetric):
    """Fréchet video distance over windows of 16 frames of all clips, whole frames squeezed to 224 px."""

    name = "fvd"
    direction = "lower"
    unit = "squared distance"
    source = "Unterthiner et al. 2018, Towards accurate generative models of video, section 3; ExprBench"
    needs = describe(WEIGHTS)
    unfit = f"too few windows of {LENGTH} frames"

    window: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list, init=False)
    last: int = field(default=-2, init=False)
    found: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list, init=False)

    @classmethod
    def missing(cls) -> str | None:
        return weights_missing(WEIGHTS)

    def update(self, sample: Sample) -> None:
        if sample.index != self.last + 1:
            self.window.clear()
        self.last = sample.index
        self.window.append((_squeezed(sample.output), _squeezed(sample.truth)))
        if len(self.window) == LENGTH:
            output, truth = (np.stack(frames) for frames in zip(*self.window, strict=True))
            self.found.append((features(output), features(truth)))
            self.window.clear()

    def features(self) -> dict[str, np.ndarray]:
        if not self.found:
            return {"output": np.zeros((0, 0), np.float32), "truth": np.zeros((0, 0), np.float32)}
        output, truth = (np.stack(rows).astype(np.float32) for rows in zip(*self.found, strict=True))
        return {"output": output, "truth": truth}

    @classmethod
    def combine(cls, clips: Sequence[Mapping[str, np.ndarray]]) -> float | None:
        output, truth = joined(clips, "output"), joined(clips, "truth")
        return frechet_distance(output, truth) if min(len(output), len(truth)) >= LEAST else None


def _squeezed(image: np.ndarray) -> np.ndarray:
    return cv2.resize(np.ascontiguousarray(image[..., :3]), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
