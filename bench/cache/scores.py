"""How far a method's frames are from those without a cache, and its faces from the truth's."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch

from animate import pose
from bench.cache.painting import Painted
from bench.cache.windows import Batch, ClipWindows
from bench.metrics import Sample
from bench.metrics.base import Metric
from bench.metrics.flicker import Flicker
from bench.metrics.l1 import EyesL1, FaceL1, MouthL1
from bench.metrics.landmark import LandmarkDistance
from bench.metrics.psnr import FacePSNR
from bench.metrics.regions import face_regions
from bench.metrics.ssim import FaceSSIM
from bench.redetect import Redetector

IDENTICAL = 100.0
"""dB given to frames that are the same."""

AGAINST_UNCACHED: tuple[type[Metric], ...] = (FacePSNR, FaceSSIM, FaceL1, MouthL1, EyesL1, Flicker)
"""Metrics of a method's whole frames, with the uncached ones in the truth's place."""


@dataclass
class Tally:
    """What one method did on all clips, and how its frames compare.

    Attributes:
        seconds, cpu_seconds, operations: of all loops.
        computed, forecast: evaluations.
        memory: bytes, the most of any batch.
        squared, pixels: squared differences to the uncached frames over painted pixels, and their number.
        values: metric -> a value for each clip.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    operations: float = 0.0
    computed: int = 0
    forecast: int = 0
    memory: int = 0
    squared: float = 0.0
    pixels: int = 0
    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, painted: Painted, reference: Painted, batch: Batch, operations: float) -> None:
        """Take in a batch; `reference` is the one without a cache."""
        self.seconds += painted.seconds
        self.cpu_seconds += painted.cpu_seconds
        self.operations += operations
        self.computed += painted.computed
        self.forecast += painted.forecast
        self.memory = max(self.memory, painted.memory)
        difference = (painted.frames - reference.frames).double().square()
        mask = batch.painted.transpose(1, 2).expand_as(difference)
        self.squared += difference[mask].sum().item()
        self.pixels += int(mask.sum())

    def add_values(self, values: dict[str, float | None]) -> None:
        """Take in a clip's metrics."""
        for name, value in values.items():
            if value is not None:
                self.values.setdefault(name, []).append(value)

    @property
    def psnr(self) -> float:
        """dB over all painted pixels of all clips, at most `IDENTICAL`."""
        error = self.squared / max(self.pixels, 1)
        return min(IDENTICAL, -10 * math.log10(error)) if error else IDENTICAL

    def mean(self, name: str) -> float | None:
        values = self.values.get(name)
        return float(np.mean(values)) if values else None


def score_clip(
    clip: ClipWindows,
    painted: dict[str, torch.Tensor],
    uncached: dict[str, torch.Tensor],
    redetector: Redetector,
) -> dict[str, float | None]:
    """Metrics of one method on one clip.

    Args:
        clip: the windows.
        painted: batch -> (B, T, 3, H, W) of the method.
        uncached: the same without a cache.
        redetector: finds the landmarks of a method's frames.
    """
    metrics = [metric() for metric in AGAINST_UNCACHED]
    distance = LandmarkDistance()
    size = clip.truth.track.size
    for index, output, reference in zip(clip.numbers, clip.frames(painted), clip.frames(uncached), strict=True):
        landmarks = clip.truth.track.landmarks[index]
        regions = face_regions(landmarks, size, float(pose.inter_ocular(landmarks)))
        sample = Sample(index, output, reference, regions)
        for metric in metrics:
            metric.update(sample)
        on_truth = clip.redetected[index]
        if on_truth is not None:
            found = redetector(output, landmarks)
            distance.update(Sample(index, output, reference, regions, False, found, on_truth))
    return {metric.name: metric.value() for metric in (*metrics, distance)}


def point(name: str, family: str, sampler: str, steps: int, tally: Tally, none: Tally) -> dict:
    """One point of the report as plain data.

    ``speedup`` is how many times fewer operations of the network than without a cache; ``seconds_ratio`` and
    ``cpu_ratio`` the same of the clock's and the processor's time; ``landmark_change`` the change of the landmark
    error against the truth, as a share of that without a cache; ``mouth_l1`` and the other metrics are against the
    uncached frames; ``memory`` is in bytes.
    """
    landmark, before = tally.mean("landmark"), none.mean("landmark")
    return {
        "method": name,
        "family": family,
        "scheduler": sampler,
        "steps": steps,
        "evaluations": tally.computed,
        "forecasts": tally.forecast,
        "speedup": none.operations / tally.operations,
        "seconds_ratio": none.seconds / tally.seconds,
        "cpu_ratio": none.cpu_seconds / tally.cpu_seconds,
        "psnr": tally.psnr,
        "face_psnr": tally.mean("face_psnr"),
        "face_ssim": tally.mean("face_ssim"),
        "face_l1": tally.mean("face_l1"),
        "mouth_l1": tally.mean("mouth_l1"),
        "eyes_l1": tally.mean("eyes_l1"),
        "flicker": tally.mean("flicker"),
        "landmark": landmark,
        "landmark_change": abs(landmark / before - 1) if landmark is not None and before else None,
        "memory": tally.memory,
    }
