"""A file that appears under its name only when all of it is written."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NUMBER = itertools.count()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A hidden place beside `path` to write to; it becomes `path` when the block ends well, and is gone otherwise.

    No other thread or process writes to the same place.

    Raises:
        OSError: the file system refuses.
    """
    part = path.with_name(f".{path.name[:30]}.{os.getpid()}.{next(_NUMBER)}.partial")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
