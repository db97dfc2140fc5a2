"""The square round a face that a whole-picture network draws: cut out, and laid back with a soft edge."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from animate.compositing import blend

#: Side of the square over the face's longer side, when all that the face will do is known, and when it is not.
KNOWN_MOTION, UNKNOWN_MOTION = 2.4, 3.0
MARGIN = 0.1  # of the face's longer side, between the landmarks and the square's border
FEATHER = 0.07  # of the square's side


@dataclass(frozen=True)
class SquareCrop:
    """A square of whole pixels of a picture of (`width`, `height`), drawn at `size` pixels a side.

    It may reach beyond the picture, whose border is then repeated.
    """

    left: int
    top: int
    side: int
    width: int
    height: int
    size: int

    @classmethod
    def around(
        cls, face: np.ndarray, picture_size: tuple[int, int], size: int, bounds: np.ndarray | None = None
    ) -> SquareCrop:
        """A square with room for hair and neck round a face (478, 2 or 3) px in a picture of (W, H).

        bounds: (2, 2) px, least and greatest x, y that the face's landmarks ever get; inside the picture the square
            holds them. None when that is not known: then the square is wider.
        """
        width, height = picture_size
        low, high = face[:, :2].min(0), face[:, :2].max(0)
        longer = float((high - low).max())
        middle = (low + high) / 2
        side = longer * (UNKNOWN_MOTION if bounds is None else KNOWN_MOTION)
        if bounds is not None:
            limit = np.array([width - 1, height - 1], float)
            reach = np.abs(np.clip(bounds, 0, limit) - middle).max()
            side = max(side, 2 * (reach + MARGIN * longer))
        side = max(1, int(np.ceil(side)))
        left, top = (_place(m, side, length) for m, length in zip(middle, (width, height), strict=True))
        return cls(left, top, side, width, height, size)

    def cut(self, image: np.ndarray) -> np.ndarray:
        """(size, size, C) of the picture (H, W, C) uint8."""
        x0, y0, x1, y1 = self._inside
        part = image[y0:y1, x0:x1]
        before, after = (y0 - self.top, x0 - self.left), (self.top + self.side - y1, self.left + self.side - x1)
        whole = cv2.copyMakeBorder(part, before[0], after[0], before[1], after[1], cv2.BORDER_REPLICATE)
        return _resize(whole, self.size)

    def landmarks(self, points: np.ndarray) -> np.ndarray:
        """Landmarks (N, 2 or 3) px of the picture in the drawn square's pixels, (N, 2) float32."""
        scale = self.size / self.side
        return ((points[:, :2] - (self.left, self.top) + 0.5) * scale - 0.5).astype(np.float32)

    def lay(self, image: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        """A copy of the picture (H, W, 3|4) with the drawn square (size, size, 3) laid over it.

        Its edge is soft where the picture goes on. Transparency stays the picture's.
        """
        out = image.copy()
        x0, y0, x1, y1 = self._inside
        rows, columns = slice(y0 - self.top, y1 - self.top), slice(x0 - self.left, x1 - self.left)
        above = _resize(drawn, self.side)[rows, columns]
        below = np.ascontiguousarray(out[y0:y1, x0:x1, :3])
        out[y0:y1, x0:x1, :3] = blend(below, above, self.mask[rows, columns])
        return out

    @cached_property
    def mask(self) -> np.ndarray:
        """(side, side) uint8: 255 inside, falling to 0 towards those edges beyond which the picture goes on."""
        along_y = _edge(self.side, self.top > 0, self.top + self.side < self.height)
        along_x = _edge(self.side, self.left > 0, self.left + self.side < self.width)
        return np.rint(255 * along_y[:, None] * along_x[None]).astype(np.uint8)

    @cached_property
    def _inside(self) -> tuple[int, int, int, int]:
        """x0, y0, x1, y1 of the square's part that lies in the picture."""
        right, bottom = min(self.left + self.side, self.width), min(self.top + self.side, self.height)
        return max(self.left, 0), max(self.top, 0), right, bottom


def _place(middle: float, side: int, length: int) -> int:
    """Where a side round `middle` begins: inside the picture where it fits, else round the picture's middle."""
    if side >= length:
        return -((side - length) // 2)
    return int(np.clip(round(middle - side / 2), 0, length - side))


def _edge(side: int, first: bool, last: bool) -> np.ndarray:
    """(side,) float: 1, with a smooth fall to 0 at the beginning and the end where asked for."""
    width = max(1.0, FEATHER * side)
    at = np.arange(side) + 0.5
    distance = np.minimum(at if first else width, side - at if last else np.full(side, width))
    t = np.clip(distance / width, 0, 1)
    return t * t * (3 - 2 * t)


def _resize(image: np.ndarray, side: int) -> np.ndarray:
    if image.shape[0] == side:
        return image
    shrinking = side < image.shape[0]
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC)
