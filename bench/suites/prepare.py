"""Suites made of a folder's media."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from animate.errors import MienError
from animate.media import probe
from bench.suites.cases import MAKERS, NEEDS, Cast, in_turn
from bench.suites.manifest import SETTINGS, Case, Suite, SuiteError, builtin_suites, check_settings, sha256
from bench.suites.media import Medium, find_media
from bench.suites.tone import with_tones


def prepare(
    folder: Path | None,
    protocol: str,
    out: Path,
    *,
    name: str | None = None,
    limit: int | None = None,
    metadata: Path | None = None,
    settings: dict[str, Any] | None = None,
) -> Path:
    """Write the ``suite.yaml`` of a folder's media; the media stay where they are.

    Args:
        folder: the media.
        protocol: a built-in suite's name.
        out: folder of the file, or the file.
        name: of the suite; None takes the protocol's.
        limit: only the first so many cases.
        metadata: folder of MultiHuman-Testbench's metadata.
        settings: see `bench.suites.manifest.SETTINGS`.

    Raises:
        SuiteError: there is nothing to make the suite of.
    """
    suite = fill(protocol, folder, metadata=metadata, settings=settings).take(limit)
    path = out if out.suffix in (".yaml", ".yml") else out / "suite.yaml"
    return replace(suite, name=name or suite.name).save(path)


def fill(
    protocol: str, folder: Path | None, *, metadata: Path | None = None, settings: dict[str, Any] | None = None
) -> Suite:
    """A built-in suite made of a folder's media (see `prepare`)."""
    templates = builtin_suites()
    if protocol not in templates:
        raise SuiteError(f"There is no protocol {protocol!r}: choose one of {', '.join(templates)}.")
    template = templates[protocol]
    settings = dict(template.get("settings") or {}) | dict(settings or {})
    check_settings(settings)
    common = {
        "name": template["name"],
        "title": template["title"],
        "protocol": protocol,
        "metrics": tuple(template["metrics"]),
        "settings": settings,
    }
    if protocol == "multi-human" and metadata is not None:
        from bench.suites.multi_human import read_cases

        cases, notes = read_cases(metadata)
        hashes = {file: sha256(metadata / file) for case in cases for file in case.files if (metadata / file).is_file()}
        return Suite(cases=cases, licences={}, folder=metadata, hashes=hashes, notes=notes, **common)
    if folder is None:
        raise SuiteError(f"The suite {protocol} needs media: give a folder of portraits and videos with --data.")
    if protocol == "cache":
        from bench.suites.cache import read_cases as read_cache

        return Suite(cases=read_cache(folder), licences={}, folder=folder, **common)
    media = find_media(folder)
    cast = _cast(folder, media)
    cases = tuple(_distinct(MAKERS[protocol](cast, SETTINGS | settings)))
    if not cases:
        raise SuiteError(f"{folder} holds no media for the suite {protocol}: it needs {NEEDS[protocol]}.")
    cases, notes = with_tones(folder, cases)
    used = {file for case in cases for file in case.files}
    licences = {medium.file: medium.licence for medium in media if medium.file in used and medium.licence}
    unknown = len(used) - len(licences)
    if unknown:
        notes = (*notes, f"The licences of {unknown} of {len(used)} media are not known: no manifest.csv tells them.")
    return Suite(
        cases=cases,
        licences=licences,
        folder=folder,
        hashes={file: sha256(folder / file) for file in sorted(used)},
        notes=notes,
        **common,
    )


def _cast(folder: Path, media: Sequence[Medium]) -> Cast:
    pictures = [medium for medium in media if medium.type == "picture"]
    videos = [medium for medium in media if medium.type == "video"]
    talkers = [medium for medium in videos if _speaks(folder, medium)]
    drivers = [medium for medium in videos if medium.kind == "driving"] or videos
    return Cast(
        portraits=tuple(_mixed(medium for medium in pictures if medium.groups["style"] != "group")),
        groups=tuple(medium for medium in pictures if medium.groups["style"] == "group"),
        drivers=tuple(drivers),
        talkers=tuple(talkers),
        sounds=tuple(medium for medium in media if medium.type == "sound"),
    )


def _speaks(folder: Path, medium: Medium) -> bool:
    if medium.sound in ("none", "silent", "no"):
        return False
    try:
        return probe(folder / medium.file).has_audio
    except MienError:
        return False


def _mixed(portraits: Iterable[Medium]) -> list[Medium]:
    """People (men and women in turn) and other styles in turn: a limit keeps some of each."""
    people: dict[str, list[Medium]] = {}
    others: dict[str, list[Medium]] = {}
    for medium in portraits:
        style = medium.groups["style"]
        rows, key = (people, medium.groups.get("gender", "")) if style == "human" else (others, style)
        rows.setdefault(key, []).append(medium)
    return in_turn(in_turn(*people.values()), in_turn(*others.values()))


def _distinct(cases: Iterable[Case]) -> Iterable[Case]:
    """The cases with ids of their own."""
    taken: dict[str, int] = {}
    for case in cases:
        taken[case.id] = taken.get(case.id, 0) + 1
        yield case if taken[case.id] == 1 else replace(case, id=f"{case.id}-{taken[case.id]}")
