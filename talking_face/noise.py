"""Chance that can be asked for at any moment: numbers that depend on seed, stream and index alone.

A generator with a state would give a long video's chunks other numbers than its whole. Here the n-th number of a
stream is a hash of (seed, stream, n): the finaliser of SplitMix64 (Steele, Lea, Flood 2014, section 4).
"""

from __future__ import annotations

import zlib

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MASK = (1 << 64) - 1


def uniform(seed: int, stream: str, index: np.ndarray | int) -> np.ndarray:
    """Numbers in [0, 1), float64, of the shape of `index` (integers, also negative ones)."""
    key = (int(seed) * 0xD1342543DE82EF95 + zlib.crc32(stream.encode()) * 0x2545F4914F6CDD1D) & _MASK
    state = np.atleast_1d(np.asarray(index, np.int64)).astype(np.uint64) * _GOLDEN + np.uint64(_mixed(key))
    bits = _mix(_mix(state))
    return ((bits >> np.uint64(11)) * 2.0**-53).reshape(np.shape(index))


def normal(seed: int, stream: str, index: np.ndarray | int) -> np.ndarray:
    """Normal numbers of mean 0 and variance 1 (Box and Muller 1958), of the shape of `index`."""
    radius = np.sqrt(-2 * np.log(1 - uniform(seed, stream + "/radius", index)))
    return radius * np.cos(2 * np.pi * uniform(seed, stream + "/angle", index))


def wave(times: np.ndarray, seed: int, stream: str, spacing: float) -> np.ndarray:
    """A smooth random curve at `times` (n,) seconds: in (-1, 1), about 0.4 in root mean square, never repeating.

    A cubic B-spline whose knots, `spacing` seconds apart, are uniform in [-1, 1]: twice continuously differentiable,
    and almost nothing in it is faster than 1 / spacing Hz.
    """
    place = np.asarray(times, np.float64) / spacing
    knot = np.floor(place).astype(np.int64)
    t = place - knot
    bases = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    return sum(base * (2 * uniform(seed, stream, knot + i) - 1) for i, base in enumerate(bases)) / 6


def _mix(state: np.ndarray) -> np.ndarray:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _mixed(key: int) -> int:
    return int(_mix(np.array([key], np.uint64))[0])
