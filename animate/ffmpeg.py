"""Argument lists for the ffmpeg that imageio-ffmpeg bundles. Pure functions build them; only `run` runs."""

import functools
import re
import subprocess
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

from animate.errors import MediaError

# The names that the MP4 and MOV muxers store by themselves; they drop every other one unless told to write free tags.
MP4_TAGS = frozenset(
    "title artist album_artist album comment description copyright composer genre date encoder "
    "synopsis show episode_id network keywords lyrics grouping track disc creation_time xmp".split()
)
BT709 = "color_primaries=bt709:color_trc=bt709:colorspace=bt709"
SCALE_FLAGS = "flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"


@functools.cache
def binary() -> str:
    """Path of the bundled ffmpeg.

    Raises:
        MediaError: imageio-ffmpeg has no binary for this machine.
    """
    import imageio_ffmpeg

    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise MediaError(
            "imageio-ffmpeg has no ffmpeg for this machine: reinstall it with `pip install imageio-ffmpeg`."
        ) from error


def url(path: str | Path) -> str:
    """`file:` form of a path: no name (dash in front, colon inside) is taken for an option or protocol."""
    return f"file:{Path(path).absolute()}"


def run(arguments: Sequence[str], cwd: Path | None = None) -> subprocess.CompletedProcess:
    """Run ffmpeg to its end; `stdout` and `stderr` are bytes. No shell, no waiting on the terminal."""
    return subprocess.run(
        arguments, stdin=subprocess.DEVNULL, capture_output=True, cwd=cwd, check=False, start_new_session=True
    )


def complaint(stderr: bytes | str) -> str:
    """The first thing that ffmpeg complained of, without its logger's prefix and the path; "" for nothing."""
    text = stderr.decode("utf-8", "replace") if isinstance(stderr, bytes) else stderr
    for line in text.splitlines():
        line = re.sub(r"^(\[[^\]]* @ 0x[0-9a-f]+\] *)+(\[\w+\] *)?", "", line.strip())
        line = re.sub(r"^(Error opening input|Error opening input file)\b[^:]*: *", "", line)
        if line and not line.startswith(("file:", "Last message repeated")) and "misdetection" not in line:
            return line.rstrip(".")
    return ""


def _start(level: str) -> list[str]:
    return [binary(), "-hide_banner", "-nostdin", "-v", level]


def _input(path: str | Path) -> list[str]:
    # A play list in disguise may name other files and addresses: nothing but local files is opened.
    return ["-protocol_whitelist", "file", "-i", url(path)]


def banner_command(path: str | Path) -> list[str]:
    """Print on stderr what is in a file, without decoding; ffmpeg exits with 1, for want of an output."""
    return [binary(), "-hide_banner", "-nostdin", *_input(path)]


def packets_command(path: str | Path) -> list[str]:
    """List time base and time stamps of the coded pictures on stdout: one pass that decodes nothing."""
    copy = ["-map", "0:V:0", "-c", "copy", "-copyinkf", "-f", "framecrc", "pipe:1"]
    # MPEG programme streams stamp only some pictures: genpts fills in the rest
    return [*_start("error"), "-copyts", "-fflags", "+genpts", *_input(path), *copy]


def decode_command(
    path: str | Path,
    size: tuple[int, int],
    *,
    trim: tuple[float | None, float | None] = (None, None),
    resample: tuple[Fraction, float] | None = None,
    seek: float = 0.0,
    matrix: str = "auto",
) -> list[str]:
    """Decode the first video stream to raw RGB on stdout.

    Args:
        size: width and height of the frames that come out.
        trim: first time kept and first time no longer kept, seconds on the container's own clock.
        resample: rate, and time of the first frame on the container's clock; None passes every frame on.
        seek: seconds after the container's start where reading may begin; `trim` makes the cut itself.
        matrix: YUV matrix of the file ("auto": as tagged).
    """
    filters = []
    start, end = trim
    if resample is not None:
        rate, first = resample
        filters.append(f"fps=fps={rate.numerator}/{rate.denominator}:start_time={first:.9f}:round=near")
    limits = [f"{name}={at:.9f}" for name, at in (("start", start), ("end", end)) if at is not None]
    if limits:
        filters.append("trim=" + ":".join(limits))
    filters.append(f"scale={size[0]}:{size[1]}:in_color_matrix={matrix}:{SCALE_FLAGS}")
    filters.append("setsar=1")
    jump = ["-noaccurate_seek", "-ss", f"{seek:.6f}"] if seek > 0 else []
    raw = ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]
    return [
        *_start("error"), "-copyts", *jump, *_input(path), "-map", "0:V:0", "-vf", ",".join(filters), *raw
    ]  # fmt: skip


def sound_command(path: str | Path, rate: int, channels: int) -> list[str]:
    """Decode the first sound stream to raw 32-bit floats on stdout."""
    raw = ["-map", "0:a:0", "-ar", str(rate), "-ac", str(channels), "-f", "f32le", "pipe:1"]
    return [*_start("error"), *_input(path), *raw]


def _metadata(tags: Mapping[str, str], container: str) -> list[str]:
    arguments = [part for key, text in tags.items() for part in ("-metadata", f"{key}={text}")]
    movflags = []
    if container in ("mp4", "mov"):
        movflags = ["+faststart"] + (["+use_metadata_tags"] if set(tags) - MP4_TAGS else [])
    return arguments + (["-movflags", "".join(movflags)] if movflags else [])


