"""Blinks with the statistics of people's, the same at any moment whatever stretch is asked for.

17 a minute is the mean at rest of Bentivoglio et al. 1997 (Movement Disorders 12:1028). Intervals are strongly skewed
to the right ("Spontaneous interblink time distributions", Invest. Ophthalmol. Vis. Sci. 52:3419, 2011), here a
log-normal with a spread of 0.6. The lids fall in about 0.1 s and rise in about twice that (Stern, Walrath, Goldstein
1984, Psychophysiology 21:22). Speakers blink at the ends of phrases (Nakano and Kitazawa 2010, Experimental Brain
Research 205:577): a blink that is due waits a little for a pause.
"""

from __future__ import annotations

import functools

import numpy as np

from animate.layers import smoothstep
from talking_face import noise
from talking_face.curves import RATE
from talking_face.prosody import Prosody

RATE_PER_MINUTE = 17.0
#: Standard deviation of the intervals' logarithm.
SPREAD = 0.6
#: Seconds the lids take to fall, stay shut (longer than a frame of film, so that a frame shows it) and rise.
FALL, SHUT, RISE = 0.10, 0.05, 0.20
#: How far the lids shut at most: a hair's breadth is left, or a warped picture has no lash line to show.
PEAK = 0.96
#: Share of blinks that are followed by a second one, and after how many seconds.
DOUBLE, DOUBLE_AFTER = 0.08, 0.42
#: Seconds that a blink waits for a pause in the speech.
WAIT = 0.5
#: Shortest time between two blinks that are due in seconds, but for double ones; longest in means.
SHORTEST, LONGEST = 0.9, 3.5
_LASTS = FALL + SHUT + RISE


def blinks(
    times: np.ndarray, seed: int, rate_per_minute: float = RATE_PER_MINUTE, prosody: Prosody | None = None
) -> np.ndarray:
    """How far the lids are shut (n,) in [0, 1] at `times` (n,) seconds, ascending; 0 before the first blink.

    prosody: the speech from WAIT + DOUBLE_AFTER + 0.4 s before the first time on; without it nobody waits for a pause.
    """
    times = np.asarray(times, np.float64)
    shut = np.zeros(len(times))
    if not len(times) or rate_per_minute <= 0:
        return shut
    due = _due(seed, float(rate_per_minute), float(times[-1]))
    for number in np.flatnonzero(due >= times[0] - _LASTS - WAIT - DOUBLE_AFTER):
        start = _in_pause(float(due[number]), prosody)
        np.maximum(shut, _closing(times - start), out=shut)
        if noise.uniform(seed, "blink/double", number) < DOUBLE:
            np.maximum(shut, _closing(times - start - DOUBLE_AFTER), out=shut)
    return shut


def _closing(seconds: np.ndarray) -> np.ndarray:
    """One blink (n,), `seconds` after its beginning: it falls fast, stays shut and rises slower and slower."""
    fall = smoothstep(seconds / FALL)
    rise = np.clip((seconds - FALL - SHUT) / RISE, 0, 1)
    return PEAK * fall * (1 - smoothstep(np.sqrt(rise) * (1 - 0.25 * (1 - rise))))


def _due(seed: int, rate: float, until: float) -> np.ndarray:
    """The times (m,) of all blinks that are due up to `until` seconds."""
    blocks = 1
    while (due := _schedule(seed, rate, blocks))[-1] <= until:
        blocks *= 2
    return due[: np.searchsorted(due, until, side="right")]


@functools.lru_cache(maxsize=64)
def _schedule(seed: int, rate: float, blocks: int) -> np.ndarray:
    """The first 64 * `blocks` times at which a blink is due."""
    index = np.arange(64 * blocks)
    mean = (1 + DOUBLE) * 60 / rate
    intervals = mean * np.exp(SPREAD * noise.normal(seed, "blink/interval", index) - SPREAD**2 / 2)
    intervals[0] *= 0.25 + 0.5 * noise.uniform(seed, "blink/first", 0)  # the video begins somewhere in an interval
    due = np.cumsum(np.clip(intervals, min(SHORTEST, mean / 2), LONGEST * mean))
    due.flags.writeable = False
    return due


def _in_pause(due: float, prosody: Prosody | None) -> float:
    """When a blink that is due begins: at the first row of a pause, or after WAIT."""
    if prosody is None:
        return due
    first = int(np.ceil(due * RATE))
    rows = np.arange(first, first + round(WAIT * RATE) + 1)
    known = np.clip(rows - prosody.start, 0, len(prosody.speech) - 1)
    # Rows that are not there yet are rows of a future that this stretch does not show.
    quiet = np.flatnonzero((prosody.speech[known] < 0.5) & (rows - prosody.start < len(prosody.speech)))
    return max(due, float(rows[quiet[0]]) / RATE) if len(quiet) else due + WAIT
