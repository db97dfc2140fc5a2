"""The picture to be moved."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from animate.errors import FaceError

if TYPE_CHECKING:
    from animate.faces import Face, FaceTracker


@dataclass
class Portrait:
    """A picture and the faces in it.

    Attributes:
        image: (H, W, 3) or (H, W, 4) uint8 RGB(A).
        faces: largest first.
        name: what errors call it.
    """

    image: np.ndarray
    faces: list[Face] = field(default_factory=list)
    name: str = "the portrait"

    @classmethod
    def open(cls, path: str | Path, tracker: FaceTracker | None = None) -> Portrait:
        """Reads a picture and finds its faces.

        Raises:
            MediaError: the file is not a readable picture.
            FaceError: no face is found in it.
        """
        from animate.media import read_image

        return cls.from_image(read_image(path), tracker, name=str(path))

    @classmethod
    def from_image(cls, image: np.ndarray, tracker: FaceTracker | None = None, name: str = "the portrait") -> Portrait:
        """A portrait from (H, W, 3|4) uint8; raises FaceError where no face is found."""
        if tracker is None:
            from animate.faces import create_tracker

            tracker = create_tracker()
        faces = tracker.detect(image[..., :3])
        if not faces:
            raise FaceError(f"No face is found in {name}: use a picture in which a human-like face is seen clearly.")
        return cls(image, faces, name)
