"""What a warp cannot know: the inside of the mouth and the eyeballs.

Mouth: a table of textures in coordinates between the two inner-lip curves, one for each cell of a grid over mouth
opening and width, each the median of the training mouths near that cell, relative to the colour of the skin round
the mouth. Where the portrait shows its own teeth, the warp's own interior takes its place.

Eyes: the eyeball is a layer of its own. Its texture is the portrait's visible eye with the iris completed behind the
lids and the white continued; it moves with the iris, and the lids of the warp close over it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from animate import topology
from animate.inpaint import push_pull
from animate.layers import smoothstep
from animate.mouth_table import TEXTURE_SIZE, MouthShape, MouthTable, mouth_opening, skin_colour
from animate.pose import inter_ocular
from animate.warp import PortraitWarp

OWN_INTERIOR = (
    0.45,
    0.85,
)  # portrait's opening over the target's: below, the table; above, the portrait's own
EYE_TOO_CLOSED = 0.13  # a portrait's eye of less opening over width shows too little iris to be lifted
EYE_CLOSED = (0.04, 0.08)  # opening over width below which the eyeball layer fades out


@dataclass(frozen=True)
class _Eyeball:
    texture: np.ndarray
    origin: np.ndarray  # picture position of the texture's pixel (0, 0)
    iris: np.ndarray
    width: float
    angle: float


EYES = (
    ((33, 133), topology.RIGHT_EYE_UPPER, topology.RIGHT_EYE_LOWER, 468),
    ((362, 263), topology.LEFT_EYE_UPPER, topology.LEFT_EYE_LOWER, 473),
)


class InteriorPrior:
    """Fills mouth and eyes of one portrait's warped frames.

    Args:
        warp: the portrait's `PortraitWarp` (its picture and landmarks are used).
        table: the mouth textures.
        eyes: fill the eyes as well.
    """

    def __init__(self, warp: PortraitWarp, table: MouthTable | None = None, eyes: bool = True):
        self.warp = warp
        self.table = table or MouthTable.load()
        self.skin = skin_colour(warp.image, warp.source)
        self.opening = mouth_opening(warp.source)
        self.eyes = [self._lift_eye(*eye) if eyes else None for eye in EYES]

    def fill(self, frame: np.ndarray, target: np.ndarray, offset: tuple[int, int] = (0, 0)) -> np.ndarray:
        """The warped frame with mouth and eyes filled, in place.

        Args:
            frame: (h, w, 3) uint8, the warped picture; its pixel (0, 0) is the picture's pixel `offset`.
            target: (478, 3) target landmarks in picture pixels.
        """
        self._fill_mouth(frame, target, offset)
        for eye, parts in zip(self.eyes, EYES, strict=True):
            if eye is not None:
                self._fill_eye(frame, target, offset, eye, *parts)
        return frame

    def _fill_mouth(self, frame: np.ndarray, target: np.ndarray, offset: tuple[int, int]) -> None:
        opening = mouth_opening(target)
        weight = smoothstep(opening, 0.012, 0.035) * (1 - smoothstep(self.opening / max(opening, 1e-6), *OWN_INTERIOR))
        if weight <= 0:
            return
        contour = _contour(target, topology.INNER_LIPS_UPPER, topology.INNER_LIPS_LOWER)
        region = _soft_polygon(contour, frame.shape, offset, feather=0.012 * self.warp.iod)
        if region is None:
            return
        (x0, y0), alpha = region
        shape = MouthShape.of(target)
        height, width = alpha.shape
        xs = np.arange(width, dtype=np.float32)[None] + (x0 + offset[0])
        ys = np.arange(height, dtype=np.float32)[:, None] + (y0 + offset[1])
        u, v = shape.coordinates(*np.broadcast_arrays(xs, ys))
        texture = self.table.lookup(shape.opening, shape.relative_width) * self.skin
        across, along = TEXTURE_SIZE
        fill = cv2.remap(texture, u * across - 0.5, v * along - 0.5, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        _composite(frame, x0, y0, fill, alpha * weight)

    def _lift_eye(self, corners, upper, lower, iris_index) -> _Eyeball | None:
        source, image = self.warp.source, self.warp.image
        a, b = source[corners[0], :2], source[corners[1], :2]
        width = float(np.linalg.norm(b - a))
        opening = eye_opening(source, corners, upper, lower)
        if opening < EYE_TOO_CLOSED or width < 8:
            return None
        iris = source[iris_index, :2]
        radius = _iris_radius(source, iris_index)
        contour = _contour(source, upper, lower)
        margin = 0.75 * width
        low = np.floor(iris - margin).astype(int)
        size = int(2 * margin) + 1
        patch = cv2.warpAffine(
            image,
            np.float32([[1, 0, -low[0]], [0, 1, -low[1]]]),
            (size, size),
            borderMode=cv2.BORDER_REPLICATE,
        ).astype(np.float32)
        known = np.zeros((size, size), np.uint8)
        cv2.fillPoly(known, [np.round((contour - low) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        erode = max(1, round(0.045 * width))
        known = cv2.erode(known, np.ones((2 * erode + 1, 2 * erode + 1), np.uint8), borderValue=0)
        known = (known > 127).astype(np.float32)
        if known.sum() < 12:
            return None
        ys, xs = np.mgrid[0:size, 0:size].astype(np.float32)
        distance = np.hypot(xs - (iris[0] - low[0]), ys - (iris[1] - low[1]))
        disc = np.clip(radius * 1.08 - distance + 0.5, 0, 1)
        white_known = known * (distance > radius * 1.15)
        white = _continue_white(patch, white_known if white_known.sum() > 6 else known)
        iris_fill = _complete_iris(patch, known * (disc > 0.5), distance, radius)
        texture = iris_fill * disc[..., None] + white * (1 - disc[..., None])
        soft = cv2.GaussianBlur(known, (0, 0), max(0.6, 0.5 * erode))[..., None] * known[..., None]
        texture = patch * soft + texture * (1 - soft)
        angle = float(np.arctan2(*(b - a)[::-1]))
        return _Eyeball(texture, low.astype(np.float32), iris, width, angle)

    def _fill_eye(self, frame, target, offset, eye, corners, upper, lower, iris_index) -> None:
        opening = eye_opening(target, corners, upper, lower)
        weight = smoothstep(opening, *EYE_CLOSED)
        if weight <= 0:
            return
        contour = _contour(target, upper, lower)
        region = _soft_polygon(contour, frame.shape, offset, feather=0.03 * eye.width, low_edge=0.4, high_edge=0.9)
        if region is None:
            return
        (x0, y0), alpha = region
        a, b = target[corners[0], :2], target[corners[1], :2]
        # Foreshortening of a turning head narrows the eye's width, not its iris: take the larger of the two scales.
        scale = float(np.linalg.norm(b - a)) / eye.width
        rigid = float(inter_ocular(target)) / self.warp.iod
        scale_x, scale_y = max(scale, 0.6 * rigid), rigid
        turn = float(np.arctan2(*(b - a)[::-1]))
        iris = target[iris_index, :2]
        height, width = alpha.shape
        xs = np.arange(width, dtype=np.float32)[None] + (x0 + offset[0] - iris[0])
        ys = np.arange(height, dtype=np.float32)[:, None] + (y0 + offset[1] - iris[1])
        c, s = np.cos(turn), np.sin(turn)
        along, across = (xs * c + ys * s) / scale_x, (-xs * s + ys * c) / scale_y
        c, s = np.cos(eye.angle), np.sin(eye.angle)
        map_x = (along * c - across * s + eye.iris[0] - eye.origin[0]).astype(np.float32)
        map_y = (along * s + across * c + eye.iris[1] - eye.origin[1]).astype(np.float32)
        fill = cv2.remap(eye.texture, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        _composite(frame, x0, y0, fill, alpha * weight)


def eye_opening(landmarks: np.ndarray, corners, upper, lower) -> float:
    """Mean gap of the middle lid pairs over the eye's width."""
    count = len(upper)
    middle = range(count // 2 - 1, count // 2 + 2)
    gaps = [np.linalg.norm(landmarks[upper[i], :2] - landmarks[lower[i], :2]) for i in middle]
    return float(np.mean(gaps) / (np.linalg.norm(landmarks[corners[0], :2] - landmarks[corners[1], :2]) + 1e-6))


def _iris_radius(landmarks: np.ndarray, index: int) -> float:
    ring = landmarks[index + 1 : index + 5, :2]
    return float(np.linalg.norm(ring - landmarks[index, :2], axis=1).mean())


def _continue_white(patch: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The white of the eye from its visible pixels. Those at the lids lie in shadow, so what the lids uncover is
    drawn towards the brighter ones."""
    pixels = patch[known > 0]
    bright = pixels[np.argsort(pixels.sum(1))[int(0.7 * len(pixels)) :]].mean(0)
    return 0.5 * push_pull(patch, known) + 0.5 * bright


def _complete_iris(patch: np.ndarray, known: np.ndarray, distance: np.ndarray, radius: float) -> np.ndarray:
    """Continues the iris behind the lids: unknown pixels take the median of the known ones at their radius."""
    if known.sum() < 8:
        return patch
    bins = np.clip((distance / max(radius, 1e-3) * 6).astype(int), 0, 7)
    overall = np.median(patch[known > 0], axis=0)
    profile = np.array(
        [
            np.median(patch[chosen], axis=0) if (chosen := (known > 0) & (bins == k)).sum() >= 4 else overall
            for k in range(8)
        ]
    )
    filled = profile[bins].astype(np.float32)
    return cv2.GaussianBlur(filled, (0, 0), max(0.6, radius / 8))


def _contour(landmarks: np.ndarray, upper, lower) -> np.ndarray:
    return np.concatenate([landmarks[list(upper), :2], landmarks[list(lower)[-2:0:-1], :2]])


def _soft_polygon(contour, shape, offset, feather: float, low_edge: float = 0.15, high_edge: float = 0.85):
    """((x0, y0), alpha (h, w) float32) of a polygon with soft edges, or None where it lies outside the frame. The
    blurred polygon is 0.5 on its contour: alpha rises from 0 at `low_edge` to 1 at `high_edge`."""
    feather = max(0.6, feather)
    margin = 3 * feather + 1
    low = np.floor(contour.min(0) - margin).astype(int) - offset
    high = np.ceil(contour.max(0) + margin).astype(int) + 1 - offset
    x0, y0 = max(0, low[0]), max(0, low[1])
    x1, y1 = min(shape[1], high[0]), min(shape[0], high[1])
    if x1 - x0 < 2 or y1 - y0 < 2:
        return None
    mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
    points = np.round((contour - offset - (x0, y0)) * 16).astype(np.int32)
    cv2.fillPoly(mask, [points], 255, cv2.LINE_AA, 4)
    alpha = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), feather)
    return (x0, y0), np.clip((alpha - low_edge) / (high_edge - low_edge), 0, 1)


def _composite(frame: np.ndarray, x0: int, y0: int, fill: np.ndarray, alpha: np.ndarray) -> None:
    height, width = alpha.shape
    view = frame[y0 : y0 + height, x0 : x0 + width]
    a = alpha[..., None]
    view[:] = np.clip(view * (1 - a) + fill * a + 0.5, 0, 255).astype(np.uint8)
