"""From a job back to the words of the command line: for reports to replay, and for the page to show."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from animate.errors import OptionError

if TYPE_CHECKING:
    from .cast_options import Cast
    from .job import DrawingJob

#: Options whose value is a file or folder, whether or not it is there.
PATHS = frozenset(
    "source output driving audio video cast pose_from save_motion report work_folder sign_with config".split()
)
#: The same, of commands that draw nothing.
MORE_PATHS = frozenset("base data folder image_encoder metadata motion_from trust unet vae".split())
#: Options whose value is a file or folder where there is one of that name, else a word.
WORDS_OR_PATHS = frozenset("motion face model speech_model".split())
#: Options that may be given once for each face, as FACE=VALUE.
BY_FACE = frozenset("driving motion audio".split())


def refuse_empty_paths(arguments: Sequence[str]) -> None:
    """Raises OptionError for "" where a file or folder is asked for, as from `-o "$OUT"` where nothing has set OUT.

    Unnoticed, it would mean the folder that the program was started in.
    """
    options = {f"--{name.replace('_', '-')}" for name in PATHS | MORE_PATHS} | {"-o", "-s", "-d", "-a", "-v", "-b"}
    for before, word in zip(("", *arguments), arguments, strict=False):
        option = before if word == "" else word.removesuffix("=") if word.endswith("=") else ""
        if option in options:
            raise OptionError(f"{option} is empty: give a file or folder.")


def options_of(job: DrawingJob, base: Path | None = None) -> dict[str, Any]:
    """Every option of a job in the command line's words, JSON-ready; `report` is left out, and what is not set.

    base: folder that paths are made relative to; None makes them absolute.
    """
    return {name.replace("_", "-"): value for name, value in _options(job, lambda text: _relative(text, base)).items()}


def command_of(job: DrawingJob, names: Mapping[str, str] | None = None) -> list[str]:
    """Arguments that start the same job again: `["mien", "animate", "-s", …]`, defaults left out.

    `shlex.join` makes one line of it. names: what paths are to be called, any other by its bare name; None gives
    absolute paths.
    """
    import typer

    from .cli import app

    place = os.path.abspath if names is None else lambda text: names.get(text, Path(text).name)
    command = command_name(job)
    options = _options(job, place)
    if job.report is not None:
        options["report"] = place(str(job.report))
    words = ["mien", command]
    for param in typer.main.get_command(app).commands[command].params:
        value = options.get(param.name)
        if value is None or (value == param.default and not param.required):
            continue
        flag = next((option for option in param.opts if len(option) == 2), param.opts[0])
        if param.is_flag:
            words += [flag] if value else [option for option in param.secondary_opts if option.startswith("--")][:1]
        elif param.multiple:
            words += [word for part in _listed(value) for word in (flag, part)]
        else:
            words += [flag, *_listed(value)]
    return words


def command_name(job: DrawingJob) -> str:
    """animate, talk or dub."""
    names = {"AnimateOptions": "animate", "TalkJob": "talk", "DubJob": "dub"}
    return names[type(job).__name__]


def _parameters(command: str) -> set[str]:
    """The names of a command's options: a job may know more than its command offers."""
    from inspect import signature

    from . import cli, cli_talk

    functions = {"animate": cli.animate, "talk": cli_talk.talk, "dub": cli_talk.dub}
    return set(signature(functions[command]).parameters)


def split_by_face(text: str, folder: Path) -> tuple[str, str, str]:
    """`FACE=`, the file or name, and `@PERSON`, each "" where it is not there; they add up to the text.

    A file of the folder whose own name holds = or @ is taken as it is.
    """
    from animate.casting import parse_role

    if (folder / text).exists():
        return "", text, ""
    role = parse_role(text, "driving")
    head = text[: text.index("=") + 1] if role.face is not None else ""
    if (folder / text[len(head) :]).exists():
        return head, text[len(head) :], ""
    tail = text[text.rindex("@") :] if role.person is not None else ""
    return head, role.source, tail


def _options(job: DrawingJob, place: Callable[[str], str]) -> dict[str, Any]:
    """By parameter name: what the command of the job would have been told. place: how paths are written."""
    found: dict[str, Any] = {}
    for field in fields(job):
        value = getattr(job, field.name)
        if not field.init or value is None or field.name == "report":
            continue
        if field.name == "full_size":
            found |= {part.name: getattr(value, part.name) for part in fields(value)}
        elif field.name == "cast":
            found |= _of_cast(value, place)
        else:
            found[field.name] = _plain(field.name, value, place)
    known = _parameters(command_name(job))
    return {name: found[name] for name in found if found[name] is not None and name in known}


def _of_cast(cast: Cast, place: Callable[[str], str]) -> dict[str, Any]:
    """A cast as the options that made it; what a cast file says stays in that file."""
    in_file = "" if cast.file is None else f" in {cast.file.name}"
    found: dict[str, Any] = {}
    for role in cast.roles:
        if in_file and role.where.endswith(in_file):
            continue
        face = "" if role.face is None else f"{role.face}="
        person = "" if role.person is None else f"@{role.person}"
        found.setdefault(role.kind, []).append(f"{face}{_path(role.kind, role.source, place)}{person}")
    found["faces"] = cast.order
    found["cast"] = None if cast.file is None else place(str(cast.file))
    return found | {"ends": cast.ends, "sound": cast.sound, "turns": cast.turns}


def _plain(name: str, value: Any, place: Callable[[str], str]) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(name, part, place) for part in value]
    if isinstance(value, Fraction):
        return str(value)
    if name in PATHS | WORDS_OR_PATHS:
        value = _path(name, str(value), place)
        return [value] if name in ("driving", "motion") else value
    return value


def _path(name: str, text: str, place: Callable[[str], str]) -> str:
    return text if name in WORDS_OR_PATHS and not Path(text).exists() else place(text)


def _relative(text: str, base: Path | None) -> str:
    path = os.path.abspath(text)
    if base is None:
        return path
    try:
        return os.path.relpath(path, base.absolute())
    except ValueError:  # on another drive
        return path


def _listed(value: Any) -> list[str]:
    return [str(part) for part in value] if isinstance(value, list) else [str(value)]
