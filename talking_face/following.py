"""One person through a clip of any length: landmarks in a temporary file, a few numbers a frame in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path

import numpy as np

from animate import measures, pose
from animate.errors import FaceError
from animate.faces import LANDMARK_COUNT, FaceTrack, FaceTracker
from talking_face.blending import corner_lifts

CHUNK = 1500  # frames that are tracked together, 9 MB
#: Between two frames of one shot the head moves and turns no more than this: IOD, octaves of size, radians.
CUT_SHIFT, CUT_ZOOM, CUT_TURN = 0.6, 0.25, 0.5
#: Seconds over which the exchange of the mouth sets in beside frames without a face.
EASE = 0.16
#: Seconds (sigma) over which a smile counts as the mood of the moment and not as speech.
MOOD = 0.7
#: The pose filter: sigma in seconds, and what counts as one step beyond jitter in rotation (rad), IOD and log size.
_STEADY, _UNITS = 0.05, (0.01, 0.01, 0.006)


class FollowedFace:
    """What `follow` found.

    Attributes:
        landmarks: `Rows`, (T, 478, 3) float32 px; 0 where there is no face.
        valid: (T,) bool, the face was seen.
        fps: Fraction; size: (width, height) of the frames.
        rotation: (T, 3) rotation vectors; translation: (T, 3) px; scale: (T,) px, the head's pose without jitter.
        corners: (T, 2) `corner_lifts` of the mouth, their slow part; opening, width: (T,) the mouth's, all in IOD.
        speed: (T,) of head and mouth, IOD a second.
        shots: (first, last) of each stretch of frames with the face and without a cut, half open.
        level: (T,) in [0, 1]: 0 without a face, rising to 1 away from such frames.
    """

    def __init__(self, file, valid: np.ndarray, fps: Fraction, size: tuple[int, int]):
        self.landmarks = Rows(file, len(valid))
        self.valid, self.fps, self.size = valid, fps, size
        self._measure()
        self.shots = self._find_shots()
        self._steady()
        self.speed = self._find_speed()
        self.level = self._find_level()

    def __len__(self) -> int:
        return len(self.valid)

    def _measure(self) -> None:
        count = len(self)
        self.rotation, self.translation = np.zeros((count, 3)), np.zeros((count, 3))
        self.scale, self.corners, self.opening, self.width = np.ones(count), np.zeros((count, 2)), *np.zeros((2, count))
        for first in range(0, count, 256):
            frames = first + np.flatnonzero(self.valid[first : first + 256])
            if not len(frames):
                continue
            head, shapes = pose.decompose(self.landmarks[frames])
            self.rotation[frames], self.translation[frames], self.scale[frames] = (
                head.rotation,
                head.translation,
                head.scale,
            )
            self.corners[frames] = corner_lifts(shapes)
            self.opening[frames], self.width[frames] = measures.mouth_opening(shapes), measures.mouth_width(shapes)

    def _find_shots(self) -> list[tuple[int, int]]:
        shift = np.linalg.norm(np.diff(self.translation[:, :2], axis=0), axis=1) / self.scale[1:]
        zoom = np.abs(np.diff(np.log2(self.scale)))
        turn = np.linalg.norm(np.diff(self.rotation, axis=0), axis=1)
        cut = (shift > CUT_SHIFT) | (zoom > CUT_ZOOM) | (turn > CUT_TURN) | (self.valid[1:] != self.valid[:-1])
        edges = [0, *(np.flatnonzero(cut) + 1).tolist(), len(self)]
        return [(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True) if self.valid[a]]

    def _steady(self) -> None:
        from scipy.ndimage import gaussian_filter1d

        rate = float(self.fps)
        for first, last in self.shots:
            part = slice(first, last)
            size = np.median(self.scale[part])
            track = np.concatenate(
                [
                    self.rotation[part] / _UNITS[0],
                    self.translation[part] / (size * _UNITS[1]),
                    np.log(self.scale[part, None]) / _UNITS[2],
                ],
                axis=1,
            )
            calm = steady(track, rate)
            self.rotation[part] = calm[:, :3] * _UNITS[0]
            self.translation[part] = calm[:, 3:6] * (size * _UNITS[1])
            self.scale[part] = np.exp(calm[:, 6] * _UNITS[2])
            self.corners[part] = gaussian_filter1d(self.corners[part], MOOD * rate, axis=0, mode="nearest")

    def _find_speed(self) -> np.ndarray:
        """(T,) how fast head and mouth move, in IOD (and radians) a second; a cut counts as fast."""
        if len(self) < 2:
            return np.zeros(len(self))
        track = np.concatenate([self.translation / self.scale[:, None], self.rotation, self.opening[:, None]], axis=1)
        return np.linalg.norm(np.gradient(track, axis=0), axis=1) * float(self.fps)

    def _find_level(self) -> np.ndarray:
        from scipy.ndimage import distance_transform_edt

        if self.valid.all():
            return np.ones(len(self))
        return np.clip(distance_transform_edt(self.valid) / max(1.0, EASE * float(self.fps)), 0, 1)


class Rows:
    """Landmarks of T frames in a temporary file that goes with the object; only what is asked for is in memory.

    rows[i] is (478, 3), rows[indices or slice] is (n, 478, 3), float32.
    """

    def __init__(self, file, count: int):
        self._file, self._count = file, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, which: int | slice | np.ndarray) -> np.ndarray:
        wanted = np.arange(self._count)[which]
        out = np.empty((wanted.size, LANDMARK_COUNT, 3), np.float32)
        for row, index in zip(out, wanted.ravel().tolist(), strict=True):
            self._file.seek(index * row.nbytes)
            self._file.readinto(memoryview(row).cast("B"))
        return out.reshape(*wanted.shape, LANDMARK_COUNT, 3)


def steady(track: np.ndarray, rate: float) -> np.ndarray:
    """A track (T, C) without jitter and without lag: a bilateral filter (Tomasi and Manduchi 1998) over time.

    What moves by much more than 1 a frame passes unchanged.
    """
    reach = max(1, round(3 * _STEADY * rate))
    padded = np.pad(track, ((reach, reach), (0, 0)), mode="edge")
    total, weights = np.zeros_like(track), np.zeros((len(track), 1))
    for shift in range(-reach, reach + 1):
        other = padded[reach + shift : reach + shift + len(track)]
        near = np.exp(-0.5 * (shift / rate / _STEADY) ** 2 - 0.5 * ((other - track) ** 2).sum(axis=1, keepdims=True))
        total, weights = total + near * other, weights + near
    return total / weights


def follow(
    tracker: FaceTracker,
    frames: Iterable[np.ndarray],
    fps: Fraction,
    name: str | Path = "the clip",
    choose: Callable[[list[FaceTrack]], FaceTrack] | None = None,
) -> FollowedFace:
    """Follow one person through (H, W, 3) uint8 RGB frames, `CHUNK` frames at a time.

    choose: picks among everybody in the first chunk that shows a face; None takes the largest face.
    Raises FaceError when no frame shows a face, and what `choose` raises.
    """
    file = tempfile.TemporaryFile()
    valid: list[np.ndarray] = []
    frames, last, known, size = iter(frames), None, None, (0, 0)
    while (first := next(frames, None)) is not None:
        size = (first.shape[1], first.shape[0])
        chunk = _Counted(chain([first], islice(frames, CHUNK - 1)))
        if known is None:
            track = _first_track(tracker, chunk, fps, name, choose)
        else:
            alone = bool(valid[-1][-1]) and len(tracker.detect(last)) == 1
            track = _next_track(tracker, chain([last], chunk), fps, name, known, alone)
        count = chunk.count
        landmarks, seen = np.zeros((count, LANDMARK_COUNT, 3), np.float32), np.zeros(count, bool)
        if track is not None:
            own = slice(len(track) - count, None)  # without the frame that the chunk before gave
            seen = track.valid[own]
            landmarks[seen] = track.landmarks[own][seen]
            known = track.landmarks[-1] if track.valid.any() else known
        file.write(landmarks.tobytes())
        valid.append(seen)
        last = chunk.last
    if not valid or not any(part.any() for part in valid):
        raise FaceError(f"No frame of {name} shows a face: use a clip in which a face is seen clearly.")
    return FollowedFace(file, np.concatenate(valid), Fraction(fps), size)


class _Counted:
    """Passes frames on, counts them and keeps the last one."""

    def __init__(self, frames: Iterable[np.ndarray]):
        self._frames, self.count, self.last = frames, 0, None

    def __iter__(self) -> Iterator[np.ndarray]:
        for frame in self._frames:
            self.count, self.last = self.count + 1, frame
            yield frame


def _first_track(tracker, frames, fps, name, choose) -> FaceTrack | None:
    """The person in the first frames that show one, or None."""
    try:
        tracks = tracker.track(frames, fps, max_faces=1 if choose is None else None, name=name)
    except FaceError:
        return None
    return tracks[0] if choose is None else choose(tracks)


def _next_track(tracker, frames, fps, name, known, alone: bool) -> FaceTrack | None:
    """The same person in frames that begin with the last one of those before: the face nearest to where it was.

    known: landmarks (478, 3) px where the person was last. alone: nobody else was there.
    """
    try:
        tracks = tracker.track(frames, fps, max_faces=1 if alone else None, name=name)
    except FaceError:
        return None
    return min(tracks, key=lambda track: _apart(track, known))


def _apart(track: FaceTrack, known: np.ndarray) -> float:
    """How far a track's first face lies from a known one, in its size."""
    first = track.landmarks[int(track.valid.argmax())]
    return float(np.linalg.norm(first[:, :2].mean(0) - known[:, :2].mean(0)) / pose.inter_ocular(known))
