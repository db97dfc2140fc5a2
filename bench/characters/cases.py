"""What the group benchmark draws: pictures with several faces, and a driver for each face."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from animate import topology
from animate.errors import MediaError, MienError
from animate.faces import Face
from animate.faces_tracking import MeshTracker
from animate.media import read_image
from animate.motion import Motion
from animate.portrait import Portrait
from animate.pose import inter_ocular
from animate.regions import MOUTH, Region, cut, window_matrix
from bench.clips import Clip
from bench.metrics.opening import MouthCorrelation, mouth_opening

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
FPS = Fraction(25, 2)
SECONDS = 2
HEAD = 154
"""Side in px of the drivers' pictures."""

HEIGHT = 512
ROW_HEIGHT = 384
"""Heights of pasted pictures, of two people and of more."""

LEAST_IOD = 50.0
"""Pixels between the eyes that a single portrait must have to be pasted."""

TOUCH = 0.04
"""Share of the face's width that is left beyond its side where heads are put cheek to cheek."""

SECOND_SIZE = 0.88
"""Size of the second head cheek to cheek, so that one is the nearer."""

PAIRS = 3
ROWS = (3, 4, 5, 6)


@dataclass(frozen=True)
class Driver:
    """A clip's liveliest two seconds.

    Attributes:
        name: the person.
        motion: at `FPS`, a few frames more or fewer than two seconds' never.
        looks: (HEAD, 2 HEAD, 3) uint8 for each frame of the motion: head and mouth, to look at.
    """

    name: str
    motion: Motion
    looks: list[np.ndarray]


@dataclass(frozen=True)
class Case:
    """A picture and who drives whom.

    Attributes:
        name: as the report calls it.
        portrait: faces from left to right.
        drivers: one for each face.
        others: another driver for each face, for what changes when only this one is exchanged.
    """

    name: str
    portrait: Portrait
    drivers: tuple[Driver, ...]
    others: tuple[Driver, ...]


def find_portraits(folders: Sequence[Path], tracker: MeshTracker) -> tuple[list[Portrait], list[Portrait]]:
    """All pictures below some folders: those of several people, and opaque ones of one person seen large enough.

    Faces are in order from left to right.

    Raises:
        MediaError: there is no picture with a face.
    """
    groups, singles = [], []
    files = [file for folder in folders for file in sorted(folder.rglob("*")) if file.suffix.lower() in IMAGE_SUFFIXES]
    for file in files:
        try:
            image = read_image(file)
        except MienError:
            continue
        colour = np.ascontiguousarray(image[..., :3])
        faces = left_to_right(tracker.detect(colour))
        portrait = Portrait(colour, faces, file.stem)
        if len(faces) > 1:
            groups.append(portrait)
        elif faces and inter_ocular(faces[0].landmarks) >= LEAST_IOD and image[..., 3:].min(initial=255) == 255:
            singles.append(portrait)
    if not groups and len(singles) < 2:
        where = ", ".join(str(folder) for folder in folders)
        raise MediaError(f"There is no picture of two people, nor two pictures of one, in {where}: give others.")
    return groups, singles


def left_to_right(faces: Sequence[Face]) -> list[Face]:
    return sorted(faces, key=lambda face: float(face.center[0]))


def find_drivers(clips: Sequence[Clip], tracker: MeshTracker) -> tuple[list[Driver], list[str]]:
    """Drivers of the clips whose lips move, and a sentence for each of the others."""
    drivers, left_out = [], []
    for clip in clips:
        try:
            track = tracker.track(clip.frames(), clip.fps, max_faces=1, name=clip.name)[0]
        except (MienError, IndexError) as error:
            left_out.append(f"The driver {clip.name} is left out: {error}")
            continue
        openings = mouth_opening(track.landmarks)
        count = round(SECONDS * clip.fps)
        first = liveliest(openings, count)
        if len(openings) < count or openings[first : first + count].std() < MouthCorrelation.least_deviation:
            left_out.append(f"The driver {clip.name} is left out: its lips hardly move, or it is too short.")
            continue
        motion = Motion.from_track(track, source=clip.name).take(slice(first, first + count)).resample(FPS)
        times = [first + min(round(t * clip.fps / FPS), count - 1) for t in range(len(motion))]
        looks = _looks(clip, track.landmarks, times)
        drivers.append(Driver(clip.subject, motion.take(slice(0, int(SECONDS * FPS))), looks))
    return drivers, left_out


def liveliest(values: np.ndarray, count: int) -> int:
    """Where the `count` values in a row begin whose deviation is largest."""
    starts = range(max(1, len(values) - count + 1))
    return max(starts, key=lambda start: float(values[start : start + count].std()))


