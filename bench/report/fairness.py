"""Whether a system serves some faces worse: every metric by the groups that a manifest names, and the gap between them.

The unit is the portrait: a face that ten drivers moved is one face. Groups of fewer than
`bench.report.stats.LEAST` portraits are shown and not compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

import numpy as np

from bench.report.columns import Column
from bench.report.runs import Run
from bench.report.stats import LEAST, estimate, gap, holm

EVIDENCE = 0.05
"""Corrected p below which a gap is called one."""


def fairness(runs: Sequence[Run], columns: Sequence[Column], cases: Sequence[str]) -> dict[str, dict]:
    """Groups, means and gaps of every attribute that the cases name with more than one value.

    Args:
        runs: the systems.
        columns: their values (`bench.report.columns.columns`).
        cases: names of all cases.

    Returns:
        attribute -> {
            "groups": group -> {"portraits", "cases", "few"},
            "systems": system -> {
                "failed": group -> share of its cases that failed,
                "metrics": metric -> {
                    "groups": group -> mean, low, high, n (portraits),
                    "gap": best, worst, gap, low, high, p, p_holm; or None where there are no two groups to compare,
                },
            },
        }
        The gap is in the metric's unit; of metrics that should be near one or zero it is the difference of the mean
        distances from there. p_holm is corrected over the metrics of one system and attribute.
    """
    members = _members(runs, cases)
    found = {}
    for attribute in dict.fromkeys(name for groups, _ in members.values() for name in groups):
        groups: dict[str, list[str]] = {}
        for case, (named, _) in members.items():
            if attribute in named:
                groups.setdefault(str(named[attribute]), []).append(case)
        if len(groups) > 1:
            found[attribute] = _of_attribute(dict(sorted(groups.items())), members, runs, columns)
    return found


def shown_gaps(found: Mapping[str, dict], system: str) -> list[tuple[str, str, dict]]:
    """(attribute, metric, gap) of a system where the corrected p is below ``EVIDENCE``, the surest first."""
    gaps = [
        (attribute, metric, figures["gap"])
        for attribute, told in found.items()
        for metric, figures in told["systems"].get(system, {}).get("metrics", {}).items()
        if figures["gap"] is not None and figures["gap"]["p_holm"] < EVIDENCE
    ]
    return sorted(gaps, key=lambda item: item[2]["p_holm"])


def _members(runs: Sequence[Run], cases: Sequence[str]) -> dict[str, tuple[Mapping[str, str], str]]:
    """Case -> its groups and its portrait, from the first run that tells."""
    told = {}
    for case in cases:
        records = [run.records[case] for run in runs if case in run.records]
        groups = next((record.groups for record in records if record.groups), {})
        told[case] = groups, next((r.portrait for r in records if r.data.get("portrait")), case)
    return told


def _of_attribute(
    groups: Mapping[str, Sequence[str]],
    members: Mapping[str, tuple[Mapping[str, str], str]],
    runs: Sequence[Run],
    columns: Sequence[Column],
) -> dict:
    sizes = {}
    for group, cases in groups.items():
        portraits = len({members[case][1] for case in cases})
        sizes[group] = {"portraits": portraits, "cases": len(cases), "few": portraits < LEAST}
    systems = {}
    for run in runs:
        metrics = {}
        for column in columns:
            values = {group: _by_portrait(column.values[run.name], cases, members) for group, cases in groups.items()}
            if any(values.values()):
                metrics[column.name] = _of_metric(column, values)
        _correct(metrics)
        systems[run.name] = {"failed": _failed(run, groups), "metrics": metrics}
    return {"groups": sizes, "systems": systems}


def _by_portrait(
    values: Mapping[str, float], cases: Iterable[str], members: Mapping[str, tuple[Mapping[str, str], str]]
) -> list[list[float]]:
    """The values of each portrait's cases."""
    found: dict[str, list[float]] = {}
    for case in cases:
        if case in values:
            found.setdefault(members[case][1], []).append(values[case])
    return list(found.values())


def _of_metric(column: Column, values: Mapping[str, list[list[float]]]) -> dict:
    means = {
        group: estimate([float(np.mean(v)) for v in portraits], column.bounds) for group, portraits in values.items()
    }
    told = None
    if column.facts["direction"] is not None:
        bad = {group: [float(np.mean([column.badness(x) for x in v])) for v in p] for group, p in values.items()}
        difference = gap(bad)
        if difference is not None:
            told = {"best": difference.best, "worst": difference.worst, "gap": difference.gap.mean}
            told |= {"low": difference.gap.low, "high": difference.gap.high, "p": difference.p}
    return {"groups": {group: asdict(mean) for group, mean in means.items() if mean is not None}, "gap": told}


def _correct(metrics: Mapping[str, dict]) -> None:
    corrected = holm({name: told["gap"]["p"] for name, told in metrics.items() if told["gap"] is not None})
    for name, p in corrected.items():
        metrics[name]["gap"]["p_holm"] = p


def _failed(run: Run, groups: Mapping[str, Sequence[str]]) -> dict[str, float | None]:
    shares = {}
    for group, cases in groups.items():
        tried = [run.records[case] for case in cases if case in run.records]
        tried = [record for record in tried if record.status != "left out"]
        shares[group] = sum(record.status == "failed" for record in tried) / len(tried) if tried else None
    return shares
