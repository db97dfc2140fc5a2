"""A clip's expression features: each frame's face aligned as PD-FGC's encoder wants it, and encoded.

Frames without a face keep their place in time: their features are bridged from their neighbours and they are marked.
(FantasyPortrait's public code drops such frames, so that all later ones take a wrong frame's face.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from animate import topology as mesh
from animate.errors import FaceError, MotionError
from animate.whole_file import whole_file

if TYPE_CHECKING:
    from animate.faces import FaceTrack
    from animate.models.expression_encoder import ExpressionEncoder

SIDE = 224
# Where eyes (image left, right), tip of the nose and corners of the mouth lie in the aligned face, of its side. The
# published code takes five of 222 points for them. Of the mesh these fit best, on the mean face to 1.8 pixels.
TEMPLATE = np.array([[0.3843, 0.27], [0.62, 0.2668], [0.503, 0.4185], [0.406, 0.5273], [0.5977, 0.525]])
BATCH = 8


@dataclass(frozen=True)
class ExpressionTrack:
    """One person's expression through a clip of T frames.

    features: (T, 554) float32: head pose 6, eyes 6, emotion 30, mouth 512. valid: (T,) bool, False where bridged.
    fps: frames per second, rational.
    """

    features: np.ndarray
    valid: np.ndarray
    fps: Fraction

    def __len__(self) -> int:
        return len(self.features)

    def save(self, path: str | Path) -> None:
        """Write a safetensors file; an interrupted write leaves no file under `path`. Raises MotionError."""
        from safetensors.numpy import save

        path = Path(path)
        data = save(
            {"features": np.ascontiguousarray(self.features), "valid": self.valid.astype(np.uint8)},
            {"fps": f"{self.fps.numerator}/{self.fps.denominator}"},
        )
        try:
            with whole_file(path) as part:
                part.write_bytes(data)
        except OSError as error:
            raise MotionError(f"The feature file {path} cannot be written: {error.strerror}.") from error

    @classmethod
    def load(cls, path: str | Path) -> ExpressionTrack:
        """Read what `save` wrote. Raises MotionError for a file that is none."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as file:
                fps = Fraction((file.metadata() or {})["fps"])
                track = cls(file.get_tensor("features"), file.get_tensor("valid").astype(bool), fps)
        except (SafetensorError, KeyError, ValueError, OSError, ZeroDivisionError) as error:
            raise MotionError(f"{path} is not a file of expression features: make it again.") from error
        if track.features.ndim != 2 or track.valid.shape != track.features.shape[:1]:
            raise MotionError(f"{path} is damaged: its features are {track.features.shape}; make it again.")
        return track


def align_face(image: np.ndarray, landmarks: np.ndarray, side: int = SIDE) -> np.ndarray:
    """(side, side, 3) uint8: the face turned, scaled and moved to where the encoder wants it, black beyond the picture.

    Args:
        image: (H, W, 3) uint8 RGB. landmarks: (478, 3) px.
    """
    return cv2.warpAffine(image, similarity(_five(landmarks), TEMPLATE * side), (side, side), flags=cv2.INTER_CUBIC)


def similarity(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(2, 3): the rotation, one scale and shift that bring points (n, 2) nearest to targets (n, 2), least squares."""
    middle, aim = points.mean(0), targets.mean(0)
    from_middle, from_aim = points - middle, targets - aim
    # with complex numbers a turn and a scale are one factor, and least squares one division
    z, w = from_middle @ (1, 1j), from_aim @ (1, 1j)
    factor = np.vdot(z, w) / np.vdot(z, z).real
    turn = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.column_stack([turn, aim - turn @ middle])


def encode_clip(
    frames: Iterable[np.ndarray], track: FaceTrack, encoder: ExpressionEncoder, batch: int = BATCH
) -> ExpressionTrack:
    """The features of a tracked face, a few frames in memory at a time.

    Args:
        frames: (H, W, 3) uint8 RGB, those that were tracked.
        track: where the face is in them.
        encoder: of `load_encoder`.
        batch: faces that are encoded together.

    Raises:
        FaceError: no frame shows the face, or there are fewer frames than were tracked.
    """
    import torch

    seen = np.flatnonzero(track.valid)
    if not len(seen):
        raise FaceError("No frame of the clip shows the face: use another clip.")
    features, aligned = None, _aligned(frames, track)
    while rows := list(islice(aligned, batch)):
        faces = torch.from_numpy(np.stack([face for _, face in rows])).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.inference_mode():
            made = encoder(faces.to(encoder.device)).float().cpu().numpy()
        if features is None:
            features = np.zeros((len(track), made.shape[1]), np.float32)
        features[[number for number, _ in rows]] = made
    return ExpressionTrack(bridge(features, track.valid), track.valid.copy(), Fraction(track.fps))


def encoder_facts(encoder: ExpressionEncoder) -> str:
    """A checksum that tells encoders apart, for a work folder."""
    from animate.work_folder import checksum

    return checksum(*(value.cpu().numpy() for value in encoder.state_dict().values()))


def bridge(features: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(T, n): frames that are not valid lie on a line between their neighbours; at the ends they hold the nearest."""
    seen = np.flatnonzero(valid)
    at = np.interp(np.arange(len(valid)), seen, np.arange(len(seen)))
    left = np.floor(at).astype(int)
    share = (at - left)[:, None].astype(features.dtype)
    known = features[seen]
    filled = known[left] + share * (known[np.minimum(left + 1, len(seen) - 1)] - known[left])
    return np.where(valid[:, None], features, filled)


def _aligned(frames: Iterable[np.ndarray], track: FaceTrack) -> Iterator[tuple[int, np.ndarray]]:
    """(frame number, aligned face) of the frames that show the face."""
    count = 0
    for number, frame in zip(range(len(track)), frames, strict=False):
        count += 1
        if track.valid[number]:
            yield number, align_face(frame[..., :3], track.landmarks[number])
    if count < len(track):
        raise FaceError(f"The clip has {count} frames but {len(track)} were tracked: read it again from its beginning.")


def _five(landmarks: np.ndarray) -> np.ndarray:
    """(5, 2) px: eyes (image left, right), tip of the nose, corners of the mouth (image left, right)."""
    points = np.asarray(landmarks, np.float64)[:, :2]
    eyes = [points[list(corners)].mean(0) for corners in ((33, 133), (362, 263))]
    return np.stack([*eyes, points[mesh.NOSE_TIP], *points[list(mesh.MOUTH_CORNERS)]])
