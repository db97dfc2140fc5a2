"""Landmarks detected anew on a finished frame, the same way on every method's output and on the truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from animate.faces import create_tracker
from animate.faces_crop import Roi
from animate.faces_tracking import MeshTracker

SAME_PLACE = 0.005
"""Shares of the square's side (and radians) by which a face may sit elsewhere and need no further look. At 0.03 the
opening of a still picture's mouth followed the place where the search began, by 0.002 inter-ocular distances."""

LOOKS = 4
"""Times that a face is looked at, each time where the last look found it."""


class Redetector:
    """One face mesh, reused for all frames; every frame is looked at by itself, without memory of the last.

    The truth's place says where to look first. Where the face turns out to sit elsewhere, further looks are centred
    on it, so that what is found does not depend on where the search began; where there is none, the whole picture is
    searched. About 10 ms a look, 0.2 s a search.
    """

    def __init__(self, tracker: MeshTracker | None = None) -> None:
        self.tracker = tracker or create_tracker()

    def __call__(self, image: np.ndarray, near: np.ndarray, others: np.ndarray | Sequence = ()) -> np.ndarray | None:
        """Find a face.

        Args:
            image: (H, W, 3) uint8 RGB.
            near: (478, 3) px, where it should be: the truth's landmarks in the same frame, or the portrait's.
            others: (n, 2) px, middles of other people's faces; a face that is nearer to one of them is not taken for
                the one that should be there, however the picture lost it.

        Returns:
            (478, 3) float32 px, or None where the mesh sees no face.
        """
        image = np.ascontiguousarray(image[..., :3])
        place = Roi.from_landmarks(near)
        found = self._own(self._settle(image, place), near, others)
        if found is None:
            whole = [self._settle(image, Roi.from_landmarks(face.landmarks)) for face in self.tracker.detect(image)]
            whole = [mesh for mesh in whole if self._own(mesh, near, others) is not None]
            found = min(whole, key=lambda mesh: _apart(mesh, near), default=None)
        return found

    def _settle(self, image: np.ndarray, place: Roi) -> np.ndarray | None:
        """The face at a place, looked at until it stays where it is."""
        found = None
        for _ in range(LOOKS):
            found = self._look(image, place)
            if found is None:
                return None
            before, place = place, Roi.from_landmarks(found)
            if _same_place(before, place):
                break
        return found

    @staticmethod
    def _own(mesh: np.ndarray | None, near: np.ndarray, others: np.ndarray | Sequence) -> np.ndarray | None:
        """The mesh if it is nearer to its own place than to anybody else's."""
        if mesh is None or not len(others):
            return mesh
        away = np.linalg.norm(np.asarray(others) - middle(mesh), axis=-1).min()
        return mesh if _apart(mesh, near) <= away else None

    def _look(self, image: np.ndarray, place: Roi) -> np.ndarray | None:
        sighting = self.tracker.mesh(image, place)
        return sighting.landmarks if sighting is not None and sighting.is_face else None


def middle(mesh: np.ndarray) -> np.ndarray:
    """Mean of a mesh's points in the picture plane, (478, 3) -> (2,)."""
    return mesh[:, :2].mean(0)


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(middle(a) - middle(b)))


def _same_place(a: Roi, b: Roi) -> bool:
    near = SAME_PLACE * a.side
    return max(abs(a.x - b.x), abs(a.y - b.y), abs(a.side - b.side)) < near and abs(a.angle - b.angle) < SAME_PLACE
