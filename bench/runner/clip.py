"""Clips with their faces, tracked and re-detected once and kept on disk for every system and every later run."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from animate.errors import FaceError
from animate.faces import FaceTrack
from animate.media import VideoReader, probe
from animate.motion import Motion
from animate.whole_file import whole_file
from bench.clips import shrink
from bench.redetect import Redetector
from bench.suites.manifest import sha256

VERSION = 2
"""Of what is kept."""

KEPT = ("start", "size", "fps", "landmarks", "valid", "redetected")
"""Arrays of a kept clip."""


@dataclass(frozen=True)
class TrackedClip:
    """A clip from its first frame with a face on.

    Attributes:
        path: the video.
        start: number in the file of the first frame with a face; frames before it are not used.
        max_side: px of the longer side, as read.
        track: the face of T frames; its ``size`` is that of the frames.
        redetected: (T, 478, 3) float32 px, found by the `Redetector` in each frame alone; NaN where it found nothing
            or did not look.
        order: (T,) the file's frames after ``start`` that are shown.
        stride: every how many of the file's frames the face was re-detected.
    """

    path: Path
    start: int
    max_side: int
    track: FaceTrack
    redetected: np.ndarray
    order: np.ndarray
    stride: int = 1

    def __len__(self) -> int:
        return len(self.order)

    @property
    def fps(self) -> Fraction:
        """Frames per second."""
        return self.track.fps

    @property
    def motion(self) -> Motion:
        """The face's motion."""
        return Motion.from_track(self.track, source=self.path.name)

    def looked(self, index: int) -> bool:
        """Whether the face was looked for on a frame."""
        return bool(self.order[index] % self.stride == 0)

    def found(self, index: int) -> np.ndarray | None:
        """Re-detected landmarks of a frame, (478, 3) px, or None."""
        landmarks = self.redetected[index]
        return None if np.isnan(landmarks[0, 0]) else landmarks

    def frames(self) -> Iterator[np.ndarray]:
        """T frames (H, W, 3) uint8 RGB of the track's size."""
        steps = np.diff(self.order)
        if (steps >= 0).all():
            yield from self._streamed()
        else:
            read = dict(enumerate(islice(self._read(), int(self.order.max()) + 1)))
            yield from (read[int(index)] for index in self.order)

    def _streamed(self) -> Iterator[np.ndarray]:
        frames, at, frame = self._read(), -1, None
        for index in self.order:
            while at < index:
                frame, at = next(frames), at + 1
            yield frame

    def _read(self) -> Iterator[np.ndarray]:
        size = self.track.size
        with VideoReader(self.path) as reader:
            for frame in islice(reader, self.start, None):
                frame = shrink(frame, self.max_side)
                yield frame if frame.shape[1::-1] == size else cv2.resize(frame, size, interpolation=cv2.INTER_AREA)

    def take(self, order: np.ndarray, fps: Fraction | None = None) -> TrackedClip:
        """Some of its frames, by number, in that order; said to come at another rate."""
        track = FaceTrack(
            self.track.landmarks[order], self.track.valid[order], fps or self.fps, self.track.size, self.track.track_id
        )
        return replace(self, track=track, redetected=self.redetected[order], order=self.order[order])

    def resampled(self, fps: Fraction, count: int) -> TrackedClip:
        """The frame that is shown at each of `count` moments n / fps; the last one stays."""
        if fps == self.fps and count == len(self):
            return self
        times = [min(len(self) - 1, int(n * self.fps / fps + Fraction(1, 2))) for n in range(count)]
        return self.take(np.array(times), fps)

    def looped(self, seconds: float) -> TrackedClip:
        """There and back again, so that no frame jumps, until `seconds` are full."""
        once = np.arange(len(self))
        there_and_back = np.concatenate([once, once[-2:0:-1]])
        return self.take(np.resize(there_and_back, max(len(self), round(seconds * self.fps))))

    def scaled(self, height: int) -> TrackedClip:
        """The same clip at another height, its width in proportion."""
        width, old = self.track.size
        if height == old:
            return self
        factor = height / old
        size = (max(2, round(width * factor)), height)
        scale = np.array([size[0] / width, factor, factor], np.float32)
        landmarks = (self.track.landmarks * scale).astype(np.float32)
        track = FaceTrack(landmarks, self.track.valid, self.fps, size, self.track.track_id)
        return replace(self, track=track, redetected=self.redetected * scale)


def load_clip(
    path: Path, redetector: Redetector, max_frames: int, max_side: int, stride: int, kept: Path
) -> TrackedClip:
    """Track a clip, or take what an earlier run kept of it.

    Args:
        path: the video.
        redetector: finds the face.
        max_frames: only the first so many frames are used.
        max_side: px of the longer side; larger frames are shrunk.
        stride: every how many frames the face is re-detected.
        kept: folder of what earlier runs found.

    Raises:
        FaceError: fewer than two frames show a face.
        MediaError: the file cannot be read.
    """
    name = f"{sha256(path)}-{max_frames}-{max_side}-{stride}-{type(redetector.tracker).__name__}-{VERSION}"
    file = kept / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.npz"
    stored = _load(file)
    if stored is None:
        stored = _track(path, redetector, max_frames, max_side, stride)
        _save(file, stored)
    start = int(stored["start"])
    width, height = (int(side) for side in stored["size"])
    fps = Fraction(int(stored["fps"][0]), int(stored["fps"][1]))
    track = FaceTrack(stored["landmarks"], stored["valid"], fps, (width, height))
    return TrackedClip(path, start, max_side, track, stored["redetected"], np.arange(len(track)), stride)


def _track(path: Path, redetector: Redetector, max_frames: int, max_side: int, stride: int) -> dict[str, np.ndarray]:
    def frames() -> Iterator[np.ndarray]:
        with VideoReader(path) as reader:
            for frame in islice(reader, max_frames):
                yield shrink(frame, max_side)

    fps = probe(path).fps
    track = redetector.tracker.track(frames(), fps, max_faces=1, name=path.name)[0]
    start = int(np.flatnonzero(track.valid)[0])
    landmarks, valid = track.landmarks[start:], track.valid[start:]
    if valid.sum() < 2:
        raise FaceError(f"Only one frame of {path.name} shows a face: a clip to measure on needs several.")
    redetected = np.full(landmarks.shape, np.nan, np.float32)
    for t, frame in enumerate(islice(frames(), start, None)):
        if t % stride == 0 and valid[t] and (found := redetector(frame, landmarks[t])) is not None:
            redetected[t] = found
    return {
        "start": np.array(start),
        "size": np.array(track.size),
        "fps": np.array([fps.numerator, fps.denominator]),
        "landmarks": landmarks,
        "valid": valid,
        "redetected": redetected,
    }


def _load(file: Path) -> dict[str, np.ndarray] | None:
    try:
        with np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in KEPT}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
        return None


def _save(file: Path, arrays: dict[str, np.ndarray]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as part, part.open("wb") as stream:
        np.savez_compressed(stream, **arrays)
