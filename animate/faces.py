"""Faces and whose they are: `Face`, `FaceTrack`, the `FaceTracker` protocol, and how to choose one.

Pictures are (H, W, 3|4) uint8 RGB(A); alpha is ignored. Coordinates are pixels, x right, y down, the centre
of the top left pixel at (0, 0). The mesh has MediaPipe's 478 points (468 of the face, then the irises:
468-472 the subject's right eye, 473-477 the left one). This module imports no network: `create_tracker` loads
a back end when asked.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

import numpy as np

from .errors import FaceError, OptionError

__all__ = ["LANDMARK_COUNT", "TRACKERS", "Face", "FaceTrack", "FaceTracker", "create_tracker", "select_face"]

LANDMARK_COUNT = 478
_WHOLE = re.compile(r"-?\d{1,9}")  # of what int() takes; str.isdigit() is true of "²" as well
TRACKERS = ("auto", "mediapipe", "mediapipe-tasks", "insightface", "face-alignment")


@dataclass(frozen=True, eq=False)
class Face:
    """One face in one picture.

    box: (4,) float32, [x0, y0, x1, y1] in pixels, the bounds of the mesh.
    landmarks: (478, 3) float32, x, y, z in pixels; z negative is nearer to the camera, as MediaPipe has it.
    score: the detector's confidence in [0, 1].
    track_id: the person's number within a clip, 0 in a single picture.
    embedding: unit vector of a recognition network (insightface only), else None.
    """

    box: np.ndarray
    landmarks: np.ndarray
    score: float
    track_id: int = 0
    embedding: np.ndarray | None = field(default=None, repr=False)

    @property
    def size(self) -> float:
        """Side of the square with the box's area, pixels."""
        width, height = self.box[2:] - self.box[:2]
        return float(np.sqrt(max(width, 0) * max(height, 0)))

    @property
    def center(self) -> np.ndarray:
        """(2,) centre of the box, pixels."""
        return (self.box[:2] + self.box[2:]) / 2


@dataclass(eq=False)
class FaceTrack:
    """One person through a clip of T frames.

    landmarks: (T, 478, 3) float32 pixels. Frames without a face are bridged: interpolated linearly between
        the nearest frames with one, held before the first and after the last.
    valid: (T,) bool, True where the face was seen.
    fps: frames per second, rational.
    size: (width, height) of the frames in pixels.
    track_id: number of the person.
    """

    landmarks: np.ndarray
    valid: np.ndarray
    fps: Fraction
    size: tuple[int, int]
    track_id: int = 0

    def __post_init__(self) -> None:
        if self.landmarks.ndim != 3 or self.landmarks.shape[1:] != (LANDMARK_COUNT, 3):
            raise ValueError(f"landmarks must be (T, {LANDMARK_COUNT}, 3), got {self.landmarks.shape}")
        if self.valid.shape != self.landmarks.shape[:1]:
            raise ValueError(f"valid must be ({len(self.landmarks)},), got {self.valid.shape}")

    @classmethod
    def from_sightings(
        cls,
        frames: Sequence[int],
        landmarks: Sequence[np.ndarray],
        count: int,
        fps: Fraction,
        size: tuple[int, int],
        track_id: int = 0,
    ) -> FaceTrack:
        """Build a track of `count` frames from the frames (ascending indices) where the face was seen."""
        if not len(frames):
            raise FaceError("A face track needs at least one frame with a face.")
        seen = np.asarray(frames, dtype=np.int64)
        valid = np.zeros(count, dtype=bool)
        valid[seen] = True
        filled = np.empty((count, LANDMARK_COUNT, 3), dtype=np.float32)
        for i, points in zip(seen, landmarks, strict=True):
            filled[i] = points
        missing = np.flatnonzero(~valid)
        after = np.searchsorted(seen, missing)
        right = seen[np.minimum(after, len(seen) - 1)]
        left = seen[np.maximum(after - 1, 0)]
        for t, a, b in zip(missing, left, right, strict=True):
            # np.clip holds the first and the last sighting outside their span.
            weight = 0.0 if a == b else float(np.clip((t - a) / (b - a), 0, 1))
            filled[t] = filled[a] * (1 - weight) + filled[b] * weight
        return cls(filled, valid, Fraction(fps), size, track_id)

    def __len__(self) -> int:
        return len(self.landmarks)

    @property
    def bridged(self) -> int:
        """Number of frames without a face, filled from their neighbours."""
        return int((~self.valid).sum())

    @property
    def boxes(self) -> np.ndarray:
        """(T, 4) float32 bounds of the mesh, [x0, y0, x1, y1] in pixels."""
        plane = self.landmarks[..., :2]
        return np.concatenate([plane.min(1), plane.max(1)], axis=1)

    def gaps(self) -> list[tuple[int, int]]:
        """Bridged stretches as (first frame, one past the last frame)."""
        edges = np.flatnonzero(np.diff(np.concatenate([[True], self.valid, [True]]).astype(np.int8)))
        return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]

    def report(self) -> str:
        """One line for a person: how many frames show the face and where it was bridged."""
        text = f"face {self.track_id}: seen in {len(self) - self.bridged} of {len(self)} frames"
        if not self.bridged:
            return text
        gaps = self.gaps()
        shown = ", ".join(f"{a}" if b - a == 1 else f"{a}-{b - 1}" for a, b in gaps[:5])
        more = f" and {len(gaps) - 5} more stretches" if len(gaps) > 5 else ""
        return f"{text}, {self.bridged} bridged (frames {shown}{more})"


