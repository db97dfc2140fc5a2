"""The ways of moving several faces that the group benchmark compares."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from animate.animator import PortraitAnimator
from animate.group import Part
from animate.portrait import Portrait

METHODS = ("group", "naive", "warp", "still")
"""The first is judged. group: `PortraitAnimator.animate_group`. naive: each face is drawn as if it were alone in the
picture, and what it changes is pasted over what was pasted before. warp: the group without prior and network."""

Draw = Callable[[Portrait, Sequence[Part]], list[np.ndarray]]


@dataclass(frozen=True)
class Spent:
    """Seconds by the clock and of the processor (all threads together)."""

    clock: float
    processor: float


def timed(draw: Callable[[], list[np.ndarray]]) -> tuple[list[np.ndarray], Spent]:
    """A call's result and what it took."""
    clock, processor = time.perf_counter(), time.process_time()
    frames = draw()
    return frames, Spent(time.perf_counter() - clock, time.process_time() - processor)


def methods(names: Sequence[str], model: str) -> dict[str, Draw]:
    """Name -> method.

    Raises:
        WeightsError, OptionError: the model is not there, or a name is unknown.
    """
    animator = PortraitAnimator.from_pretrained(model)
    made: dict[str, Draw] = {}
    for name in names:
        if name == "group":
            made[name] = grouped(animator)
        elif name == "naive":
            made[name] = Naive(animator)
        else:
            made[name] = grouped(PortraitAnimator.from_pretrained(method=name))
    return made


def grouped(animator: PortraitAnimator) -> Draw:
    """The engine's own way."""
    return lambda portrait, parts: list(animator.animate_group(portrait, parts))


@dataclass(frozen=True)
class _Patch:
    """What one face changes in one frame: the box's corner, its pixels, and which of them count."""

    corner: tuple[int, int]
    pixels: np.ndarray
    changed: np.ndarray


class Naive:
    """Each face alone, pasted in order.

    Attributes:
        spent: face of the last portrait -> what its last drawing took.
    """

    def __init__(self, animator: PortraitAnimator):
        self.animator = animator
        self.spent: dict[int, Spent] = {}
        self._portrait: Portrait | None = None
        self._patches: dict[tuple[int, int], tuple[Part, list[_Patch]]] = {}

    def __call__(self, portrait: Portrait, parts: Sequence[Part]) -> list[np.ndarray]:
        if portrait is not self._portrait:
            self._portrait, self._patches, self.spent = portrait, {}, {}
        frames = [portrait.image.copy() for _ in range(len(parts[0].motion))]
        for part in parts:
            for frame, patch in zip(frames, self._alone(portrait, part), strict=True):
                x0, y0 = patch.corner
                h, w = patch.changed.shape
                frame[y0 : y0 + h, x0 : x0 + w][patch.changed] = patch.pixels
        return frames

    def _alone(self, portrait: Portrait, part: Part) -> list[_Patch]:
        key = part.face, id(part.motion)  # the part is kept as well, so that the id is not given anew
        if key not in self._patches:
            single = Portrait(portrait.image, [portrait.faces[part.face]], portrait.name)
            frames, self.spent[part.face] = timed(lambda: list(self.animator.animate(single, part.motion)))
            self._patches[key] = part, [_patch(frame, portrait.image) for frame in frames]
        return self._patches[key][1]


def _patch(frame: np.ndarray, image: np.ndarray) -> _Patch:
    changed = (frame != image).any(-1)
    ys, xs = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    if not len(ys):
        return _Patch((0, 0), image[:0, :0], changed[:0, :0])
    box = slice(ys[0], ys[-1] + 1), slice(xs[0], xs[-1] + 1)
    return _Patch((int(xs[0]), int(ys[0])), frame[box][changed[box]], changed[box])
