"""The work behind `mien dub`: a video and a speech in, the video with that speech out, in constant memory."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from animate.errors import OptionError

from . import options as words
from .console import Progress
from .drawing import in_a_row, write_video
from .paths import check_output, check_video_output, require_file
from .people import pick_track
from .report import RunReport, peak_memory_mb
from .speech import Speech, timed

if TYPE_CHECKING:
    from animate.faces import FaceTracker
    from talking_face.dub import Clip
    from talking_face.playback import DubOptions
    from talking_face.talker import TalkOptions


@dataclass(frozen=True)
class DubJob:
    """Everything that `mien dub` can be told; see there. Raises OptionError for what is not understood."""

    video: Path
    audio: Path
    output: Path
    longer: str = "loop"
    shorter: str = "rest"
    style: str = "neutral"
    mouth: float = 1.0
    strength: str = ""
    face: str = "largest"
    tracker: str = "auto"
    crf: int = 18
    codec: str = "auto"
    side_by_side: bool = False
    overwrite: bool = True
    report: Path | None = None
    model: str = "mini"
    speech_model: str = "mini"
    steps: int | None = None
    seed: int = 0
    device: str = "cpu"
    method: str = "mini"
    speech_method: str = "mini"
    strengths: dict[str, float] = field(init=False)
    ending: DubOptions = field(init=False)
    acting: TalkOptions = field(init=False)

    def __post_init__(self) -> None:
        from talking_face.playback import DubOptions
        from talking_face.talker import TalkOptions

        if words.face_reference(self.face) is not None:
            raise OptionError("--face takes a number or an order here: largest, left, right, left-to-right:N.")
        if self.method not in ("mini", "prior"):
            raise OptionError(f"Unknown method {self.method!r} for dubbing: choose mini or prior.")
        object.__setattr__(self, "strengths", words.parse_strengths(self.strength))
        object.__setattr__(self, "ending", DubOptions(self.longer, self.shorter))
        object.__setattr__(self, "acting", TalkOptions(self.mouth, head_motion=0.0, style=self.style, seed=self.seed))


def run(job: DubJob, progress: Progress) -> RunReport:
    """Dubs and writes the video; returns the report (also written to job.report).

    Raises MienError subclasses whose message is one sentence; then there is no file under the output's name
    that was not there before.
    """
    speech = _check_files(job)
    report = RunReport(
        source=str(job.video),
        driving=str(job.audio),
        output=str(job.output),
        command="dub",
        model=job.model,
        method=job.method,
        seed=job.seed,
    )
    with ExitStack() as resources:
        with report.stage("loading"), progress.stage("loading the models"):
            from animate.animator import PortraitAnimator
            from animate.faces import create_tracker
            from talking_face.dub import Dubber
            from talking_face.talker import Talker

            tracker = create_tracker(job.tracker)
            resources.callback(tracker.close)
            talker = Talker.from_pretrained(job.speech_model, job.speech_method, job.device)
            dubber = Dubber(PortraitAnimator.from_pretrained(job.model, job.method, job.device, job.steps, job.seed))
        clip = _follow(job, tracker, report, progress)
        resources.callback(clip.reader.close)
        motions = timed(talker.motions(speech.blocks(), clip.fps, job.acting), dubber.animator)
        frames = dubber.dub(clip, motions, job.ending, job.strengths)
        if job.side_by_side:
            frames = in_a_row(frames, others=clip.pictures(job.ending))
        spoken = speech.frames(clip.fps)
        write_video(
            frames,
            job.output,
            clip.fps,
            report,
            progress,
            total=None if spoken is None else job.ending.frames(len(clip), spoken),
            crf=job.crf,
            codec=job.codec,
            sound=(job.audio, 0.0),
            what="dubbing",
        )
    speech.note(report)
    report.animation_seconds = {name: round(value, 3) for name, value in dubber.timings.items()}
    report.peak_memory_mb = peak_memory_mb()
    if job.report is not None:
        report.write(job.report)
    return report


def _check_files(job: DubJob) -> Speech:
    inputs = [require_file(job.video, "video"), require_file(job.audio, "speech")]
    check_video_output(job.output, inputs, job.codec, job.crf, job.overwrite)
    if job.report is not None:
        check_output(job.report, [*inputs, job.output])
    return Speech(job.audio)


def _follow(job: DubJob, tracker: FaceTracker, report: RunReport, progress: Progress) -> Clip:
    """The video and the chosen person in it."""
    from animate.media import VideoReader
    from talking_face.dub import Clip
    from talking_face.following import follow

    reader = VideoReader(job.video)
    choose = None if job.face in ("largest", "0") else lambda tracks: pick_track(tracks, job.face)
    with report.stage("tracking"):
        frames = progress.follow(reader, "tracking", reader.frames)
        clip = Clip(reader, follow(tracker, frames, reader.fps, job.video, choose))
    for sentence in reader.warnings:
        report.note(sentence)
    if reader.info.variable_frame_rate:
        report.note(f"The video's frame rate varies: it was resampled by time to {reader.fps}.")
    report.bridged_frames = clip.missing
    return clip
