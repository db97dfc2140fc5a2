"""The groups' part of the page: how many, every mean by group, the gaps."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from bench.report.fairness import EVIDENCE, shown_gaps
from bench.report.pareto import chosen_metrics
from bench.report.stats import LEAST
from bench.report.table import figure_cell, table
from bench.report.text import decimals, figure, gap_sentence, group_sizes, heading, no_gap

ABOUT = (
    "The unit is the portrait: a face that several drivers moved counts once. Gap: how much worse the worst group's "
    "mean is than the best one's, with its 95 % interval for all pairs of groups; p: share of random groupings with a "
    f"gap as large, Holm-corrected over the metrics of a row. Groups of fewer than {LEAST} portraits are shown and not "
    "compared. A gap in the ground truth row comes from the videos or the detector and from no system."
)


def fairness_section(data: Mapping[str, Any]) -> str:
    """HTML; empty where the suite names no groups."""
    if not data["fairness"]:
        return ""
    said = []
    for system, facts in data["systems"].items():
        gaps = shown_gaps(data["fairness"], system)
        if facts["role"] == "system" or gaps:
            words = "; ".join(gap_sentence(*gap) for gap in gaps) or no_gap(data, system)
            said.append(f"<li><b>{escape(system)}</b>: {escape(words)}.</li>")
    parts = [f'<p class="legend">{escape(ABOUT)}</p><ul>{"".join(said)}</ul>']
    parts += [_gaps(data, name) for name, facts in data["systems"].items() if facts["role"] == "system"]
    for attribute, told in data["fairness"].items():
        shown = [name for name, facts in data["systems"].items() if facts["role"] != "baseline" or name == "warp"]
        tables = "".join(_table(data, told, system) for system in shown)
        sizes = group_sizes(told["groups"])
        state = " open" if attribute == "style" else ""  # the groups of EmojiBench++ are read as tables of their own
        parts.append(f"<details{state}><summary>{escape(attribute)}: {escape(sizes)}</summary>{tables}</details>")
    return "".join(parts)


def _gaps(data: Mapping[str, Any], system: str) -> str:
    """The gaps of the report's most telling metrics: a row for each attribute."""
    found = {attribute: told["systems"][system]["metrics"] for attribute, told in data["fairness"].items()}
    compared = [metrics for metrics in found.values() if any(figures["gap"] for figures in metrics.values())]
    names = [name for name in chosen_metrics(data) if any(name in metrics for metrics in compared)]
    rows = []
    for attribute, metrics in found.items():
        cells = ""
        for name in names:
            gap = metrics[name]["gap"] if name in metrics else None
            cells += _gap_cell(gap, f"<small>{escape(gap['worst'])} &lt; {escape(gap['best'])}</small>" if gap else "")
        rows.append(f'<tr><th scope="row">{escape(attribute)}</th>{cells}</tr>')
    title = f"<h4>{escape(system)}: gap between the best and the worst group</h4>"
    return title + table(["by", *(heading(data, name) for name in names)], rows) if names else ""


def _table(data: Mapping[str, Any], told: Mapping[str, Any], system: str) -> str:
    groups, found = list(told["groups"]), told["systems"][system]
    rows = []
    shares = [found["failed"].get(group) for group in groups]
    if any(shares):
        cells = "".join("<td>–</td>" if share is None else f"<td>{share:.0%}</td>" for share in shares)
        rows.append(f'<tr><th scope="row">failed</th>{cells}<td>–</td><td>–</td></tr>')
    for name, figures in found["metrics"].items():
        means = figures["groups"]
        places = decimals(mean["mean"] for mean in means.values())
        cells = "".join(figure_cell(means.get(group), places) for group in groups)
        gap = figures["gap"]
        cells += _gap_cell(gap) + (f"<td>{gap['p_holm']:.3f}</td>" if gap else "<td>–</td>")
        rows.append(f'<tr><th scope="row">{escape(heading(data, name))}</th>{cells}</tr>')
    if not rows:
        return ""
    head = ["", *(f"{g} (too few)" if told["groups"][g]["few"] else g for g in groups), "gap", "p"]
    return f'<div class="topic"><h4>{escape(system)}</h4>{table(head, rows)}</div>'


def _gap_cell(gap: Mapping[str, Any] | None, more: str = "") -> str:
    if gap is None:
        return "<td>–</td>"
    places = decimals([gap["gap"], gap["high"]])
    interval = f"<small>[{gap['low']:.{places}f}, {gap['high']:.{places}f}]</small>"
    mark = ' class="failed"' if gap["p_holm"] < EVIDENCE else ""
    return f"<td{mark}><b>{figure(gap['gap'], places)}</b>{interval}{more}</td>"
