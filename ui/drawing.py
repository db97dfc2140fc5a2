"""From frames to a finished video, with progress and report: what every command that draws has in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from animate.errors import MediaError

from .console import Progress
from .report import RunReport

if TYPE_CHECKING:
    import numpy as np

    from animate.media import VideoReader
    from animate.portrait import Portrait
    from animate.provenance import Provenance
    from animate.signing import Credential

    from .job import DrawingJob


def write_video(
    job: DrawingJob,
    frames: Iterator[np.ndarray],
    fps: Fraction,
    report: RunReport,
    progress: Progress,
    *,
    total: int | None,
    sound: tuple[Path, float] | None = None,
    alpha: bool = False,
    what: str = "portrait animation",
) -> None:
    """Draws every frame and writes it; the output's name appears only when all are written.

    frames: made while they are asked for. total: how many to expect, for the progress bar. sound: a file, and its
    second at the first frame. what: of which the video's tag says that it is AI-generated.
    """
    from animate.media import VideoWriter
    from animate.provenance import Provenance

    audio, audio_start = sound or (None, 0.0)
    provenance = Provenance(what, job.model)
    with ExitStack() as resources:
        writer = resources.enter_context(
            VideoWriter(
                job.output,
                fps,
                crf=job.crf,
                codec=job.codec,
                audio=audio,
                audio_start=audio_start,
                alpha=alpha,
                provenance=provenance,
                credential=job.credential,
            )
        )
        frames = progress.follow(frames, "animating", total)
        while True:
            with report.stage("animation"):
                frame = next(frames, None)
            if frame is None:
                break
            with report.stage("encoding"):
                writer.write(frame)
            report.frames += 1
            report.height, report.width = frame.shape[:2]
        with report.stage("encoding"):
            writer.close()
    for sentence in writer.warnings:
        report.note(sentence)
    report.fps, report.sound = str(fps), writer.sound
    note_provenance(report, provenance, job.credential, job.sign)


def note_provenance(
    report: RunReport, provenance: Provenance, credential: Credential | None, wanted: bool | None
) -> None:
    """Says in the report what the output says of where it comes from, and who signed that. wanted: `--sign`."""
    from animate.provenance import SOURCE_TYPE
    from animate.signing import SIGNABLE, available

    report.provenance = {
        "created": provenance.when,
        "digital_source_type": SOURCE_TYPE,
        "signed_by": None if credential is None else credential.name,
        "test_certificate": credential is not None and credential.test,
    }
    suffix = Path(report.output).suffix.lower()
    if credential is None and suffix not in ("", *SIGNABLE) and available() and wanted is None:
        report.note(f"It is not signed: C2PA has no place in {suffix} files.")
    if credential is not None and credential.test:
        report.note("It is signed (C2PA) with a local test certificate, which nobody trusts: --sign-with takes yours.")


def note_faults(reader: VideoReader, report: RunReport, what: str) -> None:
    """Says in the report what was wrong with a video, once it has been read. what: "video", "driving clip", …."""
    for sentence in reader.warnings:
        report.note(sentence)
    if reader.info.variable_frame_rate:
        report.note(f"The {what}'s frame rate varies: it was resampled by time to {reader.fps}.")


def keeps_transparency(path: Path, codec: str, portrait: Portrait) -> bool:
    """Whether a transparent portrait stays transparent; the writer says so in a warning where it cannot."""
    from animate.media import check_output

    if portrait.image.shape[2] == 3:
        return False
    try:
        return check_output(path, (), codec, alpha=True).codec is not None
    except MediaError:
        return False


def in_a_row(
    frames: Iterator[np.ndarray], still: np.ndarray | None = None, others: Iterator[np.ndarray] | None = None
) -> Iterator[np.ndarray]:
    """Rows of pictures: a still one, a frame of another clip (whose last one goes on when it ends), and the frame; each
    where there is one, all as high as the first."""
    from animate.compositing import flatten, side_by_side

    first = [] if still is None else [flatten(still)]
    other = None
    for frame in frames:
        if others is not None:
            other = next(others, other)
        yield side_by_side(*first, *([] if other is None else [other]), flatten(frame))
