"""How sure a figure is: bootstrap intervals over videos, paired tests, and the gap between groups.

Everything is seeded: the same values give the same intervals. Interval ends and p-values are of one number a video;
frames of a video are no independent samples and are never resampled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import comb

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata, wilcoxon
from scipy.stats import t as student

RESAMPLES = 2000
"""Bootstrap samples and permutations."""

LEVEL = 0.95
"""Coverage of the intervals."""

LEAST = 3
"""Values below which there is no interval, and units below which a group is too small to be compared."""

SEED = 0


@dataclass(frozen=True)
class Estimate:
    """A mean and its interval.

    Attributes:
        mean: of the values.
        low, high: ends of the interval; None for fewer than ``LEAST`` values.
        n: number of values.
    """

    mean: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Paired:
    """Two systems on the same videos.

    Attributes:
        gain: mean gain of the second over the first; positive is better.
        wins, losses: videos on which the second is better or worse.
        p: two-sided, of the signed-rank test; None for fewer than ``LEAST`` videos.
        ranks: 1 where that test speaks for the second, -1 for the first, 0 for neither.
    """

    gain: Estimate
    wins: int
    losses: int
    p: float | None
    ranks: int = 0


@dataclass(frozen=True)
class Gap:
    """How far apart the groups are.

    Attributes:
        best, worst: names of the groups.
        gap: difference of their means, never negative, with its interval; the interval may reach below zero.
        p: share of random groupings of the same values whose largest gap is at least as large.
    """

    best: str
    worst: str
    gap: Estimate
    p: float


@lru_cache(maxsize=64)
def resample_weights(n: int, resamples: int = RESAMPLES, seed: int = SEED) -> np.ndarray:
    """(resamples, n): how much each of n values weighs in each bootstrap sample; rows sum to 1."""
    rng = np.random.default_rng((seed, n))
    return rng.multinomial(n, np.full(n, 1 / n), size=resamples) / n


def estimate(values: Sequence[float]) -> Estimate | None:
    """Mean with its bias-corrected and accelerated bootstrap interval; None without values.

    Efron 1987, "Better bootstrap confidence intervals", sections 2 and 6.

    Args:
        values: one number a video.
    """
    values = np.asarray(values, np.float64)
    if not len(values):
        return None
    mean = float(values.mean())
    if len(values) < LEAST:
        return Estimate(mean, None, None, len(values))
    around = values - mean
    spread = float((around**2).sum())
    if spread <= (1e-12 * max(abs(mean), 1e-300)) ** 2:
        return Estimate(mean, mean, mean, len(values))
    means = resample_weights(len(values)) @ around
    below = np.mean(means < 0) + np.mean(means == 0) / 2
    bias = ndtri(np.clip(below, 1 / RESAMPLES, 1 - 1 / RESAMPLES))
    acceleration = float((around**3).sum()) / (6 * spread**1.5)
    tails = bias + ndtri([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    shares = ndtr(bias + tails / (1 - acceleration * tails))
    low, high = np.quantile(means, np.clip(shares, 0, 1))
    return Estimate(mean, mean + float(low), mean + float(high), len(values))


def jackknife(value: float, without: Sequence[float]) -> tuple[float, float]:
    """Interval of a figure that is no mean over videos, such as a distance of two distributions.

    The delete-a-group jackknife (Efron and Tibshirani 1993, chapter 11), with Student's t. A bootstrap would draw
    videos twice, whose features are then too alike: distances of distributions grow by that.

    Args:
        value: the figure.
        without: the figure with each of several equal groups of videos left out in turn.
    """
    without = np.asarray(without, np.float64)
    error = np.sqrt((len(without) - 1) * np.mean((without - without.mean()) ** 2))
    reach = float(student.ppf((1 + LEVEL) / 2, len(without) - 1) * error)
    return value - reach, value + reach


def paired(first: Sequence[float], second: Sequence[float]) -> Paired | None:
    """Compare two systems on the same videos; None without any.

    Wilcoxon 1945, signed-rank test, two-sided; ties are left out as in the original.

    Args:
        first, second: badness a video (smaller is better), in the same order.
    """
    gains = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    if not len(gains):
        return None
    gains[np.abs(gains) <= 1e-12 * np.maximum(np.abs(first), np.abs(second))] = 0.0
    different = gains[gains != 0]
    if len(gains) < LEAST:
        p = None
    else:
        p = float(wilcoxon(different).pvalue) if len(different) else 1.0
    ranks = int(np.sign((np.sign(different) * rankdata(np.abs(different))).sum()))
    return Paired(estimate(gains), int((gains > 0).sum()), int((gains < 0).sum()), p, ranks)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p-values corrected for being several: Holm 1979, "A simple sequentially rejective multiple test procedure"."""
    corrected: dict[str, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[name]))
        corrected[name] = largest
    return {name: corrected[name] for name in p_values}


def least_chance(first: int, second: int) -> float:
    """The smallest p that `gap` can have for two groups of so many values: all of one lie above all of the other."""
    return max((1 + (first == second)) / comb(first + second, first), 1 / (1 + RESAMPLES))


def gap(groups: Mapping[str, Sequence[float]]) -> Gap | None:
    """Difference of the best and the worst group; None unless two groups have ``LEAST`` values.

    The interval is of the two groups that turned out best and worst; p is of the largest gap over all groups, so
    that many groups do not make a gap by chance (a permutation test; Fisher 1935, chapter 3).

    Args:
        groups: name -> badness (smaller is better) of each of its units; smaller groups are left out.
    """
    kept = {name: np.asarray(values, np.float64) for name, values in groups.items() if len(values) >= LEAST}
    if len(kept) < 2:
        return None
    means = {name: float(values.mean()) for name, values in kept.items()}
    best, worst = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    if best == worst:  # all means are equal
        best, worst = list(kept)[:2]
    difference = means[worst] - means[best]
    drawn = _resampled(kept[worst], 1) - _resampled(kept[best], 2)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    size = len(kept[best]) + len(kept[worst])
    return Gap(best, worst, Estimate(difference, float(low), float(high), size), _chance(list(kept.values())))


def _resampled(values: np.ndarray, seed: int) -> np.ndarray:
    return resample_weights(len(values), seed=seed) @ values


def _chance(groups: list[np.ndarray]) -> float:
    """Share of random groupings whose range of means is at least the groups'."""
    pooled = np.concatenate(groups)
    ends = np.cumsum([len(group) for group in groups])[:-1]

    def ranges(shuffled: np.ndarray) -> np.ndarray:
        means = np.stack([part.mean(-1) for part in np.split(shuffled, ends, axis=-1)], -1)
        return means.max(-1) - means.min(-1)

    rng = np.random.default_rng(SEED)
    shuffled = rng.permuted(np.broadcast_to(pooled, (RESAMPLES, len(pooled))), axis=1)
    observed = float(ranges(pooled))
    reached = int((ranges(shuffled) >= observed * (1 - 1e-9)).sum())
    return (1 + reached) / (1 + RESAMPLES)
