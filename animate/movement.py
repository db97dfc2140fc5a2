"""A movement as landmarks, a few frames at a time, and checksums of it for a work folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from animate.portrait import Portrait
from animate.retarget import Retargeter
from animate.work_folder import checksum


def portrait_facts(portrait: Portrait, source: np.ndarray) -> str:
    """A checksum of the picture, the face that moves and the faces that do not."""
    return checksum(portrait.image, source, *(face.landmarks for face in portrait.faces))


def survey(parts: Iterable[np.ndarray]) -> tuple[np.ndarray, str]:
    """The least and the greatest x, y (2, 2) of all target landmarks, given as (n, 478, 3) parts, and a checksum."""
    bounds, sums = np.array([[np.inf] * 2, [-np.inf] * 2]), []
    for part in parts:
        points = part[..., :2].reshape(-1, 2)
        bounds[0], bounds[1] = np.minimum(bounds[0], points.min(0)), np.maximum(bounds[1], points.max(0))
        sums.append(checksum(part))
    return bounds, checksum(*sums)


def in_parts(targets: Retargeter, count: int) -> Iterator[np.ndarray]:
    return (targets(slice(first, first + 32)) for first in range(0, count, 32))
