"""Suites made of a folder's media: which portraits meet which drivers and sounds, by protocol."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from animate.errors import MienError
from animate.media import probe, read_image
from bench.clips import shrink
from bench.suites.manifest import SETTINGS, Case, Suite, SuiteError, builtin_suites, check_settings, sha256
from bench.suites.media import Medium, find_media
from bench.suites.tone import tone, typology_angle

MEASURED_TONE = "tone (measured)"

ROW_SIZES = (2, 3, 4, 5)
"""People side by side in the rows of the suite multi-human."""


@dataclass(frozen=True)
class Cast:
    """Media by what they can be used for.

    portraits: one face each, all styles in turn. groups: pictures of several people. drivers, talkers: videos, the
    latter with sound. sounds: recordings.
    """

    portraits: tuple[Medium, ...]
    groups: tuple[Medium, ...]
    drivers: tuple[Medium, ...]
    talkers: tuple[Medium, ...]
    sounds: tuple[Medium, ...]

    @property
    def videos(self) -> tuple[Medium, ...]:
        """Drivers, then the other talkers."""
        return tuple({medium.file: medium for medium in chain(self.drivers, self.talkers)}.values())


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
    cases = tuple(_distinct(_MAKERS[protocol](cast, SETTINGS | settings)))
    if not cases:
        raise SuiteError(f"{folder} holds no media for the suite {protocol}: it needs {_NEEDS[protocol]}.")
    cases, notes = _with_tones(folder, cases)
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
    return _in_turn(_in_turn(*people.values()), _in_turn(*others.values()))


def _in_turn(*rows: Iterable) -> list:
    return [item for items in zip_longest(*rows) for item in items if item is not None]


def _self(videos: Iterable[Medium], **options: Any) -> list[Case]:
    return [
        Case(
            id=f"self--{_slug(video.subject)}",
            protocol="reenact-self",
            driver=video.file,
            truth=video.file,
            groups={"part": "self", **video.groups},
            options=dict(options),
        )
        for video in videos
    ]


def _cross(cast: Cast, times: int, **options: Any) -> list[Case]:
    """Each portrait with `times` drivers; every portrait once before any of them twice."""
    drivers = cast.drivers
    return [
        Case(
            id=f"{_slug(portrait.subject)}--{_slug(driver.subject)}",
            protocol="reenact-cross",
            portrait=portrait.file,
            driver=driver.file,
            groups={"part": "cross", **portrait.groups},
            options=dict(options),
        )
        for turn in range(min(times, len(drivers)))
        for number, portrait in enumerate(cast.portraits)
        for driver in (drivers[(number + turn) % len(drivers)],)
    ]


def _self_suite(cast: Cast, settings: dict) -> list[Case]:
    return _self(cast.videos)


def _cross_suite(cast: Cast, settings: dict) -> list[Case]:
    return _cross(cast, settings["drivers_per_portrait"])


def _expression_suite(cast: Cast, settings: dict) -> list[Case]:
    return _in_turn(_self(cast.videos), _cross(cast, settings["drivers_per_portrait"]))


def _several_suite(cast: Cast, settings: dict) -> list[Case]:
    videos = cast.videos
    count = len(videos) if len(videos) > 2 else len(videos) - 1
    pairs = [(videos[n], videos[(n + 1) % len(videos)]) for n in range(count)]
    pasted = [
        Case(
            id=f"pair--{_slug(a.subject)}--{_slug(b.subject)}",
            protocol="reenact-self",
            driver=a.file,
            truth=a.file,
            groups={"part": "self"},
            options={"drivers": [a.file, b.file]},
        )
        for a, b in pairs
    ]
    grouped = [
        Case(
            id=f"group--{_slug(group.subject)}",
            protocol="reenact-cross",
            portrait=group.file,
            driver=videos[number % len(videos)].file,
            groups={"part": "cross", **group.groups},
            options={"drivers": [videos[(number + k) % len(videos)].file for k in range(2)]},
        )
        for number, group in enumerate(cast.groups)
        if len(videos) > 1
    ]
    return _in_turn(pasted, grouped)


def _talk_suite(cast: Cast, settings: dict) -> list[Case]:
    own = [
        Case(
            id=f"self--{_slug(video.subject)}",
            protocol="talk",
            audio=video.file,
            truth=video.file,
            groups={"part": "self", **video.groups},
        )
        for video in cast.talkers
    ]
    sounds = cast.sounds or cast.talkers
    spoken = [
        Case(
            id=f"{_slug(portrait.subject)}--{_slug(sound.subject)}",
            protocol="talk",
            portrait=portrait.file,
            audio=sound.file,
            groups={"part": "cross", **portrait.groups},
        )
        for turn in range(min(settings["drivers_per_portrait"], len(sounds)))
        for number, portrait in enumerate(cast.portraits)
        for sound in (sounds[(number + turn) % len(sounds)],)
    ]
    return _in_turn(own, spoken)


def _rows_suite(cast: Cast, settings: dict) -> list[Case]:
    people = [portrait for portrait in cast.portraits if portrait.groups["style"] in ("human", "unknown")]
    cases, first = [], 0
    for turn in range(2):
        for size in ROW_SIZES:
            if len(people) < size or not cast.drivers:
                continue
            row = [people[(first + k) % len(people)] for k in range(size)]
            first += size
            drivers = [cast.drivers[(turn + k) % len(cast.drivers)].file for k in range(min(size, len(cast.drivers)))]
            cases.append(
                Case(
                    id=f"row-{size}-{turn + 1}",
                    protocol="reenact-cross",
                    driver=drivers[0],
                    groups={"people": str(size)},
                    options={"portraits": [portrait.file for portrait in row], "drivers": drivers},
                )
            )
    return cases


def _long_suite(cast: Cast, settings: dict) -> list[Case]:
    seconds = settings["seconds"]
    crossed = _cross(replace(cast, portraits=cast.portraits[: len(cast.drivers)]), 1, loop=seconds)
    return _in_turn(_self(cast.drivers, loop=seconds), crossed)


_MAKERS: dict[str, Callable[[Cast, dict], list[Case]]] = {
    "reenact-self": _self_suite,
    "reenact-cross": _cross_suite,
    "expression": _expression_suite,
    "expression-multi": _several_suite,
    "talk": _talk_suite,
    "multi-human": _rows_suite,
    "long": _long_suite,
}
_NEEDS = {
    "reenact-self": "videos",
    "reenact-cross": "portraits and videos",
    "expression": "videos, or portraits and videos",
    "expression-multi": "two videos, or a group picture and two videos",
    "talk": "videos with sound, or portraits and sound files",
    "multi-human": "two portraits of people and a video, or --metadata",
    "long": "videos",
}


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")[:48] or "x"


def _distinct(cases: Iterable[Case]) -> Iterable[Case]:
    """The cases with ids of their own."""
    taken: dict[str, int] = {}
    for case in cases:
        taken[case.id] = taken.get(case.id, 0) + 1
        yield case if taken[case.id] == 1 else replace(case, id=f"{case.id}-{taken[case.id]}")


def _with_tones(folder: Path, cases: Sequence[Case]) -> tuple[tuple[Case, ...], tuple[str, ...]]:
    """Cases of people whose tone nobody tells, with the one that their picture shows."""
    wanted = {
        case.portrait: None for case in cases if case.portrait and case.groups.get("style") == "human"
        and "tone" not in case.groups
    }  # fmt: skip
    if not wanted:
        return tuple(cases), ()
    from animate.faces import create_tracker

    with create_tracker() as tracker:
        found = {file: _measured(folder / file, tracker) for file in wanted}
    told = [
        replace(case, groups={**case.groups, MEASURED_TONE: found[case.portrait]}) if found.get(case.portrait) else case
        for case in cases
    ]
    note = f"Skin tones of {sum(map(bool, found.values()))} portraits are measured in the picture, light and all."
    return tuple(told), (note,)


def _measured(path: Path, tracker) -> str | None:
    try:
        image = np.ascontiguousarray(shrink(read_image(path)[..., :3]))
    except MienError:
        return None
    faces = tracker.detect(image)
    return tone(typology_angle(image, faces[0].landmarks)) if faces else None
