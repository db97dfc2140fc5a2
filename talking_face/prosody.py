"""What the sound's loudness and pitch say about behaviour: where somebody speaks, and which syllables are stressed.

Both are local: a row needs the features of MEMORY seconds before it and AHEAD seconds after it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter1d

from animate.layers import smoothstep
from talking_face.features import ENERGY, LEVEL, PITCH, VOICING

#: Seconds of features before and after a row that it needs.
MEMORY, AHEAD = 6.5, 0.08

# Speech, in dB: within _RANGE of the loudest of the last seconds, above the noise between the words, not inaudible.
_RANGE, _ABOVE_NOISE, _AUDIBLE, _SOFT = 32.0, 9.0, -58.0, 3.0
_LOUDEST_NOISE = 22.0  # under the loudest: what is louder is speech, whatever the floor
_LASTING = 9  # rows that a noise floor lasts
_SPAN, _QUIET_SPAN = 300, 150  # rows that the loudest and the noise floor are taken over
_VOICE = 50  # rows: without a voiced one among them, only what stands out of the noise is speech
# The gate, in rows: gaps of up to _HANG + _EARLY are no pause; it opens _EARLY before the sound and closes slowly.
_HANG, _EARLY, _OPENING, _CLOSING = 20, 3, 4, 20
# Accents, in rows: the strongest of _BEFORE and _AFTER, against the mean of _MEAN.
_BEFORE, _AFTER, _MEAN = 14, 3, 100
_STANDS_OUT = 0.22


@dataclass
class Prosody:
    """Rows at (start + i) / RATE seconds.

    speech: (n,) in [0, 1], how far the mouth is given to speech: 0 in pauses that last, no dip in gaps under 0.2 s.
    accents: (n,) >= 0, above 0 only in the row of a stressed syllable's peak: how much it stands out, up to 1.
    """

    speech: np.ndarray
    accents: np.ndarray
    start: int

    @classmethod
    def of(cls, features: np.ndarray, start: int) -> Prosody:
        """Of features (n, FEATURES), row 0 being row `start` of the sound."""
        features = np.asarray(features, np.float64)
        return cls(speech_gate(features), accents(features), start)


def loudness(features: np.ndarray) -> np.ndarray:
    """Loudness (n,) dBFS of features (n, FEATURES)."""
    return 20 * (features[:, ENERGY] + features[:, LEVEL]) - 25


def speech_gate(features: np.ndarray) -> np.ndarray:
    """How far the mouth is given to speech (n,), of features (n, FEATURES): `Prosody.speech`.

    Only a silence that lasts takes the mouth from speech, between 0.4 and 0.8 s after the last sound: until then a
    speaker
    draws breath, or is about to begin. So it is at the beginning, before which nothing is known. The gate opens again
    from 60 ms before a sound to 20 ms after its start.
    """
    loud = loudness(features)
    loudest = trailing_max(20 * features[:, LEVEL] - 25, _SPAN)
    held = trailing_max(np.pad(loud, (_LASTING, 0)), _LASTING)[_LASTING:]  # a gap or a fade-in is no noise floor
    noise = -trailing_max(-held, _QUIET_SPAN)
    voiced = window_max(features[:, VOICING], _VOICE, _EARLY) > 0.04
    sure = np.maximum(loudest - _RANGE, np.minimum(noise + _ABOVE_NOISE, loudest - _LOUDEST_NOISE))
    threshold = np.maximum(np.where(voiced, sure, np.maximum(sure, noise + _ABOVE_NOISE)), _AUDIBLE)
    heard = smoothstep((loud - threshold) / (2 * _SOFT) + 0.5)
    given = window_max(np.pad(heard, (_HANG, 0), constant_values=1.0), _HANG, _EARLY)[_HANG:]
    return np.maximum(_trailing_bell(given, _OPENING), _trailing_bell(given, _CLOSING))


def accents(features: np.ndarray) -> np.ndarray:
    """Stressed syllables (n,), of features (n, FEATURES): `Prosody.accents`.

    Prominence is loudness under a voice plus how far the pitch lies over its running mean (both mark accents: Terken
    1991, JASA 89); a stressed syllable is a peak of it that stands out of the last two seconds.
    """
    voice = np.minimum(features[:, VOICING] / 0.05, 1.0)
    strong = np.clip((20 * features[:, ENERGY] + 22) / 20, 0, 1)
    usual = _means(features[:, PITCH] * voice, _MEAN) / np.maximum(_means(voice, _MEAN), 1e-3)
    high = np.clip((features[:, PITCH] - usual) / 0.4, -0.5, 1.0)
    raw = voice * np.maximum(strong + 0.6 * high, 0)
    padded = np.pad(raw, (3, 1), mode="edge")
    # Rounded, so that two equal syllables stay equal whatever was added up before them.
    prominence = np.convolve(padded, (0.15, 0.25, 0.3, 0.2, 0.1), mode="valid").round(6)
    over = prominence - _means(prominence, _MEAN)
    before = window_max(np.pad(prominence, (1, 0), mode="constant")[:-1], _BEFORE - 1, 0)
    peak = (prominence > before) & (prominence >= window_max(prominence, 0, _AFTER))
    earlier = window_max(np.pad(prominence, (5, 0), mode="constant")[:-5], _BEFORE - 5, 0)  # another syllable's
    strength = np.clip(over / 1.2, 0, 1) * np.clip(0.3 + (prominence - earlier) / 0.2, 0, 1)
    return np.where(peak & (over > _STANDS_OUT), strength, 0.0)


def smootherstep(t: np.ndarray) -> np.ndarray:
    """`smoothstep` that is twice continuously differentiable (Perlin 2002): a head that follows it does not jerk."""
    t = np.clip(t, 0.0, 1.0)
    return t * t * t * (t * (6 * t - 15) + 10)


def window_max(values: np.ndarray, before: int, after: int) -> np.ndarray:
    """The largest of the rows from `before` before to `after` after each; the ends hold."""
    size = before + after + 1
    return maximum_filter1d(values, size, mode="nearest", origin=before - size // 2)


def trailing_max(values: np.ndarray, rows: int) -> np.ndarray:
    """The largest of each row and the `rows` before it."""
    return window_max(values, rows, 0)


def _means(values: np.ndarray, rows: int) -> np.ndarray:
    """The mean of each row and the `rows` - 1 before it; before the beginning the first row counts."""
    total = np.cumsum(np.pad(values, (rows, 0), mode="edge"))
    return (total[rows:] - total[:-rows]) / rows


def _trailing_bell(values: np.ndarray, rows: int) -> np.ndarray:
    """A step in `values` becomes a smooth ramp over `rows` rows after it."""
    weights = np.hanning(rows + 2)[1:-1]
    return np.convolve(np.pad(values, (rows - 1, 0), mode="edge"), weights / weights.sum(), mode="valid")
