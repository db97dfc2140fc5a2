"""A report's columns: which number each system has on each case, failures included."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.metrics import METRICS
from bench.metrics.base import Metric, SetMetric
from bench.report.runs import Run

NEEDS = "needs"
"""How a reason begins that is not the system's fault: something is not installed."""

RANGE = re.compile(r"\[(-?\d+), (-?\d+)\]")

TARGETS = {"one": 1.0, "zero": 0.0}
"""Directions whose best value lies in the middle, and that value."""

UNKNOWN = {"direction": None, "unit": "", "source": "", "needs": "", "requires": [], "failed": None}


@dataclass
class Column:
    """One metric.

    Attributes:
        name: the metric's.
        facts: direction, unit, source, needs, requires, failed, of_sets.
        values: system -> case -> value, in the cases' order; cases without one are left out.
        charged: system -> cases whose value stands for a failure.
        unfit: cases on which no system has a value.
        reasons: why no system has any value; empty where some do.
    """

    name: str
    facts: dict[str, Any]
    values: dict[str, dict[str, float]] = field(default_factory=dict)
    charged: dict[str, set[str]] = field(default_factory=dict)
    unfit: int = 0
    reasons: list[str] = field(default_factory=list)

    @property
    def bounds(self) -> tuple[float, float]:
        """The range that its unit names, if it names one: "[0, 1]", "share in [0, 1]", "cosine"."""
        unit = "[-1, 1]" if self.facts["unit"] == "cosine" else self.facts["unit"]
        found = RANGE.search(unit)
        return (float(found[1]), float(found[2])) if found else (-math.inf, math.inf)

    def badness(self, value: float) -> float | None:
        """Smaller for better values; None for a metric of unknown direction."""
        return badness(self.facts["direction"], value)


def badness(direction: str | None, value: float) -> float | None:
    """Smaller for better values; see `bench.metrics.base.Direction`."""
    ways = {"lower": value, "higher": -value, "one": abs(value - 1.0), "zero": abs(value)}
    return ways.get(direction)


def rank(direction: str | None, figure: Mapping[str, Any]) -> float | None:
    """What a figure of a report ranks by, smaller first: the mean badness of its cases; None where nobody knows.

    Of a metric that should be near one or zero it is the mean distance from there, so that errors on either side do
    not make up for each other. Reports of older versions hold the mean alone: there it is the mean's distance.
    """
    told = figure.get("badness")
    return badness(direction, figure["mean"]) if told is None else told


def facts_of(metric: type[Metric]) -> dict[str, Any]:
    """What a report says of a metric, as plain data."""
    facts = {key: getattr(metric, key) for key in ("direction", "unit", "source", "needs", "failed")}
    return facts | {"requires": sorted(metric.requires), "of_sets": issubclass(metric, SetMetric)}


def metric_names(runs: Sequence[Run]) -> list[str]:
    """Every metric of the runs' suites and records, in the registry's order, strangers last."""
    asked = {name for run in runs for name in (run.facts.get("suite") or {}).get("metrics", ())}
    asked |= {name for run in runs for record in run.records.values() for name in record.values}
    return [name for name in METRICS if name in asked] + sorted(asked - METRICS.keys())


def columns(runs: Sequence[Run], cases: Sequence[str]) -> list[Column]:
    """A column for every metric.

    A system that failed on a case, or whose output has no value where another system's has, is charged: with the
    value that the metric sets for failures, else with the worst value that any system has on any case. So a failure
    never makes a mean better. A case on which no system has a value is unfit and counts for nobody, nor does what was
    left out or lacks weights.
    """
    return [_column(name, runs, cases) for name in metric_names(runs)]


def _column(name: str, runs: Sequence[Run], cases: Sequence[str]) -> Column:
    column = Column(name, _facts(name, runs), {run.name: {} for run in runs}, {run.name: set() for run in runs})
    found = {case: _given(name, runs, case) for case in cases}
    penalties = {run.name: _penalty(column, found, run.name) for run in runs}
    for case, given in found.items():
        if not given:
            column.unfit += 1
            continue
        for run in runs:
            if run.name in given:
                column.values[run.name][case] = given[run.name]
            elif penalties[run.name] is not None and _charges(run, case, name):
                column.values[run.name][case] = penalties[run.name]
                column.charged[run.name].add(case)
    if not any(column.values.values()):
        column.reasons = _reasons(name, runs)
    return column


def _given(name: str, runs: Sequence[Run], case: str) -> dict[str, float]:
    """The systems that have a value on a case."""
    records = {run.name: run.records.get(case) for run in runs}
    return {
        system: record.values[name]
        for system, record in records.items()
        if record is not None and record.status == "ok" and record.values.get(name) is not None
    }


def _penalty(column: Column, found: Mapping[str, Mapping[str, float]], system: str) -> float | None:
    """What a system's failure counts as."""
    if column.facts["failed"] is not None:
        return float(column.facts["failed"])
    given = [value for values in found.values() for value in values.values()]
    own = [values[system] for values in found.values() if system in values]
    return worst(column.facts["direction"], given, own)


def worst(direction: str | None, given: Sequence[float], own: Sequence[float]) -> float | None:
    """The worst of the values that are given; None without any, or where nobody knows what is better.

    Of a metric whose best value lies in the middle it is moved to the side on which the system's own values lie, so
    that it cannot make up for them.
    """
    if direction is None or not given:
        return None
    value = max(given, key=lambda each: badness(direction, each))
    target = TARGETS.get(direction)
    if target is None or not own:
        return value
    return target + math.copysign(abs(value - target), sum(own) / len(own) - target)


def _charges(run: Run, case: str, metric: str) -> bool:
    record = run.records.get(case)
    return record is not None and is_charged(record.status, record.not_computed, metric)


def is_charged(status: str, not_computed: Mapping[str, str], metric: str) -> bool:
    """Whether a record without a value of a metric stands for a failure: neither left out nor for want of weights."""
    if status == "left out":
        return False
    return status == "failed" or not not_computed.get(metric, "").startswith(NEEDS)


def _facts(name: str, runs: Sequence[Run]) -> dict[str, Any]:
    own = facts_of(METRICS[name]) if name in METRICS else {**UNKNOWN, "of_sets": False}
    told: Mapping[str, Any] = {}
    for run in runs:
        told = (run.facts.get("metrics_known") or {}).get(name) or told
    facts = own | {key: told[key] for key in UNKNOWN if key in told}
    return facts if facts["direction"] in ("lower", "higher", "one", "zero") else facts | {"direction": None}


def _reasons(name: str, runs: Sequence[Run]) -> list[str]:
    """Why nobody has a value, the most frequent first."""
    missing = METRICS[name].missing() if name in METRICS else None
    records = [record for run in runs for record in run.records.values()]
    told = [r.not_computed[name] for r in records if r.status != "left out" and name in r.not_computed]
    if not told:
        told = [why for r in records if r.status == "left out" and (why := r.not_computed.get(name) or r.error)]
    if missing and (not told or any(reason.startswith(NEEDS) for reason in told)):
        return [missing]
    found = [reason for reason, _ in Counter(told).most_common(2)]
    if found or name not in METRICS:
        return found or ["this version knows no metric of that name"]
    return [METRICS[name].unfit]
