"""Tasks carried out by a Ray cluster: an actor for a core, each with a workshop of its own.

Media travel to the nodes that lack them, outputs and records travel back: nothing but Mien itself has to be installed
there. What a system needs (its program, its folder of videos, other weights than the embedded ones) has to be there,
too.
"""

from __future__ import annotations

import socket
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from animate.errors import OptionError
from bench.runner.case import Made, Workshop, lost_record
from bench.runner.distributed import ONE_THREAD, Job, one_thread
from bench.runner.record import RunFolder, Task
from bench.suites.manifest import sha256
from bench.tables import write_whole

PATIENCE = 10.0
"""Seconds that a cluster's address is given to answer."""


def missing() -> str | None:
    """What has to be installed before a cluster can be used, or None."""
    from importlib.util import find_spec

    return None if find_spec("ray") else "Ray is not installed: pip install 'mien[scale]'."


def check_cluster(address: str) -> None:
    """OptionError where Ray is not installed, or nobody listens at the address."""
    if (lacking := missing()) is not None:
        raise OptionError(lacking)
    if address != "auto":
        try:
            _knock(address)
        except (OSError, ValueError) as error:
            raise OptionError(_unusable(address, error)) from error


def run_ray(job: Job, tasks: Sequence[Task], jobs: int | None, address: str) -> Iterator[dict[str, Any]]:
    """By the actors of a cluster, in the order in which they finish.

    Args:
        job: what every worker has to know.
        tasks: what to do.
        jobs: actors; None for one a core of the cluster.
        address: "auto" joins the cluster that this machine is part of, or starts one here where there is none;
            otherwise "ray://HOST:PORT" or "HOST:PORT".

    Raises:
        OptionError: Ray is not installed, or the cluster cannot be reached.
    """
    check_cluster(address)
    import ray

    started = _connect(ray, address)
    try:
        cores = int(ray.cluster_resources().get("CPU", 1))
        crew = [_Hand(ray, job) for _ in range(max(1, min(jobs or cores, cores, len(tasks))))]
        yield from _share_out(ray, job, tasks, crew)
    finally:
        if started:
            ray.shutdown()


