"""Landmark maps: pictures of the expression that networks are conditioned on. Colours are RGB on black.

Style "follow-your-emoji" (Ma et al. 2024, section 3.1, expression-aware landmarks): lids, brows, inner
lips, one pixel wide, and each iris centre as a red square of 6x6 pixels; no outline of the face, so that
the map carries no identity. Style "aniportrait" (Wei et al. 2024): two pixels wide, with the face's outline
and the outer lips, without irises. Both need these very colours and this order: checkpoints were trained on
them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from animate import topology as mesh
from animate.errors import OptionError
from animate.pose import inter_ocular

Colour = tuple[int, int, int]
Chain = tuple[int, ...]

PUPIL_COLOUR: Colour = (255, 0, 0)
PUPIL_HALF_WIDTH = 3

# The outline without the forehead, image right to image left. Its polygon is the facial mask.
OPEN_OVAL: Chain = (
    *(251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152),
    *(148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21),
)
FACE_MASK_OVAL: Chain = OPEN_OVAL[:0:-1]

EXPRESSION_PARTS = (mesh.RIGHT_EYE, mesh.LEFT_EYE, mesh.RIGHT_BROW, mesh.LEFT_BROW, mesh.OUTER_LIPS)
EXPRESSION_MARGIN = 0.12  # inter-ocular distances round the landmarks that count as expression


@dataclass(frozen=True)
class Style:
    """How a map is drawn: (colour, chain of points) in drawing order, thickness in pixels, pupils or not."""

    thickness: int
    pupils: bool
    chains: tuple[tuple[Colour, Chain], ...]


_EYES_AND_BROWS: tuple[tuple[Colour, Chain], ...] = (
    ((180, 200, 10), mesh.LEFT_EYE_LOWER),
    ((180, 200, 10), mesh.LEFT_EYE_UPPER),
    ((180, 220, 10), mesh.LEFT_BROW_LOWER),
    ((180, 220, 10), mesh.LEFT_BROW_UPPER),
    ((10, 200, 180), mesh.RIGHT_EYE_LOWER),
    ((10, 200, 180), mesh.RIGHT_EYE_UPPER),
    ((10, 220, 180), mesh.RIGHT_BROW_LOWER),
    ((10, 220, 180), mesh.RIGHT_BROW_UPPER),
)
_INNER_BOTTOM: tuple[tuple[Colour, Chain], ...] = (
    ((100, 100, 30), mesh.INNER_LIPS_LOWER[:6]),
    ((100, 150, 50), mesh.INNER_LIPS_LOWER[5:]),
)
_INNER_TOP: tuple[tuple[Colour, Chain], ...] = (
    ((120, 100, 200), mesh.INNER_LIPS_UPPER[:6]),
    ((150, 120, 100), mesh.INNER_LIPS_UPPER[5:]),
)

STYLES: dict[str, Style] = {
    "follow-your-emoji": Style(1, True, (*_EYES_AND_BROWS, *_INNER_BOTTOM, *_INNER_TOP)),
    "aniportrait": Style(
        2,
        False,
        (
            ((10, 200, 10), OPEN_OVAL),
            *_EYES_AND_BROWS,
            ((10, 180, 20), mesh.OUTER_LIPS_LOWER[:6]),
            ((20, 10, 180), mesh.OUTER_LIPS_LOWER[5:]),
            *_INNER_BOTTOM,
            ((20, 80, 100), mesh.OUTER_LIPS_UPPER[:6]),
            ((80, 100, 20), mesh.OUTER_LIPS_UPPER[5:]),
            *_INNER_TOP,
        ),
    ),
}

_SUBPIXEL_BITS = 4


def draw(
    landmarks: np.ndarray,
    size: tuple[int, int],
    style: str = "follow-your-emoji",
    antialias: bool = False,
) -> np.ndarray:
    """The landmark map (H, W, 3) uint8 RGB of landmarks (478, 2 or 3) px for a picture of size (W, H).

    Points fall on whole pixels (rounded down) as the official maps have it; points outside the picture are
    left out together with their lines. With `antialias` lines run between sub-pixel positions with soft
    edges, which moves smoothly over time but is not what the official checkpoints saw. AniPortrait's own
    code draws at 512x512 and resizes; drawn here at 512x512 the maps agree. Raises OptionError for an
    unknown style or an empty size.
    """
    if style not in STYLES:
        raise OptionError(f"Unknown landmark map style '{style}': choose from {', '.join(STYLES)}.")
    width, height = size
    if width < 1 or height < 1:
        raise OptionError(f"A landmark map needs a size of at least 1x1, not {width}x{height}.")
    look = STYLES[style]
    points = np.asarray(landmarks, np.float64)[:, :2]
    # Comparisons are false for NaN, so a lost point is left out like one outside the picture.
    inside = ((points >= 0) & (points <= (width, height))).all(axis=1).tolist()
    whole = np.minimum(np.where(np.isfinite(points), points, 0.0), (width, height))
    whole = np.minimum(np.floor(whole), (width - 1, height - 1)).astype(np.int32)
    ends, bits, kind = whole.tolist(), 0, cv2.LINE_8
    if antialias:
        fine = np.rint(np.clip(np.nan_to_num(points), 0, (width, height)) * (1 << _SUBPIXEL_BITS))
        ends, bits, kind = fine.astype(np.int32).tolist(), _SUBPIXEL_BITS, cv2.LINE_AA

    image = np.zeros((height, width, 3), np.uint8)
    for colour, chain in look.chains:
        for a, b in zip(chain[:-1], chain[1:], strict=True):
            if inside[a] and inside[b]:
                cv2.line(image, ends[a], ends[b], colour, look.thickness, kind, bits)
    if look.pupils:
        for centre in (mesh.LEFT_IRIS_CENTRE, mesh.RIGHT_IRIS_CENTRE):
            if inside[centre] and (points[centre] < (width, height)).all():
                x, y = whole[centre]
                x0, y0 = max(x - PUPIL_HALF_WIDTH, 0), max(y - PUPIL_HALF_WIDTH, 0)
                image[y0 : y + PUPIL_HALF_WIDTH, x0 : x + PUPIL_HALF_WIDTH] = PUPIL_COLOUR
    return image


def face_mask(landmarks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The facial mask (H, W) uint8: 255 inside the polygon of 26 oval points (no forehead), else 0."""
    width, height = size
    polygon = np.floor(np.asarray(landmarks, np.float64)[list(FACE_MASK_OVAL), :2]).astype(np.int32)
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [polygon], 255)
    return mask


def expression_mask(landmarks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The expression mask (H, W) uint8 of landmarks (478, >= 2) px: 255 round eyes, brows and lips.

    Follow-Your-Emoji (sec. 3.4) speaks of regions round the landmarks and gives no size: ours are the hulls of the
    parts, `EXPRESSION_MARGIN` wider.
    """
    width, height = size
    mask = np.zeros((height, width), np.uint8)
    for part in EXPRESSION_PARTS:
        hull = cv2.convexHull(np.rint(landmarks[list(part), :2]).astype(np.int32))
        cv2.fillConvexPoly(mask, hull, 255)
    radius = max(1, round(EXPRESSION_MARGIN * float(inter_ocular(landmarks))))
    return cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)))
