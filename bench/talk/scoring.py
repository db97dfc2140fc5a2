"""The speech protocol: a method hears a clip's sound, and its mouth is compared with the clip's own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from animate.motion import Motion
from bench.metrics import SPEECH_METRICS
from bench.metrics.speech import Figure, MouthCurves, SpeechTruth
from bench.speed.talk import load_talker
from bench.talk.clips import SpeechClip
from talking_face.features import SAMPLE_RATE

METHODS = ("mean", "loudness", "viseme", "mini")
TRUTH = "truth"
MISMATCHED = "mismatched"

System = Callable[[np.ndarray, Fraction], Motion]
"""A system under test: (N,) float32 sound at 16 kHz and a frame rate in; a motion of round(N * fps / 16000) frames
out, without head motion and blinks."""


@dataclass
class Score:
    """One method on one clip.

    Attributes:
        figures: metric -> figure; None where the clip is not fit to measure.
        seconds: time spent inside the system.
    """

    figures: dict[str, Figure | None] = field(default_factory=dict)
    seconds: float = 0.0


def load_system(method: str) -> System:
    """One of ``METHODS``, or a model folder, as a system under test.

    Raises:
        WeightsError: the model's weights are not there.
    """
    from talking_face.talker import TalkOptions

    talker = load_talker(method)
    still = TalkOptions(head_motion=0, blinks=False)
    return lambda sound, fps: talker.motion(sound, fps, still, rate=SAMPLE_RATE)


def predict(system: System, clip: SpeechClip, name: str = "the method") -> tuple[MouthCurves, float]:
    """The curves of a system's mouth on a clip's sound, and the seconds that it took.

    Raises:
        ValueError: another number of frames or another rate than the clip's.
    """
    wanted = clip.truth.curves
    began = time.perf_counter()
    motion = system(clip.sound, wanted.fps)
    seconds = time.perf_counter() - began
    if len(motion) != len(wanted) or motion.fps != wanted.fps:
        text = f"{len(motion)} frames at {motion.fps} a second for {clip.clip.name}"
        raise ValueError(f"{name} gave {text}, which has {len(wanted)} at {wanted.fps}")
    return MouthCurves.of_talker(motion), seconds


def score(truth: SpeechTruth, predicted: MouthCurves) -> dict[str, Figure | None]:
    """All metrics that can be computed here: name -> figure, None where the clip is not fit for it."""
    available = {name: metric for name, metric in SPEECH_METRICS.items() if not metric.missing()}
    return {name: metric.measure(truth, predicted) for name, metric in available.items()}


def mismatched(clips: Sequence[SpeechClip], predictions: Sequence[MouthCurves | None]) -> list[Score | None]:
    """What chance gives: each clip's truth against a prediction for another clip's sound.

    Args:
        clips: measured clips.
        predictions: of one method, a clip each; None where it failed.

    Returns:
        A score for each clip, against the next clip's prediction, of another subject where there is one. None
        where there is no other clip.
    """
    scores: list[Score | None] = []
    for i, clip in enumerate(clips):
        others = [j % len(clips) for j in range(i + 1, i + len(clips)) if predictions[j % len(clips)] is not None]
        strangers = [j for j in others if clips[j].clip.subject != clip.clip.subject]
        if not others:
            scores.append(None)
            continue
        other = predictions[(strangers or others)[0]]
        scores.append(Score(score(*_overlapping(clip.truth, other.resample(clip.truth.curves.fps)))))
    return scores


def _overlapping(truth: SpeechTruth, other: MouthCurves) -> tuple[SpeechTruth, MouthCurves]:
    """Both at the truth's length; frames that the other does not reach are not counted."""
    count = len(truth.curves)
    missing = max(count - len(other), 0)
    opening, width = (np.pad(curve[:count], (0, missing), mode="edge") for curve in (other.opening, other.width))
    reached = truth.counted & (np.arange(count) < len(other))
    return replace(truth, counted=reached), replace(other, opening=opening, width=width)