def encode_command(
    target: str | Path,
    size: tuple[int, int],
    fps: Fraction,
    *,
    codec: str,
    container: str,
    crf: int,
    alpha: bool,
    metadata: Mapping[str, str],
) -> list[str]:
    """Encode raw RGB(A) frames from stdin.

    Args:
        codec: "h264", "vp9", "prores", "png" (target: a pattern such as `%05d.png`, relative to the working
            folder) or "ffv1" (lossless, in between).
        container: ffmpeg's name of the file format.
        crf: constant rate factor of H.264 (0 to 51) and VP9 (0 to 63); the others have none.
    """
    source = [
        "-f", "rawvideo", "-pix_fmt", "rgba" if alpha else "rgb24", "-video_size", f"{size[0]}x{size[1]}",
        "-framerate", f"{fps.numerator}/{fps.denominator}", "-i", "pipe:0",
    ]  # fmt: skip
    command = [*_start("error"), "-y", *source, "-an", *_video_encoder(codec, crf, alpha)]
    if codec == "png":
        return [*command, "-f", "image2", str(target)]
    return [*command, *_metadata(metadata, container), "-f", container, url(target)]


def _video_encoder(codec: str, crf: int, alpha: bool) -> list[str]:
    if codec == "png":
        return ["-c:v", "png", "-pix_fmt", "rgba" if alpha else "rgb24", "-start_number", "1"]
    if codec == "ffv1":
        return ["-c:v", "ffv1", "-pix_fmt", "bgra" if alpha else "bgr0"]
    pixels, options = {
        "h264": ("yuv420p", ["-c:v", "libx264", "-preset", "medium", "-crf", str(crf)]),
        "vp9": (
            "yuva420p" if alpha else "yuv420p",
            ["-c:v", "libvpx-vp9", "-crf", str(crf), "-b:v", "0", "-deadline", "good", "-cpu-used", "4"]
            + ["-row-mt", "1"]
            # libvpx cannot hold back frames and keep their alpha.
            + (["-auto-alt-ref", "0", "-metadata:s:v:0", "alpha_mode=1"] if alpha else []),
        ),
        "prores": (
            "yuva444p10le" if alpha else "yuv444p10le",
            ["-c:v", "prores_ks", "-profile:v", "4444", "-vendor", "apl0"] + (["-alpha_bits", "16"] if alpha else []),
        ),
    }[codec]
    convert = f"scale=out_color_matrix=bt709:out_range=tv:{SCALE_FLAGS},format={pixels},setparams={BT709}:range=tv"
    tags = ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"]
    return ["-vf", convert, *options, *tags]


def palette_command(video: str | Path, palette: str | Path, alpha: bool) -> list[str]:
    """One palette for a whole clip, so that colours do not flicker from frame to frame."""
    reserve = f"palettegen=stats_mode=full:reserve_transparent={int(alpha)}"
    return [
        *_start("error"),
        "-y",
        *_input(video),
        "-vf",
        reserve,
        "-frames:v",
        "1",
        "-update",
        "1",
        url(palette),
    ]


def gif_command(video: str | Path, palette: str | Path, target: str | Path, rate: Fraction) -> list[str]:
    """Draw a clip with a palette as an endless GIF. An ordered dither stands still where the picture does."""
    graph = (
        f"[0:v]fps=fps={rate.numerator}/{rate.denominator}[v];"
        "[v][1:v]paletteuse=dither=bayer:bayer_scale=3:diff_mode=rectangle:alpha_threshold=128"
    )
    inputs = [*_input(video), *_input(palette)]
    return [*_start("error"), "-y", *inputs, "-lavfi", graph, "-loop", "0", "-f", "gif", url(target)]


def mux_command(
    video: str | Path,
    sound: str | Path,
    target: str | Path,
    *,
    container: str,
    encoder: str,
    start: float,
    duration: float,
    stereo: bool,
    alpha: bool,
    metadata: Mapping[str, str],
) -> list[str]:
    """Put a sound under a finished video, whose stream is copied.

    Args:
        encoder: "copy" keeps the sound's packets untouched; "aac" or "libopus" encodes, cut at the sample.
        start: where the sound begins, seconds after the start of its file; has to be 0 for "copy".
        duration: seconds of sound.
        stereo: mix more than two channels down.
    """
    command = [*_start("error"), "-y", *_input(video)]
    if encoder == "copy":
        command += ["-t", f"{duration:.9f}", *_input(sound), "-c:a", "copy"]
    else:
        cut = f"atrim=start={start:.9f}:duration={duration:.9f},asetpts=PTS-{start:.9f}/TB"
        rate = ["-b:a", "192k"] if encoder == "aac" else ["-b:a", "128k"]
        command += [*_input(sound), "-af", cut, "-c:a", encoder, *rate, *(["-ac", "2"] if stereo else [])]
    # The driver's own tags (place, device, author) are not this video's.
    command += ["-map", "0:v:0", "-map", "1:a:0", "-c:v", "copy", "-map_metadata", "-1"]
    command += ["-metadata:s:v:0", "alpha_mode=1"] if alpha and container == "webm" else []
    return [*command, *_metadata(metadata, container), "-f", container, url(target)]
