"""Fréchet distance of dlib's face descriptors: what FID asks, of faces alone, with weights that are at hand."""

from __future__ import annotations

import numpy as np

from animate import recognition
from bench.metrics.base import Sample
from bench.metrics.fid import FrameSet
from bench.metrics.frechet import frechet_distance


class FrechetDlib(FrameSet):
    """Fréchet distance of 128 numbers a face, every fifth frame of all clips. No substitute for FID's numbers."""

    name = "frechet_dlib"
    unit = "squared distance"
    source = "ours; Heusel et al. 2017, section 3, on the descriptors of dlib's ResNet (King 2017)"
    needs = "dlib-bin (BSL-1.0) and face-recognition-models (CC0): pip install 'mien[bench]'"

    @classmethod
    def missing(cls) -> str | None:
        return recognition.missing()

    def of_frame(self, sample: Sample) -> tuple[np.ndarray | None, np.ndarray | None]:
        return sample.output_descriptor, sample.truth_descriptor

    @classmethod
    def distance(cls, output: np.ndarray, truth: np.ndarray) -> float:
        return frechet_distance(output, truth)
