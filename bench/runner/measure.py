"""All metrics of one output: each face in its view, and the whole picture where several people are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from animate import pose
from bench.metrics import METRICS, Metric, Reference, Sample, SetMetric, create_metrics, not_computed
from bench.metrics.base import MOUTH_OPEN_BY
from bench.metrics.lost import FaceTally, is_spoilt
from bench.metrics.opening import mouth_opening
from bench.metrics.regions import face_regions
from bench.redetect import Redetector
from bench.runner.align import output_frames, output_size
from bench.runner.scene import Scene, View
from bench.systems.system import Failed

UNKNOWN = "this version knows no metric of that name"


@dataclass
class Measured:
    """What one output gave.

    Attributes:
        values: metric -> value; a key for every metric of the suite.
        not_computed: metric -> why its value is None.
        features: set metric -> "output" and "truth" -> (n, d).
        frames: frames on which a face was looked for, of all faces together.
        lost: of these, those on which none was found although the target shows one.
    """

    values: dict[str, float | None] = field(default_factory=dict)
    not_computed: dict[str, str] = field(default_factory=dict)
    features: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    frames: int = 0
    lost: int = 0


class ViewMeasure:
    """The metrics of one face.

    Args:
        view: where it is.
        names: of metrics.
        has: what the case has.
        redetector: finds the face in the output.
        stride: every how many frames it is looked for.
    """

    def __init__(self, view: View, names: Sequence[str], has: frozenset[str], redetector: Redetector, stride: int):
        self.view, self.redetector, self.stride = view, redetector, stride
        self.metrics = create_metrics(view.reference, names, has)
        self.truths = None if view.truth is None else view.truth.frames()
        self.drivers = None if view.driver is None else view.driver.frames()
        self.own = view.truth is not None and view.driver is None
        self.open = None
        if view.truth is not None:
            openings = mouth_opening(view.truth.track.landmarks)
            self.open = openings - openings[0] > MOUTH_OPEN_BY
        self.tally = FaceTally()

    def update(self, index: int, output: np.ndarray) -> None:
        """Take in the next frame of the output, (h, w, 3) uint8 of the view's size."""
        view = self.view
        truth = next(self.truths) if self.truths is not None else None
        driver = next(self.drivers) if self.drivers is not None else None
        followed = view.driver or view.truth
        if followed is not None and not followed.track.valid[index]:
            return
        if index == 0 and self.own:
            return  # the portrait itself
        looked = view.near is not None and view.looked(index, self.stride)
        found = self._find(output, index) if looked else None
        regions = None
        if view.truth is not None:
            landmarks = view.truth.track.landmarks[index]
            regions = face_regions(landmarks, view.truth.track.size, float(pose.inter_ocular(landmarks)))
        sample = Sample(
            index=index,
            output=output,
            truth=truth,
            regions=regions,
            mouth_open=bool(self.open[index]) if self.open is not None else False,
            output_landmarks=found,
            truth_landmarks=view.truth.found(index) if looked and view.truth is not None else None,
            redetected=looked,
            driver=driver,
            driver_landmarks=view.driver.found(index) if looked and view.driver is not None else None,
        )
        self.tally.update(sample)
        for metric in self.metrics:
            metric.update(sample)

    def _find(self, output: np.ndarray, index: int) -> np.ndarray | None:
        near = self.view.near
        return self.redetector(output, near[min(index, len(near) - 1)], self.view.others)


class CrowdMeasure:
    """The metrics of all people in a picture; faces are looked for on every `stride`-th frame."""

    def __init__(self, people: tuple[Reference, ...], names: Sequence[str], redetector: Redetector, stride: int):
        self.redetector, self.stride = redetector, stride
        self.metrics = create_metrics(Reference(None, None, people=people), names, frozenset({"faces"}))
        self.tally = FaceTally()

    def update(self, index: int, output: np.ndarray) -> None:
        """Take in the next frame, (H, W, 3) uint8."""
        if index % self.stride or not self.metrics:
            return
        faces = tuple(face.landmarks for face in self.redetector.tracker.detect(output))
        self.tally.looked += 1
        for metric in self.metrics:
            metric.update(Sample(index=index, output=output, output_faces=faces))


