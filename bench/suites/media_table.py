"""``manifest.csv``: what people say of their media, as spreadsheets write it."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from bench.suites.checks import SuiteError, listed

NAME = "manifest.csv"
DELIMITERS = ",;\t"


def read_tables(folder: Path, tables: Iterable[Path]) -> tuple[dict[Path, dict[str, str]], list[str]]:
    """What manifests say of files: the folder's own, then those of the two folders above it, then those below it.

    Args:
        folder: that of the media.
        tables: every manifest in it and below it.

    Returns:
        File -> column in small letters -> cell, and sentences on what is not used. The first manifest that names a
        file holds.

    Raises:
        SuiteError: a manifest in the folder or below it cannot be read. One above it may be of something else.
    """
    rows: dict[Path, dict[str, str]] = {}
    notes: list[str] = []
    root = folder.resolve()
    above = [path for parent in root.parents[:2] if os.path.isfile(path := parent / NAME)]
    for table in sorted([*tables, *above], key=lambda table: (table != folder / NAME, table not in above)):
        name = Path(os.path.relpath(table, root if table in above else folder)).as_posix()
        try:
            found = _rows(table)
        except SuiteError:
            if table not in above:
                raise
            notes.append(f"{name} is not used: it is no manifest of media.")
            continue
        files = (file for file in found if file.is_relative_to(root) and not os.path.isfile(file))
        if missing := [file.relative_to(root).as_posix() for file in files]:
            notes.append(f"{name} names files that are not there: {listed(missing)}.")
        rows = found | rows
    return rows, notes


def _rows(table: Path) -> dict[Path, dict[str, str]]:
    """Rows by the file that they name; of two on one file the first."""
    try:
        text = table.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SuiteError(f"{table} is not in UTF-8: save it as CSV in UTF-8.") from None
    except OSError as error:
        raise SuiteError(f"{table} cannot be read ({error.strerror}).") from None
    if "\0" in text:
        raise SuiteError(f"{table} holds characters of code 0: save it as CSV in UTF-8.")
    found: dict[Path, dict[str, str]] = {}
    try:
        columns, body = _split(table, text)
        for cells in body:
            row = {column: cell.strip() for column, cell in zip(columns, cells, strict=False) if column}
            if row.get("file"):
                found.setdefault((table.parent / row["file"]).resolve(), row)
    except (csv.Error, ValueError) as error:
        raise SuiteError(f"{table} cannot be read as a table ({error}).") from None
    return found


def _split(table: Path, text: str) -> tuple[list[str], Iterator[list[str]]]:
    """The columns in small letters, and the rows below them, by the delimiter that makes a column ``file``."""
    most: list[str] = []
    for delimiter in DELIMITERS:
        body = filter(any, csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
        columns = [column.strip() for column in next(body, [])]
        small = [column.lower() for column in columns]
        if "file" in small:
            return small, body
        most = max(most, columns, key=len)
    there = f"its columns are {listed(most, 12)}" if most else "it is empty"
    raise SuiteError(f"{table} has no column 'file': {there}.")
