"""The One-Euro filter (Casiez, Roussel, Vogel 2012): a low-pass whose cut-off rises with speed.

Slow signals lose their jitter, fast ones (a blink, a plosive) pass. Channels that move together share one
speed, so that all points of an eyelid open up when the lid as a whole moves. `OneEuro` is causal, for live
use; `smooth` knows the whole clip, has no lag and sees a fast move before it begins.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from animate import topology as mesh
from animate.errors import OptionError

if TYPE_CHECKING:
    from animate.motion import Motion

_EYE_REGIONS = (
    mesh.RIGHT_EYE + mesh.RIGHT_LID_RING + mesh.RIGHT_CREASE_RING,
    mesh.LEFT_EYE + mesh.LEFT_LID_RING + mesh.LEFT_CREASE_RING,
)


#: How many times the speed of the calm moments counts as jitter.
JITTER_MARGIN = 1.5


@dataclass(frozen=True)
class OneEuroConfig:
    """min_cutoff: Hz at rest (lower is smoother). beta: Hz of cut-off per unit/s of speed (higher lags less).
    derivative_cutoff: Hz, for the causal filter's speed estimate."""

    min_cutoff: float = 1.0
    beta: float = 1.0
    derivative_cutoff: float = 1.0

    def __post_init__(self) -> None:
        if not (self.min_cutoff > 0 and self.beta >= 0 and self.derivative_cutoff > 0):
            raise OptionError(f"One-Euro needs min_cutoff > 0, beta >= 0, derivative_cutoff > 0, got {self}.")


def _blend(cutoff: np.ndarray | float, fps: float) -> np.ndarray:
    """The first-order low-pass's weight of the new sample: section 3 of the paper."""
    rate = 2 * np.pi * np.asarray(cutoff) / fps
    return rate / (rate + 1)


class OneEuro:
    """A causal filter of frames (N, C) at a fixed rate; rows of `groups` (N,) integers share their speed."""

    def __init__(self, fps: float, config: OneEuroConfig | None = None, groups: np.ndarray | None = None):
        self.fps, self.config, self.groups = float(fps), config or OneEuroConfig(), groups
        self._value: np.ndarray | None = None
        self._speed: np.ndarray | None = None

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """The filtered frame, of the same shape; the first one passes unchanged."""
        frame = np.asarray(frame, np.float64)
        if self._value is None:
            self._value, self._speed = frame, np.zeros_like(frame)
            return frame
        slope = (frame - self._value) * self.fps
        self._speed = self._speed + _blend(self.config.derivative_cutoff, self.fps) * (slope - self._speed)
        speed = _pool(np.linalg.norm(self._speed, axis=-1)[None], self.groups)[0]
        weight = _blend(self.config.min_cutoff + self.config.beta * speed, self.fps)[:, None]
        self._value = self._value + weight * (frame - self._value)
        return self._value


def _pool(speed: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """The root mean square speed (T, N) of each point's group; without groups each point keeps its own."""
    if groups is None:
        return speed
    pooled = np.empty_like(speed)
    for group in np.unique(groups):
        members = groups == group
        pooled[:, members] = np.sqrt(np.mean(speed[:, members] ** 2, axis=1, keepdims=True))
    return pooled


def _widest(speed: np.ndarray, reach: int) -> np.ndarray:
    """The largest speed (T, N) within `reach` frames: the filter opens before a fast move begins."""
    padded = np.pad(speed, ((reach, reach), (0, 0)), mode="edge")
    return np.max([padded[i : i + len(speed)] for i in range(2 * reach + 1)], axis=0)


def smooth(
    signal: np.ndarray, fps: float, config: OneEuroConfig | None = None, groups: np.ndarray | None = None
) -> np.ndarray:
    """A whole clip (T, N, C) filtered forwards and backwards, so without lag; float64.

    The speed is the largest step within two frames, less that of the clip's calm moments (the 20th
    percentile), instead of the causal estimate.
    """
    signal = np.asarray(signal, np.float64)
    if len(signal) < 3:
        return signal.copy()
    config = config or OneEuroConfig()
    steps = np.linalg.norm(np.diff(signal, axis=0), axis=-1) * fps  # (T - 1, N)
    speed = _pool(np.maximum(np.pad(steps, ((1, 0), (0, 0))), np.pad(steps, ((0, 1), (0, 0)))), groups)
    # What the signal does even when it rests is jitter and must not open the filter.
    speed = np.maximum(speed - JITTER_MARGIN * np.percentile(speed, 20, axis=0), 0.0)
    speed = _widest(speed, reach=2)
    weight = _blend(config.min_cutoff + config.beta * speed, fps)[..., None]

    def one_way(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        out = np.empty_like(values)
        out[0] = values[0]
        for t in range(1, len(values)):
            out[t] = out[t - 1] + weights[t] * (values[t] - out[t - 1])
        return out

    return (one_way(signal, weight) + one_way(signal[::-1], weight[::-1])[::-1]) / 2


def smooth_motion(motion: Motion, strength: float) -> Motion:
    """`Motion.smooth`: pose, expression and gaze without jitter; strength 0 changes nothing, 1 is calmest.

    Lids, lips, brows and the rest of the face each have one speed; lids and lips open the filter soonest.
    """
    if not 0 <= strength <= 1:
        raise OptionError(f"The smoothing strength must lie between 0 and 1, not {strength}.")
    if strength == 0:
        return motion
    fps = float(motion.fps)
    # From almost transparent (8 Hz) to calm (0.8 Hz at rest).
    rest = 8.0 * 0.1**strength
    groups = np.zeros(mesh.POINTS, int)
    members = (mesh.REGIONS["brows"], mesh.LIPS, *_EYE_REGIONS, mesh.RIGHT_IRIS, mesh.LEFT_IRIS)
    for number, points in enumerate(members, 1):
        groups[list(points)] = number
    face = OneEuroConfig(min_cutoff=rest, beta=40.0)  # Hz per IOD/s
    fast = OneEuroConfig(min_cutoff=rest, beta=300.0)
    expression = smooth(motion.expression, fps, face, groups)
    quick = np.isin(groups, (2, 3, 4))
    expression[:, quick] = smooth(motion.expression[:, quick], fps, fast, groups[quick])
    head = OneEuroConfig(min_cutoff=rest, beta=12.0)  # Hz per rad/s or IOD/s
    track = np.concatenate([motion.translation, motion.scale[:, None]], axis=1)[:, None]  # (T, 1, 4)
    track = smooth(track, fps, head)[:, 0]
    return replace(
        motion,
        rotation=smooth(motion.rotation[:, None], fps, head)[:, 0],
        translation=track[:, :3],
        scale=track[:, 3],
        expression=expression,
        gaze=smooth(motion.gaze, fps, OneEuroConfig(min_cutoff=rest, beta=20.0)),
    )
