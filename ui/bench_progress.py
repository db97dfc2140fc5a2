"""What `mien bench run` says while cases run: a bar at a terminal, a line for each failure anywhere."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from rich import progress

from bench.report.runs import TRUTH

from .console import err_console


class CaseProgress:
    """Called with every finished record; counts failures and shows the last case."""

    def __init__(self, quiet: bool) -> None:
        self._console = err_console()
        self._quiet = quiet
        self._bar: progress.Progress | None = None
        self._task: progress.TaskID | None = None
        self._told: set[str] = set()
        self.failed = 0

    def __enter__(self) -> CaseProgress:
        if not self._quiet and self._console.is_terminal:
            columns = (
                progress.BarColumn(),
                progress.MofNCompleteColumn(),
                progress.TimeElapsedColumn(),
                progress.TextColumn("{task.description}", markup=False),
            )
            self._bar = progress.Progress(*columns, console=self._console)
            self._bar.start()
            self._task = self._bar.add_task("cases", total=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, record: dict[str, Any], done: int, total: int) -> None:
        """A record is finished; ``done`` of ``total`` are."""
        if self._quiet:
            return
        name = f"{record['system']}: {record['case']}"
        if record["status"] == "failed":
            self.failed += 1
            self._console.print(f"[{done}/{total}] {name} failed: {record.get('error')}", markup=False)
        elif record["status"] == "left out":
            if record["system"] != TRUTH and record["case"] not in self._told:  # many cases have no truth
                self._told.add(record["case"])
                self._console.print(f"[{done}/{total}] {record['case']} left out: {record.get('error')}", markup=False)
        elif self._bar is None:
            self._console.print(f"[{done}/{total}] {name}: ok", markup=False)
        if self._bar is not None:
            failures = f", {self.failed} failed" if self.failed else ""
            self._bar.update(self._task, completed=done, total=total, description=f"{name}{failures}")
