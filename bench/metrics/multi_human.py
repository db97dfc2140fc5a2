"""MultiHuman-Testbench: are there as many people as were asked for, and are they those people?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from animate import recognition
from bench.metrics import arcface
from bench.metrics.base import FrameMean, Reference, Sample
from bench.metrics.matching import Matching, matched_similarity
from bench.metrics.tracks import MESH

PAPER = "Borse et al. 2025, MultiHuman-Testbench"


@dataclass
class FaceCount(FrameMean):
    """1 where the picture shows exactly as many faces as were asked for, else 0; a picture that is missing has 0.

    The released code leaves missing pictures out, so that failures raise its score.
    """

    name = "face_count"
    direction = "higher"
    unit = "share in [0, 1]"
    source = f"{PAPER}, section 4 (count accuracy); faces by Mien's tracker in place of RetinaFace"
    requires = frozenset({"faces"})
    needs = MESH
    takes_reference = True
    failed = 0.0
    unfit = "nobody looked for faces"

    reference: Reference

    def measure(self, sample: Sample) -> float | None:
        if sample.output_faces is None or not self.reference.people:
            return None
        return float(len(sample.output_faces) == len(self.reference.people))


@dataclass
class MatchedIdentity(FrameMean):
    """Likeness of the people who should be in the picture to the faces in it that are matched with them.

    The sum of the matched cosines over the number of people: who is missing counts as 0, and so does a missing
    picture. Faces by dlib's network, whose cosine of two strangers is about 0.8.
    """

    name = "matched_identity"
    direction = "higher"
    unit = "cosine"
    source = f"{PAPER}, section 4 (Hungarian identity similarity), matched optimally; faces by dlib (King 2017)"
    needs = "dlib-bin (BSL-1.0) and face-recognition-models (CC0): pip install 'mien[bench]'"
    requires = frozenset({"faces"})
    takes_reference = True
    failed = 0.0
    unfit = "there is no picture of every person"
    matching: ClassVar[Matching] = "optimal"

    reference: Reference
    wanted: list[np.ndarray] | None = field(default=None, init=False)

    @classmethod
    def missing(cls) -> str | None:
        return recognition.missing()

    @classmethod
    def describe_face(cls, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """(d,) descriptor of a face."""
        return recognition.descriptor(image, landmarks)

    def measure(self, sample: Sample) -> float | None:
        people = self.reference.people
        if sample.output_faces is None or not people or any(p.image is None or p.landmarks is None for p in people):
            return None
        if self.wanted is None:
            self.wanted = [_unit(self.describe_face(person.image, person.landmarks)) for person in people]
        key = (self.needs, "faces of the output")
        found = sample.shared(
            key, lambda: [_unit(self.describe_face(sample.output, mesh)) for mesh in sample.output_faces]
        )
        if not found:
            return 0.0
        return matched_similarity(np.stack(self.wanted) @ np.stack(found).T, self.matching)


class MatchedIdentityCompat(MatchedIdentity):
    """`MatchedIdentity` with the matching of MultiHuman-Testbench's released code, which is not optimal, for
    comparison with published numbers."""

    name = "matched_identity_compat"
    source = f"{PAPER}, the matching of its released code; faces by dlib (King 2017)"
    matching = "compat"


class MatchedIdentityArcFace(MatchedIdentity):
    """`MatchedIdentity` by ArcFace on aligned faces; the released code cuts them unaligned and scales them wrongly."""

    name = "matched_identity_arcface"
    source = f"{PAPER}, section 4 (Hungarian identity similarity), matched optimally; ArcFace (Deng et al. 2019)"
    needs = arcface.NEEDS

    @classmethod
    def missing(cls) -> str | None:
        return arcface.missing()

    @classmethod
    def describe_face(cls, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        return arcface.embedding(image, landmarks)


class MatchedIdentityArcFaceCompat(MatchedIdentityArcFace):
    """`MatchedIdentityArcFace` with the released code's matching."""

    name = "matched_identity_arcface_compat"
    source = f"{PAPER}, the matching of its released code; ArcFace (Deng et al. 2019)"
    matching = "compat"


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
