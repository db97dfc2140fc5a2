"""Target-adaptive face blending: a clip's own face whose mouth says something else.

The idea is GSmoothFace's (Zhang et al. 2023, section 3.3: the target's own shape with the speech's expression); the
steps are our own. Shapes are canonical (`animate.pose`), one inter-ocular distance (IOD) is 1:

1. `RestingFace` learns what the clip's face looks like with its mouth at rest, for any turn of the head: the tracker's
   mesh changes with the turn, and a resting mouth that did not would slide over the face.
2. The speech's offsets are put on that face (`animate.retarget`: proportions, lips that meet).
3. `blend` sets the sum in place of the frame's own lower face, fading over the cheeks to nothing at nose and eyes.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np

from animate import measures, pose
from animate import topology as mesh
from animate.closure import close_lips
from animate.layers import smoothstep
from animate.motion import Motion
from animate.retarget import Retargeter

#: Heights on the canonical face (nose tip 0.59, nose base 0.78, lips 1.0 to 1.3) between which the exchange sets in.
FADE = (0.58, 0.98)
#: Depths, towards the ears, between which it ends.
BACK = (0.55, 0.90)
#: A mouth that rests further open than this, in IOD, is closed: a clip need not hold a moment of silence.
CLOSED = 0.012
#: The nose's underside and wings, from which the mouth hangs.
_HANGER = (2, 94, 97, 326, 98, 327, 141, 370, 19, 129, 358)
#: Units of the regression's columns: radians of the head's turn, IOD of the mouth's opening and width, of its corners.
_ANGLE, _MOUTH, _CORNER = 0.25, 0.10, 0.03
#: Frames of evidence that the regression asks for before it believes a unit's effect by half.
_RIDGE = 4.0


@functools.cache
def exchange_weights() -> np.ndarray:
    """How far each point (478,) is the speech's: 1 at lips, chin and jaw, 0 at nose, eyes, forehead and ears."""
    face = pose.canonical_face().astype(np.float64)
    weights = smoothstep(face[:, 1], *FADE) * (1 - smoothstep(face[:, 2], *BACK))
    apart = np.linalg.norm(face[:, None] - face[list(mesh.NOSE)], axis=-1).min(axis=1)
    weights *= smoothstep(apart, 0.0, 0.16)
    weights[list(mesh.LIPS)] = 1.0
    weights[mesh.SKIN_POINTS :] = 0.0
    weights.flags.writeable = False
    return weights


def corner_lifts(shapes: np.ndarray) -> np.ndarray:
    """How far the mouth's corners (..., 2), right and left, lie above the nose's base, IOD (so less than 0).

    shapes: canonical, (..., 478, 3). Unlike `measures.corner_heights` it does not change with the lower lip alone.
    """
    return shapes[..., [mesh.NOSE_BASE], 1] - shapes[..., list(mesh.OUTER_MOUTH_CORNERS), 1]


class RestingFace:
    """The face of a clip, or of one shot of it, with its mouth at rest.

    Args:
        shapes: (n, 478, 3) canonical shapes of its frames, or a sample of them evenly spaced in time.
        rotation: (n, 3) rotation vectors of the head in them.
        fps: how many of them there are in a second.

    Attributes:
        neutral: (478, 3) float64, the mean of the most neutral moment (`measures.neutral_frame`), its mouth closed.
    """

    def __init__(self, shapes: np.ndarray, rotation: np.ndarray, fps: float):
        shapes = np.asarray(shapes, np.float64)
        _, calm = measures.neutral_frame(shapes, rotation, np.ones(len(shapes), bool), fps)
        neutral = shapes[calm].mean(axis=0)
        angles, corners = pose.head_angles(rotation), corner_lifts(shapes)
        opening, width = measures.mouth_opening(shapes), measures.mouth_width(shapes)
        self._angles, self._corners = angles[calm].mean(axis=0), corners[calm].mean(axis=0)
        mouth = np.stack([opening - opening[calm].mean(), width - width[calm].mean()], axis=1)
        lifted = (corners - self._corners) / _CORNER
        columns = np.concatenate([self._turns(angles), mouth / _MOUTH, lifted], axis=1)  # (n, 5 + 2 + 2)
        gram = columns.T @ columns + _RIDGE * np.eye(columns.shape[1])
        offsets = (shapes - neutral).reshape(len(shapes), -1)
        slopes = np.linalg.solve(gram, columns.T @ offsets).reshape(-1, *neutral.shape)
        self._by_turn, by_opening, self._by_corner = slopes[:5], slopes[5], slopes[7:]
        self.neutral = _closed(neutral, by_opening)

    def _turns(self, angles: np.ndarray) -> np.ndarray:
        pitch, yaw, roll = ((angles - self._angles) / _ANGLE).T
        return np.stack([pitch, yaw, roll, yaw * yaw, pitch * pitch], axis=1)

    def at(self, rotation: np.ndarray, corners: np.ndarray) -> np.ndarray:
        """Resting shapes (T, 478, 3) float64.

        rotation: (T, 3) of the head; corners: (T, 2) `corner_lifts`, their slow part: a smile that lasts.
        """
        turned = np.einsum("tk,kpc->tpc", self._turns(pose.head_angles(rotation)), self._by_turn)
        lifted = np.einsum("tk,kpc->tpc", (corners - self._corners) / _CORNER, self._by_corner)
        return self.neutral + turned + lifted

    def speech(self, motion: Motion, strengths: Mapping[str, float] | None = None) -> np.ndarray:
        """What the motion's mouth does to this face: offsets (T, 478, 3) float64; nothing of head and gaze.

        strengths: as in `animate.retarget`.
        """
        targets = Retargeter(self.neutral, motion, "relative", strengths, ("exp",))
        return targets(slice(0, len(motion))).astype(np.float64) - self.neutral


def _closed(neutral: np.ndarray, by_opening: np.ndarray) -> np.ndarray:
    """The neutral face (478, 3) with its jaw raised, and its lips brought together for what is left."""
    excess = float(measures.mouth_opening(neutral)) - CLOSED
    if excess <= 0:
        return neutral
    raised = neutral - by_opening * (excess / _MOUTH)
    return close_lips(raised[None].copy(), np.zeros((1, mesh.POINTS, 3)), raised, raised)[0]


def blend(own: np.ndarray, spoken: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Landmarks (T, 478, 3) px with the lower face of `spoken` and all else of `own`, both (T, 478, 3) px.

    The spoken face hangs from the frame's own nose: the tracker takes an opening mouth for a bit of a nod, and a mouth
    placed by the head's pose alone would bob with the one that it covers.
    level: (T,) in [0, 1], how far the exchange goes; 0 gives the own landmarks back.
    """
    spoken = spoken + (own - spoken)[:, list(_HANGER)].mean(axis=1, keepdims=True)
    return own + exchange_weights()[None, :, None] * np.reshape(level, (-1, 1, 1)) * (spoken - own)
