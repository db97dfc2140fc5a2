"""Sound in: any sound or video file, or an array, as mono at 16 kHz; in blocks where a file may be of any length."""

from __future__ import annotations

import contextlib
import re
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from animate import ffmpeg
from animate.errors import MediaError, OptionError
from animate.media import sound_of
from animate.probe import check_input, parse_banner, parse_packet

SAMPLE_RATE = 16_000
MAX_CHANNELS = 256
RATES = (1_000, 768_000)  # lowest and highest sample rate of an array

# Time zero is the start of the container, as where the sound is put under a video: a sound that begins later, and a gap
# between its packets, become silence.
_ON_TIME = f"aresample={SAMPLE_RATE}:async=1:first_pts=0"
_SILENT, _QUIET = -55.0, -45.0  # dBFS of the loudest 50 ms
_CLIPPED, _CLIPPED_RUN, _CLIPPED_SHARE = 0.99, 3, 1e-3


def load_audio(source: str | Path | np.ndarray, rate: int | None = None) -> np.ndarray:
    """A whole sound in memory; use `stream_audio` for a file that may be long.

    Args:
        source: a sound or video file (its first sound stream), or an array (N,) or (N, C), of floats in [-1, 1] or
            of integers, which are scaled by their range. Channels are averaged.
        rate: samples a second of the array.

    Returns:
        (N,) float32 at SAMPLE_RATE, nominal [-1, 1].

    Raises:
        MediaError: no such file, not a medium, no sound in it, no samples, or samples that are not numbers.
        OptionError: an array without its rate, or of an impossible shape, type or rate.
    """
    if not isinstance(source, np.ndarray):
        return np.concatenate(list(stream_audio(source)))
    if rate is None:
        raise OptionError("a sound given as an array needs its rate: give rate=16000, or whatever it was recorded at.")
    if not RATES[0] <= rate <= RATES[1]:
        raise OptionError(f"the sample rate {rate} is out of range: give {RATES[0]:,} to {RATES[1]:,} a second.")
    return _resample(_mono(source), rate)


def stream_audio(path: str | Path, seconds: float = 10.0, notes: list[str] | None = None) -> Iterator[np.ndarray]:
    """The first sound stream of a sound or video file in blocks, in constant memory.

    Time zero is that of the file: where the sound begins after the picture, silence comes first.

    Args:
        path: file.
        seconds: length of a block; the last may be shorter.
        notes: takes a sentence where a part of the file cannot be decoded.

    Yields:
        (n,) float32 at SAMPLE_RATE, nominal [-1, 1], the mean of all channels.

    Raises:
        MediaError: as in `load_audio`.
        OptionError: seconds is not positive.
    """
    if not 0 < seconds <= 3600:
        raise OptionError(f"blocks of {seconds} s are impossible: give more than 0 and at most 3600 seconds.")
    path = check_input(path, "sound file")
    if sound_of(path) is None:
        raise MediaError(f"{path} has no sound: give a sound file, or a video that has sound.")
    size, parts, count, empty = round(seconds * SAMPLE_RATE) or 1, [], 0, True
    with tempfile.TemporaryFile() as log:
        for part in _decode(path, _ON_TIME, log):
            if not np.isfinite(part).all():
                raise MediaError(f"{path} holds samples that are not numbers: export it again as 16-bit WAV.")
            empty = False
            while count + len(part) >= size:
                yield np.concatenate([*parts, part[: size - count]])
                part, parts, count = part[size - count :], [], 0
            parts, count = [*parts, part], count + len(part)
        log.seek(0)
        complaint = ffmpeg.complaint(log.read(1 << 16))
    if empty:  # ffmpeg's resampler gives nothing for less than a few samples
        yield _few_samples(path)
    elif count:
        yield np.concatenate(parts)
    if complaint and not empty and notes is not None:
        notes.append(f"{path} is damaged ({complaint}): only a part of its sound could be decoded.")


def duration_of(path: str | Path) -> float | None:
    """Seconds from the file's start to the end of its sound, without decoding; None where the file does not tell.

    Raises:
        MediaError: no such file, not a medium, or no sound in it.
    """
    path = check_input(path, "sound file")
    if sound_of(path) is None:
        raise MediaError(f"{path} has no sound: give a sound file, or a video that has sound.")
    text = ffmpeg.run(ffmpeg.banner_command(path)).stderr.decode("utf-8", "replace")
    banner = parse_banner(text)
    told = re.search(r"^  Duration: (\d+):(\d+):([\d.]+)", text, re.MULTILINE)
    whole = None if told is None else int(told[1]) * 3600 + int(told[2]) * 60 + float(told[3])
    if whole is not None and banner.size is None:
        return whole
    # beside a picture the sound may end earlier: look at its last packets, or at all where there are none
    ends = [_last_packet(path, max(0.0, (whole or 0) - 20)), *([_last_packet(path, 0.0)] if whole else [])]
    end = next((end for end in ends if end is not None), None)
    return whole if end is None else max(0.0, end - banner.start)


