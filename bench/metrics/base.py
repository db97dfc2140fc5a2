"""What every metric has in common: a name, a direction, a source, and a value that grows frame by frame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np

from bench.metrics.regions import Regions

Direction = Literal["lower", "higher", "one"]
"""Which values are better: lower ones, higher ones, or those nearer to one."""

MOUTH_OPEN_BY = 0.06
"""Inter-ocular distances by which a mouth must be open more than the portrait's for the inner-lip metrics."""


@dataclass(frozen=True)
class Reference:
    """What a clip's metrics compare with besides the truth: the portrait that a system was given.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        landmarks: (478, 3) float32 px, re-detected on ``image`` as on every other frame; None when that
            failed.
    """

    image: np.ndarray
    landmarks: np.ndarray | None


@dataclass(frozen=True)
class Sample:
    """One frame of a system's output beside the truth.

    Attributes:
        index: number of the frame in the clip.
        output, truth: (H, W, 3) uint8 RGB of one size.
        regions: masks of the truth's face, mouth, inner lips and eyes inside one crop.
        mouth_open: the truth's mouth is open by ``MOUTH_OPEN_BY`` more than the portrait's.
        output_landmarks, truth_landmarks: (478, 3) float32 px, re-detected on either picture by the same
            detector; None where it found no face or where the frame lies between two steps of the stride.
        redetected: False where the frame lies between two steps of the stride.
    """

    index: int
    output: np.ndarray
    truth: np.ndarray
    regions: Regions
    mouth_open: bool = False
    output_landmarks: np.ndarray | None = None
    truth_landmarks: np.ndarray | None = None
    redetected: bool = True

    @cached_property
    def output_crop(self) -> np.ndarray:
        """The output inside the regions' crop, (h, w, 3) float32 in [0, 1]."""
        return crop(self.output, self.regions.box)

    @cached_property
    def truth_crop(self) -> np.ndarray:
        """The truth inside the regions' crop, (h, w, 3) float32 in [0, 1]."""
        return crop(self.truth, self.regions.box)


def crop(image: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """Cut ``box`` (x0, y0, x1, y1; ends excluded) out of a uint8 image as float32 in [0, 1]."""
    x0, y0, x1, y1 = box
    return image[y0:y1, x0:x1, :3].astype(np.float32) / 255.0


def luminance(image: np.ndarray) -> np.ndarray:
    """Rec. 601 luma of an RGB image, (..., 3) -> (...), in the image's own range."""
    return image @ np.array([0.299, 0.587, 0.114], dtype=np.float32)


class Metric(ABC):
    """One column of a report, made anew for every clip of every system.

    Class attributes:
        name: the column's name.
        direction: which values are better.
        unit: unit or value range.
        source: paper and section, or the definition's origin.
        needs: weights or packages beyond the core, with their licence; empty when none.
    """

    name: ClassVar[str]
    direction: ClassVar[Direction]
    unit: ClassVar[str]
    source: ClassVar[str]
    needs: ClassVar[str] = ""

    @classmethod
    def missing(cls) -> str | None:
        """What has to be installed before this metric can be computed; None when it can be."""
        return None

    @abstractmethod
    def update(self, sample: Sample) -> None:
        """Take in the next frame. Frames come in order; indices may have gaps."""

    @abstractmethod
    def value(self) -> float | None:
        """The clip's value so far; None when no frame of the clip was fit to measure."""

    @classmethod
    def badness(cls, value: float) -> float:
        """A number that is smaller for better values, for comparing two systems."""
        return {"lower": value, "higher": -value, "one": abs(value - 1.0)}[cls.direction]


@dataclass
class FrameMean(Metric):
    """A metric that is the mean of one number per frame."""

    total: float = field(default=0.0, init=False)
    count: int = field(default=0, init=False)

    @abstractmethod
    def measure(self, sample: Sample) -> float | None:
        """The frame's number; None when the frame is not fit to measure."""

    def update(self, sample: Sample) -> None:
        number = self.measure(sample)
        if number is not None:
            self.total += number
            self.count += 1

    def value(self) -> float | None:
        return self.total / self.count if self.count else None
