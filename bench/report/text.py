"""How a report says things, whatever its form: figures with their intervals, groups of metrics, rows of cells."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.report.columns import TARGETS, rank
from bench.report.fairness import EVIDENCE
from bench.report.stats import least_chance

Table = Mapping[str, Mapping[str, Mapping[str, Any] | None]]
"""System -> metric -> figure, as in `bench.report.summary.summarise`."""

ARROWS = {"lower": "↓", "higher": "↑", "one": "→1", "zero": "→0", None: ""}

TOPICS: tuple[tuple[str, str], ...] = (
    ("truth", "Against the true video"),
    ("driver", "Expression and movement, against the driver"),
    ("portrait", "Likeness, against the portrait"),
    ("faces", "Several people"),
    ("sound", "Speech, against the sound"),
    ("", "The video by itself"),
)
"""What a metric requires, and the heading of the table where it stands; the first that fits."""

SETS = "All clips together, against the true videos"

ROLES = {"truth": "ground truth", "baseline": "baseline", "system": "system"}

LEGEND = (
    "Each figure is the mean over cases with its 95 % interval over cases (bootstrap, for fewer than 10 cases "
    "Student’s t corrected for skewness); ↑ higher, ↓ lower, →1 nearer to one, →0 nearer to zero is better. Cases "
    "that share a portrait or a driver are not independent: the intervals speak of these cases. †n: n of the cases "
    "failed or gave nothing to measure; they count with the metric's value for failures, or the worst value that any "
    "row has on any case, so that a failure never improves a mean. Figures of all clips together leave them out: such "
    "a row is never called the best."
)


_MARKS = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "\\|", "`": "\\`", "\\": "\\\\", "\n": " ", "\t": " "}
)


def in_markdown(text: str) -> str:
    """Words of others (names, titles, complaints) as one line of Markdown that shows them as they are."""
    return "".join(c for c in text.translate(_MARKS) if unicodedata.category(c) != "Cc")


def decimals(values: Iterable[float | None]) -> int:
    """Decimals that show three significant digits of the largest value."""
    largest = max((abs(value) for value in values if value is not None), default=0.0)
    return 3 if largest == 0 else min(max(2 - math.floor(math.log10(largest)), 0), 6)


def figure(value: float | None, places: int) -> str:
    """A number, or a dash."""
    return "–" if value is None else f"{value:.{places}f}"


def heading(data: Mapping[str, Any], metric: str) -> str:
    """A metric's name with the sign of what is better."""
    return f"{metric} {ARROWS[data['metrics'][metric]['direction']]}".strip()


def seconds(value: float | None) -> str:
    """A time with its unit."""
    if value is None:
        return "–"
    return f"{value * 1000:.3g} ms" if value < 0.1 else f"{value:.3g} s"


def topics(data: Mapping[str, Any]) -> dict[str, list[str]]:
    """Heading -> metrics, in the order of the tables; headings without metrics are left out."""
    found: dict[str, list[str]] = {title: [] for _, title in TOPICS} | {SETS: []}
    for name, facts in data["metrics"].items():
        found[SETS if facts["of_sets"] else _topic(facts["requires"])].append(name)
    return {title: names for title, names in found.items() if names}


def tables(data: Mapping[str, Any]) -> dict[str, Table]:
    """Heading -> table: one table of all cases, or one for each part of a suite that has several."""
    if not data["parts"]:
        return {"": data["table"]}
    return {f"{name}: {part['cases']} cases": part["table"] for name, part in data["parts"].items()}


def computed(table: Table, names: Iterable[str]) -> list[str]:
    """Those of the metrics that some system has a figure of."""
    return [name for name in names if any(row.get(name) for row in table.values())]


def places_of(table: Table, name: str) -> int:
    """Decimals of a metric's column."""
    return decimals(row[name]["mean"] for row in table.values() if row.get(name))


def not_computed(data: Mapping[str, Any], names: Iterable[str]) -> dict[str, str]:
    """Metric -> why nobody has a figure of it."""
    names = list(names)
    left = set(names) - set(computed(data["table"], names))
    return {name: "; ".join(data["metrics"][name]["not_computed"]).rstrip(".") for name in names if name in left}


def best_systems(data: Mapping[str, Any], table: Table, metric: str) -> set[str]:
    """The systems under test that rank first (`bench.report.columns.rank`); none where there is no one to beat."""
    direction = data["metrics"][metric]["direction"]
    asked = [n for n, facts in data["systems"].items() if facts["role"] != "truth" and n not in ("still", "copy")]
    all_clips = data["metrics"][metric]["of_sets"]
    rows = {name: row for name in asked if (row := table[name].get(metric))}
    bad = {name: rank(direction, row) for name, row in rows.items() if not (all_clips and row["charged"])}
    if direction is None or len(bad) < 2:
        return set()
    return {name for name, value in bad.items() if value == min(bad.values())}


