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

from animate.errors import MediaError, OptionError

from . import options as words
from .console import Progress
from .paths import check_output, check_video_output, find_motion, require_file
from .report import RunReport, mien_version, peak_memory_mb

if TYPE_CHECKING:
    import numpy as np

    from animate.animator import PortraitAnimator
    from animate.faces import FaceTrack, FaceTracker
    from animate.motion import Motion
    from animate.outputs import Target
    from animate.portrait import Portrait


@dataclass(frozen=True)
class AnimateOptions:
    """Everything that `mien animate` can be told; defaults are the command line's defaults.

    Exactly one of driving (a video) and motion (a file or a built-in name) gives the movement. region and
    strength are the command line's words, see `ui.options`. trim_start and trim_end are seconds of the clip
    or motion.
    """

    source: Path
    output: Path
    driving: Path | None = None
    motion: str | None = None
    model: str = "mini"
    method: str = "mini"
    device: str = "cpu"
    region: str = "all"
    strength: str = ""
    relative: bool = True
    face: str = "largest"
    driving_face: str = "largest"
    tracker: str = "auto"
    smooth: float | None = None
    steps: int | None = None
    seed: int = 0
    crf: int = 18
    codec: str = "auto"
    trim_start: float = 0.0
    trim_end: float | None = None
    side_by_side: bool = False
    overwrite: bool = True
    report: Path | None = None
    regions: set[str] = field(init=False)
    strengths: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        if (self.driving is None) == (self.motion is None):
            raise OptionError("Give the movement once: either --driving VIDEO or --motion FILE-OR-NAME.")
        if self.driving is not None and self.driving.suffix.lower() == ".safetensors":
            raise OptionError(f"{self.driving} is a motion file: give it with --motion instead of --driving.")
        if self.smooth is not None and not 0 <= self.smooth <= 1:
            raise OptionError(f"--smooth is {self.smooth:g}: it must lie between 0 (off) and 1.")
        words.parse_trim(self.trim_start, self.trim_end)
        object.__setattr__(self, "regions", words.parse_region(self.region))
        object.__setattr__(self, "strengths", words.parse_strengths(self.strength))


def run(options: AnimateOptions, progress: Progress) -> RunReport:
    """Animates and writes the video; returns the report (also written to options.report).

    Raises MienError subclasses whose message is one sentence; then there is no file under the output's name
    that was not there before.
    """
    movement, target = _check_files(options)
    report = RunReport(
        source=str(options.source),
        driving=str(options.driving or options.motion),
        output=str(options.output),
        model=options.model,
        method=options.method,
        seed=options.seed,
    )
    with ExitStack() as resources:
        with report.stage("loading"), progress.stage("loading the models"):
            from animate.animator import PortraitAnimator
            from animate.faces import create_tracker

            tracker = create_tracker(_tracker_name(options))
            resources.callback(tracker.close)
            portrait, face = read_portrait(options.source, options.face, tracker)
            animator = PortraitAnimator.from_pretrained(
                options.model,
                method=options.method,
                device=options.device,
                steps=options.steps,
                seed=options.seed,
            )
        _note_faces(report, portrait, options)
        sound = None
        if options.driving is not None:
            motion, start = _track_driving(options, movement, tracker, report, progress)
            sound = (movement, start)
        else:
            motion = _load_motion(options, movement)
        if options.smooth is not None:
            motion = motion.smooth(options.smooth)
        report.bridged_frames = [int(frame) for frame in (~motion.valid).nonzero()[0]]
        _draw(options, target, animator, portrait, face, motion, sound, report, progress)
    report.peak_memory_mb = peak_memory_mb()
    if options.report is not None:
        report.write(options.report)
    return report


def _check_files(options: AnimateOptions) -> tuple[Path, Target]:
    """The file that gives the movement, and the checked output, once every file has been looked at."""
    require_file(options.source, "portrait")
    if options.driving is not None:
        movement = require_file(options.driving, "driving video")
    else:
        movement = find_motion(str(options.motion))
    inputs = [options.source, movement]
    inputs += [ref for ref in (words.face_reference(options.face),) if ref is not None]
    target = check_video_output(options.output, inputs, options.codec, options.crf, options.overwrite)
    if options.report is not None:
        check_output(options.report, [*inputs, options.output])
    return movement, target


def _tracker_name(options: AnimateOptions) -> str:
    """A reference picture needs recognition, which only insightface gives."""
    if options.tracker == "auto" and words.face_reference(options.face) is not None:
        return "insightface"
    return options.tracker


def read_portrait(path: Path, selector: str, tracker: FaceTracker) -> tuple[Portrait, int]:
    """The portrait and the number of the chosen face among its faces.

    Raises FaceError when the picture shows no face or not that one.
    """
    from animate.faces import select_face
    from animate.portrait import Portrait

    portrait = Portrait.open(path, tracker)
    reference = words.face_reference(selector)
    if reference is not None:
        from animate.media import read_image

        chosen = select_face(portrait.faces, read_image(reference)[..., :3], portrait.image[..., :3])
    else:
        chosen = select_face(portrait.faces, selector)
    return portrait, next(i for i, face in enumerate(portrait.faces) if face is chosen)


def _note_faces(report: RunReport, portrait: Portrait, options: AnimateOptions) -> None:
    if len(portrait.faces) > 1:
        report.note(f"The portrait shows {len(portrait.faces)} faces, one was animated (--face {options.face}).")


