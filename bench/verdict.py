"""The bars that the methods of self-reenactment have to clear, each as one line with its figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bench.metrics import REENACT_METRICS as METRICS

PRIOR_GAIN = 0.90
"""``prior`` must bring ``inner_l1`` to this share of the bare warp's."""

MINI_GAIN = 0.88
"""``mini`` must bring ``inner_l1`` to this share of the bare warp's."""

MINI_SLACK = 1.02
"""``mini`` may have this share of ``prior``'s ``inner_l1``: a median is blurred and therefore hard to
beat in L1."""

DECIMALS = 4
"""Figures are compared as they are printed."""

Means = dict[str, dict[str, float | None]]


@dataclass(frozen=True)
class Bar:
    """One requirement. ``passed`` is None when a figure it needs was not computed."""

    text: str
    passed: bool | None

    def __str__(self) -> str:
        return f"{ {True: 'pass', False: 'FAIL', None: 'n/a '}[self.passed] }  {self.text}"


def verdict(means: Means, failures: Mapping[str, int] | None = None) -> list[Bar]:
    """All bars whose methods were run.

    Args:
        means: method -> metric -> mean over clips.
        failures: method -> number of clips on which it failed.
    """
    bars = [Bar(f"{method}: failed on {count} clips", False) for method, count in (failures or {}).items()]
    if {"prior", "warp"} <= means.keys():
        bars.append(_share(means, "prior", "warp", PRIOR_GAIN))
    if {"mini", "warp"} <= means.keys():
        bars.append(_share(means, "mini", "warp", MINI_GAIN))
    if {"mini", "prior"} <= means.keys():
        bars.append(_share(means, "mini", "prior", MINI_SLACK))
        bars.append(_better(means, "mini", "prior", "inner_detail"))
    for other in ("warp", "prior"):
        if {"mini", other} <= means.keys():
            bars += [_better(means, "mini", other, name) for name in ("landmark", "mouth_corr", "eye_corr")]
    if {"mini", "warp"} <= means.keys():
        covered = {"inner_l1", "landmark", "mouth_corr", "eye_corr"}
        bars += [_better(means, "mini", "warp", name, ties=True) for name in METRICS if name not in covered]
    for method in ("warp", "prior", "mini"):
        if {method, "still"} <= means.keys():
            # The still portrait is the portrait: nothing can be more like it.
            bars += [_better(means, method, "still", name) for name in METRICS if name != "identity"]
    return bars


def _share(means: Means, method: str, other: str, share: float) -> Bar:
    mine, theirs = means[method].get("inner_l1"), means[other].get("inner_l1")
    claim = f"inner_l1: {method} <= {share:.2f} x {other}"
    if mine is None or theirs is None:
        return Bar(f"{claim}: not computed", None)
    ratio = mine / theirs if theirs else math.inf
    return Bar(f"{claim}: {mine:.4f} / {theirs:.4f} = {ratio:.3f}", ratio <= share)


def _better(means: Means, method: str, other: str, name: str, ties: bool = False) -> Bar:
    mine, theirs = means[method].get(name), means[other].get(name)
    metric = METRICS[name]
    claim = f"{name}: {method} {'no worse than' if ties else 'better than'} {other}"
    if mine is None or theirs is None:
        return Bar(f"{claim}: not computed", None)
    a, b = (metric.badness(round(value, DECIMALS)) for value in (mine, theirs))
    nearer = ", nearer to 1 is better" if metric.direction == "one" else ""
    return Bar(f"{claim}: {mine:.4f} against {theirs:.4f}{nearer}", a <= b if ties else a < b)
