"""Runs: a suite's cases for some systems, into folders that can be resumed, reported and compared.

OUT/<system>/            one run (`bench.runner.record`)
OUT/run-suite.yaml       the suite that was run
OUT/tracks/              tracked clips, kept for later runs
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from animate.errors import OptionError
from bench.metrics import METRICS
from bench.runner.claim import SUITE_FILE, check_claim, sweep, without_home
from bench.runner.distributed import Job, run_here, run_processes
from bench.runner.record import RunFolder, Task, input_key, made_key, measured_key, media_notes
from bench.speed.run import machine
from bench.suites.manifest import Suite
from bench.systems.system import System, SystemSpec, open_system, parse_systems
from bench.tables import versions, write_json

SCHEMA = 1
PACKAGES = (
    "mien",
    "torch",
    "diffusers",
    "mediapipe",
    "numpy",
    "opencv-contrib-python",
    "dlib-bin",
    "torchmetrics",
    "ray",
)

Progress = Callable[[dict[str, Any], int, int], None]


def run_suite(
    suite: Suite,
    systems: Sequence[str],
    out: Path,
    *,
    limit: int | None = None,
    jobs: int = 1,
    ray: str | None = None,
    timeout: float | None = None,
    baselines: bool = True,
    retry: bool = False,
    settings: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run a suite. Cases that are finished, and whose inputs, system and metrics are the same, are not run again.

    Args:
        suite: the cases.
        systems: as named on the command line (`bench.systems.system`).
        out: folder of the runs, one for each system.
        limit: only the first so many cases.
        jobs: processes; on a cluster actors, where 1 means one for each of its cores.
        ray: "auto" or an address of a Ray cluster that does the work.
        timeout: seconds that a system may take for a case; more counts as failed. Without a cluster it needs a process
            of its own, so that this process outlives it.
        baselines: also run still, warp and copy, and the truth.
        retry: run cases again that failed or were left out.
        settings: in place of the suite's (`bench.suites.manifest.SETTINGS`), but for those that its cases were made by.
        progress: called with every finished record, the number of those finished and the number of all.

    Returns:
        Counts of records by status ("ok", "failed", "left out"), "reused" among them, "systems": their folders,
        "names": their names, "notes": sentences on the suite.

    Raises:
        OptionError: ``out`` holds another suite, or another system under the same name.
        MienError: the suite or a system cannot be used at all, or the disk is full. What goes wrong with one case is
            in its record.
    """
    if jobs < 1:
        raise OptionError(f"{jobs} jobs do nothing: give 1 or more.")
    if timeout is not None and timeout <= 0:
        raise OptionError(f"A time limit of {timeout:g} s leaves no time: give more than 0.")
    suite = suite.with_settings(settings or {})
    whole = suite.digest
    suite = suite.take(limit)
    if suite.protocol == "cache":
        from bench.suites.cache import import_records

        if systems:
            raise OptionError("The suite cache shows the methods of its record and runs no system: leave --system out.")
        check_claim(out, suite, ())
        return import_records(suite, out)
    specs = parse_systems(systems, baselines)
    if not specs:
        raise OptionError("No system is named: give at least one.")
    opened = {spec.word: open_system(spec.word) for spec in specs}
    check_claim(out, suite, specs)
    if ray is not None:
        from bench.runner.ray_cluster import check_cluster

        check_cluster(ray)
    states = suite.check()
    out.mkdir(parents=True, exist_ok=True)
    sweep(out)
    suite.save(out / SUITE_FILE)
    tasks = _tasks(suite, specs, opened)
    _describe(suite, whole, specs, opened, tasks, states, {"jobs": jobs, "ray": ray, "timeout": timeout}, out)
    wanted = [task for task in tasks if not RunFolder(out / task.system.folder).holds(task, retry)]
    wanted = [replace(task, keep_video=RunFolder(out / task.system.folder).video_holds(task)) for task in wanted]
    counts: dict[str, Any] = {"ok": 0, "failed": 0, "left out": 0, "reused": len(tasks) - len(wanted)}
    done = 0
    for record in _records(tasks, wanted, Job(suite, out, timeout), jobs, ray):
        counts[record["status"]] += 1
        done += 1
        if progress is not None:
            progress(record, done, len(tasks))
    counts |= {"systems": [spec.folder for spec in specs], "names": [spec.name for spec in specs]}
    return counts | {"notes": [*suite.notes, *media_notes(states)]}


def _records(
    tasks: Sequence[Task], wanted: Sequence[Task], job: Job, jobs: int, ray: str | None
) -> Iterator[dict[str, Any]]:
    """Records of tasks that were finished before, then those of the others as they are finished."""
    due = {(task.case, task.system.name) for task in wanted}
    for task in tasks:
        if (task.case, task.system.name) not in due:
            yield RunFolder(job.out / task.system.folder).record(task.case)
    if not wanted:
        return
    if ray is not None:
        from bench.runner.ray_cluster import run_ray

        yield from run_ray(job, wanted, None if jobs == 1 else jobs, ray)
    elif jobs == 1 and job.timeout is None:
        yield from run_here(job, wanted)
    else:
        yield from run_processes(job, wanted, jobs)


def _tasks(suite: Suite, specs: Sequence[SystemSpec], opened: Mapping[str, System]) -> list[Task]:
    """All tasks, a case's one after another, so that it is made ready once."""
    tasks = []
    for case in suite.cases:
        inputs = input_key(suite, case)
        for spec in specs:
            made = made_key(inputs, spec.word, opened[spec.word].digest(case.id))
            tasks.append(Task(case.id, spec, inputs, made, measured_key(made, suite)))
    return tasks


def _describe(
    suite: Suite,
    whole: str,
    specs: Sequence[SystemSpec],
    opened: Mapping[str, System],
    tasks: Sequence[Task],
    states: dict[str, str],
    options: dict[str, Any],
    out: Path,
) -> None:
    """Write run.json of every run. ``whole``: the digest of the suite with all of its cases."""
    known = {name: METRICS[name] for name in suite.metrics if name in METRICS}
    facts = {
        "schema": SCHEMA,
        "suite": {
            "name": suite.name,
            "title": suite.title,
            "protocol": suite.protocol,
            "metrics": list(suite.metrics),
            "cases": [case.id for case in suite.cases],
            "licences": suite.licences,
            "notes": list(suite.notes),
            "sha256": suite.digest,
            "whole": whole,
        },
        "inputs": {task.case: task.inputs for task in tasks},
        "versions": versions(PACKAGES),
        "machine": describe_machine(),
        "settings": suite.settings | options,
        "hashes": {file: suite.hashes.get(file, "") for file in states},
        "metrics_known": {
            name: {key: getattr(metric, key) for key in ("direction", "unit", "source", "needs")}
            | {"missing": metric.missing()}
            for name, metric in known.items()
        },
        "notes": media_notes(states),
        "started": datetime.now(UTC).isoformat(timespec="microseconds"),
    }
    for spec in specs:
        own = {"system": spec.name, "spec": without_home(spec.word), "role": spec.role}
        write_json(out / spec.folder / "run.json", facts | own | {"weights": opened[spec.word].weights()})


def describe_machine() -> dict[str, Any]:
    """Processor, cores, load and system, without its name."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "processor": _processor(),
        **machine(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