def _track_driving(
    options: AnimateOptions, path: Path, tracker: FaceTracker, report: RunReport, progress: Progress
) -> tuple[Motion, float]:
    """The motion of the chosen person in the driving clip, and the second of the clip at which it begins."""
    from animate.media import VideoReader
    from animate.motion import Motion

    with (
        report.stage("tracking"),
        VideoReader(path, start=options.trim_start, end=options.trim_end) as reader,
    ):
        frames = progress.follow(reader, "tracking", reader.frames)
        track = choose_track(tracker, frames, reader.fps, options.driving_face, path)
        for sentence in reader.warnings:
            report.note(sentence)
        if reader.info.variable_frame_rate:
            report.note(f"The driving clip's frame rate varies: it was resampled by time to {reader.fps}.")
        return Motion.from_track(track, source=path.name), reader.start


def choose_track(
    tracker: FaceTracker, frames: Iterator[np.ndarray], fps: Fraction, selector: str, path: Path
) -> FaceTrack:
    """Follows the chosen person through the frames.

    Raises FaceError when no frame has a face or there is no such person.
    """
    from animate.faces import Face, select_face

    if selector in ("largest", "0"):
        return tracker.track(frames, fps, max_faces=1, name=path)[0]
    if words.face_reference(selector) is not None:
        raise OptionError("--driving-face takes a number or an order: largest, left, right, left-to-right:N.")
    tracks = tracker.track(frames, fps, max_faces=None, name=path)
    # A person's place is the one of the first frame that shows them.
    faces = []
    for track in tracks:
        first = int(track.valid.argmax())
        faces.append(Face(track.boxes[first], track.landmarks[first], 1.0, track.track_id))
    chosen = select_face(faces, selector)
    return next(track for track, face in zip(tracks, faces, strict=True) if face is chosen)


def _load_motion(options: AnimateOptions, path: Path) -> Motion:
    from animate.motion import Motion

    motion = Motion.load(path)
    if options.trim_start or options.trim_end is not None:
        motion = motion.trim(options.trim_start, options.trim_end)
    return motion


def _draw(
    options: AnimateOptions,
    target: Target,
    animator: PortraitAnimator,
    portrait: Portrait,
    face: int,
    motion: Motion,
    sound: tuple[Path, float] | None,
    report: RunReport,
    progress: Progress,
) -> None:
    """Draws every frame and writes it; the output's name appears only when all are written."""
    from animate.media import VideoWriter

    height, width = portrait.image.shape[:2]
    audio, audio_start = sound or (None, 0.0)
    frames = animator.animate(
        portrait,
        motion,
        mode="relative" if options.relative else "absolute",
        strengths=options.strengths or None,
        regions=options.regions,
        face=face,
    )
    with ExitStack() as resources:
        if options.side_by_side:
            frames = _side_by_side(options, portrait, frames, motion.fps, resources)
        writer = resources.enter_context(
            VideoWriter(
                options.output,
                motion.fps,
                crf=options.crf,
                codec=options.codec,
                audio=audio,
                audio_start=audio_start,
                alpha=_keeps_transparency(options, target, portrait),
                metadata={"comment": f"AI-generated portrait animation, Mien {mien_version()}"},
            )
        )
        frames = progress.follow(frames, "animating", len(motion))
        while True:
            with report.stage("animation"):
                frame = next(frames, None)
            if frame is None:
                break
            with report.stage("encoding"):
                writer.write(frame)
            report.frames += 1
            height, width = frame.shape[:2]
        with report.stage("encoding"):
            writer.close()
    for sentence in writer.warnings:
        report.note(sentence)
    report.fps, report.width, report.height, report.sound = str(motion.fps), width, height, writer.sound
    report.animation_seconds = {name: round(value, 3) for name, value in animator.timings.items()}


def _keeps_transparency(options: AnimateOptions, target: Target, portrait: Portrait) -> bool:
    """Whether a transparent portrait stays transparent; the writer says so in a warning where it cannot."""
    from animate.media import check_output

    if portrait.image.shape[2] == 3 or options.side_by_side:
        return False
    try:
        return check_output(options.output, (), options.codec, alpha=True).codec is not None
    except MediaError:
        return False


def _side_by_side(
    options: AnimateOptions,
    portrait: Portrait,
    frames: Iterator[np.ndarray],
    fps: Fraction,
    resources: ExitStack,
) -> Iterator[np.ndarray]:
    """Portrait, driving frame (when there is a clip) and result in a row, all as high as the portrait."""
    from animate.compositing import side_by_side

    still = flatten(portrait.image)
    drivers: Iterator[np.ndarray] | None = None
    if options.driving is not None:
        from animate.media import VideoReader

        reader = VideoReader(options.driving, fps=fps, start=options.trim_start, end=options.trim_end)
        drivers = iter(resources.enter_context(reader))
    driver = None
    for frame in frames:
        if drivers is not None:
            driver = next(drivers, driver)
        yield side_by_side(still, *([] if driver is None else [driver]), flatten(frame))


def flatten(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) picture; a transparent one is laid on mid grey."""
    import numpy as np

    if image.shape[2] == 3:
        return image
    alpha = image[..., 3:].astype(np.float32) / 255
    return (image[..., :3] * alpha + 128 * (1 - alpha)).round().astype(np.uint8)
