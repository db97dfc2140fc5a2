"""The report as one page that needs nothing else: tables, drawings, clips and sheets are inside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from bench.report.clips import View, data_uri
from bench.report.columns import TARGETS
from bench.report.fairness_section import fairness_section
from bench.report.pareto import chosen_metrics, drawing
from bench.report.style import SCRIPT, STYLE
from bench.report.table import figure_cell, table, table_row
from bench.report.text import (
    LEGEND,
    OVERVIEW,
    Table,
    adaptations,
    best_systems,
    computed,
    decimals,
    failures,
    figure,
    heading,
    not_computed,
    overview_row,
    places_of,
    ranking_note,
    tables,
    topics,
)


def page(data: Mapping[str, Any], views: Sequence[View] = (), left_out: str = "") -> str:
    """The whole page.

    Args:
        data: `bench.report.summary.summarise`.
        views: cases to embed.
        left_out: why other cases are not shown, a sentence.
    """
    suite = data["suite"]
    title = f"{suite.get('name')}: {suite['cases']} cases"
    sections = [
        ("figures", "Figures", _figures(data)),
        ("plots", "Quality against time", _plots(data)),
        ("failures", "Failures", _failures(data)),
        ("groups", "Groups", fairness_section(data)),
        ("cases", "Cases", _cases(data, views, left_out)),
        ("metrics", "Metrics", _metrics(data)),
        ("setup", "Set-up", _set_up(data)),
    ]
    sections = [section for section in sections if section[2]]
    links = "".join(f'<a href="#{anchor}">{name}</a>' for anchor, name, _ in sections)
    body = "".join(f'<section id="{anchor}"><h2>{name}</h2>{content}</section>' for anchor, name, content in sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>"
        f"<h1>{escape(title)}</h1>{_lead(data)}<nav>{links}</nav>{body}</main><script>{SCRIPT}</script></body></html>\n"
    )


def _lead(data: Mapping[str, Any]) -> str:
    suite, systems = data["suite"], data["systems"]
    tested = [name for name, facts in systems.items() if facts["role"] == "system"]
    failed = sum(systems[name]["failed"] for name in tested)
    told = suite.get("about") or suite.get("title") or f"Protocol {suite.get('protocol')}."
    state = f"{failed} failed" if failed else "none failed"
    under = ", ".join(tested) or "none but the baselines"
    return f'<p class="lead">{escape(str(told))}<br>Systems: {escape(under)}; of their cases {state}.</p>'


def _figures(data: Mapping[str, Any]) -> str:
    rows = []
    for name, facts in data["systems"].items():
        role, done, failed, lost, time = overview_row(facts)
        mark = ' class="bad"' if facts["failed"] else ""
        cells = f"<td>{role}</td><td>{done}</td><td{mark}>{failed}</td><td>{lost}</td><td>{escape(time)}</td>"
        rows.append(table_row(name, facts["role"], cells))
    parts = [f'<p class="legend">{escape(LEGEND)}</p>', table(OVERVIEW, rows)]
    for part, figures in tables(data).items():
        parts.append(f"<h3>{escape(part)}</h3>" if part else "")
        for title, names in topics(data).items():
            shown = computed(figures, names)
            if shown:
                inner = f"<h4>{escape(title)}</h4>{_metric_table(data, figures, shown)}"
                parts.append(f'<div class="topic">{inner}</div>')
    absent = not_computed(data, data["metrics"]).items()
    lines = "".join(f"<li><b>{escape(name)}</b>: not computed: {escape(why)}.</li>" for name, why in absent)
    parts.append(f'<h4>Not computed</h4><ul class="absent">{lines}</ul>' if lines else "")
    return "".join(parts)


def _metric_table(data: Mapping[str, Any], figures: Table, names: Sequence[str]) -> str:
    places = {name: places_of(figures, name) for name in names}
    best = {name: best_systems(data, figures, name) for name in names}
    rows = []
    for system, row in figures.items():
        cells = "".join(figure_cell(row.get(name), places[name], system in best[name]) for name in names)
        rows.append(table_row(system, data["systems"][system]["role"], cells))
    note = ranking_note(data, names)
    about = f'<p class="legend">{escape(note)}</p>' if note else ""
    return table(["", *(heading(data, name) for name in names)], rows) + about


def _plots(data: Mapping[str, Any]) -> str:
    drawn = "".join(f"<figure>{drawing(data, name)}</figure>" for name in chosen_metrics(data))
    legend = (
        "Up and to the left is better. Filled: systems; hollow: baselines; whiskers: 95 % intervals; the line joins "
        "those that no other one beats in both (still and copy, which draw nothing, aside); dashed: the ground truth."
    )
    if any(data["metrics"][name]["direction"] in TARGETS for name in chosen_metrics(data)):
        legend += " Where a value near one or zero is best, it is the dotted line: nearer to it is better, not up."
    return f'<div class="plots">{drawn}</div><p class="legend">{legend}</p>' if drawn else ""


def _failures(data: Mapping[str, Any]) -> str:
    found = failures(data)
    if not found:
        return ""
    rows = [
        f'<tr><th scope="row">{escape(case)}</th><td class="text">{escape(system)}</td>'
        f'<td class="wrap">{escape(error)}</td></tr>'
        for case, system, error in found
    ]
    return table(["case", "row", "what happened"], rows, text=(1, 2))


def _cases(data: Mapping[str, Any], views: Sequence[View], left_out: str) -> str:
    facts = {case["case"]: case for case in data["cases"]}
    shown = "".join(_case(data, facts[view.case], view) for view in views if view.case in facts)
    note = f'<p class="legend">{escape(left_out)}</p>' if left_out else ""
    return f'{note}<div class="cases">{shown}</div>' if shown else note


def _case(data: Mapping[str, Any], case: Mapping[str, Any], view: View) -> str:
    said = [", ".join(f"{name}: {value}" for name, value in case["groups"].items())]
    said += [f"nothing to show of {', '.join(view.missing)}"] if view.missing else []
    caption = "; ".join(text for text in said if text)
    name, (width, height) = escape(case["case"]), view.size
    sheet = f'<img src="{data_uri(view.sheet, "image/jpeg")}" alt="{name}: the systems side by side" loading="lazy">'
    picture, moments = sheet, ""
    if view.video is not None:
        picture = (
            f'<video src="{data_uri(view.video, "video/mp4")}" width="{width}" height="{height}" '
            f'aria-label="{name}: the systems side by side" muted loop playsinline controls preload="auto"></video>'
        )
        moments = f"<details><summary>A few moments</summary>{sheet}</details>"
    return (
        f'<article class="case"><h3>{name}</h3><figcaption>{escape(caption)}</figcaption>{picture}'
        f"{moments}<details><summary>Figures of this case</summary>{_case_table(data, case)}</details></article>"
    )


def _case_table(data: Mapping[str, Any], case: Mapping[str, Any]) -> str:
    """A row for each metric: the cards are narrow."""
    systems = list(case["systems"])
    rows = []
    for name in data["metrics"]:
        values = [case["systems"][system]["values"].get(name) for system in systems]
        if any(value is not None for value in values):
            cells = "".join(f"<td>{figure(value, decimals(values))}</td>" for value in values)
            rows.append(f'<tr><th scope="row">{escape(heading(data, name))}</th>{cells}</tr>')
    return table(["", *systems], rows)


def _metrics(data: Mapping[str, Any]) -> str:
    rows = []
    for name, facts in data["metrics"].items():
        way = {"lower": "lower", "higher": "higher", "one": "near 1", "zero": "near 0"}.get(facts["direction"], "–")
        cells = [way, facts["unit"], facts["source"], facts["needs"] or "nothing more"]
        told = "".join(f'<td class="{"text" if i < 2 else "wrap"}">{escape(text)}</td>' for i, text in enumerate(cells))
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{told}</tr>')
    head = ["metric", "better", "unit", "source", "needs (licence)"]
    inner = table(head, rows, text=(1, 2, 3, 4))
    return f"<details><summary>What each metric is, where it is from, what it needs</summary>{inner}</details>"


def _set_up(data: Mapping[str, Any]) -> str:
    parts = [_list("Notes", [*data["notes"], *adaptations(data)])]
    parts.append(_list("Machine", [f"{key}: {value}" for key, value in data["machine"].items()]))
    parts.append(_list("Versions", [f"{name} {version}" for name, version in data["versions"].items()]))
    suite = {key: value for key, value in data["suite"].items() if key not in ("name", "cases", "metrics", "about")}
    parts.append(_list("Suite", [f"{key}: {_said(value)}" for key, value in suite.items() if value]))
    for name, facts in data["systems"].items():
        told = {key: facts[key] for key in ("spec", "settings", "weights", "hashes") if facts.get(key)}
        parts.append(_list(name, [f"{key}: {_said(value)}" for key, value in told.items()]))
    return "".join(parts)


def _list(title: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<h3>{escape(title)}</h3><ul class="facts">{items}</ul>' if items else ""


def _said(value: Any) -> str:
    """Plain data in words."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_said(inner)}" for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return "; ".join(_said(inner) for inner in value)
    return str(value)
