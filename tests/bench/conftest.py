"""A real face with its mesh, and clips made from it."""

import numpy as np
import pytest

from bench.metrics import METRICS, Reference, Sample, create_metrics
from bench.metrics.regions import face_regions


@pytest.fixture(scope="session")
def redetector():
    from bench.redetect import Redetector

    return Redetector()


@pytest.fixture(scope="session")
def face(astronaut, redetector):
    """The astronaut's face enlarged to 320 px and its (478, 3) landmarks."""
    import cv2

    picture = cv2.resize(astronaut[0:240, 110:350], (320, 320), interpolation=cv2.INTER_CUBIC)
    return picture, redetector.tracker.detect(picture)[0].landmarks


@pytest.fixture(scope="session")
def measure(face):
    """Function: two lists of frames, the truth's landmarks and openness -> metric name -> value."""
    picture, landmarks = face

    def run(outputs, truths, mouth_open=True, output_meshes=None, truth_meshes=None, only=None):
        metrics = create_metrics(Reference(picture, landmarks))
        if only:
            metrics = [METRICS[only]()]
        for t, (output, truth) in enumerate(zip(outputs, truths, strict=True)):
            truth_mesh = landmarks if truth_meshes is None else truth_meshes[t]
            sample = Sample(
                index=t,
                output=output,
                truth=truth,
                regions=face_regions(truth_mesh, truth.shape[1::-1], 100.0),
                mouth_open=mouth_open,
                output_landmarks=truth_mesh if output_meshes is None else output_meshes[t],
                truth_landmarks=truth_mesh,
            )
            for metric in metrics:
                metric.update(sample)
        return {metric.name: metric.value() for metric in metrics}

    return run


@pytest.fixture(scope="session")
def noise():
    """Function: add Gaussian noise of a standard deviation in 8-bit steps, another seed for every frame."""

    def add(frames, deviation, seed=0):
        rng = np.random.default_rng(seed)
        return [np.clip(f + rng.normal(0, deviation, f.shape), 0, 255).round().astype(np.uint8) for f in frames]

    return add
