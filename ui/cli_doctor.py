"""`mien doctor`: whether everything that should work does."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from .cli_options import PlainJson

if TYPE_CHECKING:
    from .doctor import Check

EXIT_PROBLEM = 1
MARKS = {"ok": ("✓", "green"), "absent": ("·", "dim"), "wrong": ("✗", "bold red")}


def doctor(
    selftest: Annotated[bool, typer.Option("--selftest/--no-selftest", help="Draw one tiny frame.")] = True,
    as_json: PlainJson = False,
) -> None:
    """Tell what is installed, which weights lie where, on what Mien computes, and whether it draws.

    Nothing is fetched. Exit code 1: something that should work does not.
    """
    from .console import Progress
    from .doctor import WRONG, examine

    if as_json:
        with Progress().stage("looking"):
            checks = list(examine(selftest))
        healthy = not any(check.state == WRONG for check in checks)
        print(json.dumps({"healthy": healthy, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        healthy = _show(examine(selftest))
    if not healthy:
        raise typer.Exit(EXIT_PROBLEM)


def _show(checks: Iterable[Check]) -> bool:
    """Prints each check when it is done; whether nothing is wrong."""
    from rich.markup import escape

    from .console import out_console

    out, group, wrong = out_console(), None, 0
    for check in checks:
        if check.group != group:
            group = check.group
            out.print(f"[bold]{group}[/bold]")
        mark, style = MARKS[check.state]
        out.print(f"  [{style}]{mark}[/{style}] {check.name:<26} {escape(check.detail)}")
        wrong += check.state == "wrong"
    things = "thing does" if wrong == 1 else "things do"
    out.print(f"{wrong} {things} not work that should." if wrong else "Everything that should work does.")
    return not wrong
