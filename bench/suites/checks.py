"""What a suite may hold: names that can be files, paths below its folder, settings in range."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import Any

from animate.errors import MienError

PROTOCOLS = ("reenact-self", "reenact-cross", "expression", "expression-multi", "talk", "multi-human", "long", "cache")

SETTINGS: dict[str, Any] = {
    "max_frames": 125,
    "max_side": 512,
    "stride": 1,
    "stride_faces": 10,
    "fps": "25",
    "drivers_per_portrait": 1,
    "seconds": 120,
}
"""Settings of a suite, and what they are where it says nothing.

max_frames: of each clip, from its first face on. max_side: px of a portrait's or clip's longer side; larger ones are
shrunk. stride: every how many frames faces are re-detected. stride_faces: the same where all faces of a picture are
looked for. fps: of cases without a driving clip. drivers_per_portrait: how often each portrait appears. seconds: length
of a looped clip.
"""

FIXED = ("drivers_per_portrait", "seconds")
"""Settings that the cases are made by: in a suite.yaml they are as they were when it was prepared."""

OF_RUNS = frozenset(
    ("inputs.json", "logs", "report.csv", "report.html", "report.json", "report.md", "run-suite.yaml", "suite.yaml")
    + ("tracks",)
)
"""What a folder of runs holds besides a folder for each system."""

RESERVED = OF_RUNS | {"cases", "features", "manifest.csv", "run.json", "videos"}
"""Names that runs, reports and exported inputs have for files and folders of their own."""

NAME_LENGTH = 121
NAME_BYTES = 200
"""A name's longest, so that with a suffix it is a file name on every system."""


class SuiteError(MienError):
    """A suite cannot be used; the sentence says what to do."""


def is_letter(character: str) -> bool:
    """Whether a character is a letter, digit or mark of any script."""
    return unicodedata.category(character)[0] in "LNM"


def is_name(name: object) -> bool:
    """Whether a word can name a case or a suite, and its files: letters and digits of any script, '.', '_' and '-'."""
    return (
        isinstance(name, str)
        and 0 < len(name) <= NAME_LENGTH
        and name[0].isalnum()
        and all(is_letter(character) or character in "._-" for character in name)
        and unicodedata.is_normalized("NFC", name)
        and len(name.encode()) <= NAME_BYTES
    )


def file_key(name: str) -> str:
    """What a disk that does not tell capitals from small letters takes a name for."""
    return unicodedata.normalize("NFC", name.lower())


def check_suite_name(name: str) -> None:
    """SuiteError for a name that cannot be a folder's."""
    if not is_name(name):
        raise SuiteError(
            f"The suite's name {name!r} is none that a folder can have: give one of letters, digits, '.', '_' and '-' "
            "that begins with a letter or digit."
        )


def check_ids(ids: Iterable[str]) -> None:
    """SuiteError for case ids that cannot be names of files, or of which two are the same."""
    seen: set[str] = set()
    for name in ids:
        if not is_name(name):
            raise SuiteError(f"The case {name!r} needs an id of letters, digits, '.', '_' and '-'.")
        if file_key(name) in RESERVED:
            raise SuiteError(f"The case {name!r} has the name of a file that runs write: give it another id.")
        if file_key(name) in seen:
            raise SuiteError(f"The suite has two cases {name!r}: give each an id of its own.")
        seen.add(file_key(name))


def check_path(file: object, case: str) -> None:
    """SuiteError for a medium that does not lie below the suite's folder."""
    parts = PurePosixPath(file).parts if isinstance(file, str) else (os.pardir,)
    if PurePosixPath(str(file)).is_absolute() or os.pardir in parts or not is_plain(str(file)):
        raise SuiteError(f"The case {case} names {file!r}: a medium's path must lie below the suite's folder.")


def is_plain(file: str) -> bool:
    """Whether a path means the same on every system: text without backslashes and NULs."""
    return not set(file) & {"\\", "\0"} and not any("\ud800" <= character <= "\udfff" for character in file)


def check_settings(settings: Mapping[str, Any]) -> None:
    """SuiteError, in one sentence, for settings that no suite has or that are out of range."""
    for key in settings:
        if key not in SETTINGS:
            raise SuiteError(f"A suite has no setting {key!r}{instead(key, tuple(SETTINGS))}")
    for key, value in settings.items():
        least = 2 if key == "max_frames" else 32 if key == "max_side" else 1
        if key == "fps":
            from animate.frame_rate import exact_rate

            exact_rate(value)
        elif not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise SuiteError(f"The setting {key} must be a whole number from {least} on but is {value!r}.")


def nearest(word: object, known: Iterable[str]) -> str | None:
    """The known word that an unknown one may be a slip of."""
    near = get_close_matches(word, list(known), 1) if isinstance(word, str) else []
    return near[0] if near else None


def instead(word: object, known: Sequence[str]) -> str:
    """The end of a sentence on an unknown word: the known one that it may be a slip of, or else all."""
    near = nearest(word, known)
    return f": did you mean {near!r}?" if near else f": it has {', '.join(known)}."


def listed(names: Sequence[str], most: int = 5) -> str:
    """Names in a sentence: the first few, and how many more there are. What cannot be printed becomes "?"."""
    plain = ("".join(c if c.isprintable() else "?" for c in name) for name in names[:most])
    return ", ".join(plain) + (f" and {len(names) - most} more" if len(names) > most else "")
