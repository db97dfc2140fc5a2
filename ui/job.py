"""What every command that draws a video is told, and how it begins and ends."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from animate.caching import check_cache

from . import options as words
from .command_line import options_of
from .people import tracker_name
from .report import RunReport, peak_memory_mb
from .signature import find_credential

if TYPE_CHECKING:
    from animate.animator import PortraitAnimator
    from animate.faces import FaceTracker
    from animate.full_size_options import FullSizeOptions
    from animate.signing import Credential


@dataclass(frozen=True, kw_only=True)
class DrawingJob:
    """The options that `mien animate`, `mien talk` and `mien dub` share; defaults are the command line's.

    strength is the command line's word, see `ui.options`; strengths is what it means.
    cache is the feature cache's name, see `animate.caching`.
    sign: whether the output is signed (C2PA); None where it can be. sign_with: certificate and key, as PEM files.
    credential: what signs it, once the job has begun.
    Raises OptionError for what is not understood.
    """

    output: Path
    strength: str = ""
    face: str = "largest"
    tracker: str = "auto"
    crf: int = 18
    codec: str = "auto"
    side_by_side: bool = False
    overwrite: bool = True
    report: Path | None = None
    model: str = "mini"
    steps: int | None = None
    seed: int = 0
    device: str = "cpu"
    method: str = "mini"
    full_size: FullSizeOptions | None = None
    cache: str = "off"
    sign: bool | None = None
    sign_with: tuple[Path, Path] | None = None
    strengths: dict[str, float] = field(init=False)
    credential: Credential | None = field(init=False, default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_cache(self.cache)
        object.__setattr__(self, "strengths", words.parse_strengths(self.strength))

    def begin(self, command: str, source: str | Path, driving: str | Path) -> RunReport:
        """An empty report of this job. Raises OptionError where the output cannot be signed as asked."""
        object.__setattr__(self, "credential", find_credential(self.output, self.sign, self.sign_with))
        return RunReport(
            source=str(source),
            driving=str(driving),
            output=str(self.output),
            command=command,
            model=self.model,
            method=self.method,
            seed=self.seed,
            options=options_of(self, None if self.report is None else self.report.parent),
        )

    def open_tracker(self, resources: ExitStack) -> FaceTracker:
        """What finds faces; closed with `resources`."""
        from animate.faces import create_tracker

        tracker = create_tracker(tracker_name(self.tracker, self.face))
        resources.callback(tracker.close)
        return tracker

    def load_animator(self) -> PortraitAnimator:
        """What draws the frames. Raises MienError for a model or a device that is not there."""
        from animate.animator import PortraitAnimator

        return PortraitAnimator.from_pretrained(
            self.model, self.method, self.device, self.steps, self.seed, self.full_size, self.cache
        )

    def finish(self, report: RunReport, timings: dict[str, float]) -> RunReport:
        """Completes the report, writes it where that was asked for, and gives it back.

        timings: seconds that the animator spent, by stage.
        """
        report.animation_seconds = {name: round(value, 3) for name, value in timings.items()}
        report.peak_memory_mb = peak_memory_mb()
        if self.report is not None:
            report.write(self.report)
        return report
