"""What every metric has in common: a name, a direction, a source, and a value that grows frame by frame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from bench.metrics.regions import Regions

if TYPE_CHECKING:
    from talking_face.phones import Phone

Direction = Literal["lower", "higher", "one", "zero"]
"""Which values are better: lower ones, higher ones, or those nearer to one or to zero."""

Requirement = Literal["truth", "driver", "portrait", "sound", "faces"]
"""What a case must have: the true video; a driving video (of self-reenactment the truth itself); the portrait; the
sound that is spoken; the people who should be in the picture."""

MOUTH_OPEN_BY = 0.06
"""Inter-ocular distances by which a mouth must be open more than the portrait's for the inner-lip metrics."""


@dataclass(frozen=True)
class Reference:
    """What a clip's metrics compare with besides the truth: the portrait that a system was given.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        landmarks: (478, 3) float32 px, re-detected on ``image`` as on every other frame; None when that
            failed.
        fps: frames per second of the clip.
        sound: (N,) float32 mono at 16 kHz that is spoken, from the first frame on; None when there is none.
        phones: the sound's phones in seconds; None to have them aligned when a metric asks for them.
        people: those who should be in the picture, where there are several; ``image`` None is someone of whom
            only the presence is known.
    """

    image: np.ndarray | None
    landmarks: np.ndarray | None
    fps: Fraction = Fraction(25)
    sound: np.ndarray | None = field(default=None, repr=False)
    phones: Sequence[Phone] | None = field(default=None, repr=False)
    people: tuple[Reference, ...] = field(default=(), repr=False)

    @cached_property
    def spoken(self) -> list[Phone]:
        """The phones as given, or aligned with pocketsphinx; none where there is no sound."""
        if self.phones is not None:
            return list(self.phones)
        if self.sound is None:
            return []
        from talking_face.alignment import align_speech

        return align_speech(self.sound)

    @cached_property
    def descriptor(self) -> np.ndarray | None:
        """dlib's descriptor of the portrait (`animate.recognition`); None where no face is known in it."""
        from animate import recognition

        return None if self.landmarks is None else recognition.descriptor(self.image, self.landmarks)


