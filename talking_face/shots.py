"""What is learned from a shot of a video before its mouth is exchanged: the resting face, calm lips, its own teeth."""

from __future__ import annotations

import threading

import cv2
import numpy as np

from animate import pose
from animate.media import VideoReader
from animate.mouth_table import MouthTable
from animate.regions import MOUTH
from animate.warp import PortraitWarp
from talking_face.blending import RestingFace
from talking_face.covered import covered, lip_contrast
from talking_face.following import FollowedFace
from talking_face.mouths import (
    Candidates,
    MouthSource,
    MouthSources,
    Texture,
    choose_sources,
    choose_textures,
    own_table,
)
from talking_face.outline import face_box
from talking_face.playback import stretch

#: Frames that a shot is learned from: at most so many, out of at most so many seconds from its beginning.
SAMPLE, SPAN = 500, 60
#: Inter-ocular distances of picture round the lower face that are kept of a calm frame.
MARGIN = 0.6
#: What is kept of the network's work where the clip shows many mouths of its own. 13 clips dubbed with their own
#: mouths, the textures from their first half, have inside the lips a mean error of 0.067 so, of 0.073 with all of the
#: network's work and of 0.074 with none of it; without textures of their own 0.079 and 0.108.
NETWORK_SHARE, FEW_TEXTURES = 0.5, 4


class Shot:
    """What the frames of one shot are drawn with.

    Attributes:
        rest: `RestingFace`.
        mouths: `MouthSources`.
        reference: `PortraitWarp` of a frame whose mouth is open, which shows the network this person's teeth.
        share: how much of what the network adds is kept, in [0, 1].
    """

    def __init__(self, rest: RestingFace, mouths: MouthSources, reference: PortraitWarp, share: float = 1.0):
        self.rest, self.mouths, self.reference, self.share = rest, mouths, reference, share
        self._painting = None
        self._lock = threading.Lock()

    def paint(self, painter, pictures: list[np.ndarray], landmarks: list[np.ndarray]) -> None:
        """Lets the network paint the mouths of pictures (h, w, 3) uint8 with landmarks (478, 3) px each, in place."""
        with self._lock:
            if self._painting is None:
                self._painting = painter.start(self.reference, (MOUTH,))
        before = [picture.copy() for picture in pictures]
        self._painting.paint(pictures, landmarks, (0, 0))
        for picture, own in zip(pictures, before, strict=True):
            cv2.addWeighted(picture, self.share, own, 1 - self.share, 0, picture)


def study(reader: VideoReader, face: FollowedFace, number: int) -> Shot:
    """Look at shot `number` of a followed face: its landmarks, and a few of its pictures.

    reader: of the same video.
    """
    first, last = face.shots[number]
    span = min(last - first, round(SPAN * face.fps))
    frames = np.unique(np.linspace(first, first + span - 1, min(span, SAMPLE)).astype(int))
    frames = frames[_free(reader, face, frames)]
    shapes = pose.decompose(face.landmarks[frames])[1]
    rest = RestingFace(shapes, face.rotation[frames], len(frames) / span * float(face.fps))
    candidates = Candidates(
        frames,
        pose.head_angles(face.rotation[frames]),
        face.opening[frames],
        face.width[frames],
        face.speed[frames],
    )
    calm, speaking = choose_sources(candidates), choose_textures(candidates)
    open_wide = np.percentile(face.opening[frames], 75)
    reference = min(speaking or calm[:1], key=lambda index: abs(face.opening[index] - open_wide))
    pictures, textures = {}, []
    for index, picture in _pictures(reader, sorted({*calm, *speaking})):
        landmarks = face.landmarks[index]
        if index in speaking:
            textures.append(Texture.of(picture, landmarks))
        if index in calm or index == reference:
            x0, y0, x1, y1 = face_box((landmarks,), face.size, MARGIN)
            pictures[index] = picture[y0:y1, x0:x1].copy(), landmarks - np.array([x0, y0, 0], np.float32)
    table = own_table(textures, MouthTable.load())
    mouths = MouthSources([MouthSource(*pictures[index], table) for index in calm])
    share = 1 - (1 - NETWORK_SHARE) * len(textures) / (len(textures) + FEW_TEXTURES)
    return Shot(rest, mouths, PortraitWarp(*pictures[reference]), share)


def _free(reader: VideoReader, face: FollowedFace, frames: np.ndarray) -> np.ndarray:
    """(n,) bool: which frames show a mouth that nothing covers."""
    contrasts = [lip_contrast(picture, face.landmarks[i]) for i, picture in _pictures(reader, frames.tolist())]
    contrasts += [np.full(6, np.nan)] * (len(frames) - len(contrasts))
    return ~covered(np.array(contrasts))


def _pictures(reader: VideoReader, wanted: list[int]):
    """(index, frame) of the wanted frames, ascending."""
    first, last, asked = wanted[0], wanted[-1] + 1, set(wanted)
    with stretch(reader, first, last) as part:
        for index, frame in zip(range(first, last), part, strict=False):
            if index in asked:
                yield index, frame
