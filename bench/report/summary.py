"""From run folders to one set of plain data, from which every form of the report is made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.report.columns import NEEDS, TARGETS, Column, columns
from bench.report.current import current
from bench.report.fairness import fairness
from bench.report.runs import Record, Run, load_runs, plain
from bench.report.sets import estimate_set
from bench.report.stats import LEVEL, METHOD, RESAMPLES, Estimate, estimate

SCHEMA = 1
"""Version of the JSON report."""

BENCHMARK = "suite"

DIGITS = 6
"""Significant digits that are kept."""

_OF_A_RUN = ("weights", "settings", "hashes", "spec")
_OF_A_RECORD = ("status", "error", "frames", "lost", "seconds", "size", "inputs", "notes")


def summarise(out: Path) -> dict[str, Any]:
    """The report's data.

    Args:
        out: a folder of run folders, one a system (see `bench.report.runs`).

    Returns:
        schema, benchmark;
        suite: name, protocol, cases and what else the runs say of it;
        versions, machine: of the first run;
        metrics: name -> facts (`bench.report.columns.facts_of`), unfit (cases), not_computed (reasons);
        systems: name -> role, ok, failed, left_out, not_run, frames, lost, seconds_a_frame and what its run says;
        table: system -> metric -> mean, low, high, n, charged, and of a metric that should be near one or zero badness,
            the mean distance from there, by which rows rank; None where it has none;
        parts: where a suite has several parts, such as self and cross: part -> cases, table of these alone;
        fairness: see `bench.report.fairness.fairness`;
        notes: sentences;
        cases: case, portrait, groups and every system's record, without the metrics that nobody can compute.
        Plain data; numbers of ``DIGITS`` digits, no absolute path.

    Raises:
        MediaError: see `bench.report.runs.load_runs`.
    """
    return summary_of(current(load_runs(out)))


def summary_of(runs: Sequence[Run]) -> dict[str, Any]:
    """The same of runs that are loaded (`bench.report.current.current`)."""
    cases = case_names(runs)
    made = columns(runs, cases)
    data = {
        "schema": SCHEMA,
        "benchmark": BENCHMARK,
        "suite": _suite(runs[0], cases),
        "versions": runs[0].facts.get("versions") or {},
        "machine": runs[0].facts.get("machine") or {},
        "statistics": {"interval": LEVEL, "method": METHOD, "resamples": RESAMPLES},
        "metrics": {column.name: _metric(column) for column in made},
        "systems": {run.name: _system(run, cases) for run in runs},
        "table": _table(runs, made, cases),
        "parts": _parts(runs, made, cases),
        "fairness": fairness(runs, made, cases),
        "notes": notes(runs, made, cases),
        "cases": [_case(case, runs) for case in cases],
    }
    for column in made:  # a set metric has no value of a case: whether it was computed shows in the table
        if column.facts["of_sets"] and any(row[column.name] for row in data["table"].values()):
            data["metrics"][column.name]["not_computed"] = []
    return _rounded(plain(data))


def case_names(runs: Sequence[Run]) -> list[str]:
    """All cases, in the suite's order; those that it does not name come last."""
    asked = [case for run in runs for case in (run.facts.get("suite") or {}).get("cases") or ()]
    asked = [case["id"] if isinstance(case, dict) else str(case) for case in asked]
    return list(dict.fromkeys([*asked, *(case for run in runs for case in run.records)]))


def notes(runs: Sequence[Run], made: Sequence[Column], cases: Sequence[str]) -> list[str]:
    """What was not counted, replaced or may surprise, one sentence each."""
    said = [note for run in runs for note in (run.facts.get("suite") or {}).get("notes") or ()]
    told = [list(run.facts.get("notes") or ()) for run in runs]
    shared = [note for note in told[0] if all(note in others for others in told)]
    said += shared
    for run, own in zip(runs, told, strict=True):
        said += [f"{run.name}: {note}" for note in own if note not in shared]
        absent = sum(case not in run.records for case in cases)
        if absent:
            said.append(f"{run.name}: {absent} of {len(cases)} cases were not run yet; its figures are of the others.")
        if run.facts.get("versions") != runs[0].facts.get("versions"):
            said.append(f"{run.name} ran with other versions of packages than {runs[0].name}.")
        if run.facts.get("machine") != runs[0].facts.get("machine"):
            said.append(f"{run.name} ran on another machine than {runs[0].name}: compare no times.")
    said += _different_inputs(runs, cases)
    for column in made:
        if column.unfit and not column.reasons:
            why = _unfit_reasons(column, runs, cases)
            said.append(f"{column.name}: {column.unfit} of {len(cases)} cases count for no system: {why}.")
    return list(dict.fromkeys(said))


