"""Silence motion: are the lips still while nothing is said?"""

from __future__ import annotations

import numpy as np

from bench.metrics.speech import Figure, MouthCurves, SpeechMetric, SpeechTruth, aligner_missing
from talking_face.phones import SILENCE

LEAST_SILENCE = 0.3
"""Seconds: shorter pauses are gaps between words, in which lips rightly move on."""


class SilenceMotion(SpeechMetric):
    """How fast the opening changes in pauses, the mean over all clips' silent frames.

    People breathe, smile and get ready to speak in pauses, and trackers tremble: the row ``truth`` says how much.
    """

    name = "silence_motion"
    direction = "lower"
    unit = "inter-ocular distances a second"
    source = "ours; mean absolute change of the opening from frame to frame in pauses of 0.3 s or more"
    needs = "pocketsphinx (BSD-2-Clause, its English models are inside the wheel)"
    unfit = "no pause of 0.3 s or more in it"

    @classmethod
    def missing(cls) -> str | None:
        return aligner_missing()

    def measure(self, truth: SpeechTruth, predicted: MouthCurves) -> Figure | None:
        pauses = [p for p in truth.phones or () if p.name == SILENCE and p.end - p.start >= LEAST_SILENCE - 1e-6]
        steps = []
        for pause in pauses:
            frames = truth.frames(pause.start, pause.end)
            follows = np.diff(frames) == 1
            steps.append(np.abs(np.diff(predicted.opening[frames]))[follows])
        steps = np.concatenate(steps) if steps else np.empty(0)
        if not len(steps):
            return None
        fps = float(predicted.fps)
        return Figure(float(steps.mean()) * fps, len(steps) / fps)
