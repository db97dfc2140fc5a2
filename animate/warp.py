"""Dense warp of a portrait to target landmarks.

The 478-point mesh carries the face triangle by triangle. Four rings of extra vertices round the face oval carry
hair, ears and neck rigidly with the head (Umeyama similarity of the stable points, 3-D, so that hair turns with a
turning head) and fade to rest at the shoulders. The head is a layer of its own: what it uncovers shows a filled
background plate, so shelves and door frames behind a moving head stay where they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from animate import topology
from animate.compositing import blend
from animate.layers import HeadLayer, own_pixels, smoothstep
from animate.pose import fit_similarity, inter_ocular

RING_FACTORS = (1.22, 1.6, 2.15, 3.0)
RING_WEIGHT_UP = (1.0, 1.0, 0.92, 0.0)
RING_WEIGHT_DOWN = (0.85, 0.45, 0.12, 0.0)
RING_DEPTH = 0.55  # inter-ocular distances backwards per unit of ring factor: the skull falls away from the oval
WORK_IOD = 96.0  # the field is rasterised at most at this many pixels per inter-ocular distance
_EDGE = cv2.BORDER_REPLICATE
LASH_ZONE = 0.45  # share of the way from the upper lid's edge to its crease that lashes fill
SHIFT = 4  # sub-pixel bits of OpenCV's polygon filler


@dataclass
class WarpField:
    """Where each pixel of the working box comes from.

    Attributes:
        box: (x0, y0, x1, y1) of the picture's pixels that the field covers, half open.
        map_x, map_y: (h, w) float32, source position in picture pixels for each pixel of the box.
        triangle: (h, w) int32, the number of the triangle that covers the pixel, counted from 1; 0 for none.
        magnify: (M + 1,) float32, how many times larger each triangle of the face is than in the source, 1 for others.
        target: (478, 3) float32 target landmarks in picture pixels.
    """

    box: tuple[int, int, int, int]
    map_x: np.ndarray
    map_y: np.ndarray
    triangle: np.ndarray
    magnify: np.ndarray
    target: np.ndarray

    @property
    def inside(self) -> np.ndarray:
        """(h, w) bool: the head layer (mesh and rings) covers the pixel."""
        return self.triangle > 0


class PortraitWarp:
    """Warps one face of one portrait; the per-portrait work is done once.

    Args:
        image: (H, W, 3) uint8 RGB.
        landmarks: (478, 3) float32 px of the face in that picture.
        person: (H, W) float32 in [0, 1], probability of person; None takes the whole picture as one layer.
        others: landmarks (478, 3) of the picture's other faces, whose heads belong to the background.
    """

    def __init__(
        self,
        image: np.ndarray,
        landmarks: np.ndarray,
        person: np.ndarray | None = None,
        others: Sequence[np.ndarray] = (),
    ):
        self.image = image
        self.source = np.asarray(landmarks, np.float32)
        self.iod = float(inter_ocular(self.source))
        self.scale = min(1.0, WORK_IOD / self.iod)
        self._rings = self._build_rings()
        self.source_points = np.concatenate([self.source, self._rings[0], self._lash_points(self.source)])
        self.head = None
        if person is not None:
            self.head = HeadLayer(image, own_pixels(person, self.source, others, image), self.box, self.iod)

    def _build_rings(self) -> tuple[np.ndarray, np.ndarray]:
        oval = self.source[list(topology.FACE_OVAL)]
        centre = oval.mean(0)
        eyes = self.source[[33, 133]].mean(0) - self.source[[362, 263]].mean(0)
        right = -eyes[:2] / (np.linalg.norm(eyes[:2]) + 1e-6)
        down = np.array([-right[1], right[0]])
        if down @ (self.source[152, :2] - self.source[10, :2]) < 0:
            down = -down
        points, weights = [], []
        for factor, up, low in zip(RING_FACTORS, RING_WEIGHT_UP, RING_WEIGHT_DOWN, strict=True):
            ring = centre + factor * (oval - centre)
            ring[:, 2] = oval[:, 2] + RING_DEPTH * self.iod * (factor - 1)
            direction = (oval - centre)[:, :2]
            direction /= np.linalg.norm(direction, axis=1, keepdims=True)
            fall = smoothstep(direction @ down, 0.15, 0.75)
            points.append(ring)
            weights.append(up * (1 - fall) + low * fall)
        return np.concatenate(points).astype(np.float32), np.concatenate(weights).astype(np.float32)

    def _lash_points(self, landmarks: np.ndarray) -> np.ndarray:
        """(18, 3) points between the upper lids' edges and creases. A closing lid stretches, its lashes do not: they
        keep their breadth, and the skin above them takes the stretch."""
        edge, crease = list(_LID_EDGE), list(_LID_CREASE)
        length = np.linalg.norm((landmarks[crease] - landmarks[edge])[:, :2], axis=1)
        own = np.linalg.norm((self.source[crease] - self.source[edge])[:, :2], axis=1)
        size = float(inter_ocular(landmarks)) / self.iod
        share = LASH_ZONE * np.minimum(1.0, own * size / np.maximum(length, 1e-3))
        return (landmarks[edge] + share[:, None] * (landmarks[crease] - landmarks[edge])).astype(np.float32)

    @cached_property
    def box(self) -> tuple[int, int, int, int]:
        """Pixels of the picture that a moving head can change: the outermost ring, widened by its own reach."""
        outer = self._rings[0][-len(topology.FACE_OVAL) :, :2]
        low, high = outer.min(0) - 0.1 * self.iod, outer.max(0) + 0.1 * self.iod
        height, width = self.image.shape[:2]
        x0, y0 = max(0, int(low[0])), max(0, int(low[1]))
        x1, y1 = min(width, int(high[0]) + 1), min(height, int(high[1]) + 1)
        return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)

    def field(self, target: np.ndarray) -> WarpField:
        """The backward map for target landmarks (478, 3) px. Triangles are painted far to near, so that a face that
        turns hides its own far cheek instead of tearing it."""
        target = np.asarray(target, np.float32)
        rings, weights = self._rings
        rigid = list(topology.RIGID)
        rotation, shift, scale = fit_similarity(self.source[rigid], target[rigid][None], _RIGID_WEIGHTS)
        moved = (scale[0] * rings @ rotation[0].T + shift[0]).astype(np.float32)
        ring_target = rings + weights[:, None] * (moved - rings)
        points = np.concatenate([target, ring_target, self._lash_points(target)])

        x0, y0, x1, y1 = self.box
        k = self.scale
        width, height = max(1, round((x1 - x0) * k)), max(1, round((y1 - y0) * k))
        grid = (points[:, :2] - (x0, y0) + 0.5) * k - 0.5
        source = self.source_points[:, :2]

        triangles = _MESH
        corners = grid[triangles]  # (M, 3, 2)
        origin = source[triangles]
        affine, area = _affine(corners, origin)
        source_area = _signed_area(origin)
        front = (area * np.sign(source_area) > 1e-3) | (_LAYER < 2)
        depth = points[triangles, 2].mean(1)
        order = np.lexsort((-depth, _LAYER))
        order = order[front[order]]

        ids = np.zeros((height, width), np.int32)
        fixed = np.round(corners * (1 << SHIFT)).astype(np.int32)
        for index in order.tolist():
            cv2.fillConvexPoly(ids, fixed[index], index + 1, 8, SHIFT)
        at = np.concatenate([_identity(k, x0, y0)[None], affine])[ids]
        ys = np.arange(height, dtype=np.float32)[:, None]
        xs = np.arange(width, dtype=np.float32)[None]
        # The median changes nothing inside a triangle; it takes single pixels of hair out of the edge of a far cheek.
        map_x = cv2.medianBlur(at[..., 0] * xs + at[..., 1] * ys + at[..., 2], 3)
        map_y = cv2.medianBlur(at[..., 3] * xs + at[..., 4] * ys + at[..., 5], 3)

        with np.errstate(divide="ignore"):
            magnify = np.abs(area) / (np.abs(source_area) * k * k + 1e-3)
        magnify = np.concatenate([[1.0], np.where(_LAYER == 2, magnify, 1.0)]).astype(np.float32)
        return WarpField(self.box, map_x, map_y, ids, magnify, target)

    def unknown(self, field: WarpField) -> np.ndarray:
        """(h, w) float32 in [0, 1] on the field's grid: what the warp cannot know. The inside of the mouth and the
        opened lids, the background that the head uncovers, skin that is stretched to three times its area; soft
        edges."""
        k, (x0, y0, _, _) = self.scale, field.box
        openings = np.zeros(field.triangle.shape, np.uint8)
        points = (field.target[:, :2] - (x0, y0) + 0.5) * k - 0.5
        for loop in (topology.INNER_LIPS, topology.RIGHT_EYE, topology.LEFT_EYE):
            upper = len(loop) // 2 + 1  # a loop is its upper line, corner to corner, and then its lower line
            contour = points[list(loop[:upper] + loop[: upper - 1 : -1])]
            cv2.fillPoly(openings, [np.round(contour * (1 << SHIFT)).astype(np.int32)], 1, 8, SHIFT)
        stretched = np.clip((field.magnify[field.triangle] - 1) / 2, 0, 1)
        mask = np.maximum(openings.astype(np.float32), stretched)
        if self.head is not None:
            size = field.map_x.shape[::-1]
            covered = cv2.resize(self.head.alpha, size, interpolation=cv2.INTER_AREA)
            moved = cv2.remap(self.head.alpha, field.map_x - x0, field.map_y - y0, cv2.INTER_LINEAR, None, _EDGE)
            mask = np.maximum(mask, np.clip(covered - moved, 0, 1))
        return cv2.GaussianBlur(mask, (0, 0), 1.5)

    def carry(self, channel: np.ndarray, field: WarpField) -> np.ndarray:
        """A channel (H, W) of the picture (its transparency, say) moved along: (h, w) over `field.box`."""
        map_x, map_y = _full_size(field)
        return cv2.remap(channel, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)

    def render(self, field: WarpField) -> np.ndarray:
        """(h, w, 3) uint8: the warped picture over `field.box`, head over background plate; where nothing moves it is
        the picture itself."""
        x0, y0, x1, y1 = field.box
        map_x, map_y = _full_size(field)
        mode = cv2.BORDER_REFLECT_101
        if self.head is None:
            return cv2.remap(self.image, map_x, map_y, cv2.INTER_LINEAR, borderMode=mode)
        moved = cv2.remap(self.head.picture, map_x, map_y, cv2.INTER_LINEAR, borderMode=mode)
        layered = blend(self.head.plate, moved, (self.opacity(field) * 255).astype(np.uint8))
        still = self._stillness(field, layered.shape[1::-1])
        return blend(layered, self.image[y0:y1, x0:x1], still)

    def opacity(self, field: WarpField) -> np.ndarray:
        """(h, w) float32 in [0, 1] over `field.box`: where the moved head hides what is behind it."""
        x0, y0, _, _ = field.box
        map_x, map_y = _full_size(field)
        if self.head is None:
            return cv2.resize(field.inside.astype(np.float32), map_x.shape[::-1], interpolation=cv2.INTER_LINEAR)
        return cv2.remap(self.head.framed_alpha, map_x - (x0 - 1), map_y - (y0 - 1), cv2.INTER_LINEAR, None, _EDGE)

    def _stillness(self, field: WarpField, size: tuple[int, int]) -> np.ndarray:
        """(h, w) uint8: 255 where the field does not move the picture, 0 from a pixel and a half of movement on. Pixels
        that the moving head may leave or reach count as moving."""
        k = self.scale
        height, width = field.map_x.shape
        xs = (np.arange(width, dtype=np.float32)[None] + 0.5) / k - 0.5 + field.box[0]
        ys = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / k - 0.5 + field.box[1]
        shift = np.hypot(field.map_x - xs, field.map_y - ys)
        reach = 2 * max(1, round(0.08 * self.iod * k)) + 1
        shift = cv2.blur(cv2.dilate(shift, np.ones((reach, reach), np.uint8)), (reach, reach))
        still = np.clip(255 * (1.5 - shift / max(1.0, 0.01 * self.iod)), 0, 255).astype(np.uint8)
        return still if still.shape[::-1] == size else cv2.resize(still, size, interpolation=cv2.INTER_LINEAR)


def _full_size(field: WarpField) -> tuple[np.ndarray, np.ndarray]:
    x0, y0, x1, y1 = field.box
    size = (x1 - x0, y1 - y0)
    if field.map_x.shape[::-1] == size:
        return field.map_x, field.map_y
    return tuple(cv2.resize(m, size, interpolation=cv2.INTER_LINEAR) for m in (field.map_x, field.map_y))


def _signed_area(corners: np.ndarray) -> np.ndarray:
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return 0.5 * (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])


def _affine(corners: np.ndarray, origin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per triangle the affine map from target grid to source pixels: (M, 6) float32 and the target's signed area."""
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    determinant = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    safe = np.where(np.abs(determinant) < 1e-6, 1e-6, determinant)
    p, q = origin[:, 1] - origin[:, 0], origin[:, 2] - origin[:, 0]
    out = np.empty((len(corners), 6), np.float32)
    for row in (0, 1):
        dx = (p[:, row] * b[:, 1] - q[:, row] * a[:, 1]) / safe
        dy = (q[:, row] * a[:, 0] - p[:, row] * b[:, 0]) / safe
        out[:, 3 * row] = dx
        out[:, 3 * row + 1] = dy
        out[:, 3 * row + 2] = origin[:, 0, row] - dx * corners[:, 0, 0] - dy * corners[:, 0, 1]
    return out, 0.5 * determinant


