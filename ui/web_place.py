"""The folder in which the page keeps what people upload and what is drawn for them: it goes when the page ends, and at
the next start where the page was killed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

PREFIX = "mien-ui-"
LOCK = ".in-use"


@contextmanager
def own_place(root: Path | None = None) -> Iterator[Path]:
    """A new folder with an empty folder `uploads` inside. Folders of pages that were killed are removed first.

    root: of all these folders; by default the system's own for temporary files.
    """
    root = Path(root or tempfile.gettempdir())
    for left in root.glob(f"{PREFIX}*"):
        _remove_unused(left)
    work = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
    with (work / LOCK).open("w") as lock:
        _hold(lock)
        (work / "uploads").mkdir()
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _remove_unused(folder: Path) -> None:
    """Whose lock is free belonged to a process that ended without its last words. One without a lock may be a moment
    old, or somebody else's."""
    try:
        with (folder / LOCK).open("r+") as lock:
            if _hold(lock):
                shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return


def _hold(lock: IO) -> bool:
    """Whether the file is this process's now; it is until it is closed or the process ends."""
    try:
        import fcntl
    except ImportError:  # Windows: nothing is known, so nothing is removed
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
