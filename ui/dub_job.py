"""The work behind `mien dub`: a video and a speech in, the video with that speech out, in constant memory."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from animate.errors import OptionError

from .console import Progress
from .drawing import in_a_row, note_faults, write_video
from .paths import check_output, check_video_output, require_file, require_video
from .people import pick_track
from .report import RunReport
from .speech import Speech, SpeechJob, timed

if TYPE_CHECKING:
    from animate.faces import FaceTracker
    from talking_face.dub import Clip
    from talking_face.playback import DubOptions
    from talking_face.talker import TalkOptions


@dataclass(frozen=True, kw_only=True)
class DubJob(SpeechJob):
    """Everything that `mien dub` can be told; see there. Raises OptionError for what is not understood."""

    video: Path
    longer: str = "loop"
    shorter: str = "rest"
    ending: DubOptions = field(init=False)
    acting: TalkOptions = field(init=False)

    def __post_init__(self) -> None:
        from animate.faces import check_order
        from animate.retarget import STRENGTHS
        from talking_face.playback import DubOptions
        from talking_face.talker import TalkOptions

        try:
            check_order(self.face)
        except OptionError:
            raise OptionError(
                f"--face takes a number or an order here, not {str(self.face)[:60]!r}: largest, left, right, "
                "left-to-right:N."
            ) from None
        if self.method not in ("mini", "prior"):
            raise OptionError(f"Unknown method {self.method!r} for dubbing: choose mini or prior.")
        super().__post_init__()
        others = [region for region in self.strengths if region not in ("lips", "jaw")]
        if others and len(self.strengths) < len(STRENGTHS):  # a bare number means all of them
            raise OptionError(f"--strength {others[0]} changes nothing when dubbing: give lips, jaw or both.")
        object.__setattr__(self, "ending", DubOptions(self.longer, self.shorter))
        object.__setattr__(self, "acting", TalkOptions(self.mouth, head_motion=0.0, style=self.style, seed=self.seed))


def run(job: DubJob, progress: Progress) -> RunReport:
    """Dubs and writes the video; returns the report (also written to job.report).

    Raises MienError subclasses whose message is one sentence; then there is no file under the output's name
    that was not there before.
    """
    speech = _check_files(job)
    report = job.begin("dub", job.video, job.audio)
    with ExitStack() as resources:
        with report.stage("loading"), progress.stage("loading the models"):
            from talking_face.dub import Dubber

            tracker = job.open_tracker(resources)
            talker = job.load_talker()
            dubber = Dubber(job.load_animator())
        clip = _follow(job, tracker, report, progress)
        resources.callback(clip.reader.close)
        motions = timed(talker.motions(speech.blocks(), clip.fps, job.acting), dubber.animator)
        frames = dubber.dub(clip, motions, job.ending, job.strengths)
        if job.side_by_side:
            frames = in_a_row(frames, others=clip.pictures(job.ending))
        spoken = speech.frames(clip.fps)
        write_video(
            job,
            frames,
            clip.fps,
            report,
            progress,
            total=None if spoken is None else job.ending.frames(len(clip), spoken),
            sound=(job.audio, 0.0),
            what="dubbing",
        )
    speech.note(report)
    return job.finish(report, dubber.timings)


def _check_files(job: DubJob) -> Speech:
    inputs = [require_video(job.video, "video"), require_file(job.audio, "speech")]
    check_video_output(job.output, inputs, job.codec, job.crf, job.overwrite)
    if job.report is not None:
        check_output(job.report, inputs, others=[job.output])
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
    note_faults(reader, report, "video")
    report.bridged_frames = clip.missing
    return clip
