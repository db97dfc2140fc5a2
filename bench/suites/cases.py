"""Which portraits meet which drivers and sounds, by protocol."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from typing import Any

from bench.suites.checks import RESERVED, file_key, is_letter
from bench.suites.manifest import Case
from bench.suites.media import Medium

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


def in_turn(*rows: Iterable) -> list:
    """The first of each row, then the second of each, and so on."""
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
    return in_turn(_self(cast.videos), _cross(cast, settings["drivers_per_portrait"]))


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
    return in_turn(pasted, grouped)


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
    return in_turn(own, spoken)


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
    return in_turn(_self(cast.drivers, loop=seconds), crossed)


MAKERS: dict[str, Callable[[Cast, dict], list[Case]]] = {
    "reenact-self": _self_suite,
    "reenact-cross": _cross_suite,
    "expression": _expression_suite,
    "expression-multi": _several_suite,
    "talk": _talk_suite,
    "multi-human": _rows_suite,
    "long": _long_suite,
}
"""Protocol -> the cases of a cast, given every setting."""

NEEDS = {
    "reenact-self": "videos",
    "reenact-cross": "portraits and videos",
    "expression": "videos, or portraits and videos",
    "expression-multi": "two videos, or a group picture and two videos",
    "talk": "videos with sound, or portraits and sound files",
    "multi-human": "two portraits of people and a video, or --metadata",
    "long": "videos",
}
"""Protocol -> what it cannot do without."""


def distinct(cases: Iterable[Case]) -> Iterable[Case]:
    """The cases with ids of their own, which no file of a run has."""
    taken = set(RESERVED)
    for case in cases:
        name, number = case.id, 1
        while file_key(name) in taken:
            number += 1
            name = f"{case.id}-{number}"
        taken.add(file_key(name))
        yield case if name == case.id else replace(case, id=name)


def _slug(text: str) -> str:
    """A subject as a part of an id: small letters and digits of any script, at most 48 of them and 90 bytes."""
    small = unicodedata.normalize("NFC", text.lower())
    words = "".join(character if is_letter(character) or character == "." else " " for character in small).split()
    slug = "-".join(words).strip("-.")[:48].encode()[:90].decode(errors="ignore")
    return slug if slug[:1].isalnum() else "x"
