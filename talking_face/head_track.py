"""The head movement of a clip under another motion: `mien talk --pose-from`."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from animate import pose
from animate.motion import Motion
from talking_face.following import FollowedFace


class HeadTrack:
    """How a clip's head turns and moves, against the pose that it usually has.

    Frames without the face are bridged. A stretch beyond the clip's end is taken from the clip played backwards and
    forwards again.
    """

    def __init__(self, face: FollowedFace):
        seen = np.flatnonzero(face.valid)
        angles = pose.head_angles(face.rotation[seen])
        usual = seen[np.argmin(np.linalg.norm(angles - np.median(angles, axis=0), axis=1))]
        # shape = scale * R @ canonical: what the neutral pose's own turn is taken off of
        back = pose.rotation_matrices(face.rotation[usual])[0].T
        rotation = pose.rotation_vectors(pose.rotation_matrices(face.rotation[seen]) @ back)
        unit = face.scale[usual]
        moved = (face.translation[seen] - face.translation[usual]) / unit
        zoom = np.log(face.scale[seen] / unit)
        track = np.concatenate([rotation, moved, zoom[:, None]], axis=1)
        frames = np.arange(len(face))
        self._track = np.stack([np.interp(frames, seen, column) for column in track.T], axis=1)  # (T, 7)
        self._fps = face.fps

    def at(self, first: int, count: int, fps: Fraction) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """rotation (count, 3) rad, translation (count, 3) in the scale's unit, scale (count,) of the frames
        first, first + 1, … of a video at `fps`: at exactly n / fps seconds."""
        last = len(self._track) - 1
        places = np.empty(count)
        for i in range(count):
            place = Fraction(first + i) * self._fps / fps
            if last:
                place %= 2 * last
            places[i] = float(min(place, 2 * last - place)) if last else 0.0
        below = np.minimum(places.astype(int), max(0, last - 1))
        share = (places - below)[:, None]
        values = self._track[below] * (1 - share) + self._track[np.minimum(below + 1, last)] * share
        return values[:, :3], values[:, 3:6], np.exp(values[:, 6])

    def put_on(self, motion: Motion, first: int) -> Motion:
        """The motion, whose neutral pose is the zero rotation, with this head's movement.

        first: number of its first frame in the whole video.
        """
        rotation, translation, scale = self.at(first, len(motion), motion.fps)
        return replace(motion, rotation=rotation, translation=translation, scale=scale)
