"""Two systems on the same cases: is one better, or is it chance?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import NoneType
from typing import Any

from animate.errors import MediaError, OptionError
from bench.report.columns import badness, is_charged, worst
from bench.report.stats import LEAST, holm, paired
from bench.report.summary import BENCHMARK, SCHEMA
from bench.report.text import ARROWS, decimals, figure
from bench.tables import align

EVIDENCE = 0.05
"""Corrected p below which one system is called better."""

REPORT = "report.json"

_SHAPE = {"suite": dict, "metrics": dict, "systems": dict, "table": dict, "cases": list}
_METRIC = {"direction": (str, NoneType), "unit": str, "of_sets": bool, "failed": (int, float, NoneType)}
_RECORD = {"status": str, "values": dict, "not_computed": (dict, NoneType)}


def read_report(path: Path) -> dict[str, Any]:
    """A report that `mien bench report` wrote.

    Args:
        path: the JSON file, or the folder that holds it.

    Raises:
        MediaError: it is not there, damaged, or of another kind or version.
    """
    file = path / REPORT if path.is_dir() else path
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise MediaError(f"There is no report {file}: make one with `mien bench report FOLDER`.") from error
    except ValueError as error:
        raise MediaError(f"{file} is damaged: make it again with `mien bench report FOLDER`.") from error
    if not isinstance(data, dict) or data.get("benchmark") != BENCHMARK:
        raise MediaError(f"{file} is no report of a suite: give the report.json that `mien bench run` leaves.")
    version = data.get("schema")
    if type(version) is int and version != SCHEMA:
        raise MediaError(f"{file} is a report of version {version}, not {SCHEMA}: make it again.")
    if type(version) is not int or not _is_whole(data):
        raise MediaError(f"{file} is damaged: make it again with `mien bench report FOLDER`.")
    return data


def _is_whole(data: Mapping[str, Any]) -> bool:
    """Whether a report holds what is read of it, of the right kinds."""
    if not _holds(data, _SHAPE):
        return False
    tables, cases = data["table"], data["cases"]
    if not all(_holds(case, {"case": str, "systems": dict}) for case in cases) or data["systems"].keys() - tables:
        return False
    records = [record for case in cases for record in case["systems"].values()]
    if not all(isinstance(row, dict) for row in tables.values()) or not all(_holds(each, _RECORD) for each in records):
        return False
    figures = [figure for row in tables.values() for figure in row.values() if figure is not None]
    return (
        all(_holds(facts, _METRIC) for facts in data["metrics"].values())
        and all(_holds(facts, {"role": str}) for facts in data["systems"].values())
        and all(_holds(figure, {"mean": (int, float)}) for figure in figures)
        and all(isinstance(value, (int, float, NoneType)) for each in records for value in each["values"].values())
    )


def _holds(part: Any, kinds: Mapping[str, Any]) -> bool:
    return isinstance(part, dict) and all(isinstance(part.get(key), kind) for key, kind in kinds.items())


def choose_system(report: Mapping[str, Any], name: str | None, where: str, option: str) -> str:
    """The system to compare: the one that is named, else the only one that is no baseline.

    Raises:
        OptionError: there is none of that name, or several and none is named.
    """
    systems = report["systems"]
    if name is not None:
        if name not in systems:
            raise OptionError(f"{where} has no system {name}: it has {', '.join(systems)}.")
        return name
    own = [system for system, facts in systems.items() if facts["role"] == "system"]
    if len(own) == 1:
        return own[0]
    others = ", ".join(system for system in systems if system not in own)
    if not own:
        raise OptionError(f"{where} has baselines only ({others}): choose one with {option} NAME.")
    raise OptionError(
        f"{where} has {len(own)} systems ({', '.join(own)}; baselines: {others}): choose one with {option} NAME."
    )


def compare(a: Mapping[str, Any], b: Mapping[str, Any], name_a: str, name_b: str) -> dict[str, Any]:
    """Test two systems on the cases that both finished.

    An interval of the mean gain and a Wilcoxon signed-rank test, Holm-corrected over the metrics.
    Cases count whose inputs are the same files. A system that failed on one, or whose output has no value where the
    other's has, is charged as in a report: with the metric's value for failures, else with the worst of both.

    Args:
        a, b: reports (`read_report`).
        name_a, name_b: the systems.

    Returns:
        a, b, suite; cases: {"same", "only_a", "only_b", "other_inputs", "failed_a", "failed_b"};
        metrics: name -> direction, unit, n, a, b (means over those n), gain, low, high (of b over a, positive is
        better), wins, losses, ranks (1 where they speak for b, -1 for a), p, p_holm, charged_a, charged_b (cases),
        verdict ("a", "b", "none", "too few", and "mixed" where the ranks speak for one and the mean for the other);
        sets: metrics of all clips together -> a, b, without a test.
    """
    records_a, records_b = _records(a, name_a), _records(b, name_b)
    shared = [case for case in records_a if case in records_b]
    same = [case for case in shared if _same_inputs(records_a[case], records_b[case])]
    metrics: dict[str, dict] = {}
    for name, facts in a["metrics"].items():
        if facts["direction"] is None or facts["of_sets"] or name not in b["metrics"]:
            continue
        pairs, charged = _pairs(name, facts, [(records_a[c], records_b[c]) for c in same])
        if pairs:
            metrics[name] = _test(facts, pairs) | {"charged_a": charged[0], "charged_b": charged[1]}
    corrected = holm({name: told["p"] for name, told in metrics.items() if told["p"] is not None})
    for name, told in metrics.items():
        told["p_holm"] = corrected.get(name)
        told["verdict"] = _verdict(told)
    return {
        "a": name_a,
        "b": name_b,
        "suite": [a["suite"].get("name"), b["suite"].get("name")],
        "cases": {
            "same": len(same),
            "only_a": len(records_a) - len(shared),
            "only_b": len(records_b) - len(shared),
            "other_inputs": len(shared) - len(same),
            "failed_a": sum(records_a[case]["status"] == "failed" for case in same),
            "failed_b": sum(records_b[case]["status"] == "failed" for case in same),
        },
        "metrics": metrics,
        "sets": _sets(a, b, name_a, name_b),
    }


def format_comparison(found: Mapping[str, Any]) -> str:
    """The comparison as text for a terminal: what was compared, a line a metric, how to read it."""
    cases, a, b = found["cases"], found["a"], found["b"]
    lines = [f"A = {a}, B = {b}: {cases['same']} cases of {' and '.join(dict.fromkeys(map(str, found['suite'])))}."]
    if cases["only_a"] or cases["only_b"]:
        lines.append(f"Not counted: {cases['only_a']} cases that only A has and {cases['only_b']} that only B has.")
    if cases["other_inputs"]:
        lines.append(f"Not counted: {cases['other_inputs']} cases whose input files differ between the reports.")
    if cases["failed_a"] or cases["failed_b"]:
        lines.append(f"A failed on {cases['failed_a']} and B on {cases['failed_b']} of them.")
    rows = [["metric", "cases", "A", "B", "B better by", "95 % interval", "B wins", "p", "p (Holm)", ""]]
    rows += [_row(name, told) for name, told in found["metrics"].items()]
    words = [list(row) for row in rows]
    lines += ["", align(words) if len(words) > 1 else "No metric has a value in both.", ""]
    for name, told in found["sets"].items():
        d = decimals([told["a"], told["b"]])
        lines.append(f"{name}: A {told['a']:.{d}f}, B {told['b']:.{d}f}; one number for all clips, not tested.")
    lines.append(
        "Gains are positive where B is better; for metrics that should be near one or zero they are of the distance "
        f"from there. p: Wilcoxon signed-rank over cases; corrected over {len(found['metrics'])} metrics after Holm."
    )
    charged = {name: told for name, told in found["metrics"].items() if told["charged_a"] or told["charged_b"]}
    if charged:
        counts = ", ".join(f"{name} {told['charged_a']} and {told['charged_b']}" for name, told in charged.items())
        lines.append(f"Cases of A and B that failed or gave nothing to measure, and count with the worst: {counts}.")
    if found["metrics"] and max(told["n"] for told in found["metrics"].values()) < 6:
        lines.append("With fewer than 6 cases this test can show no difference at p < 0.05: run more cases.")
    return "\n".join(lines)


def _records(report: Mapping[str, Any], system: str) -> dict[str, dict]:
    """Case -> record, without what was left out."""
    found = {case["case"]: case["systems"].get(system) for case in report["cases"]}
    return {case: record for case, record in found.items() if record and record["status"] != "left out"}


def _same_inputs(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    return a.get("inputs") is None or b.get("inputs") is None or a["inputs"] == b["inputs"]


def _pairs(
    metric: str, facts: Mapping[str, Any], records: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
) -> tuple[list[tuple[float, float]], list[int]]:
    """Both systems' values of a case, and how many stand for a failure of A and of B.

    As in a report: who failed, or whose output has no value where the other's has, is charged.
    """
    found = [tuple(_value(record, metric) for record in both) for both in records]
    given = [value for values in found for value in values if value is not None]
    penalties = []
    for side in (0, 1):
        own = [values[side] for values in found if values[side] is not None]
        bad = worst(facts["direction"], given, own)
        penalties.append(bad if facts["failed"] is None else float(facts["failed"]))
    pairs, charged = [], [0, 0]
    for values, both in zip(found, records, strict=True):
        if values == (None, None):
            continue
        lost = [value is None for value in values]
        if any(lost[side] and not _charges(both[side], metric) for side in (0, 1)):
            continue
        pairs.append(tuple(penalties[side] if lost[side] else values[side] for side in (0, 1)))
        charged = [charged[side] + lost[side] for side in (0, 1)]
    return pairs, charged


def _value(record: Mapping[str, Any], metric: str) -> float | None:
    return record["values"].get(metric) if record["status"] == "ok" else None


def _charges(record: Mapping[str, Any], metric: str) -> bool:
    return is_charged(record["status"], record.get("not_computed") or {}, metric)


def _test(facts: Mapping[str, Any], pairs: list[tuple[float, float]]) -> dict[str, Any]:
    bad_a, bad_b = ([badness(facts["direction"], value) for value in values] for values in zip(*pairs, strict=True))
    told = paired(bad_a, bad_b)
    means = [sum(values) / len(pairs) for values in zip(*pairs, strict=True)]
    gain = asdict(told.gain)
    return {
        "direction": facts["direction"],
        "unit": facts["unit"],
        "n": gain["n"],
        "a": means[0],
        "b": means[1],
        "gain": gain["mean"],
        "low": gain["low"],
        "high": gain["high"],
        "wins": told.wins,
        "losses": told.losses,
        "ranks": told.ranks,
        "p": told.p,
    }


def _verdict(told: Mapping[str, Any]) -> str:
    if told["n"] < LEAST:
        return "too few"
    if told["p_holm"] >= EVIDENCE or told["ranks"] == 0:
        return "none"
    if told["gain"] * told["ranks"] <= 0:
        return "mixed"
    return "b" if told["ranks"] > 0 else "a"


def _sets(a: Mapping[str, Any], b: Mapping[str, Any], name_a: str, name_b: str) -> dict[str, dict]:
    found = {}
    for name, facts in a["metrics"].items():
        figures = [report["table"][system].get(name) for report, system in ((a, name_a), (b, name_b))]
        if facts["of_sets"] and all(figures):
            found[name] = {"a": figures[0]["mean"], "b": figures[1]["mean"], "direction": facts["direction"]}
    return found


def _row(name: str, told: Mapping[str, Any]) -> list[str]:
    d = decimals([told["a"], told["b"], told["gain"]])
    interval = "-" if told["low"] is None else f"[{told['low']:+.{d}f}, {told['high']:+.{d}f}]"
    words = {"a": "A better", "b": "B better", "none": "no difference shown", "too few": "too few cases"}
    words["mixed"] = "mixed: most cases and the mean disagree"
    return [
        f"{name} {ARROWS[told['direction']]}",
        str(told["n"]),
        figure(told["a"], d),
        figure(told["b"], d),
        f"{told['gain']:+.{d}f}",
        interval,
        f"{told['wins']} of {told['n']}",
        _p(told["p"]),
        _p(told["p_holm"]),
        words[told["verdict"]],
    ]


def _p(value: float | None) -> str:
    return "-" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"