class SoundCheck:
    """Notices what is wrong with a sound while its blocks pass by.

    Attributes:
        samples: how many were seen.
        loudest: dBFS of the loudest 50 ms, of those that lie within one block.
    """

    def __init__(self) -> None:
        self.samples = 0
        self.loudest = -100.0
        self._clipped = 0

    def add(self, block: np.ndarray) -> None:
        """Take (n,) more samples at SAMPLE_RATE."""
        window = min(len(block), SAMPLE_RATE // 20)
        if not window:
            return
        self.samples += len(block)
        power = np.square(block[: len(block) // window * window]).reshape(-1, window).mean(1).max()
        self.loudest = max(self.loudest, float(10 * np.log10(power + 1e-10)))
        full = np.abs(block) >= _CLIPPED
        if len(block) >= _CLIPPED_RUN:
            runs = np.lib.stride_tricks.sliding_window_view(full, _CLIPPED_RUN).all(1)
            self._clipped += int(runs.sum())

    def notes(self) -> list[str]:
        """Sentences for the report; empty where all is well."""
        if self.samples and self.loudest < _SILENT:
            return ["The sound is silent: the lips stay closed."]
        notes = []
        if self.samples and self.loudest < _QUIET:
            notes.append(
                f"The sound is very quiet ({self.loudest:.0f} dBFS at its loudest): a louder recording moves the mouth "
                "more reliably."
            )
        if self._clipped > _CLIPPED_SHARE * self.samples:
            notes.append("The sound is clipped (recorded too loud): the mouth may move less precisely.")
        return notes


def describe(blocks: Iterable[np.ndarray]) -> list[str]:
    """`SoundCheck.notes` of a sound given as blocks of (n,) samples at SAMPLE_RATE."""
    check = SoundCheck()
    for block in blocks:
        check.add(block)
    return check.notes()


def _mono(samples: np.ndarray) -> np.ndarray:
    """The mean of the channels of an array, (N,) float32."""
    if samples.ndim != 1 and (samples.ndim != 2 or samples.shape[1] > MAX_CHANNELS):
        raise OptionError(
            f"the sound has the shape {samples.shape}: give (N,) samples, or (N, C) with the channels last."
        )
    if samples.dtype.kind not in "fiu":
        raise OptionError(f"the sound has the type {samples.dtype}: give floats in [-1, 1] or integers.")
    if not samples.size:
        raise MediaError("The sound has no samples (0 s): give one that lasts longer.")
    if samples.dtype.kind in "iu":
        span = 2.0 ** (8 * samples.dtype.itemsize - 1)
        samples = samples / span - (samples.dtype.kind == "u")
    mono = samples.astype(np.float32) if samples.ndim == 1 else samples.mean(1, dtype=np.float64).astype(np.float32)
    if not np.isfinite(mono).all():
        raise MediaError("The sound holds samples that are not numbers (NaN or infinite): clean them first.")
    return mono


def _resample(samples: np.ndarray, rate: int) -> np.ndarray:
    """(N,) float32 from `rate` to SAMPLE_RATE; never fewer than one sample."""
    if rate == SAMPLE_RATE:
        return samples
    import librosa

    return librosa.resample(samples, orig_sr=rate, target_sr=SAMPLE_RATE, res_type="soxr_hq")


def _decode(path: Path, filters: str, log) -> Iterator[np.ndarray]:
    """ffmpeg's samples after `filters`, the mean of the channels, in pieces of (n,) float32."""
    for _, part in _decode_with_rate(path, filters, log):
        yield part


def _decode_with_rate(path: Path, filters: str, log) -> Iterator[tuple[int, np.ndarray]]:
    # The AU header tells rate and channels, so that any number of channels can be averaged here: ffmpeg's own downmix
    # drops some and refuses layouts that it has no name for.
    command = ffmpeg.sound_command(path, SAMPLE_RATE, 1)
    command[command.index("-ar") :] = ["-af", filters, "-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True
    )
    try:
        head = process.stdout.read(24)
        if len(head) == 24:
            _, offset, _, _, rate, channels = struct.unpack(">4s5I", head)
            process.stdout.read(offset - 24)
            while data := process.stdout.read(4 * channels * 16_384):
                part = np.frombuffer(data, ">f4", len(data) // (4 * channels) * channels).reshape(-1, channels)
                if len(part):
                    yield rate, part.mean(1, dtype=np.float64).astype(np.float32)
        process.wait()
    finally:
        process.stdout.close()
        process.kill()
        process.wait()


def _few_samples(path: Path) -> np.ndarray:
    """A sound too short for ffmpeg's resampler."""
    with tempfile.TemporaryFile() as log:
        parts = list(_decode_with_rate(path, "anull", log))
        log.seek(0)
        complaint = ffmpeg.complaint(log.read(1 << 16))
    if parts:
        return _resample(np.concatenate([part for _, part in parts]), parts[0][0])
    if complaint:
        raise MediaError(f"{path}: its sound could not be decoded ({complaint}).")
    raise MediaError(f"{path} holds no sound (0 s): give one that lasts longer.")


def _last_packet(path: Path, start: float) -> float | None:
    """The end of the last packet of sound after `start` seconds, on the container's own clock; None without one."""
    copy = ["-map", "0:a:0", "-c", "copy", "-f", "framecrc", "pipe:1"]
    command = ffmpeg.packets_command(path)
    source = command.index("-protocol_whitelist")
    jump = ["-noaccurate_seek", "-ss", f"{start:.6f}"] if start > 0 else []
    command = [*command[:source], *jump, *command[source : source + 4], *copy]
    end, tick = None, 1.0
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        for line in process.stdout:
            if line.startswith("#tb 0:"):
                numerator, denominator = line.split(":")[1].split("/")
                tick = int(numerator) / int(denominator)
            elif not line.startswith("#"):
                with contextlib.suppress(ValueError):
                    stamp = parse_packet(line)
                    if stamp is not None and stamp[0] is not None:
                        end = max(end or 0.0, (stamp[0] + stamp[1]) * tick)
    return end
