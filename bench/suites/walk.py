"""Which files below a folder are somebody's media: not what runs of the benchmark wrote there, nor what is hidden."""

from __future__ import annotations

import json
import os
from pathlib import Path

OF_RUNS = ("run.json", "inputs.json", "run-suite.yaml")
"""Files that only runs and exported inputs have."""

TRACKS = "tracks"
"""Folder of tracked clips beside runs and exported inputs."""


def files_below(folder: Path) -> tuple[list[Path], list[str]]:
    """All files below a folder by name, and the folders (below it) that are left out because runs wrote them.

    Where the folder itself is that of runs, its own files are taken, but not the runs.
    """
    files: list[Path] = []
    left_out: list[str] = []
    written = _written(folder) if holds_runs(folder) else frozenset()
    for place, folders, names in os.walk(folder):
        here = Path(place)
        kept = []
        for name in sorted(name for name in folders if not name.startswith(".")):
            if (here == folder and name in written) or holds_runs(here / name):
                left_out.append((here / name).relative_to(folder).as_posix())
            else:
                kept.append(name)
        folders[:] = kept
        files += [here / name for name in names if not name.startswith(".")]
    return sorted(files), left_out


def holds_runs(folder: Path) -> bool:
    """Whether `mien bench run` or `mien bench inputs` wrote to a folder."""
    return (
        any(os.path.isfile(folder / name) for name in OF_RUNS)
        or (os.path.isfile(folder / "suite.yaml") and os.path.isdir(folder / TRACKS))
        or next(folder.glob("*/run.json"), None) is not None
    )


def _written(folder: Path) -> frozenset[str]:
    """The folders of exported inputs that their list names, and that of tracked clips."""
    try:
        cases = json.loads((folder / "inputs.json").read_text(encoding="utf-8"))["cases"]
        return frozenset({TRACKS, *cases})
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset({TRACKS})
