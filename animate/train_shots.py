"""Where a face is seen without a break, and the square that is cut out of such a shot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from animate.square_crop import KNOWN_MOTION

LARGEST_JUMP = 0.5  # sides of the face that it moves from one frame to the next, beyond which it is a cut
LARGEST_GROWTH = 1.5
CUT_DIFFERENCE = 0.12  # mean difference of two thumbnails, of 1, beyond which it may be a cut
CUT_OUTLIER = 5.0  # … if it is also so many times the block's median


def watched(frames: Iterable[np.ndarray], differences: list[float]) -> Iterator[np.ndarray]:
    """The same frames; how much each thumbnail differs from the one before (0 to 1) is appended to `differences`."""
    before = None
    for frame in frames:
        thumbnail = cv2.resize(frame, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        differences.append(0.0 if before is None else float(np.abs(thumbnail - before).mean()))
        before = thumbnail
        yield frame


def find_shots(landmarks: np.ndarray, valid: np.ndarray, differences: np.ndarray) -> list[tuple[int, int]]:
    """Stretches (first, one past the last) in which one face is seen in every frame and nothing is cut.

    landmarks (T, 478, 3) px; valid (T,) bool; differences (T,) of each picture to the one before, 0 to 1.
    """
    low, high = landmarks[..., :2].min(1), landmarks[..., :2].max(1)
    side = np.maximum((high - low).max(1), 1e-6)
    centre = (low + high) / 2
    moved = np.linalg.norm(np.diff(centre, axis=0), axis=1) / side[1:]
    growth = np.maximum(side[1:] / side[:-1], side[:-1] / side[1:])
    usual = float(np.median(differences[1:])) if len(differences) > 1 else 0.0
    cut = (differences[1:] > CUT_DIFFERENCE) & (differences[1:] > CUT_OUTLIER * usual)
    broken = (moved > LARGEST_JUMP) | (growth > LARGEST_GROWTH) | cut | ~(valid[1:] & valid[:-1])
    edges = [0, *(np.flatnonzero(broken) + 1).tolist(), len(valid)]
    return [(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True) if valid[a:b].all() and b > a]


def crop_square(boxes: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int]:
    """(x, y, side) of one square for a whole shot, inside the picture where that is large enough.

    It is as wide as the animator's (`animate.square_crop`), or what the face needs on its way; it stands still, because
    how the head moves is to be learned. boxes (T, 4) px, size (width, height) of the frames.
    """
    face = float(np.median((boxes[:, 2:] - boxes[:, :2]).max(1)))
    low, high = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    side = int(min(max(KNOWN_MOTION * face, 1.15 * float((high - low).max())), *size))
    middle = (low + high) / 2
    x, y = (int(np.clip(round(m - side / 2), 0, length - side)) for m, length in zip(middle, size, strict=True))
    return x, y, side
