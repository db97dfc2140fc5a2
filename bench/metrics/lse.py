"""LSE-C and LSE-D: how sure SyncNet is of the lips' sync with the sound, and how near they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np

from bench.metrics.base import Metric, Reference, Sample
from bench.metrics.face_parameters import face_square
from bench.metrics.local_weights import describe, weights_missing

WEIGHTS = "syncnet"
SIDE, FPS = 224, 25
"""Side in px and rate of the pictures that SyncNet knows."""

REACH = 15
"""Frames by which the sound is shifted to either side."""

CROP_SCALE = 1.8
"""Side of the square that SyncNet sees over the larger side of the landmarks' box: its own pipeline adds 0.4 of a
detector's box on every side."""

LONGEST_GAP = 0.2
"""Seconds for which a face may be away."""


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


@dataclass
class LipSyncClip:
    """A clip's face crops, shared by both metrics; a frame that is added twice counts once."""

    reference: Reference
    crops: dict[int, np.ndarray] = field(default_factory=dict)

    def add(self, sample: Sample) -> None:
        """Take a frame whose face was found."""
        if sample.output_landmarks is not None and sample.index not in self.crops:
            self.crops[sample.index] = face_square(sample.output, sample.output_landmarks, SIDE, CROP_SCALE)

    def frames(self) -> np.ndarray | None:
        """(T, 224, 224, 3) RGB at SyncNet's 25 frames a second, the nearest frame for each; None where the face is
        away for longer than 0.2 s."""
        if not self.crops:
            return None
        times = np.array(list(self.crops)) / float(self.reference.fps)
        wanted = np.arange(int(times[-1] * FPS + 1e-6) + 1) / FPS
        nearest = np.abs(times[None] - wanted[:, None]).argmin(1)
        if np.abs(times[nearest] - wanted).max() > LONGEST_GAP:
            return None
        crops = list(self.crops.values())
        return np.stack([crops[i] for i in nearest])

    @cached_property
    def figures(self) -> tuple[float, float] | None:
        """LSE-D and LSE-C; None for a clip that is too short or has no face for too long."""
        import torch

        from bench.metrics.syncnet import FRAMES, STEPS, cepstra, network

        frames = self.frames()
        if frames is None or self.reference.sound is None:
            return None
        sound = cepstra(self.reference.sound)
        count = min(len(frames), len(sound) // STEPS) - FRAMES
        if count < 1:
            return None
        net = network()
        pictures = torch.from_numpy(frames[..., ::-1].copy()).permute(3, 0, 1, 2)  # (3, T, h, w), BGR
        cepstrum = torch.from_numpy(sound.T.copy()).float()
        lips = torch.cat([net.lips(pictures[None, :, t : t + FRAMES].float()) for t in range(count)])
        spans = torch.stack([cepstrum[None, :, STEPS * t : STEPS * (t + FRAMES)] for t in range(count)])
        distance, confidence, _ = lip_sync_errors(lips.numpy(), net.sound(spans).numpy())
        return distance, confidence


@dataclass
class _LipSync(Metric):
    unit = "distance in SyncNet's space"
    source = "Prajwal et al. 2020, A lip sync expert is all you need (Wav2Lip), section 4.2"
    requires = frozenset({"sound"})
    needs = describe(WEIGHTS)
    takes_reference = True
    unfit = "too few frames with a face"
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
        figures = None if self.clip is None else self.clip.figures
        return None if figures is None else figures[self.part]


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
