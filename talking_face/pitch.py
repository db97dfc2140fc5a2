"""Pitch and voicing of speech: librosa's probabilistic YIN (Mauch and Dixon, ICASSP 2014) on a copy of the sound at 8
kHz.

Its Viterbi decoding knows no end of the past; here it sees 0.5 s before and 0.08 s after the rows that are asked for.
"""

from __future__ import annotations

import functools

import numpy as np

RATE = 8_000
HOP = RATE // 50
FRAME = 512
LOWEST, HIGHEST, REFERENCE = 80.0, 750.0, 200.0  # Hz
#: Half a semitone and 25 thresholds: a third of the time of librosa's own 0.1 and 100, and fine enough for a contour.
RESOLUTION, THRESHOLDS = 0.5, 25

_PAST_ROWS, _FUTURE_ROWS = 25, 4
_TAPS = 49
_REACH = FRAME + _TAPS // 2  # 16 kHz samples on each side of a row's centre

#: 16 kHz samples before the first and after the last row's centre that `pitch_rows` takes.
PAST_SAMPLES = _PAST_ROWS * 2 * HOP + _REACH
FUTURE = _FUTURE_ROWS * 2 * HOP + _REACH


def pitch_rows(sound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pitch of consecutive rows at 50 Hz.

    Args:
        sound: 16 kHz samples from PAST_SAMPLES before the first row's centre to FUTURE after the last one's.

    Returns:
        log2(F0 / 200 Hz), 0 where unvoiced; the probability of a voice, 0 where unvoiced. Both (n,).
    """
    import librosa

    pitch, voiced, chance = librosa.pyin(
        at_8_khz(sound),
        fmin=LOWEST,
        fmax=HIGHEST,
        sr=RATE,
        frame_length=FRAME,
        hop_length=HOP,
        n_thresholds=THRESHOLDS,
        resolution=RESOLUTION,
        fill_na=REFERENCE,
        center=False,
    )
    own = slice(_PAST_ROWS, len(pitch) - _FUTURE_ROWS)
    voiced = voiced[own]
    return np.where(voiced, np.log2(pitch[own] / REFERENCE), 0), np.where(voiced, chance[own], 0)


def at_8_khz(sound: np.ndarray) -> np.ndarray:
    """Every second sample of 16 kHz sound after a low pass; the first and last 24 samples are used up."""
    from scipy.signal import upfirdn

    return upfirdn(_low_pass(), sound, down=2)[_TAPS // 2 : len(sound) // 2]


@functools.cache
def _low_pass() -> np.ndarray:
    from scipy.signal import firwin

    return firwin(_TAPS, 3600, fs=2 * RATE).astype(np.float32)
