"""Media to make suites of: every picture, video and sound below a folder, with what is known of it."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from bench.clips import VIDEO_SUFFIXES
from bench.suites.manifest import TEMPLATES, SuiteError

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


def find_media(folder: Path) -> list[Medium]:
    """All media below a folder in the order of their names.

    A ``manifest.csv`` in it (columns ``file``, ``kind`` such as "image:painting", ``licence``, ``subject``, ``sound``,
    ``gender``, ``age``, ``tone``; all but the first may be absent) says what they are. Files that it does not name are
    taken, too.

    Raises:
        SuiteError: there is no such folder, or no medium in it.
    """
    if not folder.is_dir():
        raise SuiteError(f"There is no folder {folder}: give one that holds portraits and videos.")
    rows = _manifests(folder)
    types = dict.fromkeys(PICTURE_SUFFIXES, "picture") | dict.fromkeys(SOUND_SUFFIXES, "sound")
    types |= dict.fromkeys(VIDEO_SUFFIXES, "video")
    media = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in types and path.is_file() and not hidden:
            media.append(_medium(name, types[path.suffix.lower()], rows.get(path.resolve(), {})))
    if not media:
        raise SuiteError(f"There is no picture, video or sound in {folder}: give a folder of portraits and videos.")
    return media


def age_band(age: str | float) -> str:
    """The band of an age in years; what is no number is taken for a band already."""
    try:
        years = float(age)
    except ValueError:
        return str(age)
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
        groups=groups,
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


def _manifests(folder: Path) -> dict[Path, dict[str, str]]:
    """Rows of every manifest in the folder and just above it, by file."""
    above = [parent / "manifest.csv" for parent in (folder, *folder.resolve().parents[:2])]
    rows: dict[Path, dict[str, str]] = {}
    for manifest in dict.fromkeys([*above, *sorted(folder.rglob("manifest.csv"))]):
        if not manifest.is_file():
            continue
        with manifest.open(newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                if row.get("file"):
                    known = {key: value for key, value in row.items() if key and isinstance(value, str)}
                    rows.setdefault((manifest.parent / row["file"]).resolve(), known)
    return rows