def measure(
    scene: Scene, file: Path, names: Sequence[str], redetector: Redetector, strides: tuple[int, int]
) -> Measured:
    """Measure a run's video or picture.

    Args:
        scene: the case.
        file: the output, as `bench.runner.align` kept it.
        names: of metrics.
        redetector: finds faces.
        strides: every how many frames one face, and all faces of a picture, are looked for.

    Raises:
        Failed: the file holds another number of frames than the case asks for.
        MediaError: it cannot be read.
    """
    result = Measured(not_computed=reasons(names, scene.has))
    wanted = [name for name in names if name not in result.not_computed]
    crowd = [name for name in wanted if "faces" in METRICS[name].requires]
    alone = [name for name in wanted if name not in crowd]
    views = [ViewMeasure(view, alone, scene.has - {"faces"}, redetector, strides[0]) for view in scene.views]
    everybody = CrowdMeasure(scene.people, crowd, redetector, strides[1])
    for index, frame in enumerate(_shown(scene, file)):
        for view in views:
            x0, y0, x1, y1 = view.view.box
            view.update(index, np.ascontiguousarray(frame[y0:y1, x0:x1]) if len(views) > 1 else frame)
        everybody.update(index, frame)
    tallies = [view.tally for view in views] or [everybody.tally]
    result.frames, result.lost = sum(tally.looked for tally in tallies), sum(tally.lost for tally in tallies)
    collect(result, names, [(view.tally, view.metrics) for view in views] + [(everybody.tally, everybody.metrics)])
    return result


def reasons(names: Sequence[str], has: frozenset[str]) -> dict[str, str]:
    """Metrics that have no value for a case: name -> why."""
    why = {name: not_computed(name, has) if name in METRICS else UNKNOWN for name in names}
    return {name: reason for name, reason in why.items() if reason is not None}


def failed(scene_has: frozenset[str], names: Sequence[str]) -> Measured:
    """What a case that a system failed on counts as."""
    result = Measured(not_computed=reasons(names, scene_has))
    for name in names:
        result.values[name] = None if name in result.not_computed else METRICS[name].failed
        if result.values[name] is None:
            result.not_computed.setdefault(name, "the system failed")
    return result


def _shown(scene: Scene, file: Path) -> Iterator[np.ndarray]:
    """The frames of the output, as many as the case asks for."""
    read = 0
    for frame in output_frames(file, scene.size or output_size(file)):
        if read == scene.count:
            raise Failed(f"{file.name} holds more than the {scene.count} frames that were asked for.")
        read += 1
        yield frame
    if read != scene.count:
        raise Failed(f"{file.name} gives {read} frames, not the {scene.count} that were asked for.")


def collect(result: Measured, names: Sequence[str], faces: Sequence[tuple[FaceTally, Sequence[Metric]]]) -> None:
    """Means over faces, features of all of them.

    A face whose target is not fit to measure does not count. A face that the output lost takes the case's value away:
    were it left out, destroying it would make the mean better.
    """
    found: dict[str, list[tuple[FaceTally, Metric]]] = {}
    for tally, metrics in faces:
        for metric in metrics:
            found.setdefault(metric.name, []).append((tally, metric))
    for name in names:
        values, spoilt, unfit = [], [], []
        for tally, metric in found.get(name, ()):
            if isinstance(metric, SetMetric):
                _add(result.features.setdefault(name, {}), metric.features())
                continue
            value = tally.value(metric)
            if is_spoilt(value):
                spoilt.append(tally.why(metric))
            elif value is None:
                unfit.append(metric.unfit)
            else:
                values.append(float(value))
        result.values[name] = float(np.mean(values)) if values and not spoilt else None
        if result.values[name] is None and name not in result.features:
            reasons = [*spoilt, *unfit, METRICS[name].unfit if name in METRICS else UNKNOWN]
            result.not_computed.setdefault(name, reasons[0])


def _add(total: dict[str, np.ndarray], some: dict[str, np.ndarray]) -> None:
    for key, rows in some.items():
        if key not in total or not len(total[key]):
            total[key] = rows
        elif len(rows):
            total[key] = np.concatenate([total[key], rows])