@dataclass(frozen=True)
class Sample:
    """One frame of a system's output beside the truth.

    Attributes:
        index: number of the frame in the clip.
        output, truth: (H, W, 3) uint8 RGB of one size.
            The truth is None where the protocol has none.
        regions: masks of the truth's face, mouth, inner lips and eyes inside one crop; None without a truth.
        mouth_open: the truth's mouth is open by ``MOUTH_OPEN_BY`` more than the portrait's.
        output_landmarks, truth_landmarks: (478, 3) float32 px, re-detected on either picture by the same
            detector; None where it found no face or where the frame lies between two steps of the stride.
        redetected: False where the frame lies between two steps of the stride.
        driver: (H', W', 3) uint8 RGB, the driving frame, where it is another than the truth.
        driver_landmarks: (478, 3) px of it, detected as on the other pictures.
        output_faces: (478, 3) px of every face in the output, where several people are asked for; None when
            nobody looked for more than one.
        memo: what several metrics need of this frame and only one of them computes (`shared`).
    """

    index: int
    output: np.ndarray
    truth: np.ndarray | None = None
    regions: Regions | None = None
    mouth_open: bool = False
    output_landmarks: np.ndarray | None = None
    truth_landmarks: np.ndarray | None = None
    redetected: bool = True
    driver: np.ndarray | None = None
    driver_landmarks: np.ndarray | None = None
    output_faces: tuple[np.ndarray, ...] | None = None
    memo: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)

    def shared(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """What ``compute`` gives, computed once a frame whatever the number of metrics that ask."""
        if key not in self.memo:
            self.memo[key] = compute()
        return self.memo[key]

    @property
    def target(self) -> np.ndarray | None:
        """(H, W, 3) uint8: the picture whose expression the output should show: the driver, or the truth."""
        return self.truth if self.driver is None else self.driver

    @property
    def target_landmarks(self) -> np.ndarray | None:
        """Landmarks of `target`."""
        return self.truth_landmarks if self.driver is None else self.driver_landmarks

    @property
    def face_expected(self) -> bool:
        """Whether the output was searched for a face that it should show."""
        return self.redetected and (self.target is None or self.target_landmarks is not None)

    @property
    def face_lost(self) -> bool:
        """Whether it shows none although it should."""
        return self.face_expected and self.output_landmarks is None

    @property
    def output_descriptor(self) -> np.ndarray | None:
        """dlib's descriptor of the output's face; None where no face was found."""
        return self._descriptor("output", self.output, self.output_landmarks)

    @property
    def truth_descriptor(self) -> np.ndarray | None:
        """dlib's descriptor of the truth's face; None where no face was found."""
        return self._descriptor("truth", self.truth, self.truth_landmarks)

    def _descriptor(self, which: str, image: np.ndarray | None, landmarks: np.ndarray | None) -> np.ndarray | None:
        from animate import recognition

        if image is None or landmarks is None:
            return None
        return self.shared(("descriptor", which), lambda: recognition.descriptor(image, landmarks))

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
        requires: what a case must have; elsewhere the metric is not computed.
        takes_reference: the constructor takes the clip's `Reference`.
        failed: the value of a case that a system failed on or gave no file for; None where such a case has no
            value and is only counted as failed.
        unfit: why a clip that has everything may still have no value, whatever the output.
        spoilt: why an output may have none where others have one.
        reads_face: the value comes from the face that is re-detected on the output, so that an output which lost its
            face too often has none (`bench.metrics.lost`).
    """

    name: ClassVar[str]
    direction: ClassVar[Direction]
    unit: ClassVar[str]
    source: ClassVar[str]
    needs: ClassVar[str] = ""
    requires: ClassVar[frozenset[Requirement]] = frozenset({"truth"})
    takes_reference: ClassVar[bool] = False
    failed: ClassVar[float | None] = None
    unfit: ClassVar[str] = "no face to measure"
    spoilt: ClassVar[str] = "the output shows nothing to measure"
    reads_face: ClassVar[bool] = False

    @classmethod
    def create(cls, reference: Reference) -> Metric:
        """A fresh one for a clip."""
        return cls(reference) if cls.takes_reference else cls()

    @classmethod
    def missing(cls) -> str | None:
        """What has to be installed before this metric can be computed; None when it can be."""
        return None

    @abstractmethod
    def update(self, sample: Sample) -> None:
        """Take in the next frame. Frames come in order; indices may have gaps."""

    @abstractmethod
    def value(self) -> float | None:
        """The clip's value so far; None when the clip is not fit to measure, whatever the output; NaN when the output
        is not although the clip is."""

    @classmethod
    def badness(cls, value: float) -> float:
        """A number that is smaller for better values, for comparing two systems."""
        return {"lower": value, "higher": -value, "one": abs(value - 1.0), "zero": abs(value)}[cls.direction]


class SetMetric(Metric):
    """A metric of all clips of a system together: two distributions compared, never a mean of clips.

    A clip gives features; `combine` makes the one number of them.
    """

    def value(self) -> None:
        """A single clip has none."""
        return None

    @abstractmethod
    def features(self) -> dict[str, np.ndarray]:
        """ "output" and "truth": (n, d) float32 features of the clip so far; n may be 0."""

    @classmethod
    @abstractmethod
    def combine(cls, clips: Sequence[Mapping[str, np.ndarray]]) -> float | None:
        """The metric over clips; None when there are too few features."""


def joined(clips: Sequence[Mapping[str, np.ndarray]], key: str) -> np.ndarray:
    """One kind of the features of several clips, (sum of n, d) float64; (0, 0) of none."""
    found = [np.asarray(clip[key], np.float64) for clip in clips if len(clip[key])]
    return np.concatenate(found) if found else np.zeros((0, 0))


@dataclass
class FrameMean(Metric):
    """A metric that is the mean of one number per frame.

    A frame whose face is lost counts as the clip's worst one where the metric reads faces.
    """

    total: float = field(default=0.0, init=False)
    count: int = field(default=0, init=False)
    lost: int = field(default=0, init=False)
    worst: float | None = field(default=None, init=False)

    @abstractmethod
    def measure(self, sample: Sample) -> float | None:
        """The frame's number; None when the frame is not fit to measure."""

    def update(self, sample: Sample) -> None:
        number = self.measure(sample)
        if number is not None:
            self.total += number
            self.count += 1
            self.worst = number if self.worst is None else max(self.worst, number, key=self.badness)
        elif self.reads_face and sample.face_lost:
            self.lost += 1

    def value(self) -> float | None:
        if not self.count:
            return None
        return (self.total + self.lost * self.worst) / (self.count + self.lost)
