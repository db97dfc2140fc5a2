"""What reports share: aligned tables, versions of packages, JSON files that are written whole."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from animate.whole_file import whole_file


def align(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as lines with right-aligned columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Package -> version, of those that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write_json(path: Path, data: dict) -> None:
    """Write a report; it appears under its name only when complete.

    Raises:
        ValueError: a value is not finite.
    """
    write_whole(path, json.dumps(data, indent=1, allow_nan=False) + "\n")


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file, text as UTF-8; it appears under its name only when complete. Its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
