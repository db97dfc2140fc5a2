"""A job of the page at work: in a thread of its own, watched from outside, stopped at any frame."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from animate.errors import OptionError

from .console import Progress

Item = TypeVar("Item")
Result = TypeVar("Result")
POLL = 0.25  # seconds between two looks at a job
JOB = "a job of the page"  # name of its thread
DESERTED = 60.0  # seconds after which a job that nobody looks at is given up


class Cancelled(Exception):
    """Somebody does not want the result any more."""


@dataclass(frozen=True)
class Stand:
    """How far a job is: frames done of `total` (None: unknown), and frames per second of late."""

    label: str = "starting"
    done: int = 0
    total: int | None = None
    rate: float = 0.0

    def __str__(self) -> str:
        if not self.done:
            return f"{self.label[:1].upper()}{self.label[1:]} …"
        of = "" if self.total is None else f" of {self.total}"
        return f"{self.label[:1].upper()}{self.label[1:]}: frame {self.done}{of}, {self.rate:.1f} frames/s"


class WatchedProgress(Progress):
    """A `Progress` that shows nothing itself: others read `stand`, and `cancel` ends the job at its next frame."""

    def __init__(self, minutes: float = 30.0):
        super().__init__(quiet=True)
        self.stand = Stand()
        self._cancelled = threading.Event()
        self.given_up = False
        self._looked_at = time.monotonic()
        self._end, self._minutes = time.monotonic() + 60 * minutes, minutes

    def cancel(self, at_once: bool = False) -> None:
        """Ends the job at its next frame. at_once: whoever waits for it is told so before that."""
        self._cancelled.set()
        self.given_up = self.given_up or at_once

    def look(self) -> Stand:
        """How far it is; also tells the job that somebody still waits for it."""
        self._looked_at = time.monotonic()
        return self.stand

    def check(self) -> None:
        """Raises Cancelled, or OptionError for a job that takes too long."""
        now = time.monotonic()
        if self._cancelled.is_set() or now - self._looked_at > DESERTED:
            raise Cancelled
        if now > self._end:
            raise OptionError(
                f"The job took more than {self._minutes:g} minutes: use the command line for such a clip."
            )

    @contextmanager
    def stage(self, label: str) -> Iterator[None]:
        self.check()
        self.stand = Stand(label)
        yield
        self.check()

    def follow(self, items: Iterable[Item], label: str, total: int | None) -> Iterator[Item]:
        began = time.monotonic()
        self.stand = Stand(label, total=total)
        for done, item in enumerate(items, start=1):
            self.check()
            seconds = max(time.monotonic() - began, 1e-6)
            self.stand = replace(self.stand, done=done, rate=done / seconds)
            yield item


class Running(Generic[Result]):
    """Work in a thread; iterate over it to see how far it is, then ask for its `result`."""

    def __init__(self, work: Callable[[WatchedProgress], Result], minutes: float = 30.0):
        self.progress = WatchedProgress(minutes)
        self._result: Result | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), name=JOB, daemon=True)

    def _run(self, work: Callable[[WatchedProgress], Result]) -> None:
        try:
            self._result = work(self.progress)
        except BaseException as error:  # told to whoever asks for the result
            self._error = error

    def __iter__(self) -> Iterator[Stand]:
        """Each new stand; ends with the work. Whoever stops iterating stops the work.

        Raises Cancelled where the work was given up and has not ended.
        """
        self._thread.start()
        last = None
        try:
            while self._thread.is_alive():
                self._thread.join(POLL)
                if self.progress.given_up and self._thread.is_alive():
                    raise Cancelled
                stand = self.progress.look()
                if stand != last:
                    yield stand
                last = stand
        finally:
            if self._thread.is_alive():
                self.progress.cancel()

    @property
    def result(self) -> Result:
        """What the work returned. Raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._result
