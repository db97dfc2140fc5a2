"""How a job of the page runs: files looked at, a quick preview, the frames, and every mistake as one sentence."""

from __future__ import annotations

import re
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from animate.errors import MienError

from .command_line import command_of
from .report import ranges
from .web_jobs import JOB, POLL, Cancelled, Running, WatchedProgress
from .web_limits import Limits, check_upload, without_folders
from .web_parts import gr
from .web_preview import preview

if TYPE_CHECKING:
    from .job import DrawingJob
    from .report import RunReport

CANCELLED = "Cancelled; nothing was kept."
REMEMBERED = 1000  # users whose preview is remembered
ERROR_SHOWN = 20  # seconds; the status keeps the sentence


@dataclass
class Page:
    """What all tabs share.

    Attributes:
        work: a folder of the page's own; uploads lie in its folder `uploads`, jobs in others, all deleted at the end.
        model, device: what draws, as on the command line.
        ready: set once the libraries are loaded; two threads that import diffusers at once get half of it.
    """

    work: Path
    limits: Limits = field(default_factory=Limits)
    model: str = "mini"
    device: str = "cpu"

    def __post_init__(self) -> None:
        self.ready = threading.Event()
        self.ready.set()
        self._jobs: dict[tuple[str, str], WatchedProgress] = {}
        self._previewed: dict[tuple[str, str], bool] = {}  # whose video shows a mere preview, oldest first
        self._lock = threading.Lock()
        self._closing, self._drawings = False, 0

    @property
    def uploads(self) -> Path:
        return self.work / "uploads"

    def check(self, path: str | None, kind: str, what: str) -> Path:
        """An uploaded file that may be read; waits until the page is ready.

        Raises MediaError or MotionError with one sentence.
        """
        while not self.ready.wait(POLL):
            if self._closing:
                raise Cancelled
        if not path:
            from animate.errors import OptionError

            raise OptionError(f"Give a {what} first.")
        return check_upload(Path(path), kind, self.limits, self.uploads)

    def drawing(self, side_by_side: bool, method: str, seed: float) -> dict[str, Any]:
        """Options that every tab has, and those that the server's owner chose."""
        chosen = {"side_by_side": side_by_side, "method": method, "seed": int(seed or 0)}
        return {"model": self.model, "device": self.device} | chosen

    def cancel(self, name: str, request: gr.Request) -> tuple[Any, str]:
        """Ends this user's job in a tab at its next frame; (video, status): a preview does not stay as the result."""
        key = request.session_hash or "", name
        with self._lock:
            progress = self._jobs.get(key)
        if progress is not None:
            progress.cancel()
        return self._left(key), CANCELLED

    def cancelled(self) -> str:
        """Says so again: a last word of the drawing may have been on its way and have come after the first."""
        time.sleep(1.0)
        return CANCELLED

    def close(self, seconds: float = 2.0) -> None:
        """Ends every job at its next frame; nobody waits any more for one that has none within `seconds`."""
        self._closing = True
        end = time.monotonic() + seconds
        while (self._drawings or self._jobs) and time.monotonic() < end + seconds:
            with self._lock:
                for progress in self._jobs.values():
                    progress.cancel(at_once=time.monotonic() > end)
            time.sleep(0.05)

    def at_work(self) -> bool:
        """Whether a job's thread runs, though nobody waits for it."""
        return any(thread.name == JOB and thread.is_alive() for thread in threading.enumerate())

    @contextmanager
    def workplace(self) -> Iterator[Path]:
        """A folder for one job, gone when it ends."""
        with TemporaryDirectory(prefix="job-", dir=self.work, ignore_cleanup_errors=True) as folder:
            yield Path(folder)

    def draw(
        self,
        name: str,
        request: gr.Request,
        make: Callable[[Path], DrawingJob],
        run: Callable[[DrawingJob, WatchedProgress], RunReport],
        quick: Callable[[DrawingJob, Path], DrawingJob] | None = None,
    ) -> Iterator[tuple[Any, Any, Any, Any]]:
        """Updates of (video, status, command, report): a quick preview first, at the end the result.

        name: of the tab's endpoint. make: the job, which writes into a folder. quick: the job's preview, which writes
        into that folder as well. An earlier video stays until there is another.
        """
        key = request.session_hash or "", name
        with self._counted(), self.workplace() as folder:
            try:
                if not self.ready.is_set():
                    yield gr.skip(), "Loading the models …", gr.skip(), gr.skip()
                job = make(folder)
                line = shlex.join(command_of(job, names={}))
                yield gr.skip(), "Looking at the files …", gr.skip(), gr.skip()
                so_far = ""
                if quick is not None and job.method == "mini":
                    first = Running(lambda progress: preview(quick, job, folder, run, progress), self.limits.minutes)
                    with self._known(key, first.progress):
                        for stand in first:
                            yield gr.skip(), f"Quick preview. {stand}", gr.skip(), gr.skip()
                    path = first.result
                    if path is not None:
                        so_far = " · shown so far: the quick preview"
                        self._shows_preview(key)
                        yield str(path), f"Starting …{so_far}", line, None
                running = Running(lambda progress: run(job, progress), self.limits.minutes)
                with self._known(key, running.progress):
                    for stand in running:
                        yield gr.skip(), f"{stand}{so_far}", gr.skip(), gr.skip()
                report = running.result
                facts = _nameless(report.as_dict(), folder, self.uploads)
                facts.pop("options", None)  # with this machine's paths; the command line says the same
                text = _nameless(told(report), folder, self.uploads)
                self._previewed.pop(key, None)
                yield str(job.output), text, line, facts
            except Cancelled:
                yield self._left(key), CANCELLED, gr.skip(), gr.skip()
            except Exception as error:
                sentence = self.sentence(error, folder)
                yield self._left(key), sentence, gr.skip(), gr.skip()
                raise gr.Error(sentence, duration=ERROR_SHOWN, print_exception=False) from error

    def _shows_preview(self, key: tuple[str, str]) -> None:
        with self._lock:
            self._previewed[key] = True
            if len(self._previewed) > REMEMBERED:
                del self._previewed[next(iter(self._previewed))]

    def _left(self, key: tuple[str, str]) -> Any:
        """The video's update when a job ends without a result: it shows what it showed before, never the preview."""
        with self._lock:
            return None if self._previewed.pop(key, False) else gr.skip()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            self._drawings += 1
        try:
            yield
        finally:
            with self._lock:
                self._drawings -= 1

    @contextmanager
    def _known(self, key: tuple[str, str], progress: WatchedProgress) -> Iterator[None]:
        with self._lock:
            self._jobs[key] = progress
        try:
            yield
        finally:
            with self._lock:
                if self._jobs.get(key) is progress:
                    del self._jobs[key]

    def sentence(self, error: Exception, *folders: Path) -> str:
        """What the page says of an error: the command line's sentence, files by their names alone."""
        if isinstance(error, gr.Error):
            return str(error.message)
        if isinstance(error, MienError):
            return _nameless(" ".join(str(error).split()), *folders, self.uploads)
        import logging

        logging.getLogger("mien").error("a job of the page failed", exc_info=error)
        return f"Something went wrong that Mien did not foresee ({type(error).__name__}). The server's log says more."

    @contextmanager
    def sentences(self) -> Iterator[None]:
        """Errors inside become messages of the page."""
        try:
            yield
        except gr.Error:
            raise
        except Exception as error:
            raise gr.Error(self.sentence(error), duration=None, print_exception=False) from error


