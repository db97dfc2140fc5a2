"""Other rooms, microphones, voices and noises for the speech model's features, made in the mel domain.

The features of `talking_face.features` can be turned back into decibels, so a window of them can be mixed with noise
or other
voices, smeared as a room does, filtered as a telephone does and shifted along the mel axis as another vocal tract does,
at a thousandth of the cost of doing it to the sound.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from talking_face.features import ENERGY, LEVEL, MELS, ONSET, PITCH, VOICING

FLOOR = -80.0  # dB of a mel band in digital silence


def augment(
    features: np.ndarray, rng: np.random.Generator, others: np.ndarray | None = None, strength: float = 1.0
) -> np.ndarray:
    """One changed copy (n, C) float32 of features (n, C); `others` (n, C): somebody else's, for babble in the
    background."""
    rows = features.astype(np.float32).copy()
    before = (rows[:, LEVEL] * 20 - 25)[:, None]
    decibels = (rows[:, : 2 * MELS] * 20 - 10 + before).reshape(-1, MELS)  # (2n, MELS) at 100 Hz
    first = _power(decibels)
    decibels = _vocal_tract(decibels, rng, strength)
    decibels = _filter(decibels, rng, strength)
    power = 10 ** (np.maximum(decibels, FLOOR) / 10)
    if rng.random() < 0.4 * strength:
        power = _room(power, rng)
    top = np.percentile(10 * np.log10(power.sum(axis=1)), 95)
    if rng.random() < 0.6 * strength:
        power = power + _noise(len(power), rng, top - rng.uniform(5, 40))
    if others is not None and rng.random() < 0.25 * strength:
        babble = (others[:, : 2 * MELS].astype(np.float32) * 20 - 10).reshape(-1, MELS)
        power = power + 10 ** ((babble + top - rng.uniform(12, 30)) / 10)
    decibels = 10 * np.log10(power)
    louder = (_power(decibels) - first).reshape(-1, 2).mean(axis=1)  # (n,) dB
    energy = rows[:, ENERGY] * 20 + before[:, 0] + louder
    # A change that holds for a window moves its running level as well.
    level = np.maximum(before[:, 0] + np.percentile(louder[energy >= np.median(energy)], 50), -55.0)
    gain = rng.uniform(-18, 12) * strength
    shift = np.maximum(level + gain, -55.0) - level  # the level never falls under its floor
    level, decibels, energy = level + shift, decibels + gain, energy + gain
    relative = (decibels.reshape(len(rows), 2 * MELS) - level[:, None] + 10) / 20
    rows[:, : 2 * MELS] = relative.clip(-4, 2)
    rows[:, ENERGY] = ((energy - level) / 20).clip(-3, 1)
    rise = np.maximum(np.diff(decibels, axis=0, prepend=decibels[:1]), 0).mean(axis=1)
    rows[:, ONSET] = (rise / 10).clip(0, 3).reshape(-1, 2).max(axis=1)
    rows[:, LEVEL] = (level + 25) / 20
    _pitch(rows, rng, strength)
    _masks(rows, rng, strength)
    return rows


def _power(decibels: np.ndarray) -> np.ndarray:
    return 10 * np.log10((10 ** (np.maximum(decibels, FLOOR) / 10)).sum(axis=1))


def _vocal_tract(decibels: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Formants moved by up to 12 %: the mel axis stretched."""
    if rng.random() > 0.7:
        return decibels
    stretch = np.exp(rng.uniform(-0.1, 0.1) * strength)
    at = np.clip(np.arange(MELS) * stretch + rng.uniform(-0.7, 0.7) * strength, 0, MELS - 1)
    left = np.minimum(at.astype(int), MELS - 2)
    share = (at - left).astype(np.float32)
    return decibels[:, left] * (1 - share) + decibels[:, left + 1] * share


def _filter(decibels: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """A microphone's smooth frequency response, sometimes a telephone's band."""
    bands = np.linspace(0, 1, MELS)
    response = rng.normal(0, 4) * strength * (bands - 0.5) * 2
    response = response + np.interp(bands, np.linspace(0, 1, 6), rng.normal(0, 2.5, 6)) * strength
    if rng.random() < 0.1 * strength:
        response = response - 35 * ((bands < rng.uniform(0.0, 0.12)) | (bands > rng.uniform(0.7, 0.9)))
    return decibels + response.astype(np.float32)


def _room(power: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Reverberation of 0.15 to 0.7 s: every band decays exponentially into the following rows."""
    decay = 10 ** (-6 * 0.01 / rng.uniform(0.15, 0.7))
    tail = lfilter([0.0, decay], [1.0, -decay], power, axis=0)
    return power + rng.uniform(0.02, 0.3) * tail


def _noise(count: int, rng: np.random.Generator, level: float) -> np.ndarray:
    """Steady coloured noise (count, MELS) of `level` dB in all, with the flicker that short windows of noise show."""
    shape = np.interp(np.linspace(0, 1, MELS), np.linspace(0, 1, 5), rng.normal(0, 6, 5)) + rng.normal(
        0, 5
    ) * np.linspace(-1, 1, MELS)
    colour = 10 ** (shape / 10)
    colour *= 10 ** (level / 10) / colour.sum()
    return colour * rng.gamma(4.0, 0.25, (count, MELS))


def _pitch(rows: np.ndarray, rng: np.random.Generator, strength: float) -> None:
    voiced = rows[:, VOICING] > 0
    rows[voiced, PITCH] += rng.normal(0, 0.25) * strength
    if rng.random() < 0.15 * strength:
        rows[:, [PITCH, VOICING]] = 0.0


def _masks(rows: np.ndarray, rng: np.random.Generator, strength: float) -> None:
    """SpecAugment (Park et al. 2019): a few bands and a few moments are blanked to their mean."""
    mel = rows[:, : 2 * MELS].reshape(len(rows), 2, MELS)
    mean = mel.mean()
    for _ in range(rng.integers(0, 3)):
        width = rng.integers(1, 6)
        first = rng.integers(0, MELS - width)
        mel[:, :, first : first + width] = mean
    for _ in range(rng.integers(0, 2) if strength else 0):
        length = rng.integers(2, 6)
        first = rng.integers(0, max(1, len(rows) - length))
        mel[first : first + length] = mean
