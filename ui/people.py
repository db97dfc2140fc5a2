"""Whom a command is about: the portrait's face, and the person of a clip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from animate.errors import OptionError

from . import options as words

if TYPE_CHECKING:
    import numpy as np

    from animate.faces import FaceTrack, FaceTracker
    from animate.portrait import Portrait


def tracker_name(name: str, face: str) -> str:
    """The back end for a face selector: a reference picture needs recognition, which only insightface gives."""
    if name == "auto" and words.face_reference(face) is not None:
        return "insightface"
    return name


def read_portrait(path: Path, selector: str, tracker: FaceTracker) -> tuple[Portrait, int]:
    """The portrait and the number of the chosen face among its faces.

    Raises FaceError when the picture shows no face or not that one.
    """
    from animate.faces import select_face
    from animate.portrait import Portrait

    portrait = Portrait.open(path, tracker)
    reference = words.face_reference(selector)
    if reference is not None:
        from animate.media import read_image

        chosen = select_face(portrait.faces, read_image(reference)[..., :3], portrait.image[..., :3])
    else:
        chosen = select_face(portrait.faces, selector)
    return portrait, next(i for i, face in enumerate(portrait.faces) if face is chosen)


def faces_note(portrait: Portrait, selector: str) -> str | None:
    """What the report says about a portrait of several people."""
    if len(portrait.faces) < 2:
        return None
    return f"The portrait shows {len(portrait.faces)} faces, one was animated (--face {selector})."


def choose_track(
    tracker: FaceTracker, frames: Iterator[np.ndarray], fps: Fraction, selector: str, path: Path
) -> FaceTrack:
    """Follows the chosen person through the frames.

    Raises FaceError when no frame has a face or there is no such person.
    """
    if selector in ("largest", "0"):
        return tracker.track(frames, fps, max_faces=1, name=path)[0]
    if words.face_reference(selector) is not None:
        raise OptionError("--driving-face takes a number or an order: largest, left, right, left-to-right:N.")
    return pick_track(tracker.track(frames, fps, max_faces=None, name=path), selector)


def pick_track(tracks: Sequence[FaceTrack], selector: str) -> FaceTrack:
    """The chosen one of several people's tracks; a person's place is the one of the first frame that shows them.

    Raises FaceError when there is no such person.
    """
    from animate.faces import Face, select_face

    faces = []
    for track in tracks:
        first = int(track.valid.argmax())
        faces.append(Face(track.boxes[first], track.landmarks[first], 1.0, track.track_id))
    chosen = select_face(faces, selector)
    return next(track for track, face in zip(tracks, faces, strict=True) if face is chosen)
