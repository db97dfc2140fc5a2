"""The work behind `mien animate`: files in, one video out, and a report of what happened.

Order of checks: options, then files, then the output's folder, then the portrait's face, and only then the
long work on the driving clip, so that a mistake is told within seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from animate.errors import OptionError

from . import options as words
from .cli_motion import parse_fps
from .console import Progress
from .drawing import in_a_row, keeps_transparency, write_video
from .expression_clips import encode_driving, open_encoder
from .job import DrawingJob
from .paths import check_output, check_video_output, find_motion, require_file
from .people import faces_note, read_portrait
from .report import RunReport
from .tracking import track_driving

if TYPE_CHECKING:
    import numpy as np

    from animate.animator import PortraitAnimator
    from animate.expression_clip import ExpressionTrack
    from animate.motion import Motion
    from animate.portrait import Portrait
    from animate.work_folder import WorkFolder

    from .cast_options import Cast


@dataclass(frozen=True, kw_only=True)
class AnimateOptions(DrawingJob):
    """Everything that `mien animate` can be told; defaults are the command line's defaults.

    Exactly one of driving (a video), motion (a file or a built-in name) and cast (several faces and their drivers)
    gives the movement. region is the command line's word, see `ui.options`. trim_start and trim_end are seconds of the
    clip or motion. fps is the video's rate, and rate what it means; None is the movement's own rate, or 25 for a model
    that takes expression features. work_folder keeps finished parts for a job that goes on after it was killed.
    """

    source: Path
    driving: Path | None = None
    motion: str | None = None
    cast: Cast | None = None
    region: str = "all"
    relative: bool = True
    driving_face: str = "largest"
    smooth: float | None = None
    trim_start: float = 0.0
    trim_end: float | None = None
    fps: str | None = None
    work_folder: Path | None = None
    regions: set[str] = field(init=False)
    rate: Fraction | None = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if [self.driving, self.motion, self.cast].count(None) != 2:
            raise OptionError("Give the movement once: either --driving VIDEO or --motion FILE-OR-NAME.")
        if self.driving is not None and self.driving.suffix.lower() == ".safetensors":
            raise OptionError(f"{self.driving} is a motion file: give it with --motion instead of --driving.")
        if self.smooth is not None and not 0 <= self.smooth <= 1:
            raise OptionError(f"--smooth is {self.smooth:g}: it must lie between 0 (off) and 1.")
        words.parse_trim(self.trim_start, self.trim_end)
        object.__setattr__(self, "regions", words.parse_region(self.region))
        object.__setattr__(self, "rate", None if self.fps is None else parse_fps(self.fps))

    def open_work_folder(self) -> WorkFolder | None:
        """The work folder, where one is wanted. Raises OptionError for one that cannot be used."""
        if self.work_folder is None:
            return None
        from animate.work_folder import WorkFolder

        return WorkFolder(self.work_folder)


def run(options: AnimateOptions, progress: Progress) -> RunReport:
    """Animates and writes the video; returns the report (also written to options.report).

    Raises MienError subclasses whose message is one sentence; then there is no file under the output's name
    that was not there before.
    """
    if options.cast is not None:
        return _run_cast(options, progress)
    movement = _check_files(options)
    report = options.begin("animate", options.source, str(options.driving or options.motion))
    work = options.open_work_folder()
    with ExitStack() as resources:
        with report.stage("loading"), progress.stage("loading the models"):
            tracker = options.open_tracker(resources)
            portrait, face = read_portrait(options.source, options.face, tracker)
            animator = options.load_animator()
            kinds = {"motion" if options.driving is None else "driving"}
            encoder = open_encoder(animator, kinds, report, options.strengths, options.regions, options.smooth)
        if (note := faces_note(portrait, options.face)) is not None:
            report.note(note)
        sound = None
        if encoder is not None:
            moves, start = encode_driving(options, movement, tracker, encoder, work, report, progress)
            sound = (movement, start)
        elif options.driving is not None:
            moves, start = track_driving(options, movement, tracker, work, report, progress)
            sound = (movement, start)
        else:
            moves = _load_motion(options, movement)
        if encoder is None:
            moves = _as_asked(options, moves)
        report.bridged_frames = [int(frame) for frame in (~moves.valid).nonzero()[0]]
        _draw(options, animator, portrait, face, moves, sound, work, report, progress)
    note_work_and_cache(report, work, options.cache, animator)
    return options.finish(report, animator.timings)


def _run_cast(options: AnimateOptions, progress: Progress) -> RunReport:
    from .cast_job import Staging
    from .cast_job import run as run_cast

    staging = Staging(
        command="animate",
        what="portrait animation",
        relative=options.relative,
        regions=options.regions,
        smooth=options.smooth,
        driving_face=options.driving_face,
        trim=(options.trim_start, options.trim_end),
        work=options.open_work_folder,
        rate=options.rate,
    )
    return run_cast(options, options.source, options.cast, staging, progress)


def note_work_and_cache(report: RunReport, work: WorkFolder | None, cache: str, animator: PortraitAnimator) -> None:
    """Says in the report what came from the work folder, and what the feature cache (`--cache`) did."""
    if work is not None and work.recalled:
        noun = "window" if work.recalled == 1 else "windows"
        report.note(f"{work.recalled} {noun} were finished before and came from {work.folder}.")
    if cache != "off":
        report.cache = {"name": cache} | (animator.cached.to_dict() if animator.cached is not None else {})
        report.note(_cache_sentence(report.cache))


def _cache_sentence(cache: dict) -> str:
    """What the feature cache did."""
    name, computed, forecast = cache["name"], cache.get("computed", 0), cache.get("forecast", 0)
    if not forecast:
        return f"The cache ({name}) found nothing to forecast: every step was computed."
    return (
        f"The cache ({name}) forecast {forecast} of {computed + forecast} denoising steps and computed the others; "
        f"where it compared, what it would have forecast was at most {cache['worst_error']:.1%} off."
    )


def _check_files(options: AnimateOptions) -> Path:
    """The file that gives the movement, once every file, the output included, has been looked at."""
    require_file(options.source, "portrait")
    if options.driving is not None:
        movement = require_file(options.driving, "driving video")
    else:
        movement = find_motion(str(options.motion))
    inputs = [options.source, movement]
    inputs += [ref for ref in (words.face_reference(options.face),) if ref is not None]
    check_video_output(options.output, inputs, options.codec, options.crf, options.overwrite)
    if options.report is not None:
        check_output(options.report, inputs, others=[options.output])
    return movement


def _load_motion(options: AnimateOptions, path: Path) -> Motion:
    from animate.motion import Motion

    motion = Motion.load(path)
    if options.trim_start or options.trim_end is not None:
        motion = motion.trim(options.trim_start, options.trim_end)
    return motion


def _as_asked(options: AnimateOptions, motion: Motion) -> Motion:
    """The motion smoothed, and at the rate that was asked for."""
    if options.smooth is not None:
        motion = motion.smooth(options.smooth)
    return motion if options.rate in (None, motion.fps) else motion.resample(options.rate)


def _frames(
    options: AnimateOptions,
    animator: PortraitAnimator,
    portrait: Portrait,
    face: int,
    moves: Motion | ExpressionTrack,
    work: WorkFolder | None,
) -> Iterator[np.ndarray]:
    from animate.motion import Motion

    if not isinstance(moves, Motion):
        return animator.animate_features(portrait, [moves.features], (face,), work)
    return animator.animate(
        portrait,
        moves,
        mode="relative" if options.relative else "absolute",
        strengths=options.strengths or None,
        regions=options.regions,
        face=face,
        work=work,
    )


def _draw(
    options: AnimateOptions,
    animator: PortraitAnimator,
    portrait: Portrait,
    face: int,
    moves: Motion | ExpressionTrack,
    sound: tuple[Path, float] | None,
    work: WorkFolder | None,
    report: RunReport,
    progress: Progress,
) -> None:
    """Draws every frame and writes it; the output's name appears only when all are written."""
    frames = _frames(options, animator, portrait, face, moves, work)
    alpha = not options.side_by_side and keeps_transparency(options.output, options.codec, portrait)
    with ExitStack() as resources:
        if options.side_by_side:
            frames = in_a_row(frames, portrait.image, _driving_frames(options, moves.fps, resources))
        write_video(
            options,
            frames,
            moves.fps,
            report,
            progress,
            total=len(moves),
            sound=sound,
            alpha=alpha,
        )


def _driving_frames(options: AnimateOptions, fps: Fraction, resources: ExitStack) -> Iterator[np.ndarray] | None:
    """The driving clip's frames at the output's rate, when there is a clip."""
    if options.driving is None:
        return None
    from animate.media import VideoReader

    reader = VideoReader(options.driving, fps=fps, start=options.trim_start, end=options.trim_end)
    return iter(resources.enter_context(reader))
