"""Media to make suites of: every picture, video and sound below a folder, with what is known of it."""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from bench.clips import VIDEO_SUFFIXES
from bench.suites.checks import SuiteError, is_plain, listed
from bench.suites.manifest import TEMPLATES
from bench.suites.media_table import NAME, read_tables
from bench.suites.walk import files_below

PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
SOUND_SUFFIXES = {".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac"}

STYLES = {
    "real": "human",
    "real-like": "human",
    "photo": "human",
    "painting": "painting",
    "cartoon": "cartoon",
    "sculpture": "sculpture",
    "animal": "animal",
    "group": "group",
}
"""A picture's kind in a manifest -> the style that its results are reported by."""

AGE_BANDS = ((0, "under 18"), (18, "18-29"), (30, "30-44"), (45, "45-59"), (60, "60 and over"))
"""Youngest age of a band, and the band."""

OLDEST = 130

COLUMNS = ("gender", "age", "tone")
"""Columns of a manifest that become groups as they are."""

_GENDER = re.compile(r"(?<![a-z])(female|male|woman|man|women|men)(?![a-z])", re.IGNORECASE)
_GENDERS = {"female": "female", "woman": "female", "women": "female"}


@dataclass(frozen=True)
class Medium:
    """A file and what is known of it.

    Attributes:
        file: its path below the folder that was searched.
        type: "picture", "video" or "sound".
        kind: the manifest's, without its type: "real", "painting", "driving", "talking", ...; "" where unknown.
        subject: who is in it; the file's stem where unknown.
        licence: "" where unknown.
        sound: the manifest's word on a video's sound; "" where unknown.
        groups: style, gender, age, tone as far as known.
    """

    file: str
    type: str
    kind: str = ""
    subject: str = ""
    licence: str = ""
    sound: str = ""
    groups: dict[str, str] = field(default_factory=dict)


def find_media(folder: Path) -> tuple[list[Medium], tuple[str, ...]]:
    """All media below a folder in the order of their names, and sentences on what was left out.

    A ``manifest.csv`` in it (columns ``file``, ``kind`` such as "image:painting", ``licence``, ``subject``, ``sound``,
    ``gender``, ``age``, ``tone``; all but the first may be absent) says what they are. Files that it does not name are
    taken, too; hidden ones, and what runs of the benchmark wrote there, are not.

    Raises:
        SuiteError: there is no such folder, no medium in it, or its manifest cannot be read.
    """
    if not folder.is_dir():
        raise SuiteError(f"There is no folder {folder}: give one that holds portraits and videos.")
    files, runs = files_below(folder)
    rows, notes = read_tables(folder, (path for path in files if path.name == NAME))
    types = dict.fromkeys(PICTURE_SUFFIXES, "picture") | dict.fromkeys(SOUND_SUFFIXES, "sound")
    types |= dict.fromkeys(VIDEO_SUFFIXES, "video")
    media, odd = [], []
    for path in files:
        name = path.relative_to(folder).as_posix()
        type_ = types.get(path.suffix.lower())
        if type_ is None or not os.path.isfile(path):
            continue
        if is_plain(name):
            media.append(_medium(name, type_, rows.get(path.resolve(), {})))
        else:
            odd.append(name)
    if runs:
        notes.append(f"What runs of the benchmark wrote is left out: {listed(runs)}.")
    if odd:
        notes.append(f"Left out for a backslash in the name, or a name that is not in UTF-8: {listed(odd)}.")
    if not media:
        why = "".join(f" {note}" for note in notes)
        raise SuiteError(
            f"There is no picture, video or sound in {folder}: give a folder of portraits and videos.{why}"
        )
    return media, tuple(notes)


def age_band(age: str | float) -> str:
    """The band of an age in years, "" for no age that a person has; what is no number is taken for a band already."""
    try:
        years = float(age)
    except ValueError:
        return str(age)
    if not math.isfinite(years) or not 0 <= years <= OLDEST:
        return ""
    return [band for least, band in AGE_BANDS if years >= least][-1]


def _medium(file: str, type_: str, row: Mapping[str, str]) -> Medium:
    kind = (row.get("kind") or "").partition(":")[2].strip()
    groups = {column: row[column].strip() for column in COLUMNS if (row.get(column) or "").strip()}
    if type_ == "picture":
        groups = _generated(file) | groups
        groups["style"] = STYLES.get(kind) or _style_by_name(file)
        if "gender" not in groups and (found := _GENDER.search(Path(file).name.replace("_", " "))):
            groups["gender"] = _GENDERS.get(found.group().lower(), "male")
    if "age" in groups:
        groups["age"] = age_band(groups["age"])
    return Medium(
        file=file,
        type=type_,
        kind=kind,
        subject=(row.get("subject") or "").strip() or Path(file).stem,
        licence=(row.get("licence") or "").strip(),
        sound=(row.get("sound") or "").strip(),
        groups={name: value for name, value in groups.items() if value},
    )


def _style_by_name(file: str) -> str:
    words = re.split(r"[^a-z]+", file.lower())
    named = [STYLES.get(word) or STYLES.get(word.removesuffix("s")) for word in words]
    return next((style for style in named if style), "unknown")


def _generated(file: str) -> dict[str, str]:
    """What the prompts of the CC0 portraits of Faker say, by file name."""
    found = re.search(r"(female|male)[_/]\d+[_/](\d+)\.jpe?g$", file)
    if not found or "assets-person" not in file:
        return {}
    return _prompted().get((found.group(1), found.group(2)), {})


@lru_cache(maxsize=1)
def _prompted() -> dict[tuple[str, str], dict[str, str]]:
    with (TEMPLATES / "generated_portraits.csv").open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(line for line in stream if not line.startswith("#"))]
    return {(row["gender"], row["number"]): {"gender": row["gender"], "age": row["age"]} for row in rows}
