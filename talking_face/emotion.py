"""An emotion on the face: what the whole of a speech is said with, laid under the words.

Built on the directions of `animate.arkit.basis`. That basis was fitted on clips without cheek squints, nose sneers or
wide eyes, so cheeks rise with the smile's own offsets, and lids open and narrow by their gap. Which muscles make
which face: Ekman and Friesen's action units (happy 6 + 12, sad 1 + 4 + 15, angry 4 + 5 + 7 + 23, surprised 1 + 2 + 5
+ 26).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from animate import arkit
from animate.errors import OptionError
from animate.layers import smoothstep
from talking_face import noise
from talking_face.postprocess import REST_CLOSURE

#: Seconds over which an emotion comes up at the beginning.
FADE_IN = 0.5
_SWELL = 0.1  # a face is never frozen: the level swells and ebbs by this part
_SWELL_SPACING = 2.0  # seconds


@dataclass(frozen=True)
class Emotion:
    """curves: ARKit curve -> level; a negative level goes against the curve's direction. lids: part by which the lids
    open further (> 0) or narrow. rest_closure: how firmly the lips close in pauses, see
    `postprocess.still_in_silence`.
    """

    curves: Mapping[str, float] = field(default_factory=dict)
    lids: float = 0.0
    rest_closure: float = REST_CLOSURE


def _both(**levels: float) -> dict[str, float]:
    return {f"{name}{side}": level for name, level in levels.items() for side in ("Left", "Right")}


EMOTIONS: dict[str, Emotion] = {
    "neutral": Emotion(),
    "happy": Emotion({**_both(MouthSmile=0.6, EyeSquint=0.25, BrowOuterUp=0.12)}, lids=-0.08),
    "sad": Emotion(
        {**_both(MouthSmile=-0.55, MouthFrown=1.0), "MouthShrugLower": 0.3, "BrowInnerUp": 0.85},
        lids=-0.2,
    ),
    "angry": Emotion(
        {
            **_both(BrowDown=1.1, BrowOuterUp=0.05, EyeSquint=0.15, MouthPress=0.2, MouthSmile=-0.4),
            "BrowInnerUp": -0.65,
        },
        lids=0.1,
    ),
    "surprised": Emotion({**_both(BrowOuterUp=0.75), "BrowInnerUp": 0.9, "JawOpen": 0.1}, lids=0.25, rest_closure=0.3),
}


def emotion_of(name: str) -> Emotion:
    """The emotion of a name of `EMOTIONS`; raises OptionError that lists them."""
    if name not in EMOTIONS:
        raise OptionError(f"Unknown emotion '{name}': choose from {', '.join(EMOTIONS)}.")
    return EMOTIONS[name]


def levels(times: np.ndarray, seed: int) -> np.ndarray:
    """How far an emotion is on the face (n,) at `times` (n,) seconds: 0 at the beginning, then about 1."""
    times = np.asarray(times, np.float64)
    return smoothstep(times / FADE_IN) * (1 + _SWELL * noise.wave(times, seed, "emotion", _SWELL_SPACING))


def offsets(curves: Mapping[str, float]) -> np.ndarray:
    """The offsets (478, 3) in IOD of ARKit curves at given levels."""
    table = arkit.basis()[0]
    out = np.zeros(table.shape[1:])
    for name, level in curves.items():
        out += level * table[arkit.BLENDSHAPES.index(name)]
    return out