def _connect(ray, address: str) -> bool:
    """Join a cluster; whether that was done here."""
    if ray.is_initialized():
        return False
    options = {"runtime_env": {"env_vars": ONE_THREAD}, "log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address != "auto":
            ray.init(address=address, **options)
            return True
        try:
            ray.init(address="auto", **options)
        except ConnectionError:
            ray.init(address="local", include_dashboard=False, **options)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise OptionError(_unusable(address, error)) from error
    return True


def _unusable(address: str, error: Exception) -> str:
    return f"The Ray cluster {address} cannot be used ({' '.join(str(error).split())[:200]})."


def _knock(address: str) -> None:
    """OSError or ValueError where nobody listens: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    with socket.create_connection((host, int(port)), PATIENCE):
        return


class _Bench:
    """What lives on a node: a workshop in a folder of its own, filled with media when they are asked for."""

    def __init__(self, job: Job):
        self._home = tempfile.TemporaryDirectory(prefix="mien-bench-", ignore_cleanup_errors=True)
        home = Path(self._home.name)
        self._original, self._media = job.suite.folder, home / "media"
        suite = replace(job.suite, folder=self._media)
        self._runs = home / "runs"
        self._workshop = Workshop(suite, self._runs, job.timeout)

    def lacks(self, files: dict[str, str]) -> list[str]:
        """Of media (file -> SHA-256) those that have to be sent."""
        lacking = []
        for file, digest in files.items():
            here, there = self._media / file, self._original / file
            if here.is_file():
                continue
            if there.is_file() and sha256(there) == digest:
                here.parent.mkdir(parents=True, exist_ok=True)
                here.symlink_to(there.resolve())
            else:
                lacking.append(file)
        return lacking

    def receive(self, file: str, content: bytes) -> None:
        """A medium."""
        path = self._media / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def make(self, task: Task, record: dict[str, Any] | None, video: tuple[str, bytes] | None) -> dict[str, Any]:
        """Make an output, or take the one of an earlier run."""
        folder = RunFolder(self._runs / task.system.folder)
        if video is not None:
            folder.write(record, {})
            path = folder.folder / video[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(video[1])
        with one_thread():
            return asdict(self._workshop.make(task))

    def finish(self, task: Task, made: dict[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Measure; the record, and the run's files of the case."""
        with one_thread():
            record = self._workshop.finish(task, Made(**made))
        folder = RunFolder(self._runs / task.system.folder)
        paths = [folder.video(task.case), folder.features_file(task.case), folder.log(task.case)]
        files = [path for path in paths if path is not None and path.is_file()]
        content = {path.relative_to(folder.folder).as_posix(): path.read_bytes() for path in files}
        for path in files:
            path.unlink()
        return record, content


class _Hand:
    """An actor, the task that it is at, and the answer that is waited for."""

    def __init__(self, ray, job: Job):
        self.ray, self.job = ray, job
        self.task: Task | None = None
        self.answer = None
        self.limit: float | None = None
        self.since = 0.0
        self._start()

    def _start(self) -> None:
        remote = self.ray.remote(num_cpus=1, max_restarts=0)(_Bench)
        self.actor = remote.remote(self.job)

    def begin(self, task: Task) -> None:
        """Send what it lacks, and the task."""
        suite = self.job.suite
        case = next(case for case in suite.cases if case.id == task.case)
        here = {file: suite.folder / file for file in case.files if (suite.folder / file).is_file()}
        lacking = self.ray.get(self.actor.lacks.remote({file: sha256(path) for file, path in here.items()}))
        for file in lacking:
            self.ray.get(self.actor.receive.remote(file, here[file].read_bytes()))
        record = video = None
        folder = RunFolder(self.job.out / task.system.folder)
        if task.keep_video:
            path = folder.video(task.case)
            record, video = folder.record(task.case), (path.relative_to(folder.folder).as_posix(), path.read_bytes())
        self.task, self.since, self.limit = task, time.monotonic(), self.job.timeout
        self.answer = self.actor.make.remote(task, record, video)

    def step(self) -> dict[str, Any] | None:
        """Take its answer; the record when the task is done."""
        answer = self.ray.get(self.answer)
        if isinstance(answer, dict):
            self.since, self.limit = time.monotonic(), None
            self.answer = self.actor.finish.remote(self.task, answer)
            return None
        record, files = answer
        folder = RunFolder(self.job.out / self.task.system.folder)
        for name, content in files.items():
            write_whole(folder.folder / name, content)
        folder.write_record(record)
        self.task = self.answer = None
        return record

    def lose(self, why: str) -> dict[str, Any]:
        """Give its task up and start another actor."""
        self.ray.kill(self.actor)
        record = lost_record(self.task, self.job.suite, why)
        RunFolder(self.job.out / self.task.system.folder).write(record, {})
        self.task = self.answer = None
        self._start()
        return record


def _share_out(ray, job: Job, tasks: Sequence[Task], crew: list[_Hand]) -> Iterator[dict[str, Any]]:
    waiting = deque(tasks)
    while waiting or any(hand.task for hand in crew):
        for hand in crew:
            if hand.task is None and waiting:
                hand.begin(waiting.popleft())
        busy = [hand for hand in crew if hand.task is not None]
        done, _ = ray.wait([hand.answer for hand in busy], num_returns=1, timeout=0.5)
        for hand in busy:
            if hand.answer in done:
                try:
                    record = hand.step()
                except ray.exceptions.RayError as error:
                    record = hand.lose(f"Its process on the cluster ended ({type(error).__name__}).")
                if record is not None:
                    yield record
            elif hand.limit is not None and time.monotonic() - hand.since > hand.limit:
                yield hand.lose(f"It took more than {hand.limit:g} s and was stopped.")
