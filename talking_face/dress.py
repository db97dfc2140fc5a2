"""The last step of speech to motion: curves of the lower face in, a whole face's Motion out."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from animate import arkit, measures
from animate.errors import OptionError
from animate.motion import Motion
from talking_face import behaviour, emotion
from talking_face.blinks import blinks
from talking_face.curves import RATE, FaceCurves
from talking_face.features import FEATURES
from talking_face.gaze import gaze
from talking_face.head_motion import brows, head
from talking_face.lips import close_lips, open_jaw
from talking_face.lle import project_lle
from talking_face.postprocess import (
    SMOOTHING_REACH,
    frame_times,
    sample,
    scale_mouth,
    smooth_curves,
    still_in_silence,
)
from talking_face.prosody import Prosody

if TYPE_CHECKING:
    from talking_face.basis import LowerFaceBasis
    from talking_face.talker import TalkOptions

#: Seconds of curves before and after a frame that it depends on.
PAST, LOOK_AHEAD = 8.0, 0.14
_NEAR = SMOOTHING_REACH + 3  # rows of the mouth's curves that matter on each side of a frame


def dress(
    curves: FaceCurves, basis: LowerFaceBasis, fps: Fraction, first: int, count: int, options: TalkOptions
) -> Motion:
    """The motion of output frames first to first + count - 1, frame n at exactly n / fps seconds.

    curves: what the speech model says, at least from PAST seconds before the first frame to LOOK_AHEAD after the last
    one; where they begin or end inside that, their ends hold, as at the ends of the sound. Frames do not depend on
    which stretch they are asked for in. Raises OptionError for an unknown emotion, an impossible frame rate or curves
    without rows.
    """
    fps = Fraction(fps)
    if not len(curves):
        raise OptionError("There are no curves to make a motion of.")
    times = frame_times(fps, first, count)
    feeling = emotion.emotion_of(options.emotion)
    wide = _around(curves, times, PAST, LOOK_AHEAD)
    prosody = Prosody.of(wide.features, wide.start)
    mouth = _mouth(wide, prosody, basis, times, feeling, options)
    shown = sample(mouth, fps, first, count)

    neutral = basis.neutral.astype(np.float64)
    resting = max(float(measures.mouth_opening(neutral)), 0.0)
    shapes = open_jaw(neutral + basis.decode(shown.coefficients), resting + shown.jaw)
    felt = emotion.levels(times, options.seed)
    if feeling.curves:
        shapes += felt[:, None, None] * emotion.offsets(feeling.curves)
    shapes = close_lips(shapes, shown.closure)
    behaviour.raise_brows(shapes, brows(times, options.seed, options.head_motion, prosody))
    if feeling.lids:
        behaviour.open_lids(shapes, felt * feeling.lids)
    if options.blinks:
        behaviour.shut_lids(shapes, blinks(times, options.seed, prosody=prosody))
    rotation, translation = head(times, options.seed, options.head_motion, prosody)
    look = measures.gaze_of(neutral) + gaze(times, options.seed, options.head_motion, rotation)
    shapes -= neutral
    arkit.move_irises(shapes, neutral, look)
    return Motion(
        fps=fps,
        rotation=rotation,
        translation=translation,
        scale=np.ones(count),
        expression=shapes,
        gaze=look,
        valid=np.ones(count, bool),
        neutral=neutral,
        neutral_index=-1,
        neutral_rotation=np.zeros(3),
        neutral_translation=np.zeros(3),
        source="speech",
    )


def idle(basis: LowerFaceBasis, fps: Fraction, first: int, count: int, options: TalkOptions) -> Motion:
    """The motion of a face that says nothing: blinks, glances, breath and a slow sway of the head, lips closed."""
    rows = RATE  # of silence before the first frame, so that it counts as one
    silent = np.zeros((rows, FEATURES), np.float32)
    silent[:, FEATURES - 5 :] = (-3.0, 0.0, 0.0, 0.0, -1.5)
    none = np.zeros(rows, np.float32)
    start = int(Fraction(first) / fps * RATE) - rows
    curves = FaceCurves(np.zeros((rows, len(basis)), np.float32), none, none, silent, start)
    return dress(curves, basis, fps, first, count, options)


def _mouth(
    wide: FaceCurves,
    prosody: Prosody,
    basis: LowerFaceBasis,
    times: np.ndarray,
    feeling: emotion.Emotion,
    options: TalkOptions,
) -> FaceCurves:
    """The mouth's curves around `times`: like real faces', still in silence, as strong as asked for, smooth."""
    near = _around(wide, times, _NEAR / RATE, _NEAR / RATE)
    speech = prosody.speech[near.start - wide.start :][: len(near)]
    near = replace(near, coefficients=project_lle(near.coefficients, basis.database))
    near = still_in_silence(near, speech, feeling.rest_closure)
    return smooth_curves(scale_mouth(near, options.mouth))


def _around(curves: FaceCurves, times: np.ndarray, past: float, ahead: float) -> FaceCurves:
    """The rows of `curves` from `past` seconds before the first to `ahead` after the last of `times`, at least one."""
    begin = int(np.floor((times[0] - past) * RATE))
    end = int(np.ceil((times[-1] + ahead) * RATE)) + 1
    last = curves.start + len(curves)
    return curves.take(min(begin, last - 1), max(end, curves.start + 1))
