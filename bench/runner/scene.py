"""A case made ready: the portrait, who moves in it, and where each face is measured; the same for all systems."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from animate.errors import MienError
from animate.portrait import Portrait
from bench.metrics.base import Reference
from bench.runner.clip import TrackedClip
from bench.suites.manifest import Case

SAMPLE_RATE = 16_000


class LeftOut(MienError):
    """A case that no system, or not this system, can be measured on; the sentence says why."""


@dataclass(frozen=True)
class Actor:
    """Who moves: a face of the portrait (an index; None where none is found) and the clip that drives it."""

    face: int | None
    clip: TrackedClip


@dataclass(frozen=True)
class View:
    """A part of the picture in which one face is measured.

    Attributes:
        box: (x0, y0, x1, y1) px of the whole picture, ends excluded.
        reference: the portrait inside the box.
        near: (T or 1, 478, 3) px inside the box where the face is looked for first; None: nobody is there.
        others: (n, 2) px inside the box, middles of other people's faces in the portrait.
        truth, driver: clips of T frames; None where the case has none. The truth's frames are of the box's size.
    """

    box: tuple[int, int, int, int]
    reference: Reference
    near: np.ndarray | None
    truth: TrackedClip | None = None
    driver: TrackedClip | None = None
    others: np.ndarray | tuple = ()

    def looked(self, index: int, stride: int) -> bool:
        """Whether the face is looked for on a frame: where the clip that is followed was looked at, too."""
        followed = self.driver or self.truth
        return index % stride == 0 if followed is None else followed.looked(index)


@dataclass(frozen=True)
class Scene:
    """A case, ready.

    Attributes:
        case: which one.
        portrait: picture and faces; None where a system makes its picture of nothing but words and faces.
        fps, count: rate and number of the frames that are asked for.
        mode: "absolute" where the truth is the driver, else "relative".
        actors: who moves.
        views: where faces are measured.
        people: who should be in the picture, where there are several.
        sound: (N,) float32 mono at 16 kHz that is spoken.
        audio: the file that the sound comes from.
        notes: sentences on what is not as it should be.
    """

    case: Case
    portrait: Portrait | None
    fps: Fraction
    count: int
    mode: str = "relative"
    actors: tuple[Actor, ...] = ()
    views: tuple[View, ...] = ()
    people: tuple[Reference, ...] = ()
    sound: np.ndarray | None = field(default=None, repr=False)
    audio: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int] | None:
        """(width, height) of the frames that are measured; None: as the system likes."""
        return None if self.portrait is None else self.portrait.image.shape[1::-1]

    @property
    def has(self) -> frozenset[str]:
        """What metrics may ask for: "truth", "driver", "portrait", "sound", "faces"."""
        found = {
            "truth": any(view.truth for view in self.views),
            "driver": any(view.driver or view.truth for view in self.views),
            "portrait": self.portrait is not None and bool(self.views),
            "sound": self.sound is not None,
            "faces": bool(self.people),
        }
        return frozenset(name for name, there in found.items() if there)

    def truth_frames(self) -> Iterator[np.ndarray] | None:
        """The frames that a perfect system gives, (H, W, 3) uint8; None where nobody knows them."""
        clips = [view.truth for view in self.views]
        if not clips or None in clips:
            return None
        return (np.hstack(frames) for frames in zip(*(clip.frames() for clip in clips), strict=True))
