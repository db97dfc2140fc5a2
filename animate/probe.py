"""What is in a video file: size, exact rational frame rate, rotation, sound; told by ffmpeg, not ffprobe.

ffmpeg's banner rounds rates to two decimals. The exact rate comes from the time stamps of the coded pictures,
which one pass without decoding lists in the file's own time base.
"""

import functools
import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from animate import ffmpeg
from animate.errors import MediaError
from animate.frame_rate import frame_rate, rate_candidates

# What ffmpeg also opens but is no film: play lists that point elsewhere, text or vectors drawn as pictures.
NOT_VIDEO = {
    "concat",
    "hls",
    "dash",
    "imf",
    "tty",
    "bin",
    "xbin",
    "adf",
    "idf",
    "svg_pipe",
    "rtsp",
    "sdp",
    "lrc",
}
MAX_SIDE = 16384
NO_STAMP = -(2**63)
HIGH_DYNAMIC_RANGE = ("smpte2084", "arib-std-b67")


@dataclass(frozen=True)
class SoundInfo:
    """The first sound stream of a file. `layout` is ffmpeg's name: "mono", "stereo", "5.1", ..."""

    codec: str
    sample_rate: int
    layout: str


@dataclass(frozen=True)
class VideoInfo:
    """The first video stream of a file.

    Attributes:
        width, height: pixels of a frame as it is shown: after rotation, with square pixels.
        fps: exact rate; the nominal one where the rate varies.
        frames: coded frames in the file, None where the container does not tell.
        duration: seconds from the first frame to the end of the last, None where unknown.
        rotation: degrees clockwise (0, 90, 180, 270) by which the stored picture is turned to be shown.
        variable_frame_rate: frames stray by more than a quarter of a frame from an even beat.
        start: time of the first frame on the container's clock, seconds.
        container_start: the first tick of that clock, seconds.
        matrix: YUV matrix for decoding, "auto" where the file is tagged.
    """

    path: Path
    width: int
    height: int
    fps: Fraction
    frames: int | None
    duration: float | None
    has_audio: bool
    rotation: int
    codec: str
    variable_frame_rate: bool
    start: float = 0.0
    container_start: float = 0.0
    sound: SoundInfo | None = None
    matrix: str = "auto"
    high_dynamic_range: bool = False


def check_input(path: str | Path, kind: str) -> Path:
    """A path that can be opened; `kind` ("video", "picture", "sound file") goes into the sentence.

    Raises:
        MediaError: missing, a folder, empty, or not readable.
    """
    path = Path(path)
    try:
        if not path.exists():
            raise MediaError(f"{path} does not exist: check the name of the {kind}.")
        if path.is_dir():
            raise MediaError(f"{path} is a folder, not a {kind}: name one file.")
        if path.is_file() and path.stat().st_size == 0:
            raise MediaError(f"{path} is empty (0 bytes): give another {kind}.")
        with path.open("rb"):
            pass
    except (OSError, ValueError) as error:
        raise MediaError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error}).") from error
    return path


def probe(path: str | Path) -> VideoInfo:
    """Read what is in a video file. The file is read through once, nothing is decoded.

    Raises:
        MediaError: missing, empty or unreadable file; no video; no video stream; no frame; too many pixels.
    """
    path = check_input(path, "video")
    status = os.stat(path)
    return _probe(path, (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size))


@functools.lru_cache(maxsize=32)
def _probe(path: Path, identity: tuple[int, ...]) -> VideoInfo:
    stderr = ffmpeg.run(ffmpeg.banner_command(path)).stderr.decode("utf-8", "replace")
    banner = parse_banner(stderr)
    if banner is None or set(banner.formats) & NOT_VIDEO:
        reason = ffmpeg.complaint(stderr) if banner is None else f"it is of the type {banner.formats[0]}"
        raise MediaError(f"{path} cannot be read as a video ({reason}): it is damaged, truncated or no video.")
    if banner.size is None:
        what = "holds sound but no picture" if banner.sound else "holds no video stream"
        raise MediaError(f"{path} {what}: give a video file.")
    if max(banner.size) > MAX_SIDE:
        size = f"{banner.size[0]}x{banner.size[1]}"
        raise MediaError(f"{path} is {size} pixels, more than {MAX_SIDE} on a side: make it smaller.")
    packets = read_packets(path)
    if not packets.count:
        raise MediaError(f"{path} has no frames: it is damaged or truncated; give another video.")
    if packets.times.size:
        fps, variable = frame_rate(packets.times, packets.time_base, banner.rates)
        last = packets.last_duration or round(1 / (fps * packets.time_base))
        spanned = (int(packets.times[-1]) - int(packets.times[0]) + last) * packets.time_base
        duration = float(spanned if variable else packets.count / fps)
        start = float(int(packets.times[0]) * packets.time_base)
    else:  # raw streams carry no time stamps: the nominal rate is all there is
        fps, variable = next(iter(rate_candidates(banner.rates)), Fraction(25)), False
        duration, start = float(packets.count / fps), banner.start
    width, height = shown_size(banner.size, banner.pixel_aspect, banner.rotation)
    return VideoInfo(
        path=path,
        width=width,
        height=height,
        fps=fps,
        frames=packets.count,
        duration=duration,
        has_audio=banner.sound is not None,
        rotation=banner.rotation,
        codec=banner.codec,
        variable_frame_rate=variable,
        start=start,
        container_start=banner.start,
        sound=banner.sound,
        # Untagged film is BT.709 by custom from 720 lines on; swscale would take BT.601 for it.
        matrix="bt709" if banner.untagged_yuv and min(banner.size) >= 720 else "auto",
        high_dynamic_range=banner.high_dynamic_range,
    )


