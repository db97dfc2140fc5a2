"""A ``suite.yaml`` as it is read: what is of the wrong kind is told by its file, case and key."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import fields
from datetime import date
from pathlib import Path
from reprlib import repr as short
from typing import Any

from bench.suites.checks import PROTOCOLS, SuiteError, instead, listed, nearest
from bench.suites.manifest import SCHEMA, Case, read_yaml

KEYS = ("schema", "name", "title", "protocol", "about", "data", "metrics", "settings", "notes", "media", "cases")
NEEDED = ("schema", "name", "protocol", "metrics", "cases")

CASE_KEYS = tuple(entry.name for entry in fields(Case))
MEDIA_KEYS = ("portrait", "driver", "audio", "truth")

FILES = ("portraits", "drivers", "people")
"""Options that are lists of files."""

OPTIONS = (*FILES, "loop", "prompt", "identifier", "faces", "record")

LONGEST = 24 * 3600
"""Seconds that a clip may be looped to."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


def read_suite(path: Path) -> dict[str, Any]:
    """What `bench.suites.manifest.Suite` is made of.

    Raises:
        SuiteError: the file is none of a suite, or a value in it is not of its kind.
    """
    content = read_yaml(path)
    where = str(path)
    if missing := [key for key in NEEDED if key not in content]:
        raise SuiteError(
            f"{path} is no suite that can be read: it has no {missing[0]!r}; make it with `mien bench prepare`."
        )
    if content["schema"] != SCHEMA:
        raise SuiteError(f"{path} is of schema {short(content['schema'])}, which this version cannot read.")
    _known(where, "key", content, KEYS)
    media = {
        file: _mapping(f"{where}, medium {file}", "its entry", about)
        for file, about in _mapping(where, "media", content.get("media")).items()
    }
    if not isinstance(content["cases"], list):
        raise _wrong(where, "cases", "a list", content["cases"])
    return {
        "name": _text(where, "name", content["name"]),
        "protocol": _text(where, "protocol", content["protocol"]),
        "title": _text(where, "title", content.get("title") or ""),
        "cases": tuple(_case(path, number, case) for number, case in enumerate(content["cases"], 1)),
        "licences": {
            file: _text(f"{where}, medium {file}", "licence", about["licence"])
            for file, about in media.items()
            if about.get("licence")
        },
        "hashes": {
            file: _sha256(f"{where}, medium {file}", about["sha256"])
            for file, about in media.items()
            if about.get("sha256")
        },
        "metrics": tuple(_metrics(where, content["metrics"])),
        "settings": _mapping(where, "settings", content.get("settings")),
        "notes": tuple(_texts(where, "notes", content.get("notes"))),
        "folder": path.parent / _path(where, "data", content.get("data", ".")),
    }


def word(value: object) -> str | None:
    """What YAML makes of a plain word (text, a number, a date, yes or no) as text again; None for anything else."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | int | date) or isinstance(value, float) and math.isfinite(value):
        return str(value)
    return None


def _case(path: Path, number: int, content: object) -> Case:
    where = f"{path}, case {number}"
    if not isinstance(content, Mapping):
        raise SuiteError(f"{where} must be a mapping with an id and a protocol but is {short(content)}.")
    if isinstance(content.get("id"), str):
        where = f"{path}, case {listed([content['id']])}"
    _known(where, "key", content, CASE_KEYS)
    if not isinstance(content.get("id"), str):
        raise _wrong(where, "id", "text (in quotes where it is a number)", content.get("id"))
    if content.get("protocol") not in PROTOCOLS:
        raise _wrong(where, "protocol", f"one of {', '.join(PROTOCOLS)}", content.get("protocol"))
    media = {key: _path(where, key, content[key]) for key in MEDIA_KEYS if content.get(key) is not None}
    groups = {}
    for key, value in _mapping(where, "groups", content.get("groups")).items():
        groups[key] = word(value)
        if groups[key] is None:
            raise _wrong(where, f"the group {key}", "a word", value)
    options = _mapping(where, "options", content.get("options"))
    _known(where, "option", options, OPTIONS)
    for key, value in options.items():
        _check_option(where, key, value)
    return Case(content["id"], content["protocol"], **media, groups=groups, options=options)


def _check_option(where: str, key: str, value: object) -> None:
    name = f"the option {key}"
    if key in FILES:
        if not isinstance(value, list) or not all(isinstance(file, str) and file for file in value):
            raise _wrong(where, name, "a list of files", value)
    elif key == "loop":
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 < value <= LONGEST:
            raise _wrong(where, name, f"a number of seconds above 0 and up to {LONGEST}", value)
    elif key == "identifier":
        if not isinstance(value, list):
            raise _wrong(where, name, "a list", value)
    elif key == "faces":
        if not isinstance(value, bool):
            raise _wrong(where, name, "yes or no", value)
    elif not isinstance(value, str):
        raise _wrong(where, name, "text", value)


def _metrics(where: str, value: object) -> list[str]:
    from bench.metrics import METRICS

    names = _texts(where, "metrics", value)
    for name in names:
        if name not in METRICS:
            near = nearest(name, METRICS)
            advice = f"did you mean {near!r}?" if near else "`mien bench list` shows all."
            raise SuiteError(f"{where}, metrics: there is no metric {name!r}: {advice}")
    return names


def _known(where: str, kind: str, content: Mapping, known: tuple[str, ...]) -> None:
    for key in content:
        if key not in known:
            raise SuiteError(f"{where}: there is no {kind} {short(key)}{instead(key, known)}")


def _mapping(where: str, key: str, value: object) -> dict[str, Any]:
    """Keys are made text; nothing at all is an empty mapping."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise _wrong(where, key, "a mapping (NAME: VALUE)", value)
    if odd := [name for name in value if not word(name)]:
        raise SuiteError(f"{where}: {key} has the key {short(odd[0])}, which is no word.")
    return {word(name): entry for name, entry in value.items()}


def _texts(where: str, key: str, value: object) -> list[str]:
    if value is not None and not (isinstance(value, list) and all(isinstance(text, str) for text in value)):
        raise _wrong(where, key, "a list of words", value)
    return list(value or ())


def _text(where: str, key: str, value: object) -> str:
    if word(value) is None:
        raise _wrong(where, key, "text", value)
    return word(value)


def _path(where: str, key: str, value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise _wrong(where, key, "a path", value)
    return value


def _sha256(where: str, value: object) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value.lower()):
        raise _wrong(where, "sha256", "64 hexadecimal digits", value)
    return value.lower()


def _wrong(where: str, key: str, wanted: str, value: object) -> SuiteError:
    return SuiteError(f"{where}: {key} must be {wanted} but is {short(value)}.")
