"""Whose a folder of runs is: one suite's and, under each name, one system's; and what killed runs left there."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from animate.errors import MediaError, OptionError
from bench.suites.manifest import Suite
from bench.systems.system import SystemSpec

SUITE_FILE = "run-suite.yaml"
"""The suite that was run, as it was when the run began; a name that no suite of a user's has."""

ROOM = 1 << 20
"""Bytes below which a disk is full."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_WORK = re.compile(r"\.making-(.+)-(\d+)-[^-]+")


def without_home(word: str) -> str:
    """A system's word without the name of who ran it: reports are published."""
    home = os.path.expanduser("~")
    return word.replace(home, "~") if len(home) > 1 else word


def check_claim(out: Path, suite: Suite, specs: Sequence[SystemSpec]) -> None:
    """See that what a folder holds is of this suite, and that a system's name stands for the same system.

    Raises:
        OptionError: it is not; nothing was written.
    """
    for file in sorted(out.glob("*/run.json")):
        facts = _facts(file)
        held = facts.get("suite")
        if isinstance(held, dict) and (held.get("name"), held.get("protocol")) != (suite.name, suite.protocol):
            raise OptionError(
                f"{out} holds runs of the suite {held.get('name')}, not of {suite.name}: give another --output."
            )
    for spec in specs:
        known = _facts(out / spec.folder / "run.json").get("spec")
        if known is not None and known != without_home(spec.word):
            raise OptionError(
                f"{out} holds {spec.name} as {known}: call the new one NAME={without_home(spec.word)}, or give "
                "another --output."
            )


def work_prefix() -> str:
    """Name of a folder in which an output is made: it tells whose it is."""
    return f".making-{socket.gethostname()}-{os.getpid()}-"


def sweep(out: Path) -> None:
    """Remove what killed processes of this machine were at."""
    for folder in out.glob("*/.making-*"):
        found = _WORK.fullmatch(folder.name)
        if found and found.group(1) == socket.gethostname() and not _lives(int(found.group(2))):
            shutil.rmtree(folder, ignore_errors=True)


def check_disk(out: Path, error: BaseException) -> None:
    """See that an error is not the disk's: it would be booked as the system's failure, and kept.

    Raises:
        MediaError: the disk of the runs is full or cannot be written to.
    """
    codes = set()
    chain: BaseException | None = error
    while chain is not None:
        codes.add(getattr(chain, "errno", None))
        chain = chain.__cause__ or chain.__context__
    if codes & set(_FULL) or shutil.disk_usage(out).free < ROOM:
        raise MediaError(
            f"The disk of {out} is full or cannot be written to: make room, and the same command goes on."
        ) from error


def _facts(file: Path) -> dict[str, Any]:
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        pass
    return True
