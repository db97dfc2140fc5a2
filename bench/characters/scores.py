"""What is measured of a group: who follows whom, what leaks from face to face, and what stays as it was.

All figures come from landmarks that are detected anew on the finished frames, or from the frames' pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from animate import pose, topology
from animate.motion import Motion
from animate.retarget import retarget
from bench.metrics.landmark import landmark_distance
from bench.metrics.opening import DETECTOR_NOISE, LEAST_FRAMES, correlation, eye_opening, mouth_opening
from bench.redetect import Redetector

LEAST = {"mouth": 0.01, "eyes": 0.01, "pitch": 0.0175, "yaw": 0.0175, "roll": 0.0175}
"""Deviation of a driver, in inter-ocular distances and radians (1 degree), below which its correlation is chance."""

HEAD_REACH = 3.0
"""How many times larger than the face's oval is what may move with a head: hair, neck and shoulders."""

HAIR_REACH = 1.6
"""The same for the head without its shoulders, which may hide a face that is farther away."""

_OVAL = list(topology.FACE_OVAL)


def measures(landmarks: np.ndarray) -> dict[str, np.ndarray]:
    """Openings (inter-ocular distances) and head angles (radians), (T,) each, of landmarks (T, 478, 3)."""
    angles = pose.head_angles(pose.decompose(landmarks)[0].rotation)
    return {
        "mouth": mouth_opening(landmarks),
        "eyes": eye_opening(landmarks),
        **dict(zip(("pitch", "yaw", "roll"), angles.T, strict=True)),
    }


def follow(values: np.ndarray, driver: np.ndarray, least: float) -> float | None:
    """Correlation with a driver's measure; None where that hardly changes, 0 where the face does not move."""
    if len(driver) < LEAST_FRAMES or driver.std() < least:
        return None
    return 0.0 if values.std() < DETECTOR_NOISE else correlation(values, driver)


def leak(values: np.ndarray, own: np.ndarray, other: np.ndarray, least: float) -> float | None:
    """Correlation with what another's driver has that the own driver does not: the part correlation in [-1, 1].

    None where the other's driver hardly does anything of its own. Where a face follows its own driver alone it is near
    0, however alike the two drivers are.
    """
    centred = own - own.mean()
    part = other - other.mean()
    if (power := float(centred @ centred)) > 0:
        part = part - centred * float(part @ centred) / power
    return follow(values, part, least)


def face_scores(
    frames: Sequence[np.ndarray], source: np.ndarray, motions: Sequence[Motion], face: int, redetector: Redetector
) -> dict:
    """How one face of a group follows its own driver and the others'.

    Args:
        frames: T pictures (H, W, 3).
        source: (478, 3) px, this face in the portrait.
        motions: all faces' drivers, T frames each.
        face: which of them is its own.

    Returns:
        Per measure of `LEAST` own, other (the largest of the others' correlations) and leak (the largest part
        correlation in size), each None where there is nothing to correlate; landmark_own and landmark_other, mean
        distances in inter-ocular distances to where the own driver and the nearest of the others would bring the face;
        lost, frames without a face in its place.
    """
    targets = [retarget(source, motion) for motion in motions]
    found = [_near(redetector(frame, target), target) for frame, target in zip(frames, targets[face], strict=True)]
    seen = [t for t, landmarks in enumerate(found) if landmarks is not None]
    scores: dict = {"lost": len(frames) - len(seen)}
    if len(seen) < LEAST_FRAMES:
        return scores
    drawn = np.stack([found[t] for t in seen])
    values = measures(drawn)
    drivers = [measures(motion.landmarks()[seen]) for motion in motions]
    for name, least in LEAST.items():
        own = drivers[face][name]
        rest = [each[name] for number, each in enumerate(drivers) if number != face]
        followed = [follow(values[name], other, least) for other in rest]
        leaked = [leak(values[name], own, other, least) for other in rest]
        scores[name] = {
            "own": follow(values[name], own, least),
            "other": max((each for each in followed if each is not None), default=None),
            "leak": max((abs(each) for each in leaked if each is not None), default=None),
        }
    distances = [
        float(np.mean([landmark_distance(a, b) for a, b in zip(drawn, target[seen], strict=True)]))
        for target in targets
    ]
    scores["landmark_own"] = distances.pop(face)
    scores["landmark_other"] = min(distances, default=None)
    return scores


def _near(found: np.ndarray | None, target: np.ndarray) -> np.ndarray | None:
    """A face that was found in another's place is none."""
    if found is None:
        return None
    away = np.linalg.norm(found[:, :2].mean(0) - target[:, :2].mean(0))
    return found if away < pose.inter_ocular(target) else None


def oval(landmarks: np.ndarray, shape: tuple[int, int], reach: float = 1.0) -> np.ndarray:
    """(H, W) bool: a face's oval, enlarged about its middle."""
    points = landmarks[_OVAL, :2]
    points = points.mean(0) + reach * (points - points.mean(0))
    mask = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.round(points).astype(np.int32)), 1)
    return mask > 0


def equal_share(frames: Sequence[np.ndarray], image: np.ndarray, where: np.ndarray) -> float | None:
    """Share of the pixels of a mask that are exactly the portrait's in all frames; None for an empty mask."""
    if not where.any():
        return None
    return float(np.mean([(frame[where] == image[where]).all(-1).mean() for frame in frames]))


def outside(sources: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """(H, W) bool: what no head, no neck and no shoulder of the faces can reach."""
    return ~np.any([oval(landmarks, shape, HEAD_REACH) for landmarks in sources], axis=0)


def exact_leak(
    one: Sequence[np.ndarray],
    other: Sequence[np.ndarray],
    targets: Sequence[np.ndarray],
    exchanged: Sequence[np.ndarray],
    face: int,
    nearer: Sequence[int],
) -> dict:
    """What changes inside a face when every driver but its own is exchanged.

    Args:
        one, other: the frames before and after.
        targets, exchanged: (T, 478, 3) px where each face goes, before and after.
        face: the one whose driver stayed.
        nearer: the faces with larger heads, which may hide it.

    Returns:
        mean and largest: absolute change in grey levels inside the face's oval where no nearer head can hide it;
        hidden: mean change in the rest of the oval, None where there is none; clear: share of the oval that nothing can
        hide.
    """
    sums, counts, largest, shape = np.zeros(2), np.zeros(2), 0, one[0].shape[:2]
    for t, (a, b) in enumerate(zip(one, other, strict=True)):
        inside = oval(targets[face][t], shape)
        heads = [oval(some[number][t], shape, HAIR_REACH) for number in nearer for some in (targets, exchanged)]
        hidden = np.any(heads, axis=0) & inside if heads else np.zeros(shape, bool)
        change = np.abs(a.astype(np.int16) - b).mean(-1)
        for part, mask in enumerate((inside & ~hidden, hidden)):
            sums[part] += change[mask].sum()
            counts[part] += mask.sum()
        largest = max(largest, int(np.abs(a.astype(np.int16) - b)[inside & ~hidden].max(initial=0)))
    return {
        "mean": float(sums[0] / counts[0]) if counts[0] else None,
        "largest": largest if counts[0] else None,
        "hidden": float(sums[1] / counts[1]) if counts[1] else None,
        "clear": float(counts[0] / max(counts.sum(), 1)),
    }
