"""What the page takes: how large, how long, and of which kind. Told by a file's content, never by its name."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from animate.errors import MediaError, OptionError

#: Beginnings of files that no part of the page takes, and what they are.
_REFUSED: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "an archive (ZIP)"),
    (b"PK\x05\x06", "an archive (ZIP)"),
    (b"\x1f\x8b", "an archive (gzip)"),
    (b"7z\xbc\xaf\x27\x1c", "an archive (7z)"),
    (b"Rar!", "an archive (RAR)"),
    (b"\xfd7zXZ", "an archive (xz)"),
    (b"BZh", "an archive (bzip2)"),
    (b"\x28\xb5\x2f\xfd", "an archive (zstd)"),
    (b"%PDF", "a document (PDF)"),
    (b"%!PS", "a document (PostScript)"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"#!", "a program"),
    (b"#EXTM3U", "a play list"),
    (b"ffconcat", "a play list"),
    (b"\x80\x02", "a pickle"),
    (b"\x80\x04", "a pickle"),
)
_WANTED = {
    "picture": "a JPEG, PNG, WebP, TIFF, BMP or GIF picture",
    "video": "a video such as MP4, MOV or WebM",
    "sound": "a sound such as WAV, FLAC or MP3, or a video that has sound",
    "motion": "a motion file that Mien wrote (.safetensors)",
}


@dataclass(frozen=True)
class Limits:
    """How much the page takes of one user at once.

    upload_mb: one file. megapixels: a portrait. seconds: a clip or a sound. waiting: jobs in the queue.
    minutes: after which a job is given up. keep_minutes: after which files of the page are deleted.
    """

    upload_mb: int = 512
    megapixels: float = 40.0
    seconds: float = 120.0
    waiting: int = 32
    minutes: float = 30.0
    keep_minutes: float = 60.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise OptionError(f"--max-{name.replace('_', '-')} is {value}: it must be more than 0.")


def check_upload(path: Path, kind: str, limits: Limits, folder: Path) -> Path:
    """The file that somebody uploaded, if it is what is wanted and no larger than allowed.

    Args:
        kind: "picture", "video", "sound" or "motion".
        folder: the only one whose files are taken.

    Raises:
        MediaError, MotionError: with one sentence.
    """
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(os.path.realpath(folder)):
        raise MediaError("Only files that were uploaded to this page are read: upload the file first.")
    if not real.is_file():
        raise MediaError(f"{path.name} is no longer here: upload it again.")
    megabytes = real.stat().st_size / 1e6
    if megabytes > limits.upload_mb:
        raise MediaError(f"{path.name} has {megabytes:,.0f} MB, more than {limits.upload_mb}: give a smaller file.")
    what = _refused(real)
    if what is not None:
        raise MediaError(f"{path.name} is {what}: give {_WANTED[kind]}.")
    {"picture": _check_picture, "video": _check_video, "sound": _check_sound, "motion": _check_motion}[kind](
        real, limits
    )
    return real


def _refused(path: Path) -> str | None:
    with path.open("rb") as file:
        head = file.read(4096)
    for beginning, what in _REFUSED:
        if head.startswith(beginning):
            return what
    if head[257:262] == b"ustar":
        return "an archive (tar)"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<?xml", b"<svg", b"<!doctype", b"<html")):
        return "a vector graphic (SVG)" if b"<svg" in text else "a web page or other text"
    return None


def _check_picture(path: Path, limits: Limits) -> None:
    from PIL import Image

    from animate.media import READABLE, read_image

    try:
        Image.init()
        with Image.open(path, formats=[name for name in READABLE if name in Image.OPEN]) as image:
            pixels = image.size[0] * image.size[1]
    except Exception:  # whatever it is, this says it in a sentence
        read_image(path)
        raise
    if pixels > limits.megapixels * 1e6:
        raise MediaError(
            f"{path.name} has {pixels / 1e6:.0f} megapixels, more than {limits.megapixels:g}: make it smaller."
        )


def _check_video(path: Path, limits: Limits) -> None:
    from .paths import require_video

    require_video(path, "video")
    from animate.media import probe

    _check_seconds(path, probe(path).duration, limits)


def _check_sound(path: Path, limits: Limits) -> None:
    from animate.media import sound_of
    from talking_face.audio import SAMPLE_RATE, duration_of, stream_audio

    if sound_of(path) is None:
        raise MediaError(f"{path.name} has no sound: give {_WANTED['sound']}.")
    _check_seconds(path, duration_of(path), limits)
    seconds = 0.0
    for block in stream_audio(path):  # what a file says of its length may be wrong, and hours of silence pack well
        seconds += len(block) / SAMPLE_RATE
        if seconds > limits.seconds + 1:
            raise MediaError(f"{path.name} lasts longer than {limits.seconds:g} s: cut it, or use the command line.")


def _check_seconds(path: Path, seconds: float | None, limits: Limits) -> None:
    if seconds is not None and seconds > limits.seconds:
        lasts = math.ceil(10 * seconds) / 10
        raise MediaError(
            f"{path.name} lasts {lasts:g} s, more than {limits.seconds:g}: cut it, or use the command line."
        )


def _check_motion(path: Path, limits: Limits) -> None:
    from animate.motion import Motion

    _check_seconds(path, Motion.load(path).duration, limits)


def without_folders(sentence: str, names: Iterable[str | Path]) -> str:
    """A sentence that calls files by their names alone; the server's folders are nobody's business."""
    for path in sorted({str(name) for name in names if name}, key=len, reverse=True):
        sentence = sentence.replace(path, Path(path).name)
    return sentence
