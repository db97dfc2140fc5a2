"""What the benchmarks over a folder of clips share on the command line: options, and systems that may be absent."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from animate.errors import MienError

System = TypeVar("System")


def clips_parser(name: str, about: str, data: str, methods: Sequence[str]) -> argparse.ArgumentParser:
    """A parser of the options that every benchmark of methods on clips has.

    Args:
        name: the module that is run.
        about: its docstring, of which the first line is shown.
        data: help of ``--data``.
        methods: the default of ``--methods``.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=about.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help=data)
    parser.add_argument("--limit", type=int, default=None, help="only the first so many clips")
    parser.add_argument("--json", type=Path, default=None, help="write the whole report here")
    parser.add_argument("--methods", default=",".join(methods), help="comma-separated; a model folder is also taken")
    parser.add_argument("--subjects", default=None, help="comma-separated; only these people of the manifest")
    return parser


def results_parser(name: str, about: str, data: str, limit: str) -> argparse.ArgumentParser:
    """A parser of the options that benchmarks with committed results have: folders of media, limit, files to write.

    Args:
        name, about: as of `clips_parser`.
        data, limit: help of ``--data`` and ``--limit``.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=about.splitlines()[0])
    parser.add_argument("--data", type=Path, action="append", default=None, help=f"{data}; may be repeated")
    parser.add_argument("--limit", type=int, default=None, help=limit)
    parser.add_argument("--model", default="mini", help="mini, or the folder of a model of its kind")
    parser.add_argument("--json", type=Path, default=None, help="write the whole report here")
    stem = name.rpartition(".")[2]
    parser.add_argument("--results", type=Path, default=None, help=f"folder for {stem}.md, {stem}.json and plots")
    return parser


def comma_separated(words: str | None) -> list[str]:
    """The words between the commas; none for None."""
    return [word for word in (words or "").split(",") if word]


def as_settings(options: argparse.Namespace) -> dict:
    """The options as plain data for JSON."""
    return {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}


def load_systems(methods: Sequence[str], load: Callable[[str], System]) -> tuple[dict[str, System], dict[str, str]]:
    """Load methods: name -> system, and name -> sentence for those that cannot be loaded.

    Raises:
        MienError: none of them can be loaded.
    """
    systems: dict[str, System] = {}
    absent: dict[str, str] = {}
    for name in methods:
        try:
            systems[name] = load(name)
        except MienError as error:
            absent[name] = str(error)
    if not systems:
        raise MienError(" ".join(absent.values()) or "No method is named: give at least one.")
    return systems, absent
