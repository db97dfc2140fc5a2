"""Where a dubbed mouth's pixels come from: calm, closed mouths of the same clip, and its own teeth.

A frame's own mouth is a poor source for another one: lips that are open bring teeth along when they are closed, and
what is stretched changes from frame to frame. So the lips come from a few calm frames of the same shot, the nearest in
head pose, always the same ones; the inside of the mouth from a table of textures (`animate.mouth_table`) in which the
clip's own open mouths take the place of the general ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from animate import measures, pose
from animate import topology as mesh
from animate.compositing import blend
from animate.mouth_table import (
    OPENINGS,
    WIDTHS,
    MouthShape,
    MouthTable,
    mouth_opening,
    sample_texture,
    skin_colour,
    weighted_median,
)
from animate.prior import InteriorPrior
from animate.warp import PortraitWarp

MOST_SOURCES = 6
#: Sources closer than this in head pose, in radians, add nothing.
APART = 0.06
#: How fast a source's share falls with the distance of head poses, in radians.
NEAR = 0.045
#: A frame is calm when this sum of its lips' opening, its mouth's width against the usual and its speed stays below 1.
CALM_OPENING, CALM_WIDTH, CALM_SPEED = 0.05, 0.15, 0.5
MOST_TEXTURES = 40
FEWEST_OPEN = 0.02  # mouths that are less open show no teeth
#: Weight of the general table against this clip's own textures, in textures.
GENERAL = 1.5
#: How far beyond the tracker's mouth corners the line between the lips goes on, in IOD.
CORNER = 0.07
#: Lips that are open in a source lose this much of their inner edge, in IOD: teeth shine through there.
INSET = 0.012


@dataclass(frozen=True)
class Candidates:
    """Numbers of n frames to choose from.

    frames: (n,) indices; angles: (n, 3) of the head, rad; opening, width: (n,) of the mouth, IOD; speed: (n,) IOD/s.
    """

    frames: np.ndarray
    angles: np.ndarray
    opening: np.ndarray
    width: np.ndarray
    speed: np.ndarray


def choose_sources(of: Candidates) -> list[int]:
    """Indices of the frames whose lips are used: the calmest, then those that bring most frames nearer in head pose."""
    closed = np.percentile(of.opening, 10)
    resting = of.opening <= closed + 0.5 * CALM_OPENING
    unrest = np.maximum(of.opening - closed, 0) / CALM_OPENING
    unrest += np.abs(of.width - np.median(of.width[resting])) / CALM_WIDTH + of.speed / CALM_SPEED
    usual = np.median(of.angles, axis=0)
    first = int(np.argmin(unrest + np.linalg.norm(of.angles - usual, axis=1) / 0.5))
    chosen, nearest = [first], np.linalg.norm(of.angles - of.angles[first], axis=1)
    calm = unrest < max(1.0, 1.2 * unrest[first])
    while len(chosen) < MOST_SOURCES:
        able = np.flatnonzero(calm & (nearest > APART))
        if not len(able):
            break
        reach = np.linalg.norm(of.angles[:, None] - of.angles[None, able], axis=-1)  # (n, able)
        gain = np.maximum(nearest[:, None] - reach, 0).mean(axis=0) * (1.5 - unrest[able])
        best = int(np.argmax(gain))
        if gain[best] < 0.002:
            break
        chosen.append(int(able[best]))
        nearest = np.minimum(nearest, reach[:, best])
    return [int(of.frames[i]) for i in chosen]


def choose_textures(of: Candidates) -> list[int]:
    """Indices of the frames whose open mouths go into the table: the slowest of each kind."""
    kinds: dict[tuple[int, int], list[int]] = {}
    for i in np.argsort(of.speed):
        if of.opening[i] > FEWEST_OPEN:
            kind = int(np.abs(OPENINGS - of.opening[i]).argmin()), int(np.abs(WIDTHS - of.width[i]).argmin())
            kinds.setdefault(kind, []).append(int(of.frames[i]))
    rounds = (frames[k] for k in range(4) for frames in kinds.values() if k < len(frames))
    return sorted([frame for frame, _ in zip(rounds, range(MOST_TEXTURES), strict=False)])


@dataclass(frozen=True)
class Texture:
    """The inside of one open mouth.

    pixels: (24, 48, 3), relative to the skin's colour; opening, width: the mouth's, IOD.
    """

    pixels: np.ndarray
    opening: float
    width: float

    @classmethod
    def of(cls, image: np.ndarray, landmarks: np.ndarray) -> Texture:
        """From a picture (H, W, 3) uint8 with landmarks (478, 3) px."""
        width = MouthShape.of(landmarks).relative_width
        return cls(sample_texture(image, landmarks), mouth_opening(landmarks), width)


def own_table(textures: list[Texture], general: MouthTable) -> MouthTable:
    """The table with this clip's mouths: each cell the median of the textures near it, mixed with the general one where
    they are few."""
    if not textures:
        return general
    openings = np.array([max(texture.opening, 1e-3) for texture in textures])
    widths = np.array([texture.width for texture in textures])
    pixels = np.stack([texture.pixels for texture in textures])
    cells = general.textures.copy()
    for i, opening in enumerate(OPENINGS):
        for j, width in enumerate(WIDTHS):
            weight = np.exp(-0.5 * ((np.log(openings / opening) / 0.3) ** 2 + ((widths - width) / 0.07) ** 2))
            evidence = float(weight.sum())
            if evidence > 0.1:
                near = np.argsort(-weight)[:12]
                share = evidence / (evidence + GENERAL)
                cells[i, j] += share * (weighted_median(pixels[near], weight[near]) - cells[i, j])
    return MouthTable(general.openings, general.widths, cells)


class MouthSource:
    """One calm frame's lower face.

    Args:
        image: (h, w, 3) uint8, a part of the frame round the face; landmarks: (478, 3) px in it.
        table: textures of the mouth's inside.
    """

    def __init__(self, image: np.ndarray, landmarks: np.ndarray, table: MouthTable):
        self.angles = pose.head_angles(pose.decompose(landmarks)[0].rotation)[0]
        self.warp = PortraitWarp(darkened(image, landmarks, table), with_corners(without_teeth(landmarks)))
        self._width = mouth_width(landmarks)
        self.prior = InteriorPrior(self.warp, table, eyes=False)
        self.prior.opening = 0.0  # the table knows this person's teeth; a stretched smile would flicker with it

    def draw(self, target: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """(h, w, 3) uint8: this frame's face with the landmarks `target` (478, 3) px, mouth filled."""
        matrix = face_to_face(target, self.warp.source)
        moved = with_corners(target, mouth_width(target) / self._width)
        moved[:, :2] = moved[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        moved[:, 2] *= np.sqrt(np.linalg.det(matrix[:, :2]))
        picture = draw_warped(self.warp, moved, matrix, shape)
        return self.prior.fill(picture, target)


class MouthSources:
    """The calm frames of one shot."""

    def __init__(self, sources: list[MouthSource]):
        self.sources = sources
        self._angles = np.stack([source.angles for source in sources])

    def draw(self, target: np.ndarray, shape: tuple[int, int], angles: np.ndarray) -> np.ndarray:
        """(h, w, 3) float32: the face with landmarks `target` (478, 3) px, from the two sources nearest to the head's
        angles (3,), whose shares change smoothly with the pose."""
        shares = self.shares(angles)
        drawn = (share * self.sources[i].draw(target, shape).astype(np.float32) for i, share in shares)
        return sum(drawn)

    def shares(self, angles: np.ndarray) -> list[tuple[int, float]]:
        """(index, share) of the sources to mix, shares summing to 1."""
        apart = np.linalg.norm(self._angles - angles, axis=1) / NEAR
        weight = np.exp(0.5 * (apart.min() ** 2 - apart**2))
        order = np.argsort(-weight)[:3]
        third = weight[order[2]] if len(order) > 2 else 0.0
        kept = np.maximum(weight[order[:2]] - max(third, 0.05), 0)  # a source comes in and goes out with share 0
        kept /= kept.sum()
        return [(int(i), float(w)) for i, w in zip(order[:2], kept, strict=True) if w > 0]


def without_teeth(landmarks: np.ndarray) -> np.ndarray:
    """Landmarks (478, 3) px whose inner lips, where they are open, lie a little inside the lips."""
    points = np.array(landmarks, np.float32)
    iod = float(pose.inter_ocular(points))
    for upper, lower in mesh.LIP_PAIRS:
        gap = points[lower, :2] - points[upper, :2]
        length = float(np.linalg.norm(gap)) + 1e-6
        inset = min(INSET * iod, 0.5 * length) * np.clip(length / (0.02 * iod) - 0.5, 0, 1)
        points[upper, :2] -= gap / length * inset
        points[lower, :2] += gap / length * inset
    return points


def darkened(image: np.ndarray, landmarks: np.ndarray, table: MouthTable) -> np.ndarray:
    """(h, w, 3) uint8: the picture with the colour of a closed mouth's line between its lips, where they are open.

    What is seen between them when they almost meet must be dark, and not a line of teeth.
    """
    if mouth_opening(landmarks) < FEWEST_OPEN:
        return image
    line = table.lookup(OPENINGS[0], mouth_width(landmarks)).mean(axis=(0, 1)) * skin_colour(image, landmarks)
    points = without_teeth(landmarks)[[*mesh.INNER_LIPS_UPPER, *mesh.INNER_LIPS_LOWER[-2:0:-1]], :2]
    inside = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(inside, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return blend(image, np.broadcast_to(line.clip(0, 255).astype(np.uint8), image.shape), inside)


def with_corners(landmarks: np.ndarray, size: float = 1.0) -> np.ndarray:
    """Landmarks (478, 3) px with the mouth's corners where the line between the lips ends, beyond the tracker's.

    Else a mouth that gets narrower leaves the line's ends behind. size: the mouth's, against the one that CORNER means.
    """
    points = np.array(landmarks, np.float32)
    right, left = points[list(mesh.OUTER_MOUTH_CORNERS)]
    along = (left - right) / (np.linalg.norm(left - right) + 1e-6)
    out = CORNER * size * float(pose.inter_ocular(points)) * along
    points[list(mesh.LIP_CORNERS[0::2])] -= out
    points[list(mesh.LIP_CORNERS[1::2])] += out
    return points


def mouth_width(landmarks: np.ndarray) -> float:
    """Distance of the mouth's corners, in IOD, of landmarks (478, 3) px."""
    return float(measures.mouth_width(landmarks) / pose.inter_ocular(landmarks))


def face_to_face(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(2, 3) similarity in the picture plane that carries source's rigid points onto target's, (478, 3) px each."""
    rigid = list(mesh.RIGID)
    a, b = (points[rigid, 0] + 1j * points[rigid, 1] for points in (source, target))
    turn = np.vdot(a - a.mean(), b - b.mean()) / np.vdot(a - a.mean(), a - a.mean())
    shift = b.mean() - turn * a.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def draw_warped(warp: PortraitWarp, moved: np.ndarray, matrix: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(h, w, 3) uint8: a warp's picture with the landmarks `moved` (478, 3), px of its own, seen through `matrix`.

    matrix: (2, 3), carries the pixels of the result to the warp's.
    """
    field = warp.field(moved)
    x0, y0, _, _ = field.box
    grid = warp.scale * np.array(matrix, np.float64)
    grid[:, 2] += warp.scale * (0.5 - np.array([x0, y0])) - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (shape[1], shape[0])
    maps = (
        cv2.warpAffine(m, grid, size, flags=flags, borderMode=cv2.BORDER_REPLICATE) for m in (field.map_x, field.map_y)
    )
    return cv2.remap(warp.image, *maps, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