def sound_of(path: str | Path) -> SoundInfo | None:
    """The first sound stream of a sound or video file, None where it has none.

    Raises:
        MediaError: the file is missing, empty or no medium.
    """
    path = check_input(path, "sound file")
    stderr = ffmpeg.run(ffmpeg.banner_command(path)).stderr.decode("utf-8", "replace")
    banner = parse_banner(stderr)
    if banner is None or set(banner.formats) & NOT_VIDEO:
        reason = ffmpeg.complaint(stderr)
        raise MediaError(
            f"{path} cannot be read as sound or video ({reason}): give a sound file, or a video that has sound."
        )
    return banner.sound


@dataclass(frozen=True)
class Banner:
    """What ffmpeg prints of a file. `rates` are its rounded fps and tbr, `size` is the stored one."""

    formats: tuple[str, ...]
    start: float
    codec: str = ""
    size: tuple[int, int] | None = None
    pixel_aspect: Fraction = Fraction(1)
    rates: tuple[str, ...] = ()
    rotation: int = 0
    untagged_yuv: bool = False
    high_dynamic_range: bool = False
    sound: SoundInfo | None = None


def parse_banner(text: str) -> Banner | None:
    """Parse the output of `ffmpeg -i FILE`; None where the file could not be opened. Covers are no video."""
    opened = re.search(r"^Input #0, ([\w,.+-]+), from ", text, re.MULTILINE)
    if opened is None:
        return None
    start = re.search(r"^  Duration: .*?start: (-?[\d.]+)", text, re.MULTILINE)
    fields: dict = {
        "formats": tuple(opened.group(1).split(",")),
        "start": float(start.group(1)) if start else 0.0,
    }
    for block in re.split(r"^(?=  Stream #0:)", text, flags=re.MULTILINE)[1:]:
        line = block.splitlines()[0]
        kind = re.match(r"  Stream #0:\d+\S*: (Video|Audio): (\w+)", line)
        if kind is None:
            continue
        if kind.group(1) == "Audio" and "sound" not in fields:
            form = re.search(r", (\d+) Hz, ([^,]+)", line)
            rate, layout = (int(form.group(1)), form.group(2).strip()) if form else (0, "unknown")
            fields["sound"] = SoundInfo(kind.group(2), rate, layout)
        elif (
            kind.group(1) == "Video"
            and "codec" not in fields
            and not re.search(r"\((attached pic|timed thumbnails)\)", line)
        ):
            fields |= _parse_video(kind.group(2), line, block)
    return Banner(**fields)


def _parse_video(codec: str, line: str, block: str) -> dict:
    size = re.search(r", (\d{1,6})x(\d{1,6})(?=[ ,\[]|$)", line)
    aspect = re.search(r"\bSAR (\d+):(\d+)", line)
    turn = re.search(r"display ?matrix: rotation of (-?[\d.]+) degrees", block, re.IGNORECASE)
    pixels = re.search(r", (yuv\w+)(\([^)]*\))?", line)
    tags = (pixels.group(2) or "") if pixels else ""
    rates = [match.group(1) for name in ("fps", "tbr") if (match := re.search(rf", ([\d.]+k?) {name}\b", line))]
    return {
        "codec": codec,
        "size": (int(size.group(1)), int(size.group(2))) if size else None,
        "pixel_aspect": Fraction(int(aspect.group(1)) or 1, int(aspect.group(2)) or 1) if aspect else Fraction(1),
        "rates": tuple(rates),
        "rotation": round(-float(turn.group(1)) / 90) * 90 % 360 if turn else 0,
        "untagged_yuv": pixels is not None and not re.search(r"bt|smpte|fcc|ycgco|gbr", tags),
        "high_dynamic_range": any(name in tags for name in HIGH_DYNAMIC_RANGE),
    }


def shown_size(size: tuple[int, int], pixel_aspect: Fraction, rotation: int) -> tuple[int, int]:
    """Width and height of a stored picture when its pixels are made square and it is turned upright."""
    width, height = max(1, round(size[0] * pixel_aspect)), size[1]
    return (height, width) if rotation % 180 else (width, height)


@dataclass(frozen=True)
class Packets:
    """Coded pictures: their count and sorted time stamps, (N,) int64 in `time_base`, empty if unstamped."""

    count: int
    times: np.ndarray
    time_base: Fraction
    last_duration: int


def read_packets(path: str | Path) -> Packets:
    """List the time stamps of a file's pictures; those that an edit list hides are left out."""
    time_base, count, times, last = Fraction(1, 1), 0, [], (-1, 0)
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            ffmpeg.packets_command(path),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        for line in process.stdout:
            if line.startswith("#tb 0:"):
                time_base = Fraction(line.split(":")[1].strip())
            elif not line.startswith("#"):
                stamp = parse_packet(line)
                if stamp is None:
                    continue
                count += 1
                if stamp[0] is not None:
                    times.append(stamp[0])
                    last = max(last, stamp)
    stamped = times if len(times) == count else []
    return Packets(count, np.sort(np.asarray(stamped, np.int64)), time_base, last[1])


def parse_packet(line: str) -> tuple[int | None, int] | None:
    """Time stamp (None if unstamped) and duration from a line of framecrc; None for a hidden picture."""
    fields = [field.strip() for field in line.split(",")]
    if len(fields) < 6:
        return None
    flags = next((int(field[2:], 16) for field in fields[6:] if field.startswith("F=")), 1)
    discard = 0x4
    if flags & discard:
        return None
    stamp = int(fields[2])
    return (stamp if stamp > NO_STAMP else None), int(fields[3])