def _identity(k: float, x0: int, y0: int) -> np.ndarray:
    offset = 0.5 / k - 0.5
    return np.array([1 / k, 0, x0 + offset, 0, 1 / k, y0 + offset], np.float32)


def _strip(first: tuple[int, ...], second: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Triangles between two polylines of equal length that share both ends."""
    triangles = []
    for i in range(len(first) - 1):
        a, b, c, d = first[i], first[i + 1], second[i], second[i + 1]
        triangles += [t for t in ((a, b, d), (a, d, c)) if len(set(t)) == 3]
    return triangles


def _build_mesh() -> tuple[np.ndarray, np.ndarray]:
    """All triangles and their painting layer: 0 rings, 1 openings (mouth, eyes), 2 face, 3 upper lids. Openings lie
    under the face, so that lips and lids always cover them."""
    count = len(topology.FACE_OVAL)
    loops = [list(topology.FACE_OVAL)] + [
        list(range(478 + r * count, 478 + (r + 1) * count)) for r in range(len(RING_FACTORS))
    ]
    rings = []
    for inner, outer in zip(reversed(loops[:-1]), reversed(loops[1:]), strict=True):
        for i in range(count):
            j = (i + 1) % count
            rings += [(inner[i], inner[j], outer[j]), (inner[i], outer[j], outer[i])]
    openings = (
        _strip(topology.INNER_LIPS_UPPER, topology.INNER_LIPS_LOWER)
        + _strip(topology.RIGHT_EYE_UPPER, topology.RIGHT_EYE_LOWER)
        + _strip(topology.LEFT_EYE_UPPER, topology.LEFT_EYE_LOWER)
    )
    lashes = []
    first = 478 + count * len(RING_FACTORS)
    for eye in (0, 1):
        span = slice(9 * eye, 9 * eye + 9)
        middle = tuple(range(first + 9 * eye, first + 9 * eye + 9))
        lashes += _strip(_LID_EDGE[span], middle) + _strip(middle, _LID_CREASE[span])
    layers = [0] * len(rings) + [1] * len(openings) + [2] * len(topology.TRIANGLES) + [3] * len(lashes)
    mesh = np.concatenate([np.array(rings), np.array(openings), np.asarray(topology.TRIANGLES), np.array(lashes)])
    return mesh.astype(np.int32), np.array(layers, np.int32)


_LID_EDGE = topology.RIGHT_EYE_UPPER + topology.LEFT_EYE_UPPER
_LID_CREASE = topology.RIGHT_LID_RING[:9] + topology.LEFT_LID_RING[:9]
_MESH, _LAYER = _build_mesh()
_RIGID_WEIGHTS = np.asarray(topology.RIGID_WEIGHTS) / np.sum(topology.RIGID_WEIGHTS)
