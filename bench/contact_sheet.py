"""Contact sheets: pictures to look at, rows of methods by columns of time, as one PNG.

``python -m bench.contact_sheet VIDEO... --output SHEET.png`` lays finished videos out the same way.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from animate import topology
from animate.errors import FaceError, MienError
from animate.media import VideoReader, write_image

CELL = 160
"""Width of a cell in px; the parts of the face are shown in wider ones of one third's height."""

LABEL = 64
HEADER = 18
HEAT_FULL = 0.10
"""Mean absolute difference of two neighbouring frames, in [0, 1], that is drawn in the brightest colour."""

# name -> points that are shown, width over theirs, height over width
_PARTS = {
    "head": (topology.FACE_OVAL, 1.45, 1.0),
    "mouth": (topology.OUTER_LIPS, 1.3, 0.6),
    "eyes": (topology.LEFT_EYE + topology.RIGHT_EYE, 1.3, 0.6),
}


@dataclass
class SheetCollector:
    """Keeps the few small pictures of each method that a sheet shows, while the frames stream by.

    Attributes:
        frames: number of frames that each method will give.
        columns: number of moments shown, evenly spread.
    """

    frames: int
    columns: int = 8
    cells: dict[tuple[str, str], list[np.ndarray]] = field(default_factory=dict, init=False)
    names: list[str] = field(default_factory=list, init=False)
    _last: np.ndarray | None = field(default=None, init=False)
    _heat: np.ndarray | None = field(default=None, init=False)
    _heated: int = field(default=0, init=False)

    @property
    def moments(self) -> list[int]:
        """Frame numbers of the columns, without the portrait's own frame where there are enough others."""
        first = 1 if self.frames > self.columns else 0
        return sorted(set(np.linspace(first, self.frames - 1, self.columns).round().astype(int).tolist()))

    def add(self, name: str, index: int, output: np.ndarray, truth: np.ndarray, landmarks: np.ndarray) -> None:
        """Take in a frame.

        Args:
            name: method, the label of its rows.
            index: number of the frame; 0 begins a method.
            output: (H, W, 3 or 4) uint8 RGB(A). Transparency is shown over grey.
            truth: (H, W, 3) uint8, the truth's frame of the same moment.
            landmarks: (478, 3) px, the truth's; they say where mouth and eyes are.
        """
        picture = over_grey(output)
        if index == 0:
            self.names.append(name)
            self._last, self._heat, self._heated = None, None, 0
        small = _fit(picture, CELL).astype(np.float32)
        if self._last is not None:
            difference = np.abs(small - self._last).mean(-1) / 255.0
            self._heat = difference if self._heat is None else self._heat + difference
            self._heated += 1
        self._last = small
        if index not in self.moments:
            return
        self._keep(name, "frame", _fit(picture, CELL))
        for part, (points, margin, shape) in _PARTS.items():
            cut = _part(picture, landmarks[list(points), :2], margin, shape)
            self._keep(name, part, _fit(cut, CELL))
        error = np.abs(picture.astype(np.int16) - over_grey(truth)).mean(-1) / 255.0
        self._keep(name, "error", colour_heat(_fit(error.astype(np.float32), CELL)))
        heat = np.zeros(small.shape[:2], np.float32) if self._heat is None else self._heat / max(self._heated, 1)
        self._keep(name, "motion", colour_heat(heat))
        self._heat, self._heated = None, 0

    def sheet(self) -> np.ndarray:
        """The finished sheet, (H, W, 3) uint8 RGB.

        Blocks from top to bottom: whole frames, heads, mouths, eyes, error against the truth (heat), and mean
        difference of neighbouring frames since the last column (heat); in each block one row per method.
        """
        blocks = [_header([f"frame {moment}" for moment in self.moments])]
        for kind in ("frame", *_PARTS, "error", "motion"):
            # The truth's error against itself says nothing.
            names = [name for name in self.names if not (kind == "error" and name == "truth")]
            blocks += [_row(f"{name}", kind, self.cells[name, kind], len(self.moments)) for name in names]
            blocks.append(np.full((6, blocks[0].shape[1], 3), 255, np.uint8))
        return np.concatenate(blocks)

    def drop(self, name: str) -> None:
        """Forget a method that failed halfway; its rows would be shorter than the others'."""
        self.names.remove(name)

    def _keep(self, name: str, kind: str, cell: np.ndarray) -> None:
        self.cells.setdefault((name, kind), []).append(cell)


def colour_heat(values: np.ndarray, full: float = HEAT_FULL) -> np.ndarray:
    """Map (h, w) values in [0, full] to (h, w, 3) uint8 RGB, dark to bright."""
    scaled = (np.clip(values / full, 0, 1) * 255).astype(np.uint8)
    return cv2.applyColorMap(scaled, cv2.COLORMAP_INFERNO)[..., ::-1]


