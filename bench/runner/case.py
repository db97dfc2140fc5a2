"""One case for one system: its output made, then measured. A `Workshop` does so, in whatever process it lives."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from animate.errors import MienError
from bench.metrics import METRICS
from bench.redetect import Redetector
from bench.runner.align import keep_file, keep_frames, output_size
from bench.runner.claim import check_disk, work_prefix
from bench.runner.measure import Measured, failed, measure
from bench.runner.record import RunFolder, Task, media_notes
from bench.runner.scene import LeftOut, Scene
from bench.runner.stage import Stage
from bench.suites.manifest import Case, Suite
from bench.systems.system import Failed, FileSystem, FrameSystem, System, open_system

TRACKS = "tracks"
"""Folder beside the runs that keeps tracked clips."""


@dataclass
class Made:
    """How the making of an output ended.

    Attributes:
        status: "ok", "failed" or "left out".
        error: why it is not ok.
        seconds: from the case to a finished video, without loading models; 0 for a video that was there.
        frames: that it was asked for.
        notes: sentences.
    """

    status: str = "ok"
    error: str | None = None
    seconds: float = 0.0
    frames: int = 0
    notes: list[str] = field(default_factory=list)


class Workshop:
    """Makes and measures outputs; keeps models, clips and the last scene between tasks.

    Args:
        suite: the cases and their media.
        out: the folder of the runs.
        timeout: seconds a program may take for a case.
    """

    def __init__(self, suite: Suite, out: Path, timeout: float | None = None):
        self.suite, self.out, self.timeout = suite, out, timeout
        self.cases = {case.id: case for case in suite.cases}
        self.redetector = Redetector()
        self.stage = Stage(suite, self.redetector, out / TRACKS)
        self.systems: dict[str, System] = {}

    def run(self, task: Task) -> dict[str, Any]:
        """Make and measure; returns the record, which is also written."""
        return self.finish(task, self.make(task))

    def make(self, task: Task) -> Made:
        """Make the output of a task. Whatever goes wrong in the system is told and not raised."""
        made = Made()
        case = self.cases[task.case]
        made.notes += media_notes(self.suite.check(case.files))
        try:
            scene = self._scene(case)
            made.notes += scene.notes
            made.frames = scene.count
            if task.keep_video:
                old = self._folder(task).record(task.case) or {}
                made.seconds = float(old.get("seconds") or 0.0)
                made.notes += [note for note in old.get("notes") or () if note not in made.notes]
            else:
                self._produce(task, scene, made)
        except LeftOut as error:
            made.status, made.error = "left out", str(error)
        except Exception as error:  # a benchmark outlives the systems that it measures
            check_disk(self.out, error)
            made.status, made.error = "failed", _said(error)
        return made

    def finish(self, task: Task, made: Made) -> dict[str, Any]:
        """Measure the output and write the record."""
        case = self.cases[task.case]
        folder = self._folder(task)
        names = self.suite.metrics
        size = fps = None
        result = Measured()
        scene = None
        try:
            scene = self._scene(case)
            fps = str(scene.fps)
        except LeftOut as error:
            made.status, made.error = "left out", str(error)
        try:
            if made.status == "ok":
                strides = (self.suite.setting("stride"), self.suite.setting("stride_faces"))
                video = folder.video(case)
                result = measure(scene, video, names, self.redetector, strides)
                size = list(scene.size or output_size(video))
            elif made.status == "failed":
                result = failed(scene.has, names)
        except Exception as error:  # a frame that a metric cannot take is the output's fault, and never ends the run
            check_disk(self.out, error)
            made.status, made.error = "failed", f"It cannot be measured: {_said(error)}"
            result = failed(scene.has, names)
        if made.status == "left out":
            result = Measured(dict.fromkeys(names), dict.fromkeys(names, "the case is left out"))
        record = record_of(task, case, made, result)
        record |= {"size": size, "fps": fps, "video": None}
        if made.status == "ok":
            record["video"] = folder.video(case).relative_to(folder.folder).as_posix()
        folder.write(record, result.features)
        return record

    def _scene(self, case: Case) -> Scene:
        """The case made ready. LeftOut whatever is wrong with it: no system is charged with that."""
        try:
            return self.stage.scene(case)
        except LeftOut:
            raise
        except Exception as error:
            check_disk(self.out, error)
            raise LeftOut(f"It cannot be made ready: {_said(error)}") from error

    def _folder(self, task: Task) -> RunFolder:
        return RunFolder(self.out / task.system.folder)

    def _produce(self, task: Task, scene: Scene, made: Made) -> None:
        system = self.systems.get(task.system.word)
        if system is None:
            system = self.systems[task.system.word] = open_system(task.system.word)
        folder = self._folder(task).folder / "videos"
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{task.case}{'.png' if scene.size is None else '.mp4'}"
        with tempfile.TemporaryDirectory(prefix=work_prefix(), dir=folder.parent, ignore_cleanup_errors=True) as work:
            fresh = Path(work) / f"kept{target.suffix}"
            if isinstance(system, FrameSystem):
                if scene.size is None:
                    raise LeftOut("This case asks for a picture of nothing but faces and words.")
                system.load(scene)
                began = time.perf_counter()
                keep_frames(system.frames(scene), scene.count, scene.fps, scene.size, fresh)
                made.seconds = time.perf_counter() - began
            elif isinstance(system, FileSystem):
                began = time.perf_counter()
                place = Path(work) / "system"
                place.mkdir()
                file = system.file(scene, place, self.timeout)
                made.seconds = time.perf_counter() - began if file.is_relative_to(place) else 0.0
                made.notes += keep_file(file, scene.count, scene.fps, scene.size, fresh)
            os.replace(fresh, target)


def record_of(task: Task, case: Case, made: Made, result: Measured) -> dict[str, Any]:
    """A case's record as plain data."""
    return {
        "case": case.id,
        "system": task.system.name,
        "protocol": case.protocol,
        "portrait": case.portrait or case.driver or case.truth,
        "status": made.status,
        "error": made.error,
        "values": result.values,
        "not_computed": result.not_computed,
        "frames": result.frames,
        "lost": result.lost,
        "seconds": round(made.seconds, 4),
        "frames_asked": made.frames,
        "groups": dict(case.groups),
        "notes": made.notes,
        "inputs": task.inputs,
        "made": task.made,
        "measured": task.measured,
    }


def lost_record(task: Task, suite: Suite, why: str) -> dict[str, Any]:
    """The record of a task whose process is gone."""
    case = next(case for case in suite.cases if case.id == task.case)
    result = Measured()
    for name in suite.metrics:
        value = METRICS[name].failed if name in METRICS else None
        result.values[name] = value
        if value is None:
            result.not_computed[name] = "the system failed"
    return record_of(task, case, Made("failed", why), result) | {"size": None, "fps": None, "video": None}


def _said(error: Exception) -> str:
    """An error as a sentence; one that nobody foresaw says what it is."""
    if isinstance(error, (Failed, MienError)):
        return str(error)
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
