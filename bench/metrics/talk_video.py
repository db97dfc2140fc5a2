"""The speech metrics on a finished video: its re-detected mouth against the mouth of the clip that was spoken.

`bench.metrics.speech` measures a method's own motion; here the mouth is read off the pictures, so that any system can
be measured. Trackers tremble: figures are a little below those of the motion itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from animate.motion import Motion
from bench.metrics.base import Metric, Reference, Sample
from bench.metrics.opening import LEAST_FRAMES
from bench.metrics.speech import MouthCurves, SpeechMetric, SpeechTruth
from bench.metrics.tracks import MESH, track_of


@dataclass
class TalkVideo(Metric):
    """A speech metric of the mouths on two videos; one class for each of them, made by `on_video`."""

    speech: ClassVar[SpeechMetric]
    requires = frozenset({"truth", "sound"})
    takes_reference = True
    reads_face = True

    reference: Reference
    indices: list[int] = field(default_factory=list, init=False)
    outputs: list[np.ndarray] = field(default_factory=list, init=False)
    truths: list[np.ndarray] = field(default_factory=list, init=False)

    @classmethod
    def missing(cls) -> str | None:
        return cls.speech.missing()

    def update(self, sample: Sample) -> None:
        if sample.output_landmarks is not None and sample.truth_landmarks is not None:
            self.indices.append(sample.index)
            self.outputs.append(sample.output_landmarks)
            self.truths.append(sample.truth_landmarks)

    def value(self) -> float | None:
        if len(self.indices) < LEAST_FRAMES:
            return None
        tracks = [track_of(self.indices, meshes, self.reference.fps) for meshes in (self.truths, self.outputs)]
        real, shown = (MouthCurves.of_track(Motion.from_track(track)) for track in tracks)
        figure = self.speech.measure(SpeechTruth(real, tracks[0].valid, self._phones()), shown)
        if figure is None and not (np.diff(self.indices) == 1).any():
            self.unfit = "two frames in a row are needed: set the suite's stride to 1"
        return None if figure is None else figure.value

    def _phones(self):
        # Aligning takes seconds: only for those that ask for phones.
        return self.reference.spoken if "pocketsphinx" in self.speech.needs else None


def on_video(speech: SpeechMetric) -> type[TalkVideo]:
    """The metric's class for videos, named ``talk_…``."""
    described = {key: getattr(speech, key) for key in ("direction", "unit", "unfit")}
    needs = "; ".join(part for part in (speech.needs, MESH) if part)
    source = f"{speech.source}; mouths re-detected on both videos"
    about = (
        f"{(type(speech).__doc__ or '').strip()}\n\n    Read off the video (`bench.metrics.talk_video`). Over several "
        "videos a suite gives the mean in which each counts once, whatever the rows of ``python -m bench.talk`` do."
    )
    names = {"speech": speech, "name": f"talk_{speech.name}", "needs": needs, "source": source, "__doc__": about}
    return type(f"Talk{type(speech).__name__}", (TalkVideo,), {**described, **names, "__module__": __name__})
