"""Tasks carried out here, by processes of this machine, or by a Ray cluster; the records are the same.

Every way has the same two phases, making and measuring, on a `bench.runner.case.Workshop`: only the making has a time
limit. A process that dies takes its case with it and no other.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from animate.errors import MediaError, MienError
from bench.runner.case import Workshop, lost_record
from bench.runner.record import RunFolder, Task
from bench.suites.manifest import Suite
from bench.systems.process import ending

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Environment of worker processes: there is one of them for a core."""


@dataclass(frozen=True)
class Job:
    """What every worker has to know.

    Attributes:
        suite: the cases and their media.
        out: the folder of the runs.
        timeout: seconds that making an output may take.
    """

    suite: Suite
    out: Path
    timeout: float | None = None


def run_here(job: Job, tasks: Sequence[Task]) -> Iterator[dict[str, Any]]:
    """In this process, one after another; of the time limit only programs take notice."""
    with one_thread():
        workshop = Workshop(job.suite, job.out, job.timeout)
        for task in tasks:
            yield workshop.run(task)


def run_processes(job: Job, tasks: Sequence[Task], jobs: int) -> Iterator[dict[str, Any]]:
    """By processes of this machine, in the order in which they finish.

    Ctrl-C, or closing the iterator, ends them at once.
    """
    waiting = deque(tasks)
    workers = [_Worker(job) for _ in range(min(jobs, len(tasks)))]
    try:
        while waiting or any(worker.task for worker in workers):
            for worker in workers:
                if worker.task is None and waiting:
                    worker.begin(waiting.popleft())
            for worker in _ready(workers):
                record = worker.collect()
                if record is not None:
                    yield record
    finally:
        for worker in workers:
            worker.end()


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for each operation, so that figures do not depend on the number of processes."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Worker:
    """A process with a workshop, and the task that it is at."""

    def __init__(self, job: Job):
        self.job = job
        self.task: Task | None = None
        self.deadline: float | None = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, self.job), daemon=False)
        before = {name: os.environ.get(name) for name in ONE_THREAD}
        os.environ.update(ONE_THREAD)
        try:
            self.process.start()
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
        theirs.close()

    def begin(self, task: Task) -> None:
        """Give it a task."""
        if not self.process.is_alive():
            self.end()
            self._start()
        self.task, self.deadline = task, None
        self.pipe.send(task)

    def collect(self) -> dict[str, Any] | None:
        """What it has to say: the record of its task, or None while it is at it."""
        try:
            if self.pipe.poll():
                word, value = self.pipe.recv()
                if word == "making":
                    limit = self.job.timeout
                    self.deadline = None if limit is None else time.monotonic() + limit
                elif word == "measuring":
                    self.deadline = None
                elif word == "error":
                    raise MediaError(value)
                else:
                    self.task = self.deadline = None
                    return value
                return None
            if self.process.is_alive() and not self.late():
                return None
            why = f"It took more than {self.job.timeout:g} s and was stopped." if self.late() else None
        except (EOFError, OSError):
            why = None
        self.end()
        return self._lost(why or f"Its process ended with {ending(self.process.exitcode)}.")

    def _lost(self, why: str) -> dict[str, Any]:
        task, self.task, self.deadline = self.task, None, None
        folder = RunFolder(self.job.out / task.system.folder)
        if (log := folder.log(task.case)).is_file():
            why += f" (what it printed: {log.relative_to(folder.folder).as_posix()})"
        record = lost_record(task, self.job.suite, why)
        folder.write(record, {})
        return record

    def late(self) -> bool:
        """Whether its time is up."""
        return self.deadline is not None and time.monotonic() > self.deadline

    def end(self) -> None:
        """End it, with whatever it started."""
        if self.process.is_alive():
            self.process.terminate()
            self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        self.pipe.close()


def _ready(workers: Sequence[_Worker]) -> list[_Worker]:
    """Workers that have something to say, have ended, or are late; waits until there is one."""
    busy = [worker for worker in workers if worker.task is not None]
    deadlines = [worker.deadline for worker in busy if worker.deadline is not None]
    patience = max(0.0, min(deadlines) - time.monotonic()) + 0.05 if deadlines else None
    said = wait([each for worker in busy for each in (worker.pipe, worker.process.sentinel)], patience)
    return [w for w in busy if w.pipe in said or w.process.sentinel in said or w.late()]


def _serve(pipe: Connection, job: Job) -> None:
    """A worker's life: a task in, the phases and the record out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends its workers
    signal.signal(signal.SIGTERM, _leave)
    with one_thread():
        workshop = Workshop(job.suite, job.out, job.timeout)
        while True:
            try:
                task = pipe.recv()
            except (EOFError, OSError):
                return
            try:
                pipe.send(("making", None))
                made = workshop.make(task)
                pipe.send(("measuring", None))
                pipe.send(("record", workshop.finish(task, made)))
            except BrokenPipeError:  # the parent was killed
                return
            except (MienError, OSError) as error:  # of the folder of the runs: no case is at fault
                pipe.send(("error", str(error)))
                return


def _leave(*_: object) -> None:
    """End the worker in such a way that what it has begun is cleaned up."""
    sys.unraisablehook = lambda *_: None  # the exit may reach a finalizer, which would print it
    sys.exit(1)
