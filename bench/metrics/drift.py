"""Drift: what a long clip loses from its beginning to its end."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field

import numpy as np

from animate import recognition
from animate.recognition import cosine
from bench.metrics.base import Metric, Reference, Sample
from bench.metrics.face_quality import sharpness
from bench.metrics.identity import EVERY

LEAST = 20
"""Described frames below which a tenth of a clip is too little to speak of."""


@dataclass
class _Drift(Metric):
    requires = frozenset({"portrait"})
    takes_reference = True
    reads_face = True
    unfit = f"fewer than {LEAST} frames to measure"
    spoilt = "the output shows no face for most of its first or last tenth"

    reference: Reference
    turn: int = field(default=0, init=False)
    indices: list[int] = field(default_factory=list, init=False)
    values: list[float] = field(default_factory=list, init=False)

    @abstractmethod
    def measure(self, sample: Sample) -> float | None:
        """A frame's number."""

    @abstractmethod
    def compare(self, first: float, last: float) -> float:
        """The drift from the first tenth's mean to the last tenth's."""

    def update(self, sample: Sample) -> None:
        if not sample.redetected or self.reference.landmarks is None:
            return
        self.turn += 1
        if (self.turn - 1) % EVERY == 0:
            self.indices.append(sample.index)
            self.values.append(np.nan if sample.output_landmarks is None else self.measure(sample))

    def value(self) -> float | None:
        if len(self.values) < LEAST:
            return None
        indices, values = np.array(self.indices), np.array(self.values)
        tenth = (indices[-1] - indices[0]) / 10
        ends = values[indices <= indices[0] + tenth], values[indices >= indices[-1] - tenth]
        if any(np.isnan(end).mean() > 0.5 for end in ends):
            return float("nan")
        return self.compare(*(float(np.nanmean(end)) for end in ends))


class IdentityDrift(_Drift):
    """Likeness to the portrait in the clip's last tenth less that in its first: negative when the face drifts away,
    positive when it only comes to be the portrait's."""

    name = "identity_drift"
    direction = "zero"
    unit = "cosine"
    source = "ours; dlib's face recognition ResNet (King 2017), every fifth frame"
    needs = "dlib-bin (BSL-1.0) and face-recognition-models (CC0): pip install 'mien[bench]'"

    @classmethod
    def missing(cls) -> str | None:
        return recognition.missing()

    def measure(self, sample: Sample) -> float:
        return cosine(sample.output_descriptor, self.reference.descriptor)

    def compare(self, first: float, last: float) -> float:
        return last - first


class SharpnessDrift(_Drift):
    """Sharpness of the face in the clip's last tenth over that in its first: below 1 when it blurs, above when it
    hardens."""

    name = "sharpness_drift"
    direction = "one"
    unit = "ratio"
    source = "ours; variance of the Laplacian (Pech-Pacheco et al. 2000), every fifth frame"

    def measure(self, sample: Sample) -> float:
        return sharpness(sample.output, sample.output_landmarks)

    def compare(self, first: float, last: float) -> float:
        return last / max(first, 1e-9)
