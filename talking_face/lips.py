"""Lips that meet: the mouth's opening set to what closure and jaw say, also on portraits that rest open."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from animate import arkit, measures, pose
from animate.closure import lip_spread
from animate.layers import smoothstep
from animate.motion import Motion
from animate.retarget import jaw_weights

#: Closures between these count as closing; from the second on the lips meet.
CLOSING_FROM, MET_AT = 0.05, 0.5
#: How much the jaw's own curve counts against the opening that the coefficients give.
JAW_TRUST = 0.5
#: Opening in IOD that the lips close by themselves; what is more, the jaw takes up.
_LIPS_ALONE = 0.04
#: Closures above this press the lips: they roll in a little, as for m, b and p, up to _PRESS of ARKit's curves.
_PRESSED_FROM, _PRESS = 0.92, 0.18
_ROLL = [arkit.BLENDSHAPES.index(name) for name in ("MouthRollLower", "MouthRollUpper")]


def met(closure: np.ndarray) -> np.ndarray:
    """How much of an opening is taken away (n,) in [0, 1] at a closure (n,)."""
    return smoothstep((np.asarray(closure, np.float64) - CLOSING_FROM) / (MET_AT - CLOSING_FROM))


def open_jaw(shapes: np.ndarray, opening: np.ndarray, trust: float = JAW_TRUST) -> np.ndarray:
    """Shapes (n, 478, 3) whose opening is moved by `trust` towards `opening` (n,) IOD, by the jaw; in place."""
    missing = trust * (np.asarray(opening, np.float64) - np.maximum(measures.mouth_opening(shapes), 0))
    shapes[..., 1] += missing[:, None] * jaw_weights()
    return shapes


def close_lips(shapes: np.ndarray, closure: np.ndarray) -> np.ndarray:
    """Shapes (n, 478, 3), IOD 1, whose inner lips meet at all nine pairs as closure (n,) goes to 1, and never cross.

    The jaw takes up a wide opening, both lips the rest; lips that meet firmly roll in a little. float64; the argument
    is left alone.
    """
    out = np.array(shapes, np.float64)
    taken = met(closure)
    wanted = np.maximum(measures.lip_gaps(out), 0) * (1 - taken)[:, None]  # (n, 9)
    excess = np.maximum(measures.mouth_opening(out) - _LIPS_ALONE, 0) * taken
    pressed = _PRESS * smoothstep((np.asarray(closure, np.float64) - _PRESSED_FROM) / (1 - _PRESSED_FROM))
    out[..., 1] -= excess[:, None] * jaw_weights()
    if pressed.any():
        out += pressed[:, None, None] * arkit.basis()[0][_ROLL].sum(axis=0)
    out[..., 1] += (wanted - measures.lip_gaps(out)) @ lip_spread().T
    return out


def rest_like(motion: Motion, landmarks: np.ndarray) -> Motion:
    """The same motion told against a neutral face whose lips rest as far apart as the portrait's (478, 3) px.

    Relative retargeting adds changes to the portrait's own mouth: a portrait that smiles with its teeth showing would
    never close its lips. With equal openings at rest, lips that meet in the motion meet in the portrait.
    Shapes, and with them every measure of the motion, stay what they are. Raises FaceError for unusable landmarks.
    """
    portrait = pose.decompose(landmarks)[1][0]
    portrait /= pose.inter_ocular(portrait)
    own = np.maximum(measures.lip_gaps(portrait), 0)
    neutral = motion.neutral.astype(np.float64)
    parted = neutral.copy()
    parted[:, 1] += lip_spread() @ (np.maximum(own, measures.lip_gaps(neutral)) - measures.lip_gaps(neutral))
    return replace(motion, neutral=parted, expression=motion.expression + (neutral - parted).astype(np.float32))
