"""Clips to measure on: every video below a folder, with its subject, at one size and length for all
methods."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from animate.errors import MediaError, OptionError
from animate.media import VideoReader, probe

VIDEO_SUFFIXES = {".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".gif"}
MAX_SIDE = 720
"""Clips whose longer side is above this are shrunk to it, so that every method has the same work on every
clip."""


@dataclass(frozen=True)
class Clip:
    """A video to measure on.

    Attributes:
        path: the file.
        name: its path below the folder that was searched.
        subject: the person in it, from a ``manifest.csv`` (columns ``file`` and ``subject``) in the
            folder or a parent of the file inside it; otherwise the file's stem.
        max_frames: only the first so many frames are used.
    """

    path: Path
    name: str
    subject: str
    max_frames: int

    @property
    def fps(self) -> Fraction:
        """The clip's frame rate."""
        return probe(self.path).fps

    def frames(self) -> Iterator[np.ndarray]:
        """The first ``max_frames`` frames, (H, W, 3) uint8 RGB, longer side at most ``MAX_SIDE``."""
        with VideoReader(self.path) as reader:
            for frame in islice(reader, self.max_frames):
                yield shrink(frame)


def shrink(frame: np.ndarray, max_side: int = MAX_SIDE) -> np.ndarray:
    """Scale a picture down by area averaging so that its longer side is at most ``max_side`` px."""
    height, width = frame.shape[:2]
    factor = max_side / max(height, width)
    if factor >= 1:
        return frame
    size = (max(round(width * factor), 1), max(round(height * factor), 1))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)


def find_clips(
    folder: Path, max_frames: int, subjects: list[str] | None = None, limit: int | None = None
) -> list[Clip]:
    """All videos below a folder in the order of their names.

    Args:
        folder: searched recursively; a single video file is also taken.
        max_frames: frames to use of each clip.
        subjects: only these people.
        limit: only the first so many clips.

    Raises:
        MediaError: there is no such folder, or no video in it.
        OptionError: a subject is in none of the clips.
    """
    if not folder.exists():
        raise MediaError(f"There is no folder {folder}: give one that holds video clips.")
    root = folder if folder.is_dir() else folder.parent
    files = sorted(folder.rglob("*")) if folder.is_dir() else [folder]
    files = [file for file in files if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file()]
    if not files:
        raise MediaError(f"There is no video in {folder}: give a folder with clips such as .mp4 files.")
    people = _subjects(root)
    clips = [
        Clip(file, file.relative_to(root).as_posix(), people.get(file.resolve(), file.stem), max_frames)
        for file in files
    ]
    if subjects:
        unknown = sorted(set(subjects) - {clip.subject for clip in clips})
        if unknown:
            known = ", ".join(sorted({clip.subject for clip in clips}))
            raise OptionError(f"No clip in {folder} shows the subject {', '.join(unknown)}; it has {known}.")
        clips = [clip for clip in clips if clip.subject in subjects]
    return clips[:limit]


def _subjects(root: Path) -> dict[Path, str]:
    """Subject of every file that a manifest in or just above the folder names."""
    found: dict[Path, str] = {}
    above = [parent / "manifest.csv" for parent in (root, *root.resolve().parents[:2])]
    for manifest in dict.fromkeys([*above, *sorted(root.rglob("manifest.csv"))]):
        if not manifest.is_file():
            continue
        with manifest.open(newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                if row.get("file") and row.get("subject"):
                    found.setdefault((manifest.parent / row["file"]).resolve(), row["subject"])
    return found
