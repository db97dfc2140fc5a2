"""A face set by hand: a few sliders become a motion of one frame, which retargets, draws and saves like any other."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, fields
from fractions import Fraction

import numpy as np

from animate import arkit, measures, pose
from animate.errors import OptionError
from animate.motion import Motion
from animate.retarget import MAX_GAZE

FPS = Fraction(25)
#: Least and greatest value of each slider; 0 is the portrait as it is. Angles are degrees.
RANGES: dict[str, tuple[float, float]] = {
    "yaw": (-30.0, 30.0),
    "pitch": (-20.0, 20.0),
    "roll": (-30.0, 30.0),
    "mouth_open": (0.0, 1.0),
    "smile": (-1.0, 1.0),
    "blink_left": (0.0, 1.0),
    "blink_right": (0.0, 1.0),
    "gaze_x": (-1.0, 1.0),
    "gaze_y": (-1.0, 1.0),
    "brows": (-1.0, 1.0),
}
#: How much of each ARKit curve a slider at 1 (and at -1) sets. Left and right of a curve are the person's own, those of
#: a slider are the picture's.
_UP: dict[str, dict[str, float]] = {
    "mouth_open": {"JawOpen": 0.7},
    "smile": {"MouthSmileLeft": 0.9, "MouthSmileRight": 0.9, "CheekSquintLeft": 0.3, "CheekSquintRight": 0.3},
    "blink_left": {"EyeBlinkRight": 1.0},
    "blink_right": {"EyeBlinkLeft": 1.0},
    "brows": {"BrowInnerUp": 0.8, "BrowOuterUpLeft": 0.8, "BrowOuterUpRight": 0.8},
}
_DOWN: dict[str, dict[str, float]] = {
    "smile": {"MouthFrownLeft": 0.8, "MouthFrownRight": 0.8, "MouthShrugLower": 0.3},
    "brows": {"BrowDownLeft": 0.8, "BrowDownRight": 0.8},
}
_GAZE = 0.5 * MAX_GAZE  # eye widths that the iris moves at gaze 1, so that the lids still cover it


@dataclass(frozen=True)
class FaceSliders:
    """Where each slider stands; see `RANGES`.

    yaw, pitch, roll: degrees; to the picture's right, up, clockwise. mouth_open: 1 is wide. smile: -1 is a frown.
    blink_left, blink_right: the eye on that side of the picture, 1 is shut. gaze_x, gaze_y: to the picture's right, up.
    brows: 1 is raised, -1 drawn down. Raises OptionError for a value out of range or not finite.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    mouth_open: float = 0.0
    smile: float = 0.0
    blink_left: float = 0.0
    blink_right: float = 0.0
    gaze_x: float = 0.0
    gaze_y: float = 0.0
    brows: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            low, high = RANGES[field.name]
            value = getattr(self, field.name)
            if not isinstance(value, int | float) or not low <= value <= high:
                raise OptionError(f"The slider {field.name} is {value!r}: it goes from {low:g} to {high:g}.")

    def curves(self) -> Mapping[str, float]:
        """ARKit curve → score, those that are not 0."""
        scores: dict[str, float] = {}
        for name in (*_UP, *_DOWN):
            value = getattr(self, name)
            table = (_UP if value > 0 else _DOWN).get(name, {})
            scores |= {curve: abs(value) * full for curve, full in table.items() if value}
        return scores

    def motion(self) -> Motion:
        """The face as a motion of one frame against the mean face, which stands for the portrait's own at rest."""
        offsets, gaze_table = arkit.basis()
        scores = np.array([self.curves().get(name, 0.0) for name in arkit.BLENDSHAPES])
        face, rest = _rest()
        expression = np.tensordot(scores[None], offsets, axes=1)  # (1, 478, 3)
        gaze = rest + np.tensordot(scores[None], gaze_table, axes=1) + _GAZE * np.array([self.gaze_x, -self.gaze_y])
        arkit.move_irises(expression, face, gaze)
        angles = np.radians([[-self.pitch, self.yaw, self.roll]])
        return Motion(
            fps=FPS,
            rotation=pose.rotation_from_angles(angles),
            translation=np.zeros((1, 3)),
            scale=np.ones(1),
            expression=expression.astype(np.float16),  # as a motion file keeps it: the file draws the same picture
            gaze=gaze,
            valid=np.ones(1, bool),
            neutral=face,
            neutral_rotation=np.zeros(3),
            neutral_translation=np.zeros(3),
            source="set by sliders",
        )


@functools.cache
def _rest() -> tuple[np.ndarray, np.ndarray]:
    """The mean face (478, 3) and its gaze (2, 2)."""
    face = np.array(pose.canonical_face(), np.float64)
    return face, measures.gaze_of(face)
