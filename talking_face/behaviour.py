"""What a face does beside speaking, put on its shape: brows and lids."""

from __future__ import annotations

import functools

import numpy as np

from animate import measures
from animate.closure import lid_spread
from animate.retarget import region_weights
from talking_face.emotion import offsets

#: ARKit curves of a full brow raise on an accent.
RAISE = {"BrowInnerUp": 0.55, "BrowOuterUpLeft": 0.4, "BrowOuterUpRight": 0.4}
#: Eye opening over eye width of the face that the basis was fitted on: what a full EyeBlink takes away.
_BASIS_OPENING = 0.18


@functools.cache
def _raise() -> np.ndarray:
    return offsets(RAISE)


@functools.cache
def _blink() -> np.ndarray:
    # Round the eyes alone: in the clips of the basis brows happened to rise with the blinks.
    return offsets({"EyeBlinkLeft": 1.0, "EyeBlinkRight": 1.0}) * region_weights()["eyes"][:, None]


def raise_brows(shapes: np.ndarray, raised: np.ndarray) -> np.ndarray:
    """Shapes (n, 478, 3) with the brows raised by (n,) in [0, 1], in place."""
    if np.any(raised):
        shapes += np.asarray(raised)[:, None, None] * _raise()
    return shapes


def open_lids(shapes: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Shapes (n, 478, 3) whose lids open by the part `change` (n,) of their gap, or narrow where negative; in place."""
    gaps = np.maximum(measures.lid_gaps(shapes), 0)  # (n, 2, 7)
    return _set_lids(shapes, gaps * (1 + np.asarray(change))[:, None, None])


def shut_lids(shapes: np.ndarray, shut: np.ndarray) -> np.ndarray:
    """Shapes (n, 478, 3) with the lids shut by (n,) in [0, 1]: at 1 all seven pairs of both eyes meet; in place.

    Skin and lashes follow as in real blinks (ARKit's EyeBlink, scaled to how far the eyes are open), the lids' gaps
    then exactly.
    """
    shut = np.asarray(shut, np.float64)
    moving = np.flatnonzero(shut)
    if not len(moving):
        return shapes
    part, level = shapes[moving], shut[moving]
    wanted = np.maximum(measures.lid_gaps(part), 0) * (1 - level)[:, None, None]
    openness = measures.eye_openings(part).mean(axis=1) / _BASIS_OPENING
    part += (level * np.clip(openness, 0, 1.5))[:, None, None] * _blink()
    shapes[moving] = _set_lids(part, wanted)
    return shapes


def _set_lids(shapes: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Shapes whose lid gaps are `wanted` (n, 2, 7), in place."""
    missing = wanted - measures.lid_gaps(shapes)
    for eye, spread in enumerate(lid_spread()):
        shapes[..., 1] += missing[:, eye] @ spread.T
    return shapes
