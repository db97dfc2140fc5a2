"""The motion of a driving clip, and how a work folder keeps it, so that a resumed job need not track again."""

from __future__ import annotations

import json
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from animate.errors import OptionError

from . import options as words
from .console import Progress
from .drawing import note_faults
from .people import choose_track
from .report import RunReport

if TYPE_CHECKING:
    from animate.faces import FaceTracker
    from animate.motion import Motion
    from animate.work_folder import WorkFolder

    from .animate_job import AnimateOptions

PART = "tracking"


def track_driving(
    options: AnimateOptions,
    path: Path,
    tracker: FaceTracker,
    work: WorkFolder | None,
    report: RunReport,
    progress: Progress,
) -> tuple[Motion, float]:
    """The motion of the chosen person in the driving clip, and the second of the clip at which it begins.

    Raises MediaError, FaceError for a clip without a picture or a face, OptionError where `work` belongs to another
    job, or where nothing moves because the clip is a single frame.
    """
    if work is None:
        return _track(options, path, tracker, report, progress)
    from animate.work_folder import checksum

    reference = words.face_reference(options.driving_face)
    source = checksum(path, reference or options.driving_face, options.tracker, options.trim_start, options.trim_end)
    work.claim(PART, {"driving clip": source})
    kept = work.get(PART, source)
    if kept is not None:
        motion, start, notes = unpack_motion(kept)
        for note in notes:
            report.note(note)
        return motion, start
    before = len(report.notes)
    motion, start = _track(options, path, tracker, report, progress)
    work.put(PART, pack_motion(motion, start, report.notes[before:]), source)
    return motion, start


def _track(
    options: AnimateOptions, path: Path, tracker: FaceTracker, report: RunReport, progress: Progress
) -> tuple[Motion, float]:
    from animate.media import VideoReader
    from animate.motion import Motion

    with (
        report.stage("tracking"),
        VideoReader(path, start=options.trim_start, end=options.trim_end) as reader,
    ):
        frames = progress.follow(reader, "tracking", reader.frames)
        track = choose_track(tracker, frames, reader.fps, options.driving_face, path)
        if len(track.valid) == 1 and options.relative:
            raise OptionError(
                f"{path} is a single frame, in which nothing moves: give a video, a built-in motion (--motion smile), "
                "or --absolute to take its head pose."
            )
        note_faults(reader, report, "driving clip")
        return Motion.from_track(track, source=path.name), reader.start


def pack_motion(motion: Motion, start: float, notes: list[str]) -> dict:
    """A clip's motion, its start in the clip and what is to be said of it, as arrays; at full precision, which a motion
    file does not keep."""
    import numpy as np

    values = {field.name: getattr(motion, field.name) for field in fields(motion)}
    arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    words = {name: value for name, value in values.items() if name not in arrays} | {"fps": str(motion.fps)}
    header = json.dumps({"start": start, "notes": notes, "motion": words})
    return arrays | {"header": np.frombuffer(header.encode(), np.uint8)}


def unpack_motion(kept: dict) -> tuple[Motion, float, list[str]]:
    """The reverse of `pack_motion`."""
    from animate.motion import Motion

    header = json.loads(kept.pop("header").tobytes())
    words = header["motion"]
    return Motion(**{**words, "fps": Fraction(words["fps"])}, **kept), header["start"], header["notes"]
