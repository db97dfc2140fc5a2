"""`mien models` and `mien weights list`: every weight with its licence, its source and where it lies."""

from __future__ import annotations

import json

from weights.registry import RECORDS, WeightRecord


def print_models(as_json: bool = False, sources: bool = False) -> None:
    """Prints the registry as a table, or as JSON.

    Args:
        sources: a column of repositories, revisions and sizes instead of the one on commercial use, which then stands
            beside the licence. JSON tells all of it always.
    """
    if as_json:
        print(json.dumps([as_dict(record) for record in RECORDS], indent=2))
        return
    from rich.table import Table

    from .console import out_console

    table = Table(title="Weights that Mien can use", title_justify="left")
    for column in ("name", "for", "licence", "source" if sources else "commercial use", "on this machine"):
        table.add_column(column, overflow="fold", no_wrap=column == "name")
    for record in RECORDS:
        licence, other = record.licence, "yes" if record.commercial_use else "no"
        if sources:
            if not record.commercial_use and "non-commercial" not in licence:
                licence = f"non-commercial: {licence}"
            other = source(record)
        table.add_row(record.name, record.purpose, licence, other, where(record))
    out_console().print(table)


def source(record: WeightRecord) -> str:
    """Repository and revision, or where else the weights come from, and their size where it is known."""
    place = record.source if record.repository is None else f"{record.repository} @ {record.revision[:7]}"
    size = size_of(record)
    return place if size is None else f"{place}, {size / 1e6:,.1f} MB"


def where(record: WeightRecord) -> str:
    """Where the weights lie, or how to get them."""
    if record.available:
        return "yes" if record.repository is None else str(record.path)
    if record.extra is not None and record.package is not None:
        return f"no: pip install 'mien[{record.extra}]'"
    if record.repository is not None:
        return f"no: mien weights pull {record.name}"
    if record.origin == "download":
        return f"no: download, to {record.path}"
    return "no: install Mien again"


def size_of(record: WeightRecord) -> int | None:
    """Bytes of all files, as published or as they lie here; None when that is not known of every file."""
    sizes = []
    for file in record.files:
        facts, path = record.facts.get(file), record.find(file)
        published = facts.size if facts is not None else None
        sizes.append(path.stat().st_size if published is None and path is not None else published)
    return None if None in sizes else sum(sizes)


def as_dict(record: WeightRecord) -> dict[str, object]:
    """JSON-ready facts of one record."""
    paths = {file: record.find(file) for file in record.files}
    return {
        "name": record.name,
        "purpose": record.purpose,
        "licence": record.licence,
        "commercial_use": record.commercial_use,
        "source": record.source,
        "origin": record.origin,
        "repository": record.repository,
        "revision": record.revision if record.repository else None,
        "files": list(record.files),
        "details": [
            {
                "file": file,
                "size": record.facts[file].size if file in record.facts else None,
                "sha256": record.facts[file].sha256 if file in record.facts else None,
                "path": None if paths[file] is None else str(paths[file]),
            }
            for file in record.files
        ],
        "path": None if record.path is None else str(record.path),
        "available": record.available,
        "missing": list(record.missing),
    }
