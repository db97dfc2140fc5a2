"""From a detector and a mesh network to faces in a picture and people through a clip.

A back end gives `candidates` (where faces may be) and `mesh` (landmarks inside one square); `MeshTracker`
does the rest: it verifies candidates with the mesh, and follows each person by taking the crop of a frame
from the landmarks of the frame before (as MediaPipe's own video mode does), detecting again only where
somebody is lost or may be new.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Self

import numpy as np

from .errors import FaceError
from .faces import Face, FaceTrack
from .faces_crop import Roi, overlap, suppress

__all__ = ["Candidate", "MeshTracker", "Sighting", "plain_rgb"]

_LARGEST_SPREAD = 0.016
_DOUBTFUL_SPREAD = 0.008


@dataclass(frozen=True, eq=False)
class Candidate:
    """Where a face may be: the square for the mesh, the detector's score, an embedding where there is one."""

    roi: Roi
    score: float
    embedding: np.ndarray | None = None

    @property
    def box(self) -> np.ndarray:
        """(4,) the face inside the square, [x0, y0, x1, y1] pixels."""
        half = self.roi.side / 3
        return np.array([self.roi.x - half, self.roi.y - half, self.roi.x + half, self.roi.y + half])


@dataclass(frozen=True, eq=False)
class Sighting:
    """A mesh on a face: landmarks (478, 3) float32 in picture pixels, and how much repeated looks at the face
    differ, as a share of the square's side (0 where a back end looks once). Faces in the data stay below
    0.012 (most below 0.005), other things above 0.022, upside-down faces taken for upright ones above 0.008.
    """

    landmarks: np.ndarray
    spread: float = 0.0

    @property
    def is_face(self) -> bool:
        return self.spread < _LARGEST_SPREAD


@dataclass(eq=False)
class _Person:
    """The sightings of one person; memory grows by one mesh a frame, never by a frame."""

    frames: list[int] = field(default_factory=list)
    meshes: list[np.ndarray] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    def see(self, frame: int, face: Face) -> None:
        self.frames.append(frame)
        self.meshes.append(face.landmarks)
        self.scores.append(face.score)

    @property
    def box(self) -> np.ndarray:
        return _bounds(self.meshes[-1])

    @property
    def prominence(self) -> float:
        """Area of the face summed over the frames that show it."""
        return sum(float(np.prod(box[2:] - box[:2])) for box in map(_bounds, self.meshes))


