"""Several faces with a model that draws whole pictures: each face is drawn by itself, and the results are joined.

A pixel is the nearest head's, with a soft border; faces that stay keep theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from animate import topology
from animate.group import Part, check_parts
from animate.layers import head_distance, smoothstep
from animate.portrait import Portrait
from animate.pose import inter_ocular
from animate.work_folder import WorkFolder

BORDER = 0.25  # inter-ocular distances over which one head's picture gives way to the next one's
KEPT_MARGIN = 1.04  # a face that stays keeps its oval, enlarged by this about its middle
KEPT_FEATHER = 0.12  # inter-ocular distances from there to where others may draw in full


def kept_faces(staying: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray | None:
    """(H, W) float32: 1 on faces, 0 where others may draw; None without faces.

    Args:
        staying: (478, 3) px landmarks of each face.
        shape: (H, W).
    """
    if not staying:
        return None
    kept = np.zeros(shape, np.float32)
    for landmarks in staying:
        oval = landmarks[list(topology.FACE_OVAL), :2]
        oval = oval.mean(0) + KEPT_MARGIN * (oval - oval.mean(0))
        outside = np.ones(shape, np.uint8)
        cv2.fillConvexPoly(outside, cv2.convexHull(np.round(oval).astype(np.int32)), 0)
        reach = max(1.0, KEPT_FEATHER * float(inter_ocular(landmarks)))
        distance = cv2.distanceTransform(outside, cv2.DIST_L2, 3)
        np.maximum(kept, np.clip(1 - distance / reach, 0, 1), out=kept)
    return kept


def shares(moving: Sequence[np.ndarray], staying: Sequence[np.ndarray], shape: tuple[int, int]) -> list[np.ndarray]:
    """(H, W) float32 in [0, 1] for each moving face: how much of what it changes is taken. They add up to 1 at most."""
    heads = [*moving, *staying]
    distances = [head_distance(landmarks, shape) for landmarks in heads]
    parts = []
    for number, own in enumerate(distances):
        others = [each for other, each in enumerate(distances) if other != number]
        border = BORDER * float(inter_ocular(heads[number]))
        parts.append(smoothstep(np.min(others, axis=0) - own, -border, border) if others else np.ones(shape))
    total = np.maximum(np.sum(parts, axis=0), 1e-6)
    kept = kept_faces(staying, shape)
    free = 1.0 if kept is None else 1 - kept
    return [(part / total * free).astype(np.float32) for part in parts[: len(moving)]]


def animate_joined(
    animator, portrait: Portrait, parts: Sequence[Part], work: WorkFolder | None = None, **options
) -> Iterator[np.ndarray]:
    """Frames as `PortraitAnimator.animate_group` gives them, by `animator.animate` for each part.

    Args:
        options: of `animate`, for all parts.
        work: keeps each face's windows in a folder of its own inside.

    Raises:
        FaceError, OptionError: at once, before the first frame.
    """
    check_parts(parts, len(portrait.faces), portrait.name)
    folders: list[WorkFolder | None] = [None] * len(parts)
    if work is not None:
        work.claim("group", {"faces": [part.face for part in parts]})
        folders = [WorkFolder(work.folder / f"face-{part.face}") for part in parts]
    films = [
        animator.animate(portrait, part.motion, face=part.face, work=folder, **options)
        for part, folder in zip(parts, folders, strict=True)
    ]
    return _join(portrait, parts, films, work, folders)


def _join(
    portrait: Portrait,
    parts: Sequence[Part],
    films: Sequence[Iterator[np.ndarray]],
    work: WorkFolder | None,
    folders: Sequence[WorkFolder | None],
) -> Iterator[np.ndarray]:
    image, moving = portrait.image.astype(np.float32), [part.face for part in parts]
    staying = [face.landmarks for number, face in enumerate(portrait.faces) if number not in moving]
    weights = shares([portrait.faces[face].landmarks for face in moving], staying, image.shape[:2])
    for frames in zip(*films, strict=True):
        joined = image.copy()
        for frame, weight in zip(frames, weights, strict=True):
            joined += (frame - image) * weight[..., None]
        if work is not None:
            work.recalled = sum(folder.recalled for folder in folders)
        yield np.clip(np.rint(joined), 0, 255).astype(np.uint8)