def ranking_note(data: Mapping[str, Any], names: Iterable[str]) -> str:
    """What a table's reader has to know of the metrics that should be near one or zero; "" without any."""
    said = []
    for direction, target in TARGETS.items():
        near = [name for name in names if data["metrics"][name]["direction"] == direction]
        if near:
            hidden = f"a mean near {target:g} may hide cases on both sides"
            said.append(f"{', '.join(near)}: nearest to {target:g} is best, case by case; {hidden}.")
    return " ".join(said)


def failures(data: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(case, systems, error) of every failure, and of every case that was left out but for want of a truth."""
    found: dict[tuple[str, str], list[str]] = {}
    for case in data["cases"]:
        for system, record in case["systems"].items():
            no_truth = record["status"] == "left out" and data["systems"][system]["role"] == "truth"
            if record["status"] != "ok" and not no_truth:
                why = record.get("error") or "no reason is recorded"
                why = f"left out: {why}" if record["status"] == "left out" else why
                found.setdefault((case["case"], why), []).append(system)
    return [(case, ", ".join(systems), why) for (case, why), systems in found.items()]


def adaptations(data: Mapping[str, Any]) -> list[str]:
    """What was adapted in how many outputs, such as another frame rate or size, one sentence each."""
    count: dict[tuple[str, str], int] = {}
    for case in data["cases"]:
        for system, record in case["systems"].items():
            for note in record.get("notes") or ():
                count[system, note.rstrip(".")] = count.get((system, note.rstrip(".")), 0) + 1
    return [f"{system}: {note} ({n} of {len(data['cases'])} cases)." for (system, note), n in count.items()]


def overview_row(facts: Mapping[str, Any]) -> list[str]:
    """Role, cases done, failed, frames without a face, time a frame."""
    aside = [f"{facts[key]} {key.replace('_', ' ')}" for key in ("left_out", "not_run") if facts[key]]
    done = f"{facts['ok']}" + (f" ({', '.join(aside)})" if aside else "")
    speed = facts["seconds_a_frame"]
    lost = f"{facts['lost']} of {facts['frames']}" if facts["frames"] else "–"
    failed = "–" if not facts["ok"] and not facts["failed"] else str(facts["failed"])
    return [ROLES[facts["role"]], done, failed, lost, seconds(speed["mean"] if speed else None)]


OVERVIEW = ["row", "role", "cases done", "failed", "frames without a face", "time a frame"]


def metric_table(data: Mapping[str, Any], table: Table, names: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: a row for each system, a column for each metric."""
    places = {name: places_of(table, name) for name in names}
    rows = [[system, *(cell(row.get(name), places[name]) for name in names)] for system, row in table.items()]
    return ["row", *(heading(data, name) for name in names)], rows


def cell(found: Mapping[str, Any] | None, places: int) -> str:
    """A figure with its interval and its failures: "0.78 [0.71, 0.85] †2"."""
    if not found:
        return "–"
    text = figure(found["mean"], places)
    if found["low"] is not None:
        text += f" [{found['low']:.{places}f}, {found['high']:.{places}f}]"
    return text + (f" †{found['charged']}" if found["charged"] else "")


def group_sizes(groups: Mapping[str, Mapping[str, Any]]) -> str:
    """Portraits of each group: "female 4, male 2 (too few)"."""
    return ", ".join(
        f"{name} {size['portraits']}{' (too few)' if size['few'] else ''}" for name, size in groups.items()
    )


def no_gap(data: Mapping[str, Any], system: str) -> str:
    """What is said of a system without a gap: that none was shown, or that none could be."""
    reachable = []
    for told in data["fairness"].values():
        sizes = sorted(size["portraits"] for size in told["groups"].values() if not size["few"])
        tested = sum(facts["gap"] is not None for facts in told["systems"].get(system, {}).get("metrics", {}).values())
        if len(sizes) > 1 and tested:
            reachable.append(min(1.0, tested * least_chance(*sizes[-2:])))
    if not reachable:
        return "too few portraits in each group to compare"
    if min(reachable) >= EVIDENCE:
        return f"too few portraits in each group to show a gap: at best corrected p {min(reachable):.2f}"
    return f"no gap with corrected p < {EVIDENCE:g}"


def gap_sentence(attribute: str, metric: str, gap: Mapping[str, Any]) -> str:
    """A gap of `bench.report.fairness` in words."""
    d = decimals([gap["gap"]])
    interval = f"[{gap['low']:.{d}f}, {gap['high']:.{d}f}]"
    return (
        f"{metric} by {attribute}: {gap['worst']} worse than {gap['best']} by {gap['gap']:.{d}f} {interval}, "
        f"p {gap['p_holm']:.3f}"
    )


def _topic(requires: Sequence[str]) -> str:
    return next(title for need, title in TOPICS if need in requires or not need)
