"""From what the network says to curves that can be shown: still in silence, smooth, closures kept at any frame rate.

Every function is local and keeps rows on the absolute grid of `FaceCurves`: a row needs at most 2 rows of curves
around it, and what `prosody.speech_gate` needs of the features.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from animate.errors import OptionError
from animate.layers import smoothstep
from talking_face.curves import RATE, FaceCurves, frame_places
from talking_face.prosody import speech_gate

#: Closure of a mouth at rest: lips that touch without being pressed.
REST_CLOSURE = 0.9
#: Openings in IOD from which and up to which a mouth made stronger opens, see `scale_mouth`.
WIDE, WIDEST = 0.3, 0.45
#: Rows that `smooth_curves` looks at on each side.
SMOOTHING_REACH = 2
#: How far, in seconds, `sample` looks for a closure on each side of a frame.
CLOSURE_REACH = 0.03

# [1 2 1] / 4 twice would blur syllables; the second factor gives back what the first takes below 6 Hz. Gain 0.96 at
# 5 Hz, 0.79 at 10 Hz, 0 at 25 Hz.
_KERNEL = np.convolve((0.25, 0.5, 0.25), (-0.15, 1.3, -0.15))


def still_in_silence(
    curves: FaceCurves, speech: np.ndarray | None = None, rest_closure: float = REST_CLOSURE
) -> FaceCurves:
    """The curves with a closed and still mouth where nobody speaks.

    speech: (n,) in [0, 1], `prosody.speech_gate` of the features if None. rest_closure: the closure at rest.
    """
    gate = (speech_gate(curves.features) if speech is None else speech).astype(np.float32)
    return replace(
        curves,
        coefficients=curves.coefficients * gate[:, None],
        closure=curves.closure * gate + rest_closure * (1 - gate),
        jaw=curves.jaw * gate,
    )


def smooth_curves(curves: FaceCurves, strength: float = 1.0) -> FaceCurves:
    """The curves without jitter and without lag; strength 0 changes nothing, 1 takes all above 20 Hz away.

    Where the lips are closed the rows keep their own values, and a closure never gets shorter or weaker: a filter
    would lift the dip of a quick m, b or p. Raises OptionError for a strength outside [0, 1].
    """
    if not 0 <= strength <= 1:
        raise OptionError(f"The smoothing strength must lie between 0 and 1, not {strength}.")
    kept = np.clip(curves.closure, 0.0, 1.0)

    def mixed(values: np.ndarray) -> np.ndarray:
        share = (strength * (1 - kept)).reshape(-1, *(1,) * (values.ndim - 1))
        return (values + share * (_filtered(values) - values)).astype(np.float32)

    closure = np.maximum(curves.closure, np.clip(mixed(curves.closure), 0, 1))
    jaw = np.maximum(mixed(curves.jaw), 0)
    return replace(curves, coefficients=mixed(curves.coefficients), closure=closure, jaw=jaw)


def _filtered(values: np.ndarray) -> np.ndarray:
    reach = SMOOTHING_REACH
    padded = np.pad(values, ((reach, reach), *((0, 0),) * (values.ndim - 1)), mode="edge")
    return sum(weight * padded[i : i + len(values)] for i, weight in enumerate(_KERNEL))


def scale_mouth(curves: FaceCurves, mouth: float) -> FaceCurves:
    """Coefficients and jaw `mouth` (>= 0) times as far from neutral; closures stay closed.

    Towards 0 the mouth does not hang open between the closures: it stays at rest. Above 1 an opening beyond
    WIDE grows slower and slower and never passes WIDEST.
    """
    if mouth == 1:
        return curves
    at_rest = max(0.0, 1 - mouth) ** 3
    factor = np.full(len(curves), float(mouth))
    if mouth > 1:
        wanted, room = mouth * curves.jaw, WIDEST - WIDE
        limited = np.minimum(wanted, WIDE) + room * np.tanh(np.maximum(wanted - WIDE, 0) / room)
        kept = np.where(wanted > WIDE, limited / np.maximum(wanted, WIDE), 1.0)
        factor = np.maximum(mouth * kept, 1.0)
    return replace(
        curves,
        coefficients=(curves.coefficients * factor[:, None]).astype(np.float32),
        closure=curves.closure + np.float32(at_rest) * np.maximum(REST_CLOSURE - curves.closure, 0),
        jaw=(curves.jaw * factor).astype(np.float32),
    )


def frame_times(fps: Fraction, first: int, count: int) -> np.ndarray:
    """Seconds (count,) float64 of output frames first, first + 1, ...: each n / fps, no step is added up.

    Raises OptionError for a frame rate that is not positive.
    """
    if fps <= 0:
        raise OptionError(f"The frame rate must be more than 0 frames a second, not {fps}.")
    return np.arange(first, first + count, dtype=np.int64) * fps.denominator / fps.numerator


def sample(curves: FaceCurves, fps: Fraction | float, first: int, count: int) -> FaceCurves:
    """The curves at output frames first to first + count - 1, frame n at exactly n / fps seconds; the ends hold.

    Linear between rows. A closure narrower than a frame must not fall between two frames: a frame takes the strongest
    closure of its own stretch of time (half a frame, at most CLOSURE_REACH, to each side), and in the measure in
    which that is stronger than its own also the mouth of that moment. `features` are those of the nearest row before;
    `start` is `first`, counted in frames. Raises OptionError for curves without rows or an impossible rate.
    """
    fps = Fraction(fps)
    if fps <= 0 or not len(curves):
        raise OptionError(f"{len(curves)} rows of curves cannot be laid on {fps} frames a second.")
    frames = np.arange(first, first + count, dtype=np.int64)
    whole, share = frame_places(fps, first, count)
    last = len(curves) - 1
    left = np.clip(whole - curves.start, 0, last)
    right = np.clip(whole + 1 - curves.start, 0, last)
    share = share.astype(np.float32)

    def between(values: np.ndarray) -> np.ndarray:
        w = share.reshape(-1, *(1,) * (values.ndim - 1))
        return values[left] * (1 - w) + values[right] * w

    closure = between(curves.closure)
    strongest = _strongest_rows(curves, frames, fps)  # (count,)
    peak = np.maximum(curves.closure[strongest], closure)
    borrowed = smoothstep(peak - closure).astype(np.float32)

    def shown(values: np.ndarray) -> np.ndarray:
        w = borrowed.reshape(-1, *(1,) * (values.ndim - 1))
        return between(values) * (1 - w) + values[strongest] * w

    return FaceCurves(shown(curves.coefficients), peak, shown(curves.jaw), curves.features[left], first)


def _strongest_rows(curves: FaceCurves, frames: np.ndarray, fps: Fraction) -> np.ndarray:
    """For each frame (n,) the row (an index into `curves`) of the strongest closure in its own stretch of time."""
    half = min(1 / (2 * fps), Fraction(CLOSURE_REACH).limit_denominator(1000))
    scale = RATE * fps.denominator * half.denominator
    centre, reach = frames * scale, RATE * half.numerator * fps.numerator  # both over fps.numerator * half.denominator
    unit = fps.numerator * half.denominator
    begin, end = -((reach - centre) // unit), (centre + reach) // unit  # rows begin <= row <= end lie inside
    rows = begin[:, None] + np.arange(max(1, int((end - begin).max(initial=0)) + 1))
    index = np.clip(rows - curves.start, 0, len(curves) - 1)
    level = np.where(rows <= end[:, None], curves.closure[index], -1.0)
    return index[np.arange(len(frames)), level.argmax(axis=1)]