@runtime_checkable
class FaceTracker(Protocol):
    """What every back end offers. It holds native resources: use it in a `with` block or call `close`."""

    def detect(self, image: np.ndarray) -> list[Face]:
        """Faces of one picture (H, W, 3|4) uint8 RGB, largest first; an empty list where there is none."""

    def track(
        self,
        frames: Iterable[np.ndarray],
        fps: Fraction,
        max_faces: int | None = 1,
        name: str | Path = "the clip",
    ) -> list[FaceTrack]:
        """Follow people through (H, W, 3) uint8 RGB frames, most prominent first; no frame is kept.

        max_faces None follows everybody; 1 the largest face of the first frame that shows any. `name` is what
        messages call the clip. Raises FaceError when no frame shows a face, or when there is no frame.
        """

    def close(self) -> None:
        """Free the native resources; the tracker cannot be used afterwards."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


def create_tracker(name: str = "auto", model_path: str | Path | None = None) -> FaceTracker:
    """Make a tracker.

    "auto" takes "mediapipe" (offline: its models come inside the wheel, up to 0.10.21) and otherwise
    "mediapipe-tasks" (needs `face_landmarker.task`: model_path, or $MIEN_FACE_LANDMARKER, or
    ~/.cache/mien/face_landmarker.task). "insightface" and "face-alignment" detect with those libraries and
    put MediaPipe's mesh on what they find. A model_path with "auto" means "mediapipe-tasks".

    Raises OptionError for an unknown name or a library that is not installed, WeightsError for a missing
    model file.
    """
    if name not in TRACKERS:
        raise OptionError(f"Unknown face tracker {name!r}: choose one of {', '.join(TRACKERS)}.")
    if name == "auto":
        name = "mediapipe" if model_path is None and _has_solutions() else "mediapipe-tasks"
    if name == "mediapipe":
        if not _has_solutions():
            raise OptionError(
                "The face tracker 'mediapipe' needs a mediapipe whose wheel carries its models (the last is "
                "0.10.21): install mediapipe==0.10.21 or choose 'mediapipe-tasks'."
            )
        from .faces_mediapipe import MediaPipeTracker

        return MediaPipeTracker()
    if name == "mediapipe-tasks":
        from .faces_tasks import TasksTracker

        return TasksTracker(model_path)
    from .faces_optional import FaceAlignmentTracker, InsightFaceTracker

    return InsightFaceTracker(model_path) if name == "insightface" else FaceAlignmentTracker()


def _has_solutions() -> bool:
    """Whether the installed mediapipe brings the offline models; looks for files, imports nothing heavy."""
    spec = importlib.util.find_spec("mediapipe")
    if spec is None or not spec.submodule_search_locations:
        return False
    root = Path(next(iter(spec.submodule_search_locations)))
    return (root / "modules/face_landmark/face_landmark_with_attention.tflite").is_file()


def select_face(faces: Sequence[Face], selector: int | str | np.ndarray = 0, image: np.ndarray | None = None) -> Face:
    """Choose one of `faces`.

    selector: an index into `faces` (largest first as `detect` returns them; "2" is the same as 2); "largest";
    "left" or "right" (the face nearest to that side of the picture); "left-to-right:N", "right-to-left:N",
    "largest:N", the N-th (from 0) in that order; or a reference picture (H, W, 3) uint8 RGB of the person
    wanted. A reference is compared by recognition embeddings: those of the "insightface" tracker, or dlib's where
    extra `bench` is installed and `image`, the picture (H, W, 3) uint8 that the faces were found in, is given.

    Raises FaceError when there is no such face, OptionError when the selector is not understood.
    """
    if not faces:
        raise FaceError("There is no face to choose from: use a picture that shows a face clearly.")
    if isinstance(selector, np.ndarray):
        return _most_alike(faces, selector, image)
    if isinstance(selector, bool) or not isinstance(selector, int | np.integer | str):
        raise OptionError(f"A face is chosen by index, order or reference picture, not by {type(selector).__name__}.")
    if isinstance(selector, str):
        faces, selector = _ordered(faces, selector)
    index = int(selector)
    if not 0 <= index < len(faces):
        found = (
            "1 face was found, so the only index is 0"
            if len(faces) == 1
            else f"{len(faces)} faces were found, so choose from 0 to {len(faces) - 1}"
        )
        raise FaceError(f"There is no face {index}: {found}.")
    return faces[index]


def check_order(selector: object) -> None:
    """OptionError where a face is not chosen by an index or an order; no file is looked at."""
    if not isinstance(selector, str) or len(selector) > 100:
        raise OptionError("A face is chosen by a number or an order: largest, left, right, left-to-right:N.")
    _ordered((), selector)


def _ordered(faces: Sequence[Face], selector: str) -> tuple[list[Face], int]:
    """Split "order:N" into the faces in that order and N."""
    order, _, number = selector.strip().lower().partition(":")
    if _WHOLE.fullmatch(order) and not number:
        return list(faces), int(order)
    keys = {
        "largest": lambda face: -face.size,
        "left": lambda face: face.center[0],
        "right": lambda face: -face.center[0],
        "left-to-right": lambda face: face.center[0],
        "right-to-left": lambda face: -face.center[0],
    }
    if order not in keys or (number and not _WHOLE.fullmatch(number)) or (selector.endswith(":")):
        raise OptionError(
            f"Unknown face selector {selector!r}: give an index, largest, left, right, left-to-right:N or "
            "right-to-left:N."
        )
    return sorted(faces, key=keys[order]), int(number or 0)


def _most_alike(faces: Sequence[Face], reference: np.ndarray, image: np.ndarray | None) -> Face:
    """The face whose embedding is nearest (cosine) to the largest face of the reference picture."""
    from animate import recognition

    embedded = all(face.embedding is not None for face in faces)
    if not embedded and (image is None or recognition.missing()):
        raise OptionError(
            "Choosing a face by a reference picture needs recognition embeddings, which dlib (pip install "
            "'mien[bench]') or the face tracker 'insightface' (pip install 'mien[faces]') gives: install one, or "
            "choose by index or order."
        )
    with create_tracker("insightface" if embedded else "auto") as tracker:
        wanted = tracker.detect(reference)
    if not wanted:
        raise FaceError("The reference picture shows no face: use one in which the person is seen clearly.")
    if embedded:
        return max(faces, key=lambda face: float(face.embedding @ wanted[0].embedding))
    target = recognition.descriptor(reference, wanted[0].landmarks)
    return max(faces, key=lambda face: recognition.cosine(recognition.descriptor(image, face.landmarks), target))
