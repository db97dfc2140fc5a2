"""Frames and sound out of a file, streaming."""

import contextlib
import subprocess
import tempfile
import weakref
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from animate import ffmpeg
from animate.errors import MediaError, OptionError
from animate.frame_rate import exact_rate
from animate.probe import VideoInfo, check_input, probe, sound_of

# Reading starts this long before a trimmed clip: seeking lands on a key frame, the cut goes by time stamps.
SEEK_MARGIN = 10.0


class VideoReader:
    """Frames of a video, one at a time: (H, W, 3) uint8 RGB, upright, with square pixels.

    At the clip's own constant rate every coded frame comes out once. With another `fps`, or where the rate
    varies, frames are taken by time, so that the duration stays. Each iteration decodes anew; memory does not
    grow with length.

    Args:
        path: video file.
        fps: rate of the frames that come out; None keeps the clip's (the nominal one where it varies).
        start, end: seconds from the first frame, snapped to the nearest frame; the one at `end` is left out.
        size: (width, height) to scale to; None keeps the clip's.

    Attributes:
        info: VideoInfo of the whole file.
        fps: Fraction, rate of the frames that come out.
        start: time of the first frame that comes out, seconds from the file's first. Cut the sound here.
        frames: number of frames to expect, None where the file does not tell.
        width, height: of the frames that come out.
        warnings: sentences on what is wrong with the file; complete after an iteration.

    Raises:
        MediaError: see `probe`; nothing lies between start and end; when iterating: nothing can be decoded.
        OptionError: negative start, end not after start, impossible rate or size.
    """

    def __init__(
        self,
        path: str | Path,
        fps: Fraction | None = None,
        start: float = 0,
        end: float | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        if not 0 <= start < float("inf"):
            raise OptionError(f"the trim start {start} s is not a time: give 0 or more seconds.")
        if end is not None and not end > start:
            raise OptionError(f"the trim end {end} s does not come after the start {start} s.")
        if size is not None and min(size) < 1:
            raise OptionError(f"the frame size {size[0]}x{size[1]} is impossible: give at least 1x1.")
        self.info: VideoInfo = probe(path)
        self.path = Path(path)
        self.fps = self.info.fps if fps is None else exact_rate(fps)
        self.width, self.height = size or (self.info.width, self.info.height)
        self._first = round(Fraction(start) * self.fps)
        self._cut = end is not None
        self._last = None if end is None else round(Fraction(end) * self.fps)
        total = self._total()
        if total is not None:
            if self._first >= total:
                raise MediaError(f"{path} lasts {self.info.duration:.2f} s: there is nothing after {start} s.")
            self._last = total if self._last is None else min(self._last, total)
        if self._last is not None and self._last <= self._first:
            raise MediaError(f"{path}: no frame lies between {start} s and {end} s; trim less.")
        self.start = float(self._first / self.fps)
        self.frames = None if self._last is None else self._last - self._first
        self._open: weakref.WeakSet = weakref.WeakSet()
        self.warnings: list[str] = []
        if self.info.high_dynamic_range:
            self.warnings.append(f"{path} is high dynamic range: its colours are read without tone mapping.")

    def _by_time(self) -> bool:
        return self.info.variable_frame_rate or self.fps != self.info.fps

    def _total(self) -> int | None:
        if not self._by_time():
            return self.info.frames
        return None if self.info.duration is None else max(1, round(self.info.duration * float(self.fps)))

    def command(self) -> list[str]:
        """ffmpeg's arguments for this clip."""
        # Cuts lie between two frames, nearer to the later one: ffmpeg rounds them to the file's time base,
        # which may be as coarse as a frame.
        margin = 0.4 / float(self.fps)
        zero = self.info.start + self.start
        start = zero - margin if self._first else None
        end = self.info.start + float(self._last / self.fps) - margin if self._cut else None
        return ffmpeg.decode_command(
            self.path,
            (self.width, self.height),
            trim=(start, end),
            resample=(self.fps, zero) if self._by_time() else None,
            seek=max(0.0, self.start - SEEK_MARGIN),
            matrix=self.info.matrix,
        )

    def __iter__(self) -> Iterator[np.ndarray]:
        frames = self._decode()
        self._open.add(frames)
        return frames

    def _decode(self) -> Iterator[np.ndarray]:
        count = 0
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
            try:
                while (frame := self._read(process)) is not None:
                    count += 1
                    yield frame
                process.wait()
                log.seek(0)
                self._judge(count, ffmpeg.complaint(log.read(1 << 16)))
            finally:
                process.stdout.close()
                process.kill()
                process.wait()

    def _read(self, process: subprocess.Popen) -> np.ndarray | None:
        frame = np.empty((self.height, self.width, 3), np.uint8)
        buffer = memoryview(frame).cast("B")
        filled = process.stdout.readinto(buffer)
        return frame if filled == len(buffer) else None

    def _judge(self, count: int, complaint: str) -> None:
        if count == 0:
            raise MediaError(f"{self.path} is damaged: no frame could be decoded ({complaint or 'there is none'}).")
        missing = self.frames is not None and count < self.frames - (1 if self._by_time() else 0)
        if complaint or missing:
            expected = f" of {self.frames}" if missing else ""
            reason = f" ({complaint})" if complaint else ""
            sentence = f"{self.path} is damaged{reason}: {count}{expected} frames could be decoded."
            if sentence not in self.warnings:
                self.warnings.append(sentence)

    def close(self) -> None:
        """Stop decoding."""
        while self._open:
            # an iterator that is running in another frame of this thread cannot be closed from here
            with contextlib.suppress(ValueError):
                self._open.pop().close()

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_sound(path: str | Path, rate: int = 16000, channels: int = 1) -> np.ndarray:
    """Decode the first sound stream of a sound or video file.

    Returns:
        (N, channels) float32 in [-1, 1] at `rate` samples a second.

    Raises:
        MediaError: missing or damaged file, or one without sound.
    """
    path = check_input(path, "sound file")
    if sound_of(path) is None:
        raise MediaError(f"{path} has no sound: give a file that has.")
    done = ffmpeg.run(ffmpeg.sound_command(path, rate, channels))
    samples = np.frombuffer(done.stdout[: len(done.stdout) // (4 * channels) * 4 * channels], "<f4")
    if not samples.size:
        raise MediaError(f"{path}: its sound could not be decoded ({ffmpeg.complaint(done.stderr)}).")
    return samples.reshape(-1, channels).copy()