def over_grey(image: np.ndarray) -> np.ndarray:
    """(H, W, 3 or 4) uint8 -> (H, W, 3) uint8, transparent parts over mid grey."""
    if image.shape[2] == 3:
        return image
    alpha = image[..., 3:].astype(np.float32) / 255.0
    return np.round(image[..., :3] * alpha + 128.0 * (1 - alpha)).astype(np.uint8)


def video_sheet(
    videos: dict[str, Path], columns: int = 8, max_frames: int | None = None, tracker_name: str = "auto"
) -> np.ndarray:
    """A sheet of finished videos of one length; the first one's face says where mouth and eyes are.

    Args:
        videos: label -> file. The first is the row that the others' errors are measured against where
            sizes agree.
        columns: number of moments.
        max_frames: only the first so many frames.
        tracker_name: face tracker, see ``animate.faces.create_tracker``.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        MediaError, FaceError: a video cannot be read, or the first one shows no face.
    """
    from animate.faces import create_tracker

    first = next(iter(videos.values()))
    with VideoReader(first) as reader:
        track = create_tracker(tracker_name).track(islice(reader, max_frames), reader.fps, max_faces=1)
    if not track:
        raise FaceError(f"No frame of {first} shows a face.")
    landmarks = track[0].landmarks
    sheet = SheetCollector(len(landmarks), columns)
    for name, path in videos.items():
        shown = 0
        with VideoReader(path) as reader, VideoReader(first) as others:
            for t, (frame, truth) in enumerate(zip(islice(reader, len(landmarks)), others, strict=False)):
                if frame.shape[:2] != truth.shape[:2]:
                    frame = cv2.resize(frame, truth.shape[1::-1], interpolation=cv2.INTER_AREA)
                sheet.add(name, t, frame, truth, landmarks[t])
                shown = t + 1
        if shown < len(landmarks):
            raise FaceError(f"{path} has only {shown} frames where {first} has {len(landmarks)}.")
    return sheet.sheet()


def _fit(image: np.ndarray, width: int) -> np.ndarray:
    height = max(round(image.shape[0] * width / image.shape[1]), 1)
    shrinks = width < image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def _part(picture: np.ndarray, points: np.ndarray, margin: float, shape: float) -> np.ndarray:
    """The box round some points with a fixed shape (height over width); the picture's edges go on outside."""
    middle = (points.min(0) + points.max(0)) / 2
    extent = points.max(0) - points.min(0)
    width = margin * max(float(extent[0]), float(extent[1]) / shape, 4.0)
    height = width * shape
    x0, y0 = np.floor(middle - (width / 2, height / 2)).astype(int)
    columns = np.clip(np.arange(x0, x0 + int(width) + 1), 0, picture.shape[1] - 1)
    rows = np.clip(np.arange(y0, y0 + int(height) + 1), 0, picture.shape[0] - 1)
    return picture[np.ix_(rows, columns)]


def _header(labels: Sequence[str]) -> np.ndarray:
    header = np.full((HEADER, LABEL + len(labels) * (CELL + 2), 3), 255, np.uint8)
    for i, label in enumerate(labels):
        _write(header, label, LABEL + i * (CELL + 2) + 4, HEADER - 5)
    return header


def _row(name: str, kind: str, cells: list[np.ndarray], columns: int) -> np.ndarray:
    height = max(cell.shape[0] for cell in cells)
    row = np.full((height + 2, LABEL + columns * (CELL + 2), 3), 255, np.uint8)
    for i, cell in enumerate(cells):
        x = LABEL + i * (CELL + 2)
        row[: cell.shape[0], x : x + CELL] = cell
    _write(row, name[:9], 3, min(14, height))
    if kind != "frame":
        _write(row, kind, 3, min(28, height))
    return row


def _write(image: np.ndarray, text: str, x: int, y: int) -> None:
    cv2.putText(image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 1, cv2.LINE_AA)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.contact_sheet", description="Lay videos out as one PNG.")
    parser.add_argument("videos", nargs="+", type=Path, help="videos of one length; the first gives mouth and eyes")
    parser.add_argument("--output", "-o", type=Path, required=True, help="PNG to write")
    parser.add_argument("--columns", type=int, default=8, help="moments shown")
    parser.add_argument("--max-frames", type=int, default=None, help="only the first so many frames")
    options = parser.parse_args(arguments)
    # Files of one name in several folders would share a row.
    videos = {
        f"{i} {path.stem}" if len(options.videos) > 1 else path.stem: path for i, path in enumerate(options.videos)
    }
    try:
        write_image(options.output, video_sheet(videos, options.columns, options.max_frames))
    except MienError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
