"""Quick previews: the warp alone, small, eight to fifteen frames a second, of the first seconds."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from animate.errors import MienError

if TYPE_CHECKING:
    import numpy as np

    from .job import DrawingJob

LONGEST = 512  # px of the longer side
SECONDS = 3.0
DUB_SECONDS = 2.0
DUB_FPS = 15  # a clip's frames are left out until it has no more a second
FPS = "8"
CRF = 26


def quick_animation(job: Any, folder: Path) -> DrawingJob:
    """The preview of an animation."""
    end = min(job.trim_start + SECONDS, job.trim_end or float("inf"))
    return replace(
        job,
        source=small_portrait(job.source, folder),
        output=folder / "preview.mp4",
        method="warp",
        fps=FPS,
        trim_end=end if job.trim_start or job.trim_end or job.motion is None else None,
        crf=CRF,
        side_by_side=False,
    )


def quick_talk(job: Any, folder: Path) -> DrawingJob:
    """The preview of a talking portrait."""
    return replace(
        job,
        source=small_portrait(job.source, folder),
        audio=short_sound(job.audio, folder, SECONDS),
        output=folder / "preview.mp4",
        method="warp",
        fps=FPS,
        crf=CRF,
        side_by_side=False,
    )


def quick_dub(job: Any, folder: Path) -> DrawingJob:
    """The preview of a dubbed video; it is followed like the whole one, so it is short."""
    return replace(
        job,
        video=short_clip(job.video, folder, DUB_SECONDS),
        audio=short_sound(job.audio, folder, DUB_SECONDS),
        output=folder / "preview.mp4",
        method="prior",
        longer="trim",
        shorter="trim",
        crf=CRF,
        side_by_side=False,
    )


def small_portrait(path: Path, folder: Path) -> Path:
    """The portrait with its longer side at most `LONGEST` px, written into the folder; itself where it is no larger."""
    from animate.media import read_image, write_image

    image = read_image(path)
    small = shrunk(image)
    if small is image:
        return path
    write_image(folder / "small.png", small)
    return folder / "small.png"


def short_sound(path: Path, folder: Path, seconds: float) -> Path:
    """The beginning of a sound, one channel, as WAV in the folder."""
    import wave

    import numpy as np

    from animate.media import read_sound

    sound = read_sound(path)[: round(seconds * 16000), 0]
    with wave.open(str(folder / "preview.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
    return folder / "preview.wav"


def short_clip(path: Path, folder: Path, seconds: float) -> Path:
    """The beginning of a video, small and with fewer frames a second, in the folder."""
    from itertools import islice

    from animate.media import VideoReader, VideoWriter

    short = folder / "short.mp4"
    with VideoReader(path) as reader:
        step = max(1, -(-reader.fps // DUB_FPS))
        frames = islice(reader, 0, max(1, round(seconds * reader.fps)), int(step))
        with VideoWriter(short, Fraction(reader.fps) / int(step), crf=12) as writer:
            for frame in frames:
                writer.write(shrunk(frame))
    return short


def shrunk(image: np.ndarray) -> np.ndarray:
    """A picture with its longer side at most `LONGEST` px; itself where it is no larger."""
    import cv2

    height, width = image.shape[:2]
    if max(height, width) <= LONGEST:
        return image
    factor = LONGEST / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def preview(quick, job: DrawingJob, folder: Path, run, progress) -> Path | None:
    """The preview's file; None where it fails, for the job itself will say why."""
    try:
        small = quick(job, folder)
        run(small, progress)
    except MienError:
        return None
    return small.output
