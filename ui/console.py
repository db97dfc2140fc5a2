"""What the person at the terminal sees: the two consoles and the progress bars."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console

Item = TypeVar("Item")


def out_console() -> Console:
    """Results go to standard output. Made anew each time: tests and pipes replace the stream."""
    return Console(soft_wrap=True, highlight=False)


def err_console() -> Console:
    """Progress, notes and errors go to standard error, so that standard output can be piped."""
    return Console(stderr=True, soft_wrap=True, highlight=False)


class Progress:
    """A progress bar with frames per second for each stage; says nothing when quiet or not at a terminal."""

    def __init__(self, quiet: bool = False):
        self._console = err_console()
        self._shown = not quiet and self._console.is_terminal

    @contextmanager
    def stage(self, label: str) -> Iterator[None]:
        """Shows a spinner while work without countable steps goes on."""
        if not self._shown:
            yield
            return
        with self._console.status(label):
            yield

    def follow(self, items: Iterable[Item], label: str, total: int | None) -> Iterator[Item]:
        """Yields the items and moves the bar; total None means that the count is not known beforehand."""
        if not self._shown:
            yield from items
            return
        from rich import progress

        columns = (
            progress.TextColumn("{task.description:<10}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[rate]}"),
            progress.TimeRemainingColumn(),
        )
        with progress.Progress(*columns, console=self._console) as bar:
            task = bar.add_task(label, total=total, rate="")
            for item in items:
                yield item
                bar.advance(task)
                speed = bar.tasks[0].speed
                bar.update(task, rate=f"{speed:.1f} frames/s" if speed else "")
            # A file's header may promise another count than it holds: the bar ends full all the same.
            bar.update(task, total=bar.tasks[0].completed)