def _unfit_reasons(column: Column, runs: Sequence[Run], cases: Sequence[str]) -> str:
    """Why no system has a value, each reason with the number of its cases where there are several."""
    counted = {case for values in column.values.values() for case in values}
    found: Counter[str] = Counter()
    for case in cases:
        if case not in counted:
            records = [run.records[case] for run in runs if case in run.records]
            told = [why for r in records if r.status != "left out" and (why := r.not_computed.get(column.name))]
            told = told or [why for r in records if (why := r.not_computed.get(column.name))] or ["none has a value"]
            found[max(set(told), key=told.count).rstrip(".")] += 1
    several = len(found) > 1
    return "; ".join(f"{why} ({n})" if several else why for why, n in found.most_common())


def _different_inputs(runs: Sequence[Run], cases: Sequence[str]) -> list[str]:
    said = []
    for case in cases:
        hashes = {run.records[case].data.get("inputs") for run in runs if case in run.records} - {None}
        if len(hashes) > 1:
            said.append(f"{case}: the systems were not given the same files; run the suite again for all of them.")
    return said


def _suite(run: Run, cases: Sequence[str]) -> dict[str, Any]:
    told = dict(run.facts.get("suite") or {})
    for key in ("notes", "whole"):
        told.pop(key, None)
    return told | {"cases": len(cases)}


def _metric(column: Column) -> dict[str, Any]:
    return column.facts | {"unfit": column.unfit, "not_computed": column.reasons}


def _system(run: Run, cases: Sequence[str]) -> dict[str, Any]:
    records = [run.records[case] for case in cases if case in run.records]
    done = [record for record in records if record.status == "ok"]
    times = [record.seconds_a_frame for record in done if record.seconds_a_frame is not None]
    return {
        "role": run.role,
        "ok": len(done),
        "failed": sum(record.status == "failed" for record in records),
        "left_out": sum(record.status == "left out" for record in records),
        "not_run": len(cases) - len(records),
        "frames": sum(record.data.get("frames") or 0 for record in done),
        "lost": sum(record.data.get("lost") or 0 for record in done),
        "seconds_a_frame": _figures(estimate(times)),
        **{key: run.facts[key] for key in _OF_A_RUN if run.facts.get(key)},
    }


def _parts(runs: Sequence[Run], made: Sequence[Column], cases: Sequence[str]) -> dict[str, dict]:
    parts: dict[str, list[str]] = {}
    for case in cases:
        told = [run.records[case] for run in runs if case in run.records]
        name = next((part for record in told if (part := record.part)), None)
        if name is not None:
            parts.setdefault(name, []).append(case)
    if len(parts) < 2:
        return {}
    return {name: {"cases": len(some), "table": _table(runs, made, some)} for name, some in parts.items()}


def _table(runs: Sequence[Run], made: Sequence[Column], cases: Sequence[str]) -> dict[str, dict[str, dict | None]]:
    chosen = set(cases)
    table: dict[str, dict[str, dict | None]] = {}
    for run in runs:
        row = table[run.name] = {}
        for column in made:
            if column.facts["of_sets"]:
                tried = [run.records[case] for case in cases if case in run.records]
                found = estimate_set(column.name, run, [record.case for record in tried if record.status == "ok"])
                charged = sum(record.status == "failed" for record in tried)
            else:
                values = [value for case, value in column.values[run.name].items() if case in chosen]
                found = _figures(estimate(values, column.bounds))
                charged = len(column.charged[run.name] & chosen)
                if found is not None and column.facts["direction"] in TARGETS:
                    found["badness"] = sum(map(column.badness, values)) / len(values)
            row[column.name] = None if found is None else found | {"charged": charged}
    return table


def _figures(found: Estimate | None) -> dict | None:
    return None if found is None else asdict(found)


def _case(case: str, runs: Sequence[Run]) -> dict[str, Any]:
    told: dict[str, Any] = {"case": case, "portrait": None, "groups": {}, "systems": {}}
    for run in runs:
        record = run.records.get(case)
        if record is None:
            continue
        told["portrait"] = told["portrait"] or record.data.get("portrait")
        told["groups"] = told["groups"] or record.groups
        facts = {key: record.data[key] for key in _OF_A_RECORD if record.data.get(key) not in (None, [])}
        values = {name: value for name, value in record.values.items() if value is not None}
        told["systems"][run.name] = facts | {"values": values, "not_computed": _own_reasons(record)}
    return told


def _own_reasons(record: Record) -> dict[str, str]:
    """Why this very output lacks values: what is missing for all of them stands with the metric, failures in error."""
    if record.status != "ok":
        return {}
    return {name: why for name, why in record.not_computed.items() if not why.startswith(NEEDS)}


def _rounded(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _rounded(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_rounded(value) for value in data]
    return float(f"{data:.{DIGITS}g}") if isinstance(data, float) else data
