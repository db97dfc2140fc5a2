"""How a job of the page runs: files looked at, a quick preview, the frames, and every mistake as one sentence."""

from __future__ import annotations

import re
import shlex
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from animate.errors import MienError

from .command_line import command_of
from .web_jobs import Cancelled, Running, WatchedProgress
from .web_limits import Limits, check_upload, without_folders
from .web_parts import gr

if TYPE_CHECKING:
    from .job import DrawingJob
    from .report import RunReport

CANCELLED = "Cancelled; nothing was kept."


@dataclass
class Page:
    """What all tabs share.

    Attributes:
        work: a folder of the page's own; uploads lie in its folder `uploads`, jobs in others, all deleted at the end.
        model, device: what draws, as on the command line.
    """

    work: Path
    limits: Limits = field(default_factory=Limits)
    model: str = "mini"
    device: str = "cpu"

    def __post_init__(self) -> None:
        self._jobs: dict[str, WatchedProgress] = {}
        self._lock = threading.Lock()

    @property
    def uploads(self) -> Path:
        return self.work / "uploads"

    def check(self, path: str | None, kind: str, what: str) -> Path:
        """An uploaded file that may be read. Raises MediaError or MotionError with one sentence."""
        if not path:
            from animate.errors import OptionError

            raise OptionError(f"Give a {what} first.")
        return check_upload(Path(path), kind, self.limits, self.uploads)

    def drawing(self) -> dict[str, Any]:
        """Options that the server's owner chose."""
        return {"model": self.model, "device": self.device}

    def cancel(self, request: gr.Request):
        """Ends this user's job at its next frame."""
        with self._lock:
            progress = self._jobs.get(request.session_hash or "")
        if progress is not None:
            progress.cancel()
        return CANCELLED

    @contextmanager
    def workplace(self) -> Iterator[Path]:
        """A folder for one job, gone when it ends."""
        with TemporaryDirectory(prefix="job-", dir=self.work, ignore_cleanup_errors=True) as folder:
            yield Path(folder)

    def draw(
        self,
        request: gr.Request,
        make: Callable[[Path], DrawingJob],
        run: Callable[[DrawingJob, WatchedProgress], RunReport],
        quick: Callable[[DrawingJob, Path], DrawingJob] | None = None,
    ) -> Iterator[tuple[Any, Any, Any, Any]]:
        """Updates of (video, status, command, report): a quick preview first, at the end the result.

        make: the job, which writes into a folder. quick: the job's preview, which writes into that folder as well.
        """
        with self.workplace() as folder:
            try:
                job = make(folder)
                line = shlex.join(command_of(job, names={}))
                yield None, "Looking at the files …", line, None
                if quick is not None and job.method == "mini":
                    preview = Running(lambda progress: _preview(quick, job, folder, run, progress), self.limits.minutes)
                    with self._known(request, preview.progress):
                        for stand in preview:
                            yield gr.skip(), f"Quick preview. {stand}", gr.skip(), gr.skip()
                    path = preview.result
                    if path is not None:
                        yield str(path), "The warp alone so far; the frames are being drawn …", gr.skip(), gr.skip()
                running = Running(lambda progress: run(job, progress), self.limits.minutes)
                with self._known(request, running.progress):
                    for stand in running:
                        yield gr.skip(), str(stand), gr.skip(), gr.skip()
                report = running.result
                facts = _nameless(report.as_dict(), folder, self.uploads)
                facts.pop("options", None)  # with this machine's paths; the command line says the same
                text = _nameless(report.paragraph(), folder, self.uploads)
                yield str(job.output), text, line, facts
            except Cancelled:
                yield gr.skip(), CANCELLED, gr.skip(), gr.skip()
            except Exception as error:
                sentence = self.sentence(error, folder)
                yield gr.skip(), sentence, gr.skip(), gr.skip()
                raise gr.Error(sentence, duration=None, print_exception=False) from error

    @contextmanager
    def _known(self, request: gr.Request, progress: WatchedProgress) -> Iterator[None]:
        key = request.session_hash or ""
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


def _preview(quick, job, folder: Path, run, progress: WatchedProgress) -> Path | None:
    try:
        small = quick(job, folder)
        run(small, progress)
    except MienError:  # the job itself will say it
        return None
    return small.output


def small_portrait(path: Path, folder: Path, longest: int = 512) -> Path:
    """The portrait with its longer side at most `longest` px, written into the folder; itself where it is no larger."""
    import cv2

    from animate.media import read_image, write_image

    image = read_image(path)
    height, width = image.shape[:2]
    if max(height, width) <= longest:
        return path
    factor = longest / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    write_image(folder / "small.png", cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    return folder / "small.png"


def quick_animation(job: Any, folder: Path) -> Any:
    """The preview of an animation: the warp alone, small, eight frames a second, three seconds at most."""
    end = min(job.trim_start + 3.0, job.trim_end or float("inf"))
    return replace(
        job,
        source=small_portrait(job.source, folder),
        output=folder / "preview.mp4",
        method="warp",
        fps="8",
        trim_end=end if job.trim_start or job.trim_end or job.motion is None else None,
        crf=26,
        side_by_side=False,
    )


def quick_talk(job: Any, folder: Path) -> Any:
    """The preview of a talking portrait: the warp alone, small, eight frames a second, of the first three seconds."""
    import wave

    import numpy as np

    from animate.media import read_sound

    sound = read_sound(job.audio)[: 3 * 16000, 0]
    with wave.open(str(folder / "preview.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
    return replace(
        job,
        source=small_portrait(job.source, folder),
        audio=folder / "preview.wav",
        output=folder / "preview.mp4",
        method="warp",
        fps="8",
        crf=26,
        side_by_side=False,
    )


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
