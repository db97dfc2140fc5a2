"""A camera's frames drive a portrait one by one: no frame waits for a later one, none is needed twice."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from animate import pose
from animate.faces_crop import Roi
from animate.faces_tracking import MeshTracker
from animate.measures import gaze_of
from animate.motion import Motion
from animate.still import Still

LOST_AFTER = 3  # frames without a face after which the whole picture is searched again, every so many frames


class LiveFace:
    """Follows one face from frame to frame. Frames are (H, W, 3) uint8 RGB."""

    def __init__(self, tracker: MeshTracker):
        self.tracker = tracker
        self._last: np.ndarray | None = None
        self._missed = 0

    def find(self, frame: np.ndarray) -> np.ndarray | None:
        """Landmarks (478, 3) px of the face, None where the frame shows none."""
        points = None if self._last is None else self._near(frame)
        if points is None and self._missed % LOST_AFTER == 0:
            faces = self.tracker.detect(frame)
            points = faces[0].landmarks if faces else None
        self._missed = 0 if points is not None else self._missed + 1
        self._last = points
        return points

    def _near(self, frame: np.ndarray) -> np.ndarray | None:
        roi = Roi.from_landmarks(self._last)
        sighting = self.tracker.mesh(frame, roi)
        if sighting is None or not sighting.is_face:
            return None
        found = Roi.from_landmarks(sighting.landmarks)
        return sighting.landmarks if 0.6 < found.side / roi.side < 1.6 else None


class LivePuppet:
    """A portrait that does what the face before the camera does.

    The first face seen is taken for neutral; `rest` takes the next one instead.
    """

    def __init__(self, still: Still, tracker: MeshTracker):
        self.still = still
        self.face = LiveFace(tracker)
        self._neutral: tuple[np.ndarray, np.ndarray, np.ndarray, float, float] | None = None

    def rest(self) -> None:
        """The next face is the neutral one."""
        self._neutral = None

    def draw(self, frame: np.ndarray, paint: bool = True) -> np.ndarray | None:
        """The portrait (H, W, 3|4) uint8 for one camera frame; None where it shows no face."""
        points = self.face.find(frame)
        return None if points is None else self.still.draw(self._motion(points), paint=paint)

    def _motion(self, points: np.ndarray) -> Motion:
        where, shapes = pose.decompose(points)
        if self._neutral is None:
            size = float(pose.inter_ocular(shapes[0]))
            unit = float(where.scale[0]) * size
            self._neutral = (
                shapes[0] / size,
                where.rotation[0],
                where.translation[0] / unit,
                float(where.scale[0]),
                size,
            )
        neutral, rotation, translation, scale, size = self._neutral
        shapes /= size  # the one size of the neutral face, as in `Motion.from_track`
        return Motion(
            fps=Fraction(25),
            rotation=where.rotation,
            translation=where.translation / (scale * size),
            scale=np.asarray(where.scale) / scale,
            expression=shapes - neutral,
            gaze=gaze_of(shapes),
            valid=np.ones(1, bool),
            neutral=neutral,
            neutral_rotation=rotation,
            neutral_translation=translation,
            source="a camera",
        )
