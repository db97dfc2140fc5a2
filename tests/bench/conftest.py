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
            metrics = [METRICS[only].create(Reference(picture, landmarks))]
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


@pytest.fixture(scope="session")
def perform(face):
    """Function: let the face act. Arguments are (T,) curves, 0 at rest: mouth (inter-ocular distances that it opens),
    lids (share that the eyes are closed), yaw (radians), gaze (shift of the irises, eye widths); gives (T, 478, 3)
    px."""
    from animate import measures, pose, topology

    place, shape = pose.decompose(face[1])
    lower = [*topology.LOWER_LIP, *topology.CHIN_POINTS]

    def run(mouth=0.0, lids=0.0, yaw=0.0, gaze=0.0):
        mouth, lids, yaw, gaze = np.broadcast_arrays(*(np.atleast_1d(v) for v in (mouth, lids, yaw, gaze)))
        shapes = np.repeat(shape, len(mouth), 0)
        shapes[:, lower, 1] += mouth[:, None]
        gaps = measures.lid_gaps(shapes)  # (T, 2, 7)
        for eye, pairs in enumerate(topology.EYE_PAIRS):
            for k, (upper, _) in enumerate(pairs):
                shapes[:, upper, 1] += lids * gaps[:, eye, k]
        widths = measures.eye_widths(shapes)
        for eye, iris in enumerate(topology.IRISES):
            shapes[:, list(iris), 0] += (gaze * widths[:, eye])[:, None]
        turn = pose.rotation_from_angles(np.stack([0 * yaw, yaw, 0 * yaw], -1))
        middle = np.repeat(place.translation, len(mouth), 0)
        return pose.compose(shapes, pose.Pose(turn, middle, np.repeat(place.scale, len(mouth)))).astype(np.float32)

    return run


@pytest.fixture(scope="session")
def follow(face):
    """Function: the value of a metric for meshes of output and driver, on blank pictures or given ones."""
    picture, landmarks = face

    def run(name, outputs, targets, reference=None, pictures=None, **fields):
        metric = METRICS[name].create(reference or Reference(picture, landmarks))
        for t, target in enumerate(targets):
            output = outputs[t]
            shown = picture if pictures is None else pictures[t]
            metric.update(Sample(t, shown, picture, output_landmarks=output, truth_landmarks=target, **fields))
        return metric.value()

    return run
