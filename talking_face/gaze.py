"""Where the eyes look: fixations and saccades, the same at any moment whatever stretch is asked for.

A speaker looks at the viewer most of the time and aside for a moment now and then; when the head turns, the eyes turn
back, so that the look stays (the vestibulo-ocular reflex).
"""

from __future__ import annotations

import numpy as np

from animate import pose
from animate.arkit import EYEBALL_RADIUS
from talking_face import noise
from talking_face.head_motion import EASE_IN
from talking_face.prosody import smootherstep

_KEEPS_LOOKING = 0.6  # of a head turn is taken back by the eyes
_SACCADE = 0.05  # seconds


def gaze(times: np.ndarray, seed: int, amount: float, rotation: np.ndarray | None = None) -> np.ndarray:
    """Offsets (n, 2, 2) of the gaze, in eye widths as `Motion.gaze`, at `times` (n,) seconds: x, y of both eyes.

    Fixations of 0.4 to 3 s, mostly on the viewer, with quick saccades between; rotation (n, 3) of `head`: the eyes
    turn back against it. `amount` as for `head`, whole from 0.5 on.
    """
    times = np.asarray(times, np.float64)
    offset = _fixations(times, seed)
    offset *= smootherstep(times / EASE_IN)[:, None]
    if rotation is not None and len(times):
        pitch, yaw, _ = pose.head_angles(rotation).T
        offset -= _KEEPS_LOOKING * EYEBALL_RADIUS * np.stack([np.sin(yaw), np.sin(pitch)], axis=1)
    return min(1.0, 2 * amount) * np.repeat(offset[:, None], 2, axis=1)


def _fixations(times: np.ndarray, seed: int) -> np.ndarray:
    """Where the eyes rest (n, 2): a new place about each second, at a moment of its own, reached in one saccade."""
    cell = np.floor(times).astype(np.int64)
    out = np.zeros((len(times), 2))
    # The moment of cell c lies in [c, c + 0.9): the last two moments and the coming one are all that can matter.
    here = _places(seed, cell - 2)
    for number in (cell - 1, cell):
        moment = number + 0.9 * noise.uniform(seed, "gaze/moment", number)
        there = _places(seed, number)
        here = here + smootherstep((times - moment) / _SACCADE)[:, None] * (there - here)
    out += here
    return out


def _places(seed: int, number: np.ndarray) -> np.ndarray:
    """The place (n, 2) that saccade `number` (n,) goes to, eye widths; two in five keep the one before."""
    target = number.copy()
    for _ in range(2):  # a fixation lasts up to three cells
        stays = noise.uniform(seed, "gaze/stays", target) < 0.4
        target = np.where(stays, target - 1, target)
    aside = noise.uniform(seed, "gaze/aside", target) < 0.15
    x = noise.normal(seed, "gaze/x", target).clip(-2, 2) * np.where(aside, 0.045, 0.012)
    y = noise.normal(seed, "gaze/y", target).clip(-2, 2) * np.where(aside, 0.02, 0.006)
    return np.stack([x, y], axis=1)
