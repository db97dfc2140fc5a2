"""`mien bench list`: suites and metrics, for a person or a program."""

from __future__ import annotations

import json
from typing import Any

WAYS = {"lower": "lower is better", "higher": "higher is better", "one": "nearer to 1", "zero": "nearer to 0"}


def as_data() -> dict[str, Any]:
    """JSON-ready: "suites" and "metrics", each a list."""
    from bench.metrics import METRICS
    from bench.report.columns import facts_of
    from bench.suites.manifest import builtin_suites

    suites = [{"name": name, **template} for name, template in builtin_suites().items()]
    metrics = [{"name": name, **facts_of(metric), "missing": metric.missing()} for name, metric in METRICS.items()]
    return {"suites": suites, "metrics": metrics}


def print_list(as_json: bool) -> None:
    """A paragraph for each suite and each metric, or JSON."""
    from rich.markup import escape

    from .console import out_console

    data = as_data()
    if as_json:
        print(json.dumps(data, indent=1, default=str))
        return
    out = out_console()
    out.print("[bold]Suites[/bold]")
    for suite in data["suites"]:
        out.print(f"[bold]{suite['name']}[/bold]  {escape(suite.get('title') or '')}")
        if suite.get("about"):
            out.print(f"    {' '.join(suite['about'].split())}", markup=False)
        out.print(f"    metrics: {', '.join(suite.get('metrics') or ())}", markup=False)
    out.print("\n[bold]Metrics[/bold]")
    for metric in data["metrics"]:
        out.print(f"[bold]{metric['name']}[/bold]  {WAYS[metric['direction']]}; {escape(metric['unit'])}")
        out.print(f"    source: {metric['source']}", markup=False)
        out.print(f"    compares with: {', '.join(metric['requires']) or 'nothing'}", markup=False)
        if metric["needs"]:
            out.print(f"    needs: {metric['needs']}", markup=False)
        out.print(f"    here: {'no: ' + metric['missing'] if metric['missing'] else 'yes'}", markup=False)
