"""Work folders: finished parts of a long job on disk, so that a job that was killed goes on where it stopped.

    job.json                  what the job is made of: facts by group, each a word or a checksum
    window-00000012.safetensors   the results of one window, with a checksum of what it was drawn from
    tracking.safetensors      any other finished part

A part is written beside its name and moved there when it is whole. Pictures are kept as PNG, numbers as they are:
what comes back is bit for bit what was put in.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from animate.errors import OptionError
from animate.pipelines.windows import Window
from animate.whole_file import whole_file

SCHEMA = 1
JOB = "job.json"


def checksum(*values: object) -> str:
    """SHA-256 of arrays (with shape and type), files (their content) and anything else as text."""
    total = hashlib.sha256()
    for value in values:
        if isinstance(value, np.ndarray):
            total.update(f"{value.dtype.str}{value.shape}".encode())
            total.update(np.ascontiguousarray(value).tobytes())
        elif isinstance(value, Path):
            with value.open("rb") as file:
                while block := file.read(1 << 20):
                    total.update(block)
        else:
            total.update(repr(value).encode())
        total.update(b"\0")
    return total.hexdigest()


class WorkFolder:
    """A folder that holds the finished parts of one job and of no other.

    Args:
        folder: made when it is not there; an older one must be empty or a work folder.

    Attributes:
        recalled: how many windows came from the folder instead of being drawn.

    Raises:
        OptionError: the folder cannot be made or written, or holds other things.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.recalled = 0
        try:
            self.folder.mkdir(exist_ok=True)
            names = [path.name for path in self.folder.iterdir() if not path.name.startswith(".")]
            if names and JOB not in names:
                raise OptionError(f"The folder {folder} holds other things than a job of Mien's: choose another one.")
            for left in self.folder.glob(".*.partial"):  # of a process that was killed while it wrote
                left.unlink(missing_ok=True)
        except OSError as error:
            raise OptionError(
                f"The work folder {folder} cannot be used ({error.strerror}): choose another one."
            ) from error

    def claim(self, group: str, facts: Mapping[str, object]) -> None:
        """Says what a part of the job is made of; what is kept belongs to these facts alone.

        Raises:
            OptionError: the folder was begun with other facts; the sentence names them.
        """
        job = self._read_job()
        facts = {name: str(value) for name, value in facts.items()}
        before = job["groups"].setdefault(group, facts)
        different = sorted(name for name in before.keys() | facts.keys() if before.get(name) != facts.get(name))
        if different:
            raise OptionError(
                f"The work folder {self.folder} belongs to another job (not the same: {', '.join(different)}): "
                "choose another folder, or delete this one to begin anew."
            )
        self._write(JOB, json.dumps(job, indent=2).encode())

    def get(self, name: str, source: str) -> dict[str, np.ndarray] | None:
        """A finished part; None when it is not there, or damaged, so that it must be made again.

        Args:
            source: checksum of what the part is made from.

        Raises:
            OptionError: the part is there and was made from something else.
        """
        from safetensors import SafetensorError, safe_open

        path = self.folder / f"{name}.safetensors"
        try:
            with safe_open(path, "np") as file:
                before = (file.metadata() or {}).get("source")
                arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
        except (FileNotFoundError, SafetensorError):
            return None
        if before != source:
            raise OptionError(
                f"The work folder {self.folder} belongs to another job ({name} was drawn for another movement): "
                "choose another folder, or delete this one to begin anew."
            )
        return {key.removeprefix("png "): _unpack(key, value) for key, value in arrays.items()}

    def put(self, name: str, arrays: Mapping[str, np.ndarray], source: str) -> None:
        """Keeps a finished part. Raises OptionError when the disk is full."""
        from safetensors.numpy import save

        packed = dict(_pack(key, value) for key, value in arrays.items())
        self._write(f"{name}.safetensors", save(packed, {"source": source}))

    def remember(self, draw: Callable[..., Sequence[np.ndarray]]) -> Callable[..., list[np.ndarray]]:
        """A function (window, items, known) like `draw` that takes finished windows from the folder and keeps new ones.

        Args:
            draw: as in `animate.pipelines.windows.draw_windows`, with arrays as results; items are arrays. Threads may
                call it side by side.
        """

        def draw_once(window: Window, items: Sequence[np.ndarray], known: Mapping[int, np.ndarray]) -> list[np.ndarray]:
            name, source = f"window-{window.index:08d}", checksum(window.frames, window.weights, *items)
            kept = self.get(name, source)
            if kept is not None and kept.keys() == {str(frame) for frame in window.drawn}:
                with _COUNTING:
                    self.recalled += 1
                return [kept[str(frame)] for frame in window.drawn]
            results = list(draw(window, items, known))
            self.put(name, {str(frame): made for frame, made in zip(window.drawn, results, strict=True)}, source)
            return results

        return draw_once

    def _read_job(self) -> dict:
        path = self.folder / JOB
        if not path.exists():
            return {"schema": SCHEMA, "groups": {}}
        try:
            job = json.loads(path.read_text(encoding="utf-8"))
            if job["schema"] == SCHEMA and isinstance(job["groups"], dict):
                return job
        except (OSError, ValueError, KeyError, TypeError):
            pass
        raise OptionError(f"{path} is damaged or of another version of Mien: choose another work folder.")

    def _write(self, name: str, content: bytes) -> None:
        try:
            with whole_file(self.folder / name) as part, part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OptionError(
                f"The work folder {self.folder} cannot be written to ({error.strerror}): make room and start again; "
                "what is finished stays."
            ) from error


_COUNTING = threading.Lock()


def _pack(key: str, value: np.ndarray) -> tuple[str, np.ndarray]:
    """A picture (H, W, 3|4) uint8 as PNG, anything else as it is."""
    if value.dtype != np.uint8 or value.ndim != 3 or value.shape[2] not in (3, 4):
        return key, np.ascontiguousarray(value)
    import cv2

    return f"png {key}", cv2.imencode(".png", value, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].ravel()


def _unpack(key: str, value: np.ndarray) -> np.ndarray:
    if not key.startswith("png "):
        return value
    import cv2

    return cv2.imdecode(value, cv2.IMREAD_UNCHANGED)


def model_facts(folder: Path) -> str:
    """A checksum that tells models apart: all configuration, and of each weights file its size, beginning and end.

    Reading gigabytes at each start would take longer than it is worth; training changes every block of a file.
    """
    parts: list[object] = []
    for path in sorted(_files(folder)):
        size = path.stat().st_size
        parts += [path.relative_to(folder).as_posix(), size]
        with path.open("rb") as file:
            parts.append(file.read(1 << 20))
            file.seek(max(0, size - (1 << 20)))
            parts.append(file.read())
    return checksum(*parts)


def _files(folder: Path) -> Iterable[Path]:
    return (path for path in folder.rglob("*") if path.suffix in (".json", ".safetensors") and path.is_file())
