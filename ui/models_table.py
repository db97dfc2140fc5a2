"""`mien models` and `mien weights list`: every weight with its licence, its source and where it lies."""

from __future__ import annotations

from collections.abc import Iterable

from weights.registry import WeightRecord


def print_records(records: Iterable[WeightRecord], files: bool = False) -> None:
    """Prints a paragraph a record: licence, purpose, source, place.

    files: a line for each file as well: size, SHA-256, place.
    """
    from rich.markup import escape

    from .console import out_console

    out = out_console()
    for record in records:
        licence = record.licence
        if not record.commercial_use and "non-commercial" not in licence:
            licence = f"non-commercial: {licence}"
        out.print(f"[bold]{record.name}[/bold]  {escape(licence)}", highlight=False)
        for line in (record.purpose, f"source: {source(record)}", f"here: {where(record)}"):
            out.print(f"    {line}", markup=False, highlight=False, soft_wrap=True)
        for file in as_dict(record)["details"] if files else ():
            size = "size unknown" if file["size"] is None else f"{file['size']:,} bytes"
            facts = (size, f"sha256 {file['sha256'] or 'unknown'}", file["path"] or "not here")
            out.print(f"    {file['file']}: {', '.join(facts)}", markup=False, highlight=False, soft_wrap=True)


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