def _looks(clip: Clip, landmarks: np.ndarray, times: Sequence[int]) -> list[np.ndarray]:
    pictures = {}
    for t, frame in enumerate(islice(clip.frames(), max(times) + 1)):
        if t in times:
            pictures[t] = look(frame, landmarks[t])
    return [pictures[t] for t in times]


def look(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """(HEAD, 2 HEAD, 3) uint8: a face's head and its mouth, upright and enlarged."""
    image = np.ascontiguousarray(image[..., :3])
    points = landmarks[list(topology.FACE_OVAL), :2]
    low, high = points.min(0), points.max(0)
    scale = HEAD / (1.45 * float((high - low).max()))
    middle = (low + high) / 2
    matrix = np.float32([[scale, 0, HEAD / 2 - scale * middle[0]], [0, scale, HEAD / 2 - scale * middle[1]]])
    head = cut(image, matrix, Region("head", HEAD))
    mouth = cut(image, window_matrix(landmarks, MOUTH), MOUTH)
    return np.hstack([head, cv2.resize(mouth, (HEAD, HEAD), interpolation=cv2.INTER_CUBIC)])


def cases(
    groups: Sequence[Portrait], singles: Sequence[Portrait], drivers: Sequence[Driver], tracker: MeshTracker
) -> Iterator[Case | str]:
    """All cases, or a sentence for each that cannot be drawn."""
    for number, portrait in enumerate(_pictures(groups, singles)):
        count = len(portrait.faces)
        if not count:  # pasted: its faces are found as a user's would be
            portrait.faces = left_to_right(tracker.detect(portrait.image))
            if len(portrait.faces) != (count := int(portrait.name.split()[0])):
                yield f"{portrait.name} is left out: {len(portrait.faces)} of its {count} faces are found."
                continue
        if len(drivers) <= count:
            yield f"{portrait.name} is left out: {count} faces need {count + 1} drivers, but there are {len(drivers)}."
            continue
        turned = [drivers[(number + face) % len(drivers)] for face in range(2 * count)]
        yield Case(portrait.name, portrait, tuple(turned[:count]), tuple(_exchanged(turned, count)))


def _exchanged(turned: Sequence[Driver], count: int) -> Iterator[Driver]:
    for face in range(count):
        yield next(each for each in turned[face + count :] if each is not turned[face])


def _pictures(groups: Sequence[Portrait], singles: Sequence[Portrait]) -> Iterator[Portrait]:
    yield from groups
    half = len(singles) // 2
    pairs = list(zip(singles[:half], singles[half:], strict=False))
    spread = [pairs[len(pairs) * number // PAIRS] for number in range(min(PAIRS, len(pairs)))]
    for number, pair in enumerate(spread, 1):
        yield Portrait(side_by_side(pair), name=f"2 side by side ({number})")
        yield Portrait(cheek_to_cheek(*pair), name=f"2 cheek to cheek ({number})")
    for count in ROWS:
        if count <= len(singles):
            some = [singles[len(singles) * number // count] for number in range(count)]
            yield Portrait(side_by_side(some, ROW_HEIGHT), name=f"{count} in a row")


def side_by_side(portraits: Sequence[Portrait], height: int = HEIGHT) -> np.ndarray:
    """(height, W, 3) uint8: whole pictures beside one another."""
    return np.hstack([_scaled(portrait.image, height / portrait.image.shape[0]) for portrait in portraits])


def cheek_to_cheek(left: Portrait, right: Portrait, height: int = HEIGHT) -> np.ndarray:
    """(H, W, 3) uint8: each picture is cut at the side of its face, so that the heads touch; eyes on one level."""
    parts = []
    for portrait, size in ((left, 1.0), (right, SECOND_SIZE)):
        landmarks = portrait.faces[0].landmarks
        scale = size * 0.42 * height / float(np.ptp(landmarks[:, 1]))
        picture = _scaled(portrait.image, scale)
        box = portrait.faces[0].box * scale
        margin = round(TOUCH * float(box[2] - box[0]))
        picture = picture[:, : round(box[2]) + margin] if size == 1.0 else picture[:, max(0, round(box[0]) - margin) :]
        parts.append((picture, round(float(landmarks[[33, 263], 1].mean()) * scale)))
    above = min(eyes for _, eyes in parts)
    below = min(picture.shape[0] - eyes for picture, eyes in parts)
    return np.hstack([picture[eyes - above : eyes + below] for picture, eyes in parts])


def _scaled(image: np.ndarray, scale: float) -> np.ndarray:
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
