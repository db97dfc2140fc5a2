"""Identity: is the output's face the portrait's?"""

from __future__ import annotations

from dataclasses import dataclass, field

from animate import recognition
from animate.recognition import cosine
from bench.metrics.base import FrameMean, Reference, Sample

EVERY = 5
"""Only every fifth frame is described: a descriptor costs as much as all other metrics of a frame."""


@dataclass
class Identity(FrameMean):
    """Cosine similarity of dlib's descriptors of output and portrait, mean over every fifth frame."""

    name = "identity"
    direction = "higher"
    unit = "cosine"
    source = "dlib's face recognition ResNet (King 2017), after He et al. 2016"
    needs = "dlib-bin (BSL-1.0) and face-recognition-models (CC0): pip install 'mien[bench]'"
    requires = frozenset({"portrait"})
    takes_reference = True
    reads_face = True

    reference: Reference
    turn: int = field(default=0, init=False)

    @classmethod
    def missing(cls) -> str | None:
        return recognition.missing()

    def update(self, sample: Sample) -> None:
        if self.reference.landmarks is None or not sample.redetected:
            return
        self.turn += 1
        if (self.turn - 1) % EVERY == 0:
            super().update(sample)

    def measure(self, sample: Sample) -> float | None:
        if sample.output_landmarks is None:
            return None
        return cosine(sample.output_descriptor, self.reference.descriptor)
