"""FID and KID: do a system's frames, all together, look like real ones to Inception?"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from bench.metrics.base import Sample, SetMetric, joined
from bench.metrics.frechet import frechet_distance, kernel_distance
from bench.metrics.local_weights import describe, weights_missing

EVERY = 5
"""Every fifth frame is taken: neighbours are nearly the same picture."""

LEAST = 8
"""Frames of either kind below which a distribution is none."""

INCEPTION = "fid-inception"


@dataclass
class FrameSet(SetMetric):
    """A set metric over features of single frames, every fifth frame of a clip."""

    direction = "lower"
    unfit = "too few frames"
    kind: ClassVar[str] = ""

    turn: int = field(default=0, init=False)
    found: dict[str, list[np.ndarray]] = field(default_factory=lambda: {"output": [], "truth": []}, init=False)

    @abstractmethod
    def of_frame(self, sample: Sample) -> tuple[np.ndarray | None, np.ndarray | None]:
        """(d,) features of the output and of the truth."""

    @classmethod
    @abstractmethod
    def distance(cls, output: np.ndarray, truth: np.ndarray) -> float:
        """The number of two sets (n, d) and (m, d)."""

    def update(self, sample: Sample) -> None:
        self.turn += 1
        if (self.turn - 1) % EVERY:
            return
        for key, value in zip(("output", "truth"), self.of_frame(sample), strict=True):
            if value is not None:
                self.found[key].append(np.asarray(value, np.float32))

    def features(self) -> dict[str, np.ndarray]:
        return {key: np.stack(rows) if rows else np.zeros((0, 0), np.float32) for key, rows in self.found.items()}

    @classmethod
    def combine(cls, clips: Sequence[Mapping[str, np.ndarray]]) -> float | None:
        output, truth = joined(clips, "output"), joined(clips, "truth")
        return cls.distance(output, truth) if min(len(output), len(truth)) >= LEAST else None


class _InceptionSet(FrameSet):
    needs = describe(INCEPTION)

    @classmethod
    def missing(cls) -> str | None:
        return weights_missing(INCEPTION)

    def of_frame(self, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
        from bench.metrics.inception import features

        output = sample.shared(("inception", "output"), lambda: features(sample.output))
        return output, sample.shared(("inception", "truth"), lambda: features(sample.truth))


class FID(_InceptionSet):
    """Fréchet Inception distance over every fifth frame of all clips. It falls with the number of frames: compare only
    systems on the same cases."""

    name = "fid"
    unit = "squared distance"
    source = "Heusel et al. 2017, GANs trained by a two time-scale update rule, section 3; ExprBench"

    @classmethod
    def distance(cls, output: np.ndarray, truth: np.ndarray) -> float:
        return frechet_distance(output, truth)


class KID(_InceptionSet):
    """Kernel Inception distance over every fifth frame of all clips; unbiased, so that few frames do."""

    name = "kid"
    unit = "squared distance"
    source = "Bińkowski et al. 2018, Demystifying MMD GANs, section 3.1"

    @classmethod
    def distance(cls, output: np.ndarray, truth: np.ndarray) -> float:
        return kernel_distance(output, truth)
