"""Tables of the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from bench.report.text import figure


def table(head: Sequence[str], rows: Iterable[str], text: Sequence[int] = ()) -> str:
    """A table that scrolls by itself on a narrow screen; ``text``: columns that are set to the left."""
    heads = "".join(
        f'<th scope="col"{" class=text" if i in text else ""}>{escape(name)}</th>' for i, name in enumerate(head)
    )
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def figure_cell(found: Mapping[str, Any] | None, places: int, best: bool = False) -> str:
    """A figure, its interval below, and its failures."""
    if not found:
        return "<td>–</td>"
    dagger = f' <span class="bad">†{found["charged"]}</span>' if found.get("charged") else ""
    interval = ""
    if found["low"] is not None:
        interval = f"<small>[{found['low']:.{places}f}, {found['high']:.{places}f}]</small>"
    name = ' class="best"' if best else ""
    told = f"{found['n']} cases"
    if found.get("badness") is not None:
        told += f"; mean distance from the best value {found['badness']:.{places}f}"
    return f'<td{name} title="{told}"><b>{figure(found["mean"], places)}</b>{dagger}{interval}</td>'


def table_row(name: str, role: str, cells: str) -> str:
    """A row of a system."""
    return f'<tr class="{role}"><th scope="row">{escape(name)}</th>{cells}</tr>'
