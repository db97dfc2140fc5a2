"""A case to look at: all systems in one small video side by side, in step by construction, and a sheet of moments."""

from __future__ import annotations

import base64
import hashlib
import io
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, repeat
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from animate.errors import MienError
from animate.media import VideoReader, VideoWriter, read_image
from bench.report.runs import TRUTH, Run

CELL = 208
"""Width of a cell in px; even, as H.264 wants."""

TALLEST = 1.3
"""Height of a cell over its width at most."""

BAR = 18
"""Height of the label above a cell in px."""

MAX_FRAMES = 100
"""Frames of a case that are shown."""

MOMENTS = 5
"""Columns of a sheet."""

CRF = 27
JPEG_QUALITY = 78

LABELS = {"still": "portrait", "copy": "driver"}
"""Baselines that show what went in: the portrait as it is, the driver as it is."""


@dataclass(frozen=True)
class View:
    """What a page embeds of one case.

    Attributes:
        case: its name.
        video: H.264 in MP4, None where the case is one of pictures.
        sheet: JPEG; of pictures, all systems side by side.
        size: (width, height) of the video or else of the sheet, px.
        missing: systems without a picture of the case.
    """

    case: str
    video: bytes | None
    sheet: bytes
    size: tuple[int, int]
    missing: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """Bytes that it takes inside a page."""
        return (len(self.sheet) + len(self.video or b"")) * 4 // 3


def data_uri(content: bytes, kind: str) -> str:
    """Bytes as an address that holds them."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def view_of(case: str, runs: Sequence[Run]) -> View | None:
    """The systems' outputs of a case; None where there is none, or none can be read.

    From left to right: the portrait, the driver, the truth where it is another, the other baselines, the systems.
    """
    sources = _sources(case, runs)
    missing = tuple(run.name for run in runs if run.name not in sources and _ran(run, case))
    if TRUTH in sources and "copy" in sources and _digest(sources[TRUTH]) == _digest(sources["copy"]):
        del sources["copy"]  # the truth drives itself
    try:
        if any(path.suffix == ".mp4" for path in sources.values()):
            return _moving({name: path for name, path in sources.items() if path.suffix == ".mp4"}, case, missing)
        return _picture(sources, case, missing) if sources else None
    except MienError:
        return None


def _ran(run: Run, case: str) -> bool:
    return case in run.records and run.records[case].status != "left out"


def _sources(case: str, runs: Sequence[Run]) -> dict[str, Path]:
    """System -> its file, in the order in which they are shown."""
    order = {"still": 0, "copy": 1, TRUTH: 2}
    found: dict[str, Path] = {}
    for run in sorted(runs, key=lambda run: (order.get(run.name, 4 if run.role == "system" else 3), run.name)):
        path = run.file("videos", case, ".mp4", ".png")
        if path is not None:
            found[run.name] = path
    return found


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _moving(sources: dict[str, Path], case: str, missing: tuple[str, ...]) -> View:
    readers = {name: VideoReader(path) for name, path in sources.items()}
    lead = readers.get(TRUTH) or readers.get("copy") or next(iter(readers.values()))
    count = min(MAX_FRAMES, lead.frames or MAX_FRAMES)
    shown = sorted(set(np.linspace(0, count - 1, MOMENTS).round().astype(int).tolist()))
    height = _height(lead.height, lead.width)
    rows: dict[str, list[np.ndarray]] = {name: [] for name in readers}
    empty = _empty(missing, height)
    streams = {name: _held(reader, count) for name, reader in readers.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        with VideoWriter(path, _rate(lead.fps), crf=CRF) as writer:
            for t, frames in enumerate(zip(*streams.values(), strict=True)):
                cells = [_cell(frame, LABELS.get(name, name), height) for name, frame in zip(rows, frames, strict=True)]
                picture = _grid([*cells, *empty])
                writer.write(picture)
                if t in shown:
                    for name, cell in zip(rows, cells, strict=True):
                        rows[name].append(cell)
        video = path.read_bytes()
    sheet = np.concatenate([np.concatenate(row, axis=1) for row in rows.values()])
    return View(case, video, _jpeg(sheet), (picture.shape[1], picture.shape[0]), missing)


def _picture(sources: dict[str, Path], case: str, missing: tuple[str, ...]) -> View:
    images = {name: read_image(path) for name, path in sources.items()}
    first = next(iter(images.values()))
    height = _height(*first.shape[:2])
    cells = [_cell(image, LABELS.get(name, name), height) for name, image in images.items()]
    grid = _grid([*cells, *_empty(missing, height)])
    return View(case, None, _jpeg(grid), (grid.shape[1], grid.shape[0]), missing)


def _height(height: int, width: int) -> int:
    """Of a cell that shows a picture of that size; a tall one is made narrower than the cell."""
    return round(CELL * min(height / width, TALLEST))


def _rate(fps: Fraction) -> Fraction:
    return min(fps, Fraction(60))


def _held(reader: VideoReader, count: int) -> Iterator[np.ndarray]:
    """Exactly so many frames: the last one stays where the video is shorter."""
    last = None
    for frame in islice(reader, count):
        last = frame
        count -= 1
        yield frame
    if last is not None:
        yield from repeat(last, count)


def _cell(image: np.ndarray, label: str, height: int) -> np.ndarray:
    """A picture inside CELL x height px, its label above."""
    cell = np.full((BAR + height, CELL, 3), 24, np.uint8)
    scale = min(CELL / image.shape[1], height / image.shape[0])
    size = max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1)
    small = cv2.resize(image[..., :3], size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    x, y = (CELL - size[0]) // 2, BAR + (height - size[1]) // 2
    cell[y : y + size[1], x : x + size[0]] = small
    cv2.putText(cell, label[:30], (5, BAR - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (235, 235, 235), 1, cv2.LINE_AA)
    return cell


def _empty(names: Sequence[str], height: int) -> list[np.ndarray]:
    """Cells of the systems that failed."""
    return [_cell(np.full((height, CELL, 3), 58, np.uint8), f"{name[:20]}: failed", height) for name in names]


def _grid(cells: Sequence[np.ndarray]) -> np.ndarray:
    """Cells in rows of at most three or four, nearly square; even sides."""
    columns = len(cells) if len(cells) < 4 else 2 if len(cells) == 4 else 3 if len(cells) < 10 else 4
    blank = np.full_like(cells[0], 24)
    filled = [*cells, *[blank] * (-len(cells) % columns)]
    rows = [np.concatenate(filled[i : i + columns], axis=1) for i in range(0, len(filled), columns)]
    grid = np.concatenate(rows)
    return np.pad(grid, ((0, grid.shape[0] % 2), (0, grid.shape[1] % 2), (0, 0)), mode="edge")


def _jpeg(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return stream.getvalue()
