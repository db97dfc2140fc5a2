"""`mien models`: the licence of every weight, printed by one command."""

from __future__ import annotations

import json

from weights.registry import RECORDS, WeightRecord


def print_models(as_json: bool = False) -> None:
    """Prints the registry as a table, or as JSON."""
    if as_json:
        print(json.dumps([as_dict(record) for record in RECORDS], indent=2))
        return
    from rich.table import Table

    from .console import out_console

    table = Table(title="Weights that Mien can use", title_justify="left")
    for column in ("name", "for", "licence", "commercial use", "on this machine"):
        table.add_column(column, overflow="fold", no_wrap=column == "name")
    for record in RECORDS:
        table.add_row(
            record.name,
            record.purpose,
            record.licence,
            "yes" if record.commercial_use else "no",
            where(record),
        )
    out_console().print(table)


def where(record: WeightRecord) -> str:
    """Where the weights lie, or how to get them."""
    if record.available:
        return "yes"
    if record.extra is not None and record.package is not None:
        return f"no: pip install 'mien[{record.extra}]'"
    if record.origin == "download":
        return f"no: download, to {record.path}"
    return "no: install Mien again"


def as_dict(record: WeightRecord) -> dict[str, object]:
    """JSON-ready facts of one record."""
    return {
        "name": record.name,
        "purpose": record.purpose,
        "licence": record.licence,
        "commercial_use": record.commercial_use,
        "source": record.source,
        "origin": record.origin,
        "files": list(record.files),
        "path": None if record.path is None else str(record.path),
        "available": record.available,
        "missing": list(record.missing),
    }
