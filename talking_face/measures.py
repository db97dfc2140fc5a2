"""What speech does to a mouth, as three numbers."""

from __future__ import annotations

import numpy as np

from animate import measures
from animate import topology as mesh

_FRONT = (13, 14, 0, 17, 37, 267, 84, 314)


def articulation(shapes: np.ndarray) -> np.ndarray:
    """Opening between the inner lips, outer width and protrusion (..., 3), IOD, of canonical shapes (..., 478, 3).

    Protrusion: how far the middle of the lips stands before the mouth's corners.
    """
    corners = shapes[..., np.array(mesh.OUTER_MOUTH_CORNERS), 2].mean(axis=-1)
    front = shapes[..., np.array(_FRONT), 2].mean(axis=-1)
    return np.stack([measures.mouth_opening(shapes), measures.mouth_width(shapes), corners - front], axis=-1)
