"""Action units: does the output move the muscles that the driver moves?

`AUMesh` reads them off the mesh. `ActionUnits` takes any classifier exported as ``action_units.onnx`` and put into
``~/.cache/mien/action-units``: input (1, 3, 224, 224), an RGB face in ImageNet's normalisation; first output (1, n)
probabilities in [0, 1].
"""

from __future__ import annotations

import numpy as np

from animate.arkit import scores_of
from animate.motion import Motion
from bench.metrics.base import FrameMean, Sample
from bench.metrics.face_parameters import face_square
from bench.metrics.local_weights import describe, weight_file, weights_missing
from bench.metrics.onnx_network import picture_batch, run
from bench.metrics.opening import LEAST_FRAMES, correlation
from bench.metrics.tracks import PairedTracks, track_of

WEIGHTS = "action-units"

MOVES = 0.05
"""Standard deviation of a driver's curve from which it counts as moving."""

STILL = MOVES / 2
"""The same of an output's curve below which it stands still: the trembling of a picture that does not move went with
some drivers at 0.15, and against others at 0.23."""


class AUMesh(PairedTracks):
    """Mean correlation over time of ARKit's expression curves that the driver moves, read off the mesh of both.

    The curves stand for action units (JawOpen for AU 26, BrowInnerUp for AU 1, MouthSmile for AU 12, ...) without a
    classifier of them. A face that does not move has 0.
    """

    name = "au_mesh"
    direction = "higher"
    unit = "[-1, 1]"
    source = "ours; curves after ARKit, by ridge regression from the mesh (animate.arkit)"
    unfit = "the driver moves no curve"

    def measure(self, output: np.ndarray, target: np.ndarray) -> float | None:
        if len(target) < LEAST_FRAMES:
            return None
        meshes = (self.outputs, self.targets)
        tracks = [track_of(self.indices, list(mesh), self.reference.fps) for mesh in meshes]
        ours, theirs = (scores_of(Motion.from_track(track))[self.indices] for track in tracks)
        moving = np.flatnonzero(theirs.std(0) >= MOVES)
        if not len(moving):
            return None
        ours[:, ours.std(0) < STILL] = 0
        return float(np.mean([correlation(ours[:, curve], theirs[:, curve]) for curve in moving]))


class _Classified(FrameMean):
    requires = frozenset({"driver"})
    reads_face = True
    weights: str
    side: int = 224
    scale: float = 1.2

    @classmethod
    def missing(cls) -> str | None:
        return weights_missing(cls.weights)

    def answers(self, sample: Sample) -> tuple[np.ndarray, np.ndarray] | None:
        """The classifier's first output on the output's face and the driver's, (n,) each."""
        if sample.output_landmarks is None or sample.target_landmarks is None:
            return None
        pairs = ((sample.output, sample.output_landmarks), (sample.target, sample.target_landmarks))
        found = [
            run(weight_file(self.weights), picture_batch(face_square(*p, self.side, self.scale)))[0] for p in pairs
        ]
        return found[0], found[1]


class ActionUnits(_Classified):
    """1 less the mean absolute difference of a classifier's action-unit probabilities of output and driver."""

    name = "action_units"
    direction = "higher"
    unit = "[0, 1]"
    source = "ours; agreement of a classifier of Ekman and Friesen's action units (1978)"
    needs = describe(WEIGHTS)
    weights = WEIGHTS

    def measure(self, sample: Sample) -> float | None:
        found = self.answers(sample)
        return None if found is None else 1 - float(np.abs(found[0] - found[1]).mean())


class Emotion(_Classified):
    """Share of frames on which the classifier HSEmotion sees the same of eight emotions in output and driver."""

    name = "emotion"
    direction = "higher"
    unit = "share in [0, 1]"
    source = "ours; classifier by Savchenko 2022, HSEmotion"
    needs = describe("hsemotion")
    weights = "hsemotion"

    def measure(self, sample: Sample) -> float | None:
        found = self.answers(sample)
        return None if found is None else float(found[0].argmax() == found[1].argmax())
