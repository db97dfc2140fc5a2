"""The report's files: a page to look at, a page of Markdown, and the same as JSON and CSV for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from animate.errors import MediaError
from bench.report.clips import View, view_of
from bench.report.current import current
from bench.report.html import page
from bench.report.markdown import markdown
from bench.report.runs import Run, load_runs
from bench.report.summary import summary_of
from bench.tables import write_json, write_whole

CLIPS = 12
"""Cases that a page shows by default."""

BUDGET = 24_000_000
"""Bytes of clips and sheets in a page at most."""


def write_report(
    out: Path,
    target: Path | None = None,
    clips: int = CLIPS,
    budget: int = BUDGET,
    follow: Callable[[Iterable[str], int], Iterable[str]] | None = None,
) -> tuple[dict[str, Any], dict[str, Path]]:
    """Write report.html, report.md, report.json and report.csv.

    Args:
        out: folder of run folders.
        target: folder for the files; the same one if None.
        clips: cases that the page shows, evenly spread over the suite.
        budget: bytes that their clips and sheets may take.
        follow: wraps the cases while their clips are made, for a progress bar; also given their number.

    Returns:
        the report's data (`bench.report.summary.summarise`), and "html", "md", "json", "csv" -> file.

    Raises:
        MediaError: there is no run, or the files cannot be written.
    """
    runs = current(load_runs(out))
    data = summary_of(runs)
    target = out if target is None else target
    views, left_out = embedded(runs, [case["case"] for case in data["cases"]], clips, budget, follow)
    files = {kind: target / f"report.{kind}" for kind in ("html", "md", "json", "csv")}
    texts = {"md": markdown(data), "csv": as_csv(data), "html": page(data, views, left_out)}
    content = {kind: text.encode("utf-8", "replace") for kind, text in texts.items()}
    try:
        write_json(files["json"], data)
        for kind, whole in content.items():
            write_whole(files[kind], whole)
    except OSError as error:
        raise MediaError(f"{target} cannot be written to ({error.strerror}): choose another folder.") from error
    return data, files


def embedded(
    runs: Sequence[Run],
    cases: Sequence[str],
    clips: int,
    budget: int,
    follow: Callable[[Iterable[str], int], Iterable[str]] | None = None,
) -> tuple[list[View], str]:
    """The cases that a page shows, and a sentence on those that it does not ("" when it shows all)."""
    chosen = [cases[i] for i in sorted(set(np.linspace(0, len(cases) - 1, min(clips, len(cases))).round().astype(int)))]
    views: list[View] = []
    used = 0
    reason = "that many were asked for"
    for case in chosen if follow is None else follow(chosen, len(chosen)):
        view = view_of(case, runs)
        if view is None:
            continue
        if used + view.bytes > budget:
            reason = "more would make the page too large"
            break
        views.append(view)
        used += view.bytes
    if len(views) == len(cases):
        return views, ""
    if len(views) == len(chosen) or reason.startswith("more"):
        return views, f"{len(views)} of {len(cases)} cases are shown: {reason}."
    return views, f"{len(views)} of {len(cases)} cases are shown; of {len(chosen) - len(views)} there is no video here."


def as_csv(data: Mapping[str, Any]) -> str:
    """A row for each case of each system: what it is, its groups, its values."""
    attributes = list(dict.fromkeys(name for case in data["cases"] for name in case["groups"]))
    facts = ["status", "error", "frames", "lost", "seconds"]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["system", "case", "portrait", *facts, *(f"group:{name}" for name in attributes), *data["metrics"]])
    for case in data["cases"]:
        for system, record in case["systems"].items():
            groups = [case["groups"].get(name, "") for name in attributes]
            values = [record["values"].get(name) for name in data["metrics"]]
            told = [record.get(name) for name in facts]
            writer.writerow([system, case["case"], case["portrait"] or "", *told, *groups, *values])
    return stream.getvalue()
