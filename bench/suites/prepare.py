"""Suites made of a folder's media."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from animate.errors import MienError
from animate.media import probe, read_image, sound_of
from bench.suites.cases import MAKERS, NEEDS, Cast, distinct, in_turn
from bench.suites.checks import SETTINGS, SuiteError, check_settings, check_suite_name, listed
from bench.suites.manifest import Case, Suite, builtin_suites, sha256
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
    if name is not None:
        check_suite_name(name)
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
    media, found = find_media(folder)
    cases, bad = _openable(folder, media, lambda cast: MAKERS[protocol](cast, SETTINGS | settings))
    if bad:
        found = (*found, f"Left out because they cannot be opened: {listed(bad)}.")
    if not cases:
        why = "".join(f" {note}" for note in found)
        raise SuiteError(f"{folder} holds no media for the suite {protocol}: it needs {NEEDS[protocol]}.{why}")
    cases, tones = with_tones(folder, tuple(distinct(cases)))
    notes = (*found, *tones)
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


def _openable(
    folder: Path, media: Sequence[Medium], make: Callable[[Cast], list[Case]]
) -> tuple[list[Case], list[str]]:
    """Cases of media that can be opened, and the files that cannot.

    Videos are all looked at, pictures and sounds where a case has one.
    """
    talkers, bad = _look(folder, [medium for medium in media if medium.type == "video"])
    types = {medium.file: medium.type for medium in media}
    seen = {file for file, type_ in types.items() if type_ == "video"}
    while True:
        cases = make(_cast([medium for medium in media if medium.file not in bad], talkers))
        new = {file for case in cases for file in case.files} - seen
        closed = {file for file in new if not _opens(folder / file, types[file])}
        if not closed:
            return cases, sorted(bad)
        seen |= new
        bad |= closed


def _look(folder: Path, videos: Iterable[Medium]) -> tuple[set[str], set[str]]:
    """The videos with sound, and those that cannot be opened."""
    talkers, bad = set(), set()
    for medium in videos:
        try:
            sound = probe(folder / medium.file).has_audio
        except MienError:
            bad.add(medium.file)
            continue
        if sound and medium.sound not in ("none", "silent", "no"):
            talkers.add(medium.file)
    return talkers, bad


def _opens(path: Path, kind: str) -> bool:
    try:
        return read_image(path) is not None if kind == "picture" else sound_of(path) is not None
    except MienError:
        return False


def _cast(media: Sequence[Medium], talkers: Collection[str]) -> Cast:
    """Media by what they can be used for; ``talkers``: videos with sound."""
    pictures = [medium for medium in media if medium.type == "picture"]
    videos = [medium for medium in media if medium.type == "video"]
    drivers = [medium for medium in videos if medium.kind == "driving"] or videos
    return Cast(
        portraits=tuple(_mixed(medium for medium in pictures if medium.groups["style"] != "group")),
        groups=tuple(medium for medium in pictures if medium.groups["style"] == "group"),
        drivers=tuple(drivers),
        talkers=tuple(medium for medium in videos if medium.file in talkers),
        sounds=tuple(medium for medium in media if medium.type == "sound"),
    )


def _mixed(portraits: Iterable[Medium]) -> list[Medium]:
    """People (men and women in turn) and other styles in turn: a limit keeps some of each."""
    people: dict[str, list[Medium]] = {}
    others: dict[str, list[Medium]] = {}
    for medium in portraits:
        style = medium.groups["style"]
        rows, key = (people, medium.groups.get("gender", "")) if style == "human" else (others, style)
        rows.setdefault(key, []).append(medium)
    return in_turn(in_turn(*people.values()), in_turn(*others.values()))
