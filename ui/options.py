"""Turns the words of the command line into values."""

from __future__ import annotations

from pathlib import Path

from animate.errors import OptionError

STRONGEST = 5.0
LATEST = 1e6  # seconds: eleven days
# Words of other tools for the same regions.
ALIASES = {"lip": "lips", "mouth": "lips", "expression": "exp", "head": "pose"}


def parse_region(text: str) -> set[str]:
    """Names of the regions that may move, as `animate.retarget` knows them, from words joined by commas.

    Raises OptionError for an unknown word.
    """
    from animate.retarget import REGION_GROUPS, STRENGTHS

    chosen = {ALIASES.get(word, word) for word in _words(text)}
    known = dict.fromkeys((*REGION_GROUPS, *STRENGTHS))
    for word in sorted(chosen - known.keys()):
        raise OptionError(f"Unknown region {word!r} in --region: choose from {', '.join(known)}.")
    if not chosen:
        raise OptionError(f"--region is empty: choose from {', '.join(known)}.")
    return chosen


def parse_strengths(text: str) -> dict[str, float]:
    """Strength per region from "eyes=1.2,jaw=0.8"; a bare number such as "0.8" means every region.

    Raises OptionError for an unknown region, something that is no number, or one outside 0..5.
    """
    from animate.retarget import STRENGTHS

    strengths: dict[str, float] = {}
    for word in _words(text):
        name, separator, value = (part.strip() for part in word.partition("="))
        if not separator:
            name, value = "all", word
        name = ALIASES.get(name, name)
        if name not in (*STRENGTHS, "all"):
            raise OptionError(f"Unknown region {name!r} in --strength: choose from {', '.join(STRENGTHS)}.")
        strength = _number(value, f"The strength of {name}")
        if not 0 <= strength <= STRONGEST:
            raise OptionError(f"The strength of {name} is {value}: it must lie between 0 and {STRONGEST:g}.")
        for key in STRENGTHS if name == "all" else (name,):
            strengths[key] = strength
    return strengths


def parse_trim(start: float, end: float | None) -> tuple[float, float | None]:
    """A stretch of a clip in seconds; end None is the clip's end.

    Raises OptionError for a negative start, an end that does not come after it, or a number that is no time.
    """
    for name, value in (("--trim-start", start), ("--trim-end", end)):
        if value is not None and not value <= LATEST:
            raise OptionError(f"{name} is {value:g}: give a time in seconds, such as 2.5.")
    if start < 0:
        raise OptionError(f"--trim-start is {start:g}: it cannot lie before the clip's beginning.")
    if end is not None and end <= start:
        raise OptionError(f"--trim-end ({end:g} s) must come after --trim-start ({start:g} s).")
    return start, end


def face_reference(selector: str) -> Path | None:
    """The file, when a face is chosen by a reference picture rather than by number or order."""
    path = Path(selector)
    if path.is_file():
        return path
    if path.suffix.lower() in {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}:
        raise OptionError(f"The reference picture {selector} of the face does not exist: check the path.")
    return None


def _words(text: str) -> list[str]:
    return [word.strip().lower() for word in text.split(",") if word.strip()]


def _number(text: str, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise OptionError(f"{what} is {text.strip()!r}: give a number such as 1.2.") from None
    if number != number or number in (float("inf"), float("-inf")):
        raise OptionError(f"{what} is {text.strip()!r}: give a finite number.")
    return number
