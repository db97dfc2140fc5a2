"""LSE-C and LSE-D: how sure SyncNet is of the lips' sync with the sound, and how near they are.

Pictures are cut out as by the pipeline that was published with SyncNet's weights (syncnet_python, run_pipeline.py),
less its two lossy compressions on the way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import ClassVar

import cv2
import numpy as np

from bench.metrics.base import Metric, Reference, Sample
from bench.metrics.local_weights import describe, weights_missing

WEIGHTS = "syncnet"
SIDE, FPS = 224, 25
"""Side in px and rate of the pictures that SyncNet knows."""

REACH = 15
"""Frames by which the sound is shifted to either side."""

MARGIN = 0.4
"""Halves of the face's box that the crop adds on the left and on the right, and twice as much below."""

GREY = 110
"""Value of all colours outside the picture."""

SMOOTH = 6
"""Frames to either side over which the box's median is taken."""

FRAME_SAMPLES = 640
"""Samples of sound at 16 kHz a frame."""

LONGEST_GAP = 0.4
"""Seconds between two frames with a face; before the first, half of it."""


def lip_sync_errors(lips: np.ndarray, sound: np.ndarray, reach: int = REACH) -> tuple[float, float, int]:
    """Distance and confidence of two sequences of embeddings.

    Chung and Zisserman 2016, section 3; named LSE-D and LSE-C in Prajwal et al. 2020, "A lip sync expert is all you
    need", section 4.2.

    Args:
        lips, sound: (T, d), a frame each.
        reach: how far the sound is shifted; beyond its ends it is zeros, as in the published code.

    Returns:
        LSE-D, the least of the mean distances over shifts; LSE-C, their median less the least; the shift of the least
        in frames, positive where the sound comes after the picture.
    """
    count = len(lips)
    padded = np.pad(sound[:count], ((reach, reach), (0, 0)))
    shifts = [np.linalg.norm(lips - padded[k : k + count] + 1e-6, axis=-1).mean() for k in range(2 * reach + 1)]
    best = int(np.argmin(shifts))
    return float(shifts[best]), float(np.median(shifts) - shifts[best]), best - reach


def face_box(landmarks: np.ndarray) -> np.ndarray:
    """(3,) middle x, middle y and half the larger side of a face's box, px.

    The published pipeline has the box of the detector S3FD, which learned those of WIDER FACE: tight round forehead,
    chin and cheeks (Yang et al. 2016, section 3). The mesh ends at the same three, so that its box is taken as it is.

    Args:
        landmarks: (478, 2 or 3) px.
    """
    low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    return np.array([*(low + high) / 2, (high - low).max() / 2], np.float64)


def smoothed(boxes: Sequence[np.ndarray], at: int) -> np.ndarray:
    """(3,) medians of T boxes (3,) over the 13 frames round one.

    A frame beyond the clip counts as less than any other, as with the zeros that scipy's median filter, the published
    one, adds there.
    """
    near = np.sort(boxes[max(at - SMOOTH, 0) : at + SMOOTH + 1], axis=0)
    return near[max(len(near) - SMOOTH - 1, 0)]


def lip_square(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """What SyncNet sees of a picture, (224, 224, 3) uint8: a square that reaches lower than the face.

    Its corners lie on whole pixels; it is resized without averaging, as published.

    Args:
        image: (H, W, 3) uint8.
        box: (3,) px as of `face_box`.
    """
    x, y, half = box
    wide = half * (1 + MARGIN)
    left, right, top = (int(np.floor(v)) for v in (x - wide, x + wide, y - half))
    right, bottom = max(right, left + 1), max(int(np.floor(y + half * (1 + 2 * MARGIN))), top + 1)
    square = np.full((bottom - top, right - left, 3), GREY, np.uint8)
    height, width = image.shape[:2]
    x0, x1, y0, y1 = max(left, 0), min(right, width), max(top, 0), min(bottom, height)
    if x0 < x1 and y0 < y1:
        square[y0 - top : y1 - top, x0 - left : x1 - left] = image[y0:y1, x0:x1, :3]
    return cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)


