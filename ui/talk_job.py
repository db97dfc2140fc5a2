"""The work behind `mien talk`: a portrait and a speech in, one video out.

Everything streams: sound comes in blocks, movement in stretches, frames one by one, so that an hour of speech needs no
more memory than a minute.
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
from .drawing import in_a_row, keeps_transparency, note_faults, write_video
from .paths import check_output, check_video_output, require_file
from .people import faces_note, read_portrait
from .report import RunReport
from .speech import Speech, SpeechJob, timed

if TYPE_CHECKING:
    import numpy as np

    from animate.faces import FaceTracker
    from animate.motion import Motion
    from talking_face.head_track import HeadTrack
    from talking_face.talker import TalkOptions

    from .cast_options import Cast


@dataclass(frozen=True, kw_only=True)
class TalkJob(SpeechJob):
    """Everything that `mien talk` can be told; see there.

    Exactly one of audio (one speaker) and cast (several) is given. Raises OptionError for what is not understood.
    """

    source: Path
    audio: Path | None = None
    cast: Cast | None = None
    fps: str = "25"
    pose_from: Path | None = None
    emotion: str = "neutral"
    head_motion: float = 0.5
    blinks: bool = True
    save_motion: Path | None = None
    rate: Fraction = field(init=False)
    acting: TalkOptions = field(init=False)

    def __post_init__(self) -> None:
        from talking_face.talker import TalkOptions

        super().__post_init__()
        if self.cast is not None:
            for name, value in (("--pose-from", self.pose_from), ("--save-motion", self.save_motion)):
                if value is not None:
                    raise OptionError(f"{name} is for one speaker: leave it out, or let one face speak with --face.")
        object.__setattr__(self, "rate", parse_fps(self.fps))
        head_motion = 0.0 if self.pose_from is not None else self.head_motion
        acting = TalkOptions(self.mouth, head_motion, self.emotion, self.style, self.blinks, self.seed)
        object.__setattr__(self, "acting", acting)


def run(job: TalkJob, progress: Progress) -> RunReport:
    """Draws and writes the video; returns the report (also written to job.report).

    Raises MienError subclasses whose message is one sentence; then there is no file under the output's name
    that was not there before.
    """
    if job.cast is not None:
        return _run_cast(job, progress)
    speech = _check_files(job)
    report = job.begin("talk", job.source, job.audio)
    with ExitStack() as resources:
        with report.stage("loading"), progress.stage("loading the models"):
            tracker = job.open_tracker(resources)
            portrait, face = read_portrait(job.source, job.face, tracker)
            talker, animator = job.load_talker(), job.load_animator()
        if (note := faces_note(portrait, job.face)) is not None:
            report.note(note)
        head = None if job.pose_from is None else _follow_head(job.pose_from, tracker, report, progress)
        kept: list[Motion] | None = None if job.save_motion is None else []
        motions = timed(talker.motions(speech.blocks(), job.rate, job.acting), animator)
        own = portrait.faces[face].landmarks
        frames = animator.render(portrait, _landmarks(own, motions, head, job.strengths, kept), own)
        if job.side_by_side:
            frames = in_a_row(frames, portrait.image)
        write_video(
            job,
            frames,
            job.rate,
            report,
            progress,
            total=speech.frames(job.rate),
            sound=(job.audio, 0.0),
            alpha=not job.side_by_side and keeps_transparency(job.output, job.codec, portrait),
            what="talking portrait",
        )
    if kept is not None:
        save_motions(kept, job.save_motion, job.audio.name)
    speech.note(report)
    return job.finish(report, animator.timings)


def _run_cast(job: TalkJob, progress: Progress) -> RunReport:
    from .cast_job import Staging
    from .cast_job import run as run_cast

    staging = Staging(
        command="talk",
        what="talking portrait",
        rate=job.rate,
        acting=job.acting,
        speech_model=job.speech_model,
        speech_method=job.speech_method,
        listening=True,
    )
    return run_cast(job, job.source, job.cast, staging, progress)


def _check_files(job: TalkJob) -> Speech:
    require_file(job.source, "portrait")
    require_file(job.audio, "speech")
    inputs = [job.source, job.audio]
    if job.pose_from is not None:
        inputs.append(require_file(job.pose_from, "pose video"))
    inputs += [ref for ref in (words.face_reference(job.face),) if ref is not None]
    check_video_output(job.output, inputs, job.codec, job.crf, job.overwrite)
    outputs = [job.output]
    for path, suffix in ((job.save_motion, ".safetensors"), (job.report, "")):
        if path is not None:
            check_output(path, inputs, others=outputs, suffix=suffix)
            outputs.append(path)
    return Speech(job.audio)


def _follow_head(path: Path, tracker: FaceTracker, report: RunReport, progress: Progress) -> HeadTrack:
    from animate.media import VideoReader
    from talking_face.following import follow
    from talking_face.head_track import HeadTrack

    with report.stage("tracking"), VideoReader(path) as reader:
        frames = progress.follow(reader, "tracking", reader.frames)
        face = follow(tracker, frames, reader.fps, path)
        if len(face.valid) == 1:
            raise OptionError(f"{path} is a single frame, in which no head moves: give --pose-from a video.")
        note_faults(reader, report, "pose video")
    missing = int((~face.valid).sum())
    if missing:
        report.note(f"{missing} frames of {path} show no face: the head's movement was bridged there.")
    return HeadTrack(face)


def _landmarks(
    own: np.ndarray,
    motions: Iterator[Motion],
    head: HeadTrack | None,
    strengths: dict[str, float],
    kept: list[Motion] | None,
) -> Iterator[np.ndarray]:
    """The portrait's landmarks (478, 3) px, frame by frame; the stretches of motion go into `kept`, if given."""
    from animate.retarget import Retargeter
    from talking_face.lips import rest_like

    first = 0
    for motion in motions:
        if head is not None:
            motion = head.put_on(motion, first)
        if kept is not None:
            kept.append(motion)
        first += len(motion)
        targets = Retargeter(own, rest_like(motion, own), strengths=strengths)
        for start in range(0, len(motion), 32):
            yield from targets(slice(start, start + 32))


def save_motions(parts: list[Motion], path: Path, source: str) -> None:
    """Writes consecutive stretches as one motion file. Raises MotionError where it cannot be written."""
    from dataclasses import replace

    from animate.motion import Motion

    replace(Motion.whole(parts), source=source).save(path)
