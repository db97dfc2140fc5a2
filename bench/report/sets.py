"""Metrics of all clips of a system together: distances of distributions, with intervals over clips."""

from __future__ import annotations

import zlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from bench.metrics import METRICS
from bench.report.runs import Run
from bench.report.stats import LEAST, jackknife

KINDS = ("output", "truth")

GROUPS = 20
"""Groups of clips at most of which each is left out once; more cost time and hardly change the interval."""


def estimate_set(name: str, run: Run, cases: list[str]) -> dict | None:
    """A set metric of one system; None where it left no features.

    Args:
        name: of a `bench.metrics.base.SetMetric`.
        run: the system.
        cases: those that count.

    Returns:
        mean (the figure itself), low, high (None where there is no interval), n (clips).
    """
    metric = METRICS[name]
    clips = [clip for case in cases if (clip := _features(run.file("features", case, ".npz"), name)) is not None]
    value = metric.combine(clips) if clips else None
    if value is None or not np.isfinite(value):
        return None
    found = {"mean": float(value), "low": None, "high": None, "n": len(clips)}
    if len(clips) >= LEAST:
        count = min(len(clips), GROUPS)
        kept = ([clip for i, clip in enumerate(clips) if i % count != group] for group in range(count))
        without = [metric.combine(rest) for rest in kept]
        if all(number is not None and np.isfinite(number) for number in without):
            low, found["high"] = jackknife(found["mean"], without)
            found["low"] = min(max(low, 0.0), found["mean"])  # a distance; an estimate of one may lie below zero
    return found


def _features(file: Path | None, name: str) -> dict[str, np.ndarray] | None:
    if file is None:
        return None
    try:
        with np.load(file, allow_pickle=False) as stored:
            found = {kind: stored[f"{name}.{kind}"] for kind in KINDS}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error):
        return None
    return found
