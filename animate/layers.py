"""A portrait in two layers: the head that moves, and the background plate that it uncovers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import cv2
import numpy as np

from animate import topology
from animate.inpaint import fill_small, push_pull
from animate.pose import inter_ocular

DOWNWARDS = 0.4  # of a way straight down, against one in any other direction
WATERSHED_IOD = 64.0  # pixels between the eyes at which the border between two heads is sought
UNCERTAIN = 0.6  # inter-ocular distances to either side of where two heads are equally near
HEAD_RADIUS = 1.5  # inter-ocular distances from the middle of the face to the hair's edge


class HeadLayer:
    """What belongs to the head, and what is behind it; everything is made once, when it is first asked for.

    Args:
        image: (H, W, 3) uint8 RGB.
        person: (H, W) float32 in [0, 1], probability of this person.
        box: (x0, y0, x1, y1), the part of the picture that a moving head can change.
        iod: inter-ocular distance in pixels.
    """

    def __init__(self, image: np.ndarray, person: np.ndarray, box: tuple[int, int, int, int], iod: float):
        self.image, self.person, self.box, self.iod = image, person, box, iod

    @cached_property
    def alpha(self) -> np.ndarray:
        """(h, w) float32 over `box`: how much of each pixel belongs to the head layer."""
        x0, y0, x1, y1 = self.box
        return smoothstep(self.person[y0:y1, x0:x1], 0.06, 0.4).astype(np.float32)

    @cached_property
    def framed_alpha(self) -> np.ndarray:
        """`alpha` with a frame of one pixel that says whether the person goes on beyond the picture's edge: only
        then may mirrored pixels be drawn where a moving head shows what the picture cut off."""
        x0, y0, x1, y1 = self.box
        framed = np.pad(self.alpha, 1)
        person = np.pad((self.person[y0:y1, x0:x1] > 0.9).astype(np.float32), 1, mode="edge")
        for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
            framed[edge] = cv2.blur(person[edge].reshape(-1, 1), (1, 9)).ravel()
        return framed

    @cached_property
    def picture(self) -> np.ndarray:
        """(H, W, 3) uint8: the picture whose soft edge of the head has the head's own colours, so that a moving head
        does not carry a rim of the old background along."""
        x0, y0, x1, y1 = self.box
        out = self.image.copy()
        own = (self.person[y0:y1, x0:x1] > 0.45).astype(np.float32)
        if 0.01 < own.mean() < 1:
            filled = fill_small(out[y0:y1, x0:x1], own, 512)
            keep = smoothstep(self.person[y0:y1, x0:x1], 0.2, 0.5)[..., None]
            out[y0:y1, x0:x1] = np.rint(out[y0:y1, x0:x1] * keep + filled * (1 - keep)).astype(np.uint8)
        return out

    @cached_property
    def plate(self) -> np.ndarray:
        """(h, w, 3) uint8 over `box`: the background with the person filled from its surroundings."""
        x0, y0, x1, y1 = self.box
        crop = self.image[y0:y1, x0:x1]
        radius = max(1, round(0.03 * self.iod))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        person = cv2.dilate((self.person[y0:y1, x0:x1] > 0.1).astype(np.uint8), kernel)
        if person.mean() > 0.995:
            return crop
        scale = min(1.0, 320 / max(crop.shape[:2]))
        small = cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        hole = cv2.resize(person.astype(np.float32), small.shape[1::-1], interpolation=cv2.INTER_AREA) > 0.02
        smooth = push_pull(small.astype(np.float32), 1 - hole.astype(np.float32))
        marched = cv2.inpaint(small, hole.astype(np.uint8), 4, cv2.INPAINT_TELEA).astype(np.float32)
        depth = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 3) / (self.iod * scale)
        share = smoothstep(depth, 0.15, 0.5)[..., None]
        filled = cv2.resize(marched * (1 - share) + smooth * share, crop.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        weight = cv2.GaussianBlur(1 - person.astype(np.float32), (0, 0), max(0.8, 0.5 * radius))[..., None]
        weight *= 1 - person[..., None]
        return np.clip(crop * weight + filled * (1 - weight), 0, 255).astype(np.uint8)


def own_pixels(
    person: np.ndarray, source: np.ndarray, others: Sequence[np.ndarray], image: np.ndarray | None = None
) -> np.ndarray:
    """The person mask without the pixels that are nearer to another head (`head_distance`).

    With the picture, the border between two heads that touch follows its edges (a watershed) where it is uncertain.
    """
    if not len(others):
        return person
    nearest = np.min([head_distance(np.asarray(points), person.shape) for points in others], axis=0)
    margin = nearest - head_distance(source, person.shape)
    if image is None:
        return person * (margin > 0)
    iod = float(inter_ocular(source))
    scale = min(1.0, WATERSHED_IOD / iod)
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    width, height = small.shape[1::-1]
    markers = np.zeros((height, width), np.int32)
    coarse = cv2.resize(margin, (width, height), interpolation=cv2.INTER_AREA)
    markers[coarse > UNCERTAIN * iod] = 1
    markers[coarse < -UNCERTAIN * iod] = 2
    for number, points in ((1, source), *((2, np.asarray(points)) for points in others)):
        oval = np.round(points[list(topology.FACE_OVAL), :2] * scale).astype(np.int32)
        cv2.fillConvexPoly(markers, cv2.convexHull(oval), number)
    if not (markers == 1).any() or not (markers == 2).any():
        return person * (margin > 0)
    cv2.watershed(np.ascontiguousarray(cv2.GaussianBlur(small, (0, 0), 1.0)), markers)
    lost = markers == -1  # where regions meet, and the picture's rim
    markers[lost] = np.where(coarse[lost] > 0, 1, 2)
    own = cv2.resize((markers == 1).astype(np.float32), person.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return person * smoothstep(own, 0.3, 0.7)


def head_distance(landmarks: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) float32 px: how far each pixel is from a head, taken as a disc; below 0 inside. Downwards a way counts
    less, since a body hangs below its head. (In units of the heads' sizes, what is round a small head would belong to
    a large one beside it.)"""
    ys, xs = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    x, y = landmarks[list(topology.FACE_OVAL), :2].mean(0)
    down = ys - y
    radius = HEAD_RADIUS * float(inter_ocular(landmarks))
    return np.hypot(xs - x, np.where(down > 0, DOWNWARDS * down, down)) - radius


def smoothstep(value: np.ndarray, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """0 below `low`, 1 above `high`, a cubic between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
