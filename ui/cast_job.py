"""The work behind `mien animate` and `mien talk` for several faces: who moves which, together, in one video."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from animate.casting import ALL, BEST_MATCH, Role, Seat, assign, likeness
from animate.ensemble import Fitting, fit_features, together
from animate.errors import OptionError

from .animate_job import note_work_and_cache
from .cast_options import Cast
from .cast_output import driving_frames, sound_of_cast
from .cast_report import note_cast
from .cast_speech import Saying, listen, schedule, speak
from .cast_tracking import Clips, Movement, is_crowd
from .console import Progress
from .drawing import in_a_row, keeps_transparency, write_video
from .expression_clips import RATE as FEATURE_RATE
from .expression_clips import open_encoder
from .job import DrawingJob
from .paths import check_output, check_video_output, find_motion, require_file
from .report import RunReport

if TYPE_CHECKING:
    import numpy as np

    from animate.group import ExpressionPart, Part
    from animate.portrait import Portrait
    from animate.work_folder import WorkFolder
    from talking_face.talker import Talker, TalkOptions

RATE = Fraction(25)  # of a cast whose drivers are all sounds


@dataclass(frozen=True, kw_only=True)
class Staging:
    """What `mien animate` and `mien talk` say besides the cast.

    what: of which the video's tag says that it is AI-generated. trim: seconds of every driving clip and motion.
    work: opens the work folder, where one is wanted. rate: frames per second; None takes the fastest driver's, or 25
    where an encoder reads the clips.
    acting: how speech is acted; None as by default.
    listening: whether faces that `--faces all` names, and that say nothing, live as well.
    """

    command: str
    what: str
    relative: bool = True
    regions: set[str] | None = None
    smooth: float | None = None
    driving_face: str = "largest"
    trim: tuple[float, float | None] = (0.0, None)
    work: Callable[[], WorkFolder | None] = lambda: None
    rate: Fraction | None = None
    acting: TalkOptions | None = None
    speech_model: str = "mini"
    speech_method: str = "mini"
    listening: bool = False


@dataclass
class Play:
    """What is known once everybody has been followed and heard."""

    seats: list[Seat]
    fps: Fraction
    frames: int
    fittings: dict[Role, Fitting] = field(default_factory=dict)
    movements: dict[Role, Movement] = field(default_factory=dict)
    sayings: list[Saying] = field(default_factory=list)


def run(job: DrawingJob, source: Path, cast: Cast, staging: Staging, progress: Progress) -> RunReport:
    """Animates the faces of `source` and writes the video; returns the report (also written to job.report).

    Raises MienError subclasses whose message is one sentence; then there is no file under the output's name that was
    not there before.
    """
    if job.face != "largest":
        raise OptionError(f"--face {job.face} chooses one face: name several with --faces, FACE=FILE or --cast.")
    cast = _check_files(job, source, cast)
    report = job.begin(staging.command, source, ", ".join(role.name for role in cast.roles))
    with ExitStack() as resources:
        work = staging.work()
        with report.stage("loading"), progress.stage("loading the models"):
            from animate.portrait import Portrait

            tracker = job.open_tracker(resources)
            portrait = Portrait.open(source, tracker)
            labels = _labels(cast)
            if not is_crowd(cast.roles, cast) and cast.order != BEST_MATCH:
                _seats(cast, cast.roles, portrait, labels)  # a mistake is told before the long work
        sayings = _hear(cast, report)
        with report.stage("loading"), progress.stage("loading the models"):
            animator = job.load_animator()
            kinds = {role.kind for role in cast.roles}
            encoder = open_encoder(animator, kinds, report, job.strengths, staging.regions, staging.smooth)
            if encoder is not None:
                staging = replace(staging, rate=staging.rate or FEATURE_RATE)
            talker = _load_talker(job, cast, staging)
        clips = Clips(
            tracker, report, progress, staging.driving_face, staging.trim, job.tracker, work, encoder, staging.rate
        )
        roles, movements = clips.follow(cast.roles, cast, len(portrait.faces))
        movements |= _motions(roles, staging)
        for movement in movements.values():
            if staging.smooth is not None:
                movement.motion = movement.motion.smooth(staging.smooth)
        seats = _seats(cast, roles, portrait, labels, clips, movements, report)
        play = _rehearse(seats, movements, sayings, cast, staging)
        parts = _parts(play, portrait, talker, cast, staging, report, progress)
        note_cast(report, portrait, cast, play, {part.face for part in parts})
        frames = animator.animate_group(
            portrait,
            parts,
            mode="relative" if staging.relative else "absolute",
            strengths=job.strengths or None,
            regions=staging.regions,
            work=work,
        )
        if job.side_by_side:
            frames = in_a_row(frames, portrait.image, driving_frames(play, cast, resources))
        write_video(
            job,
            frames,
            play.fps,
            report,
            progress,
            total=play.frames,
            sound=sound_of_cast(play, cast, report, resources),
            alpha=not job.side_by_side and keeps_transparency(job.output, job.codec, portrait),
            what=staging.what,
        )
    note_work_and_cache(report, work, job.cache, animator)
    return job.finish(report, animator.timings)


def _check_files(job: DrawingJob, source: Path, cast: Cast) -> Cast:
    """The cast with motions found, once every file, the output included, has been looked at."""
    what = {"driving": "driving video", "audio": "speech"}
    require_file(source, "portrait")
    roles, inputs = [], [source, *([] if cast.file is None else [cast.file])]
    for role in cast.roles:
        path = find_motion(role.source) if role.kind == "motion" else require_file(Path(role.source), what[role.kind])
        roles.append(replace(role, source=str(path)))
        inputs.append(path)
    inputs += [
        require_file(word, "reference picture") for word in (cast.labels or {}).values() if isinstance(word, Path)
    ]
    check_video_output(job.output, inputs, job.codec, job.crf, job.overwrite)
    if job.report is not None:
        check_output(job.report, inputs, others=[job.output])
    return replace(cast, roles=tuple(roles))


def _labels(cast: Cast) -> dict[str, str | np.ndarray]:
    from animate.media import read_image

    labels = (cast.labels or {}).items()
    return {name: read_image(word)[..., :3] if isinstance(word, Path) else word for name, word in labels}


def _load_talker(job: DrawingJob, cast: Cast, staging: Staging) -> Talker | None:
    if not any(role.kind == "audio" for role in cast.roles):
        return None
    from talking_face.talker import Talker

    return Talker.from_pretrained(staging.speech_model, staging.speech_method, job.device)


def _seats(
    cast: Cast,
    roles: Sequence[Role],
    portrait: Portrait,
    labels: Mapping[str, str | np.ndarray],
    clips: Clips | None = None,
    movements: Mapping[Role, Movement] | None = None,
    report: RunReport | None = None,
) -> list[Seat]:
    """Who plays whom; the best match needs to know how the drivers look."""

    def alike() -> np.ndarray:
        looks = [clips.look(role, movements[role], portrait.faces) for role in roles]
        table, means = likeness(looks, portrait.faces, portrait.image)
        report.note(f"Drivers and faces were matched by {means}.")
        return table

    visible = movements is not None and all(role in movements for role in roles)
    return assign(
        portrait.faces,
        roles,
        cast.order,
        labels,
        name=portrait.name,
        image=portrait.image[..., :3],
        likeness=alike if visible else None,
        again=cast.turns,
    )


def _hear(cast: Cast, report: RunReport) -> list[Saying]:
    sounds = list(dict.fromkeys(role for role in cast.roles if role.kind == "audio"))
    if not sounds:
        return []
    with report.stage("speech"):
        return schedule(sounds, cast.turns, report)


def _motions(roles: Sequence[Role], staging: Staging) -> dict[Role, Movement]:
    from animate.motion import Motion

    movements = {}
    for role in roles:
        if role.kind == "motion":
            motion = Motion.load(role.source)
            start, end = staging.trim
            movements[role] = Movement(motion.trim(start, end) if start or end is not None else motion)
    return movements


def _rehearse(
    seats: list[Seat],
    movements: Mapping[Role, Movement],
    sayings: list[Saying],
    cast: Cast,
    staging: Staging,
) -> Play:
    """Everything at one rate and of one length."""
    seen = [role for role in dict.fromkeys(seat.role for seat in seats) if role in movements]
    motions = [movements[role].motion for role in seen]
    fps = staging.rate or max((motion.fps for motion in motions), default=RATE)
    lengths = [max(1, round(len(motion) * fps / motion.fps)) for motion in motions]
    if sayings:
        lengths.append(max(1, round(max(saying.end for saying in sayings) * fps / 16_000)))
    frames = (min if cast.ends == "trim" else max)(lengths)
    fitted = together(motions, cast.ends, fps, frames) if motions else []
    fittings = dict(zip(seen, fitted, strict=True))
    for role, fitting in fittings.items():
        fittings[role] = replace(fitting, rate=movements[role].rate or fitting.rate)
    return Play(seats, fps, frames, fittings, dict(movements), sayings)


def _parts(
    play: Play,
    portrait: Portrait,
    talker: Talker | None,
    cast: Cast,
    staging: Staging,
    report: RunReport,
    progress: Progress,
) -> list:
    """`animate.group.Part` of every face that moves."""
    import numpy as np

    from animate.group import Part
    from talking_face.lips import rest_like
    from talking_face.talker import TalkOptions

    seen = [seat for seat in play.seats if seat.role in play.fittings]
    parts = [_part(seat, play, cast) for seat in seen]
    if parts:
        bridged = np.any([~play.fittings[seat.role].motion.valid for seat in seen], axis=0)
        report.bridged_frames = [int(frame) for frame in bridged.nonzero()[0]]
    if talker is None:
        return parts
    options = staging.acting or TalkOptions(seed=0)
    speakers = [seat for seat in play.seats if seat.role.kind == "audio"]
    with report.stage("speech"), progress.stage("listening to the speech"):
        spoken = speak(talker, speakers, play.sayings, play.fps, play.frames, options)
        if staging.listening and cast.order == ALL:
            taken = {part.face for part in parts} | spoken.keys()
            silent = [face for face in range(len(portrait.faces)) if face not in taken]
            spoken |= {
                face: listen(talker, len(spoken) + n, play.fps, play.frames, options) for n, face in enumerate(silent)
            }
    own = {face: portrait.faces[face].landmarks for face in spoken}
    return parts + [Part(face, rest_like(motion, own[face])) for face, motion in spoken.items()]


def _part(seat: Seat, play: Play, cast: Cast) -> Part | ExpressionPart:
    from animate.group import ExpressionPart, Part

    features = play.movements[seat.role].features
    if features is None:
        return Part(seat.face, play.fittings[seat.role].motion)
    return ExpressionPart(seat.face, fit_features(features, play.frames, cast.ends, play.fps))
