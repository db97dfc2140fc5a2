"""Several sounds as one: the voices of a dialogue, laid over one another at their times, without clipping."""

from __future__ import annotations

import tempfile
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from animate.errors import MediaError, OptionError
from talking_face.audio import _decode

RATE = 48_000
LOUDEST = 0.97  # of full scale: a lossy encoder overshoots a little
BLOCK = RATE  # samples that are mixed at a time


@dataclass(frozen=True)
class Voice:
    """One sound of a mix; times in seconds.

    path: a sound or video file. start: where in the file, from its beginning. delay: when in the mix.
    length: how much of it, None for all. repeat: whether it begins again after `length`, until the mix ends.
    Raises OptionError for negative times, and for a repetition without a length.
    """

    path: Path
    start: float = 0.0
    delay: float = 0.0
    length: float | None = None
    repeat: bool = False

    def __post_init__(self) -> None:
        if min(self.start, self.delay) < 0 or (self.length is not None and self.length <= 0):
            raise OptionError(f"{self.path} cannot begin at {self.start} s, {self.delay} s late, for {self.length} s.")
        if self.repeat and self.length is None:
            raise OptionError(f"{self.path} cannot be repeated without a length.")


def mix(voices: Sequence[Voice], seconds: float, output: str | Path) -> float:
    """Writes the sum of the voices as a 16-bit WAV file of one channel, RATE samples a second.

    Where the sum would clip, all of it is made quieter. The voices are decoded twice, in constant memory.

    Args:
        seconds: length of the mix; a voice that is shorter is followed by silence.

    Returns:
        The factor that everything was multiplied by, 1 where nothing would clip.

    Raises:
        MediaError: a voice without sound; the output cannot be written.
    """
    total = max(1, round(seconds * RATE))
    peak = max((float(np.abs(block).max(initial=0.0)) for block in _sum(voices, total)), default=0.0)
    factor = min(1.0, LOUDEST / peak) if peak > 0 else 1.0
    try:
        with open(output, "wb") as raw, wave.open(raw, "wb") as file:
            file.setparams((1, 2, RATE, total, "NONE", "not compressed"))
            for block in _sum(voices, total):
                file.writeframes(np.rint(block * (factor * 32767)).astype("<i2").tobytes())
    except OSError as error:
        raise MediaError(f"The mixed sound cannot be written ({error.strerror}): make room on the disk.") from error
    return factor


def _sum(voices: Sequence[Voice], total: int) -> Iterator[np.ndarray]:
    """The mix in blocks (n,) float32, `total` samples in all."""
    streams = [_Reader(_samples(voice)) for voice in voices]
    try:
        for first in range(0, total, BLOCK):
            count = min(BLOCK, total - first)
            yield sum((stream.read(count) for stream in streams), np.zeros(count, np.float32))
    finally:
        for stream in streams:
            stream.close()


class _Reader:
    """Pieces of any size as blocks of the wanted size; silence after the end."""

    def __init__(self, pieces: Iterator[np.ndarray]):
        self._pieces, self._left = pieces, np.zeros(0, np.float32)

    def read(self, count: int) -> np.ndarray:
        parts, have = [self._left], len(self._left)
        while have < count and (piece := next(self._pieces, None)) is not None:
            parts.append(piece)
            have += len(piece)
        known = np.concatenate(parts)
        self._left = known[count:]
        return np.pad(known[:count], (0, max(0, count - len(known))))

    def close(self) -> None:
        self._pieces.close()


def _samples(voice: Voice) -> Iterator[np.ndarray]:
    """A voice's samples from the mix's beginning on, (n,) float32."""
    late = round(voice.delay * RATE)
    for first in range(0, late, BLOCK):
        yield np.zeros(min(BLOCK, late - first), np.float32)
    while True:
        yield from _once(voice)
        if not voice.repeat:
            return


def _once(voice: Voice) -> Iterator[np.ndarray]:
    wanted = None if voice.length is None else max(1, round(voice.length * RATE))
    skip, given = round(voice.start * RATE), 0
    with tempfile.TemporaryFile() as log:
        pieces = _decode(voice.path, f"aresample={RATE}:async=1:first_pts=0", log)
        try:
            for piece in pieces:
                piece, skip = piece[skip:], max(0, skip - len(piece))
                if wanted is not None:
                    piece = piece[: wanted - given]
                given += len(piece)
                if len(piece):
                    yield np.nan_to_num(piece)
                if given == wanted:
                    return
        finally:
            pieces.close()
    if wanted is not None and voice.repeat:  # a sound that ends before the picture it belongs to
        for first in range(given, wanted, BLOCK):
            yield np.zeros(min(BLOCK, wanted - first), np.float32)
