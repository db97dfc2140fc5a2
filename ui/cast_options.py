"""What the command line says about several faces: who is driven by what, and how they end together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from animate.errors import OptionError

if TYPE_CHECKING:
    from animate.casting import Role

SOUNDS = ("first", "mix", "none")


@dataclass(frozen=True)
class Cast:
    """Several faces and their drivers.

    roles: as written, in their order. order: `--faces`, see `animate.casting.assign`.
    labels: name → selector or reference picture of a face. file: `--cast`.
    ends: a word of `animate.ensemble.ENDS`. sound: "first" driver that has any, "mix" of all, "none"; speech always
    sounds. turns: whether sounds play one after the other.
    """

    roles: tuple[Role, ...]
    order: str | None = None
    labels: Mapping[str, str | Path] | None = None
    file: Path | None = None
    ends: str = "hold"
    sound: str = "first"
    turns: bool = False


def animate_cast(
    driving: Sequence[str],
    motion: Sequence[str],
    faces: str | None,
    cast: Path | None,
    ends: str | None,
    sound: str | None,
) -> Cast | None:
    """The cast of `mien animate`; None for one driver of one face. Raises OptionError for what is not understood."""
    from animate.casting import parse_role
    from animate.ensemble import check_ends

    roles = [parse_role(text, "driving") for text in driving] + [parse_role(text, "motion") for text in motion]
    alone = max(len(driving), len(motion)) <= 1 and not any(role.face for role in roles)
    if alone and faces is None and cast is None:
        for name, value in (("--ends", ends), ("--sound", sound)):
            if value is not None:
                raise OptionError(f"{name} is for several faces: name them with --faces, FACE=CLIP or --cast.")
        return None
    if sound is not None and sound not in SOUNDS:
        raise OptionError(f"--sound is {sound!r}: choose from {', '.join(SOUNDS)}.")
    for role in roles:
        if role.kind == "driving" and Path(role.source).suffix.lower() == ".safetensors":
            raise OptionError(f"{role.source} is a motion file: give it with --motion instead of --driving.")
    return _with_file(roles, faces, cast, ends=check_ends(ends or "hold"), sound=sound or "first")


def talk_cast(audio: Sequence[str], faces: str | None, cast: Path | None, turns: bool) -> Cast | None:
    """The cast of `mien talk`; None for one speaker. Raises OptionError for what is not understood."""
    from animate.casting import parse_role

    roles = [parse_role(text, "audio") for text in audio]
    if not roles and cast is None:
        raise OptionError("Give what is said: --audio FILE, or --audio FACE=FILE for each who speaks.")
    if len(roles) == 1 and roles[0].face is None and faces is None and cast is None:
        if turns:
            raise OptionError("--turns is for several speakers: give --audio FACE=FILE for each.")
        return None
    return _with_file(roles, faces, cast, turns=turns)


def _with_file(roles: Sequence[Role], faces: str | None, path: Path | None, **rest: object) -> Cast:
    """The command line's roles and the file's; for a face of both the command line's counts."""
    if path is None:
        return Cast(tuple(roles), faces, **rest)
    from animate.cast_file import read_cast

    file = read_cast(path)
    here = {role.face for role in roles}
    kept = [role for role in file.roles if role.face not in here]
    if not kept and not roles:
        raise OptionError(f"{path} says who is there, but nobody is driven: add, for example, `driving: a.mp4`.")
    return Cast((*kept, *roles), faces or file.order, file.labels, path, **rest)
