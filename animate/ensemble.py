"""Motions and expression features of several faces brought to one length, motions to one frame rate as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from animate.errors import OptionError
from animate.motion import Motion, close_seams
from animate.retarget import STRENGTHS, apply_levels

ENDS = ("hold", "loop", "trim")
EASE = 0.8  # seconds in which a held face comes to rest
BLEND = 0.25  # seconds on each side of a loop's seam in which what is left of a step fades


@dataclass(frozen=True)
class Fitting:
    """What became of a motion.

    motion: at the common rate and length. rate: its own frames per second. frames: how many it had at the common rate.
    """

    motion: Motion
    rate: Fraction
    frames: int

    @property
    def missing(self) -> int:
        """Frames by which the motion was too short; negative where it was cut."""
        return len(self.motion) - self.frames


def check_ends(ends: str) -> str:
    """The word itself. Raises OptionError for anything but a member of ENDS."""
    if ends not in ENDS:
        raise OptionError(f"Unknown way {ends!r} to end together: choose from {', '.join(ENDS)}.")
    return ends


def common_rate(motions: Sequence[Motion]) -> Fraction:
    """The fastest motion's frames per second, so that none loses frames."""
    return max(motion.fps for motion in motions)


def together(
    motions: Sequence[Motion], ends: str = "hold", fps: Fraction | None = None, frames: int | None = None
) -> list[Fitting]:
    """The motions at one rate and of one length, in the same order.

    Args:
        ends: "hold" (the last frame stays and eases to rest), "loop" (again from the start, the seam blended so that
            nothing jumps) or "trim" (all end with the shortest).
        fps: the common rate; that of the fastest motion when None.
        frames: the common length; that of the longest motion when None, of the shortest with "trim". Longer motions are
            cut.

    Raises:
        OptionError: an unknown word, no motion, a rate or length that is not positive.
    """
    check_ends(ends)
    if not motions:
        raise OptionError("Give at least one motion.")
    if frames is not None and frames < 1:
        raise OptionError(f"The common length must be 1 frame or more, not {frames}.")
    fps = common_rate(motions) if fps is None else Fraction(fps)
    even = [motion if motion.fps == fps else motion.resample(fps) for motion in motions]
    if frames is None:
        frames = (min if ends == "trim" else max)(len(motion) for motion in even)
    lengthen = loop if ends == "loop" else hold
    return [
        Fitting(lengthen(now, frames) if len(now) < frames else now.take(slice(0, frames)), before.fps, len(now))
        for before, now in zip(motions, even, strict=True)
    ]


def hold(motion: Motion, frames: int) -> Motion:
    """The motion made `frames` long: its last frame stays, and within EASE seconds face and head come to rest."""
    known = len(motion)
    longer = motion.take(np.minimum(np.arange(frames), known - 1))
    seconds = np.maximum(np.arange(frames) - (known - 1), 0) / float(motion.fps)
    level = 0.5 + 0.5 * np.cos(np.pi * np.minimum(seconds / EASE, 1.0))
    rested = apply_levels(longer, {name: level for name in (*STRENGTHS, "rest")})
    later = np.arange(frames) >= known
    arrays = {name: getattr(longer, name).copy() for name in ("rotation", "translation", "scale", "expression", "gaze")}
    for name, values in arrays.items():
        # the motion's own frames stay bit for bit, without a way through matrices and back
        values[later] = getattr(rested, name)[later]
    return replace(longer, valid=longer.valid | later, neutral_index=motion.neutral_index, **arrays)


def loop(motion: Motion, frames: int) -> Motion:
    """The motion made `frames` long: again and again from its start, each seam blended over BLEND seconds."""
    rounds = -(-frames // len(motion))
    blend = min(BLEND, float(len(motion) / motion.fps) / 2)
    joined = Motion.join([motion] * rounds, blend)
    return replace(joined.take(slice(0, frames)), source=motion.source, licence=motion.licence)


def fit_features(features: np.ndarray, frames: int, ends: str = "hold", fps: Fraction | float = 25) -> np.ndarray:
    """Expression features (T, n) made `frames` long.

    Args:
        ends: where they are too short, "loop" plays them again and again from their start, each seam blended over BLEND
            seconds; otherwise the last frame stays (what the features of a resting face would be, nothing says).

    Raises:
        OptionError: an unknown word, or less than one frame.
    """
    check_ends(ends)
    if frames < 1:
        raise OptionError(f"The common length must be 1 frame or more, not {frames}.")
    known = len(features)
    if frames <= known or ends != "loop":
        return features[np.minimum(np.arange(frames), known - 1)]
    rounds = -(-frames // known)
    looped = np.concatenate([features] * rounds)
    close_seams(looped, known * np.arange(1, rounds), max(1, min(round(BLEND * fps), known // 2)))
    return looped[:frames]