class MeshTracker:
    """Base of the back ends: implements `FaceTracker` on top of `candidates` and `mesh`."""

    def candidates(self, image: np.ndarray, thorough: bool = True) -> list[Candidate]:
        """Where faces may be in (H, W, 3) uint8 RGB; `thorough` False is the quick look used inside clips."""
        raise NotImplementedError

    def mesh(self, image: np.ndarray, roi: Roi) -> Sighting | None:
        """Put the mesh on the face in `roi`, None where there is none."""
        raise NotImplementedError

    def close(self) -> None:
        """Free native resources."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def detect(self, image: np.ndarray) -> list[Face]:
        """Faces of one picture, largest first; a picture without an upright one is tried in quarter turns."""
        image = plain_rgb(image)
        faces = self._verify(image, self.candidates(image))
        for quarter in (1, 3, 2):
            if faces:
                break
            turned = np.ascontiguousarray(np.rot90(image, quarter))
            found = [replace(c, roi=_turn_back(c.roi, quarter, image.shape)) for c in self.candidates(turned)]
            faces = self._verify(image, found)
        return faces

    def track(
        self,
        frames: Iterable[np.ndarray],
        fps: Fraction,
        max_faces: int | None = 1,
        name: str | Path = "the clip",
    ) -> list[FaceTrack]:
        """Follow people through a clip; see `FaceTracker.track`."""
        second = max(1, round(fps))
        people: list[_Person] = []
        count, size = 0, (0, 0)
        for count, frame in enumerate(frames, start=1):
            t, frame = count - 1, plain_rgb(frame)
            size = (frame.shape[1], frame.shape[0])
            lost = [person for person in people if not self._follow(person, frame, t)]
            lost += _drop_doubles(people, t)
            room = max_faces is None or len(people) < max_faces
            # Newcomers are looked for once a second; the lost at once, thoroughly only now and then.
            waited = min((t - person.frames[-1] for person in lost), default=0)
            thorough = not people or (room and t % second == 0) or (bool(lost) and waited % max(second // 3, 1) == 1)
            if lost or thorough:
                self._find(frame, t, people, lost, max_faces, second, thorough)
        if not count:
            raise FaceError(f"There is no frame in {name}: use a video that plays.")
        if not people:
            raise FaceError(f"No frame of {name} shows a face: use a clip in which a face is seen clearly.")
        people.sort(key=lambda person: -person.prominence)
        return [
            FaceTrack.from_sightings(person.frames, person.meshes, count, fps, size, track_id=i)
            for i, person in enumerate(people)
        ]

    def _verify(self, image: np.ndarray, candidates: list[Candidate]) -> list[Face]:
        """Put the mesh on candidates and keep those that hold a face, once each, largest first."""
        faces: list[Face] = []
        for candidate in candidates:
            roi = candidate.roi
            sighting = self._settle(image, roi)
            if sighting is None or sighting.spread > _DOUBTFUL_SPREAD:
                # An upside-down face passes for an upright one, but the mesh is unsure until it is turned.
                turns = (self._settle(image, replace(roi, angle=roi.angle + q * np.pi / 2)) for q in (2, 1, 3))
                sighting = next((s for s in turns if s and s.spread < _DOUBTFUL_SPREAD), sighting)
            if sighting is None or not sighting.is_face:
                continue
            points = sighting.landmarks
            # A face that is not where the detector said is another one's, or none.
            drift = np.linalg.norm(points[:, :2].mean(0) - (roi.x, roi.y)) / roi.side
            ratio = Roi.from_landmarks(points).side / roi.side
            if drift < 0.4 and 0.4 < ratio < 2.2:
                faces.append(Face(_bounds(points), points, candidate.score, embedding=candidate.embedding))
        if not faces:
            return []
        kept = suppress(np.array([face.box for face in faces]), np.array([face.score for face in faces]), 0.5)
        return sorted((faces[i] for i in kept), key=lambda face: -face.size)

    def _settle(self, image: np.ndarray, roi: Roi) -> Sighting | None:
        """Mesh on `roi`, then on the squares its landmarks give: the detector's square leaves no trace."""
        for _ in range(3):
            sighting = self.mesh(image, roi)
            if sighting is None:
                return None
            roi = Roi.from_landmarks(sighting.landmarks)
        return sighting

    def _follow(self, person: _Person, frame: np.ndarray, t: int) -> bool:
        """Look for a person where the frame before showed the face."""
        if person.frames[-1] != t - 1:
            return False
        roi = Roi.from_landmarks(person.meshes[-1])
        for _ in range(2):
            sighting = self.mesh(frame, roi)
            if sighting is None or not sighting.is_face:
                return False
            found = Roi.from_landmarks(sighting.landmarks)
            if not 0.6 < found.side / roi.side < 1.6:
                return False
            # A face that jumped sits off the centre of its square, where the mesh is less exact: look again.
            if np.hypot(found.x - roi.x, found.y - roi.y) < 0.08 * roi.side:
                break
            roi = found
        person.see(t, Face(_bounds(sighting.landmarks), sighting.landmarks, person.scores[-1]))
        return True

    def _find(
        self,
        frame: np.ndarray,
        t: int,
        people: list[_Person],
        lost: list[_Person],
        max_faces: int | None,
        second: int,
        thorough: bool,
    ) -> None:
        """Detect, give faces back to the lost by distance (Hungarian method), make newcomers of the rest."""
        faces = self._verify(frame, self.candidates(frame, thorough=thorough))
        present = [person.box for person in people if person.frames[-1] == t]
        if present:
            faces = [face for face in faces if overlap(face.box, np.array(present)).max() < 0.5]
        if faces and lost:
            from scipy.optimize import linear_sum_assignment

            cost = np.array([[_distance(person.box, face.box) for face in faces] for person in lost])
            # In a third of a second somebody may have walked a face width. After a second it was a camera
            # cut: they may be anywhere, unless the face far away can be a person of its own.
            reach = np.array([1 + 3 * (t - person.frames[-1]) / second for person in lost])
            full = max_faces is not None and len(people) >= max_faces
            reach[reach >= 4] = np.inf if full else 4
            allowed = np.where(cost <= reach[:, None], cost, 1e6)
            rows, columns = linear_sum_assignment(allowed)
            taken = set()
            for row, column in zip(rows, columns, strict=True):
                if allowed[row, column] < 1e6:
                    lost[row].see(t, faces[column])
                    taken.add(int(column))
            faces = [face for i, face in enumerate(faces) if i not in taken]
        for face in faces:
            if max_faces is not None and len(people) >= max_faces:
                break
            people.append(_Person())
            people[-1].see(t, face)


def plain_rgb(image: np.ndarray) -> np.ndarray:
    """A picture without its alpha: (H, W, 3) uint8, contiguous. Raises FaceError for any other array."""
    if image.ndim != 3 or image.shape[2] not in (3, 4) or image.dtype != np.uint8 or not image.size:
        raise FaceError(f"A picture must be (H, W, 3 or 4) uint8, not {image.shape} {image.dtype}.")
    return np.ascontiguousarray(image[..., :3])


def _bounds(points: np.ndarray) -> np.ndarray:
    plane = points[:, :2]
    return np.concatenate([plane.min(0), plane.max(0)]).astype(np.float32)


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    """Between two boxes, in face sizes: of their centres, and of their sizes as octaves."""
    size_a, size_b = (float(np.sqrt(np.prod(box[2:] - box[:2]))) + 1e-6 for box in (a, b))
    centres = np.linalg.norm((a[:2] + a[2:] - b[:2] - b[2:]) / 2) / max(size_a, size_b)
    return float(centres + 0.5 * abs(np.log2(size_a / size_b)))


def _drop_doubles(people: list[_Person], t: int) -> list[_Person]:
    """Two people on one face: the one seen more often keeps it, the other is lost in this frame."""
    seen = sorted((p for p in people if p.frames[-1] == t), key=lambda p: -len(p.frames))
    dropped: list[_Person] = []
    for i, person in enumerate(seen):
        others = [p.box for p in seen[:i] if p not in dropped]
        if others and overlap(person.box, np.array(others)).max() > 0.7 and len(person.frames) > 1:
            for history in (person.frames, person.meshes, person.scores):
                history.pop()
            dropped.append(person)
    return dropped


def _turn_back(roi: Roi, quarter: int, shape: tuple[int, ...]) -> Roi:
    """A square found in np.rot90(image, quarter) in the coordinates of the image of that shape."""
    height, width = shape[:2]
    x, y = {
        1: (width - 1 - roi.y, roi.x),
        2: (width - 1 - roi.x, height - 1 - roi.y),
        3: (roi.y, height - 1 - roi.x),
    }[quarter]
    return Roi(x, y, roi.side, roi.angle + quarter * np.pi / 2)