@dataclass
class LipTrack:
    """The pictures that SyncNet sees of a clip at 25 a second, up to the last frame with a face.

    For each the nearest frame is taken; between frames with a face the box is interpolated. Whole pictures are kept for
    no longer than the median and a gap ask for, crops (150 kB each) until the end.

    Attributes:
        fps: frames per second of the clip.
        broken: the face was away for longer than ``LONGEST_GAP``.
    """

    fps: Fraction
    broken: bool = field(default=False, init=False)
    before: tuple[float, np.ndarray] | None = field(default=None, init=False)
    sighting: tuple[float, np.ndarray] | None = field(default=None, init=False)
    waiting: list[tuple[float, np.ndarray]] = field(default_factory=list, init=False)
    pictures: deque[np.ndarray] = field(default_factory=deque, init=False)
    boxes: list[np.ndarray] = field(default_factory=list, init=False)
    crops: list[np.ndarray] = field(default_factory=list, init=False)

    def add(self, index: int, picture: np.ndarray, landmarks: np.ndarray | None) -> None:
        """Take the next frame, with its face or without one."""
        time = index / float(self.fps)
        seen = -LONGEST_GAP / 2 if self.sighting is None else self.sighting[0]
        away = time - seen > LONGEST_GAP + 1e-6
        if away:
            self.waiting.clear()
            self.broken |= landmarks is not None
        if self.broken or away:
            return
        self._choose(time, picture)
        if landmarks is not None:
            self._place(time, face_box(landmarks))
            self._cut(len(self.boxes) - SMOOTH)

    def finish(self) -> list[np.ndarray] | None:
        """All crops, (224, 224, 3) uint8 RGB each; None where there is no face or it was away for too long."""
        if self.broken or not self.boxes:
            return None
        self._cut(len(self.boxes))
        return self.crops

    def _choose(self, time: float, picture: np.ndarray) -> None:
        now, before = (time, picture), self.before or (time, picture)
        while (wanted := (len(self.boxes) + len(self.waiting)) / FPS) <= time + 1e-6:
            self.waiting.append(before if wanted - before[0] <= time - wanted else now)
        self.before = now

    def _place(self, time: float, box: np.ndarray) -> None:
        times, boxes = zip(self.sighting or (time, box), (time, box), strict=True)
        for shown, picture in self.waiting:
            self.boxes.append(np.array([np.interp(shown, times, values) for values in zip(*boxes, strict=True)]))
            self.pictures.append(picture)
        self.waiting.clear()
        self.sighting = (time, box)

    def _cut(self, end: int) -> None:
        while len(self.crops) < end:
            self.crops.append(lip_square(self.pictures.popleft(), smoothed(self.boxes, len(self.crops))))


@dataclass
class LipSyncClip:
    """A clip's lips and sound, shared by both metrics; a frame that is added twice counts once.

    Attributes:
        lost: an output's face was looked for and not found.
    """

    reference: Reference
    lost: bool = field(default=False, init=False)
    last: int = field(default=-1, init=False)
    track: LipTrack = field(init=False)

    def __post_init__(self) -> None:
        self.track = LipTrack(self.reference.fps)

    def add(self, sample: Sample) -> None:
        """Take the next frame."""
        if sample.index > self.last:
            self.last = sample.index
            self.lost |= sample.face_lost
            self.track.add(sample.index, sample.output, sample.output_landmarks)

    def frames(self) -> list[np.ndarray] | None:
        """What SyncNet sees of the clip (`LipTrack.finish`)."""
        return self.track.finish()

    @cached_property
    def figures(self) -> tuple[float, float] | None:
        """LSE-D and LSE-C; None for a clip that is too short or has no face for too long.

        As in the published evaluation (SyncNetInstance.py), a window begins at every frame but the last five of
        picture or sound, whichever is shorter.
        """
        import torch

        from bench.metrics.syncnet import FRAMES, STEPS, cepstra, network

        frames = self.frames()
        if frames is None or self.reference.sound is None:
            return None
        count = min(len(frames), len(self.reference.sound) // FRAME_SAMPLES) - FRAMES
        if count < 1:
            return None
        net = network()
        cepstrum = torch.from_numpy(cepstra(self.reference.sound).T.copy()).float()
        lips, spans = [], []
        for t in range(count):
            window = np.stack(frames[t : t + FRAMES])[..., ::-1].copy()  # BGR
            lips.append(net.lips(torch.from_numpy(window).permute(3, 0, 1, 2)[None].float()))
            spans.append(cepstrum[None, :, STEPS * t : STEPS * (t + FRAMES)])
        distance, confidence, _ = lip_sync_errors(torch.cat(lips).numpy(), net.sound(torch.stack(spans)).numpy())
        return distance, confidence


@dataclass
class _LipSync(Metric):
    unit = "distance in SyncNet's space"
    source = "Prajwal et al. 2020, A lip sync expert is all you need (Wav2Lip), section 4.2"
    requires = frozenset({"sound"})
    needs = describe(WEIGHTS)
    takes_reference = True
    unfit = "too few frames with a face or with sound"
    spoilt = "the output's face is away for too long"
    reads_face = True
    part: ClassVar[int]

    reference: Reference
    clip: LipSyncClip | None = field(default=None, init=False)

    @classmethod
    def missing(cls) -> str | None:
        return weights_missing(WEIGHTS)

    def update(self, sample: Sample) -> None:
        if self.clip is None:
            self.clip = sample.shared("lip sync", lambda: LipSyncClip(self.reference))
        self.clip.add(sample)

    def value(self) -> float | None:
        if self.clip is None:
            return None
        if self.clip.figures is None:
            return float("nan") if self.clip.lost else None
        return self.clip.figures[self.part]


class LSED(_LipSync):
    """Lip-sync error, distance: the mean distance of lips and sound at the best shift."""

    name = "lse_d"
    direction = "lower"
    part = 0


class LSEC(_LipSync):
    """Lip-sync error, confidence: by how much the best shift is nearer than the median one."""

    name = "lse_c"
    direction = "higher"
    part = 1
