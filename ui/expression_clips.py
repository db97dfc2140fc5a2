"""Driving clips of a model that takes expression features: who is followed, and what an encoder says of each frame."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from animate.errors import OptionError

from .console import Progress
from .drawing import note_faults
from .people import choose_track
from .report import RunReport

if TYPE_CHECKING:
    import numpy as np

    from animate.animator import PortraitAnimator
    from animate.expression_clip import ExpressionTrack
    from animate.faces import FaceTrack, FaceTracker
    from animate.models.expression_encoder import ExpressionEncoder
    from animate.work_folder import WorkFolder

    from .animate_job import AnimateOptions

PART = "features"
RATE = Fraction(25)  # frames per second that such models were trained with


def open_encoder(
    animator: PortraitAnimator,
    kinds: Collection[str],
    report: RunReport,
    strengths: Mapping[str, float],
    regions: set[str] | None,
    smooth: float | None,
) -> ExpressionEncoder | None:
    """What encodes driving clips; None where their motions drive, as they do of most models. The report says which.

    Args:
        kinds: of the drivers, of `animate.casting.KINDS`. strengths, regions, smooth: what was asked for of landmarks.

    Raises:
        WeightsError: see `PortraitAnimator.encoder_for`.
        OptionError: something was asked for that features do not offer.
    """
    encoder = animator.encoder_for(kinds)
    if encoder is None:
        if animator.takes_features and "driving" in kinds:
            report.note(
                "Driving clips went through the model's motion projection, as PD-FGC's encoder is not on this machine "
                "(`mien weights pull pd-fgc`)."
            )
        return None
    asked = {
        "--strength": strengths,
        "--region": regions is not None and "all" not in regions,
        "--smooth": smooth is not None,
    }
    if names := [name for name, value in asked.items() if value]:
        raise OptionError(
            f"This model takes a clip's expression as its encoder sees it, without {' and '.join(names)}: leave that "
            "out, or drive with a motion that `mien motion extract` made of the clip."
        )
    report.note("Driving clips went through PD-FGC's encoder: expression and head pose are the driver's own.")
    return encoder


def encode_driving(
    options: AnimateOptions,
    path: Path,
    tracker: FaceTracker,
    encoder: ExpressionEncoder,
    work: WorkFolder | None,
    report: RunReport,
    progress: Progress,
) -> tuple[ExpressionTrack, float]:
    """The expression of the chosen person in the driving clip, and the second of the clip at which it begins.

    Raises MediaError, FaceError for a clip without a picture or a face, OptionError where `work` belongs to another
    job.
    """
    rate = options.rate or RATE
    if work is None:
        return _encode(options, path, rate, tracker, encoder, report, progress)
    from animate.expression_clip import encoder_facts
    from animate.work_folder import checksum

    trim = (options.trim_start, options.trim_end)
    source = checksum(path, options.driving_face, options.tracker, trim, rate, encoder_facts(encoder))
    work.claim(PART, {"driving clip": source})
    if (kept := work.get(PART, source)) is not None:
        return _unpack(kept, report)
    before = len(report.notes)
    track, start = _encode(options, path, rate, tracker, encoder, report, progress)
    work.put(PART, _pack(track, start, report.notes[before:]), source)
    return track, start


def encode_people(
    path: Path,
    tracks: Iterable[FaceTrack],
    trim: tuple[float, float | None],
    encoder: ExpressionEncoder,
    report: RunReport,
    progress: Progress,
) -> list[ExpressionTrack]:
    """The expressions of tracked people of a clip, which is read once for each; no frame is kept."""
    from animate.expression_clip import encode_clip
    from animate.media import VideoReader

    made = []
    for track in tracks:
        with (
            report.stage("expression"),
            VideoReader(path, fps=track.fps, start=trim[0], end=trim[1]) as reader,
        ):
            frames = progress.follow(reader, f"reading the expression in {path.name}", len(track))
            made.append(encode_clip(frames, track, encoder))
    return made


def _encode(
    options: AnimateOptions,
    path: Path,
    rate: Fraction,
    tracker: FaceTracker,
    encoder: ExpressionEncoder,
    report: RunReport,
    progress: Progress,
) -> tuple[ExpressionTrack, float]:
    from animate.media import VideoReader

    trim = (options.trim_start, options.trim_end)
    with report.stage("tracking"), VideoReader(path, fps=rate, start=trim[0], end=trim[1]) as reader:
        frames = progress.follow(reader, "tracking", reader.frames)
        track = choose_track(tracker, frames, reader.fps, options.driving_face, path)
        note_faults(reader, report, "driving clip")
    if not reader.info.variable_frame_rate and reader.info.fps != rate:
        report.note(f"{path.name} was read at {float(rate):g} instead of {float(reader.info.fps):.4g} frames/s.")
    return encode_people(path, [track], trim, encoder, report, progress)[0], reader.start


def _pack(track: ExpressionTrack, start: float, notes: list[str]) -> dict[str, np.ndarray]:
    import numpy as np

    header = json.dumps({"fps": str(track.fps), "start": start, "notes": notes})
    return {
        "features": track.features,
        "valid": track.valid,
        "header": np.frombuffer(header.encode(), np.uint8),
    }


def _unpack(kept: Mapping[str, np.ndarray], report: RunReport) -> tuple[ExpressionTrack, float]:
    from animate.expression_clip import ExpressionTrack

    header = json.loads(kept["header"].tobytes())
    for note in header["notes"]:
        report.note(note)
    return ExpressionTrack(kept["features"], kept["valid"], Fraction(header["fps"])), header["start"]
