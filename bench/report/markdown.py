"""The report as Markdown and as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.report.fairness import shown_gaps
from bench.report.text import (
    LEGEND,
    OVERVIEW,
    adaptations,
    computed,
    failures,
    figure,
    gap_sentence,
    group_sizes,
    heading,
    in_markdown,
    metric_table,
    no_gap,
    not_computed,
    overview_row,
    places_of,
    ranking_note,
    tables,
    topics,
)
from bench.tables import align


def markdown(data: Mapping[str, Any]) -> str:
    """The report as a page of Markdown."""
    suite = data["suite"]
    lines = [f"# {in_markdown(str(suite.get('name')))}: {suite['cases']} cases", "", LEGEND, ""]
    lines += _table(OVERVIEW, [[name, *overview_row(facts)] for name, facts in data["systems"].items()])
    for part, table in tables(data).items():
        lines += ["", f"## {in_markdown(part)}"] if part else []
        for title, names in topics(data).items():
            shown = computed(table, names)
            if shown:
                lines += ["", f"{'###' if part else '##'} {title}", "", *_table(*metric_table(data, table, shown))]
                lines += ["", in_markdown(note)] if (note := ranking_note(data, shown)) else []
    absent = not_computed(data, data["metrics"])
    if absent:
        lines += ["", "## Not computed", "", *_list(f"{name}: not computed: {why}." for name, why in absent.items())]
    lines += _fairness(data)
    failed = failures(data)
    if failed:
        lines += ["", "## Failures", "", *_list(f"{case}, {system}: {error}" for case, system, error in failed)]
    remarks = [*data["notes"], *adaptations(data)]
    if remarks:
        lines += ["", "## Notes", "", *_list(remarks)]
    lines += ["", "## Set-up", "", *_list(f"{name} {version}" for name, version in data["versions"].items())]
    lines += _list(f"{key}: {value}" for key, value in data["machine"].items())
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def terminal(data: Mapping[str, Any]) -> str:
    """The tables for a terminal: means without intervals."""
    parts = [align([OVERVIEW, *([name, *overview_row(facts)] for name, facts in data["systems"].items())])]
    for part, table in tables(data).items():
        for title, names in topics(data).items():
            shown = computed(table, names)
            places = {name: places_of(table, name) for name in shown}
            rows = [["", *(heading(data, name) for name in shown)]]
            for system, row in table.items():
                rows.append([system, *(figure(row[n]["mean"], places[n]) if row.get(n) else "–" for n in shown)])
            if shown:
                parts.append(f"{part + ', ' if part else ''}{title}\n{align(rows)}")
    absent = [f"{name}: not computed: {why}." for name, why in not_computed(data, data["metrics"]).items()]
    return "\n\n".join([*parts, *(["\n".join(absent)] if absent else [])])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return lines + ["| " + " | ".join(map(in_markdown, row)) + " |" for row in rows]


def _list(texts: Iterable[str]) -> list[str]:
    return [f"* {in_markdown(text)}" for text in texts]


def _fairness(data: Mapping[str, Any]) -> list[str]:
    if not data["fairness"]:
        return []
    said = [f"{name}, portraits: {group_sizes(told['groups'])}." for name, told in data["fairness"].items()]
    for system, facts in data["systems"].items():
        if facts["role"] == "truth":
            continue
        found = [gap_sentence(*gap) for gap in shown_gaps(data["fairness"], system)]
        said.append(f"{system}: {'; '.join(found) if found else no_gap(data, system)}.")
    return ["", "## Groups", "", *_list(said)]
