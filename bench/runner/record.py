"""Run folders on disk: a record, a video and features for each case, and keys that tell whether they still hold.

RUN/run.json            suite, system, versions, machine, hashes
RUN/cases/<id>.json     the record
RUN/videos/<id>.mp4     what was measured (a PNG where the case asks for a picture)
RUN/features/<id>.npz   "<metric>.output" and "<metric>.truth" of the metrics over all clips
RUN/logs/<id>.txt       what a program printed that failed
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bench.metrics import METRICS
from bench.suites.manifest import Case, Suite, sha256
from bench.systems.system import SystemSpec
from bench.tables import write_json, write_whole

VERSION = 1
"""Of what `made` and `measured` are keys of."""

BENCH = Path(__file__).parents[1]
MEASURING = ("metrics/*.py", "runner/measure.py", "runner/scene.py", "runner/stage.py", "redetect.py")
MAKING = ("runner/video.py", "runner/align.py", "runner/scene.py", "runner/stage.py", "systems/*.py")


@dataclass(frozen=True)
class Task:
    """A case for a system.

    Attributes:
        case, system: which.
        inputs: key of what the case is made of.
        made: key of what the output depends on.
        measured: key of what its figures depend on.
        keep_video: the output of an earlier run still holds; only the figures have to be made anew.
    """

    case: str
    system: SystemSpec
    inputs: str
    made: str
    measured: str
    keep_video: bool = False


class RunFolder:
    """One system's folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def record_file(self, case: str) -> Path:
        """Where a case's record is."""
        return self.folder / "cases" / f"{case}.json"

    def video(self, case: Case | str) -> Path | None:
        """A case's video or picture, or None."""
        name = case if isinstance(case, str) else case.id
        both = (self.folder / "videos" / f"{name}{suffix}" for suffix in (".mp4", ".png"))
        return next((path for path in both if path.is_file()), None)

    def log(self, case: str) -> Path:
        """Where is kept what a program printed that failed on a case."""
        return self.folder / "logs" / f"{case}.txt"

    def features_file(self, case: str) -> Path:
        """Where a case's features are."""
        return self.folder / "features" / f"{case}.npz"

    def record(self, case: str) -> dict[str, Any] | None:
        """A case's record, or None where there is none that can be read."""
        try:
            record = json.loads(self.record_file(case).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) else None

    def write(self, record: Mapping[str, Any], features: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        """Write a case's features, then its record: where there is a record, all is there."""
        name = record["case"]
        if record["video"] is None and (old := self.video(name)) is not None:
            old.unlink()
        path = self.features_file(name)
        if features:
            flat = {f"{metric}.{key}": rows for metric, both in features.items() for key, rows in both.items()}
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **flat)
            write_whole(path, buffer.getvalue())
        else:
            path.unlink(missing_ok=True)
        self.write_record(record)

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Write a record whose other files are there."""
        write_json(self.record_file(record["case"]), dict(record))

    def holds(self, task: Task, retry: bool) -> bool:
        """Whether a finished record still holds."""
        record = self.record(task.case)
        if record is None or (record.get("made"), record.get("measured")) != (task.made, task.measured):
            return False
        if record.get("status") != "ok":
            return not retry
        return self.video(task.case) is not None

    def video_holds(self, task: Task) -> bool:
        """Whether the output of an earlier run can be measured again."""
        record = self.record(task.case)
        known = record is not None and record.get("made") == task.made and record.get("status") == "ok"
        return known and self.video(task.case) is not None


def load_features(run: Path, metric: str, cases: Sequence[str] | None = None) -> dict[str, dict[str, np.ndarray]]:
    """Features of a set metric: case -> {"output", "truth"} -> (n, d); cases without any are left out."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for path in sorted((run / "features").glob("*.npz")):
        if cases is not None and path.stem not in cases:
            continue
        with np.load(path, allow_pickle=False) as stored:
            both = {key: stored[f"{metric}.{key}"] for key in ("output", "truth") if f"{metric}.{key}" in stored}
        if len(both) == 2:
            found[path.stem] = both
    return found


def media_notes(states: Mapping[str, str]) -> list[str]:
    """A sentence for each medium that is not what the suite was made with; states as of `Suite.check`."""
    words = {"missing": "is missing", "wrong": "is not the file that the suite was made with: its SHA-256 differs"}
    return [f"{file} {words[state]}." for file, state in states.items() if state != "ok"]


def input_key(suite: Suite, case: Case) -> str:
    """A word for a case's media, options and settings; media that are missing count as missing."""
    states = {}
    for file in case.files:
        path = suite.folder / file
        states[file] = sha256(path) if path.is_file() else "missing"
    plain = asdict(case) | {"groups": None}
    settings = {key: suite.setting(key) for key in ("max_frames", "max_side", "fps")}
    return _digest(plain, states, settings)


def made_key(inputs: str, word: str, digest: str) -> str:
    """A word for what an output depends on."""
    return _digest(VERSION, inputs, word, digest, _code(MAKING))


def measured_key(made: str, suite: Suite) -> str:
    """A word for what the figures of an output depend on: the output, the metrics, and whether they can be computed."""
    known = {name: METRICS[name].missing() if name in METRICS else "unknown" for name in suite.metrics}
    return _digest(VERSION, made, known, [suite.setting(key) for key in ("stride", "stride_faces")], _code(MEASURING))


@lru_cache(maxsize=4)
def _code(patterns: tuple[str, ...]) -> str:
    files = sorted(path for pattern in patterns for path in BENCH.glob(pattern))
    return _digest(*(f"{path.name} {sha256(path)}" for path in files))


def _digest(*values: object) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:32]