def told(report: RunReport) -> str:
    """What the page says of a result: the command line's words, without times of stages and without the signature,
    which both stand in the report below."""
    noun = "frame" if report.frames == 1 else "frames"
    took = f"drawn in {report.total_seconds:.1f} s ({report.frames_per_second:.1f} frames/s)"
    sentences = [f"{report.frames} {noun} of {report.width}×{report.height}, {took}."]
    if missing := report.bridged_frames:
        sentences.append(f"Frames of the clip without a face: {ranges(missing)}.")
    text = " ".join([*sentences, *(note for note in report.notes if "(C2PA)" not in note)])
    return re.sub(r"left-to-right:(\d+)", lambda found: f"face {int(found[1]) + 1} from the left", text)


def output_name(*parts: str | Path) -> str:
    """A file name for a result, from the names of what went in."""
    words = [re.sub(r"[^A-Za-z0-9_-]+", "-", Path(part).stem).strip("-") for part in parts]
    return "-".join(word for word in words if word)[:80] or "result"


def _nameless(value: Any, *folders: Path) -> Any:
    """Text, or everything inside lists and dictionaries, with files called by their names alone."""
    if isinstance(value, str):
        for folder in folders:
            paths = re.findall(re.escape(str(folder)) + r"[^\s,:;'\"]*", value)
            value = without_folders(value, paths)
        return value
    if isinstance(value, Mapping):
        return {key: _nameless(inner, *folders) for key, inner in value.items()}
    if isinstance(value, list):
        return [_nameless(inner, *folders) for inner in value]
    return value
