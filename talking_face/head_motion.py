"""Small head motion and brow raises of somebody who speaks: seeded, smooth, and driven by the stress of the speech.

Nods fall on stressed syllables and the head is calmer in pauses (Hadar et al. 1983, Human Movement Science 2:35;
Munhall et al. 2004, Psychological Science 15:133); brows rise with some of the accents (Cave et al. 1996, ICSLP).
Everything is a function of absolute time, the seed and `Prosody`, begins at rest at time 0 and is bounded, so nothing
drifts away.
"""

from __future__ import annotations

import numpy as np

from animate import pose
from talking_face import noise
from talking_face.curves import RATE
from talking_face.prosody import Prosody, smootherstep

#: Degrees of pitch, yaw and roll that a lively head (amount 1) sways at most.
SWAY = (2.2, 5.0, 3.0)
#: Degrees of the strongest nod at amount 1.
NOD = 4.5
#: Seconds before and after an accent's row over which its nod or brow raise lasts.
BEFORE, AFTER = 0.05, 0.85
#: Where the head turns about, canonical IOD: in the neck, below and behind the eyes.
PIVOT = np.array([0.0, 1.1, 0.85])
#: Seconds from rest into motion at the beginning.
EASE_IN = 1.4

_NOD_TOP, _BROW_TOP, _BROW_HOLD = 0.20, 0.14, 0.12  # seconds after the accent
_CALM = 0.45  # of the sway is left in pauses
_SETTLING = 50  # rows over which the sway follows the speech
_BREATH = 0.25  # Hz
_NODS, _RAISES = 0.75, 0.45  # share of accents with a nod, with a raise


def head(times: np.ndarray, seed: int, amount: float, prosody: Prosody | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Rotation vectors (n, 3) in radians and translations (n, 3) in IOD off the head's rest, at `times` (n,) s.

    amount: 0 still (exactly zero), 0.5 natural, 1 lively. prosody: from 1 s before the first time on; without it, an
    idle head.
    """
    times = np.asarray(times, np.float64)
    if amount == 0 or not len(times):
        return np.zeros((len(times), 3)), np.zeros((len(times), 3))
    ease = smootherstep(times / EASE_IN)
    life = _CALM + (1 - _CALM) * _settled(times, prosody)
    angles = np.empty((len(times), 3))  # pitch, yaw, roll in degrees
    for axis, (name, reach) in enumerate(zip(("pitch", "yaw", "roll"), SWAY, strict=True)):
        slow = noise.wave(times, seed, f"head/{name}", 2.2)
        fast = noise.wave(times, seed, f"head/{name}/fast", 0.9)
        angles[:, axis] = reach * life * np.tanh(1.6 * slow + 0.5 * fast)
    breath = np.sin(2 * np.pi * (_BREATH * times + 0.3 * noise.wave(times, seed, "head/breath", 4.0)))
    angles[:, 0] += _nods(times, seed, prosody) + 0.25 * breath
    angles *= amount * ease[:, None]
    rotation = pose.rotation_from_angles(np.radians(angles))
    translation = PIVOT - np.einsum("tij,j->ti", pose.rotation_matrices(rotation), PIVOT)
    translation[:, 1] += 0.006 * amount * ease * breath
    return rotation, translation


def brows(times: np.ndarray, seed: int, amount: float, prosody: Prosody | None = None) -> np.ndarray:
    """How far the brows are raised (n,) in [0, 1] at `times` (n,) seconds; `amount` as for `head`."""
    times = np.asarray(times, np.float64)
    raised = np.zeros(len(times))
    for since, strength, number in _accents(times, prosody):
        if noise.uniform(seed, "brow", number) < _RAISES:
            level = strength * (0.6 + 0.4 * noise.uniform(seed, "brow/height", number))
            up = smootherstep((since + BEFORE) / (_BROW_TOP + BEFORE))
            down = smootherstep((since - _BROW_TOP - _BROW_HOLD) / (AFTER - _BROW_TOP - _BROW_HOLD))
            raised = np.maximum(raised, level * up * (1 - down))
    return np.minimum(1.0, 2 * amount) * raised


def _nods(times: np.ndarray, seed: int, prosody: Prosody | None) -> np.ndarray:
    """Pitch (n,) in degrees, down on accents; nods in close succession do not add up beyond NOD."""
    down = np.zeros(len(times))
    for since, strength, number in _accents(times, prosody):
        if noise.uniform(seed, "nod", number) < _NODS:
            level = strength * (0.6 + 0.4 * noise.uniform(seed, "nod/depth", number))
            fall = smootherstep((since + BEFORE) / (_NOD_TOP + BEFORE))
            rise = smootherstep((since - _NOD_TOP) / (AFTER - _NOD_TOP))
            down += level * fall * (1 - rise)
    return NOD * np.tanh(1.2 * down)


def _accents(times: np.ndarray, prosody: Prosody | None):
    """Seconds since (n,), strength and absolute row of each accent that matters at `times`."""
    if prosody is None or not len(times):
        return
    for row in np.flatnonzero(prosody.accents):
        number = prosody.start + int(row)
        since = times - number / RATE
        if since[0] < AFTER and since[-1] > -BEFORE:
            yield since, float(prosody.accents[row]), number


def _settled(times: np.ndarray, prosody: Prosody | None) -> np.ndarray:
    """How far speech has taken hold (n,) in [0, 1]: `Prosody.speech` of the last second, smoothly."""
    if prosody is None or not len(prosody.speech):
        return np.zeros(len(times))
    weights = np.hanning(_SETTLING + 2)[1:-1]
    padded = np.pad(prosody.speech, (_SETTLING - 1, 0), mode="edge")
    slow = np.convolve(padded, weights / weights.sum(), mode="valid")
    return np.interp(times * RATE - prosody.start, np.arange(len(slow)), slow)
