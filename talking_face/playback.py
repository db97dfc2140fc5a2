"""What a dubbed video shows when sound and picture are not equally long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice

import numpy as np

from animate.errors import OptionError
from animate.media import VideoReader

LONGER = ("loop", "hold", "trim")
SHORTER = ("rest", "keep", "trim")
#: Bytes of pictures that are held while the video plays backwards.
BACKWARDS = 96_000_000


@dataclass(frozen=True)
class DubOptions:
    """How a video is dubbed.

    longer: for a sound that outlasts the picture: "loop" plays the picture backwards and forwards again, without a
        jump; "hold" keeps its last frame, whose eyes go on blinking; "trim" ends with the picture.
    shorter: for a sound that ends before the picture: "rest" shows the rest of it with a resting mouth, "keep" with
        its own mouth, "trim" ends with the sound.
    Raises OptionError for anything else.
    """

    longer: str = "loop"
    shorter: str = "rest"

    def __post_init__(self) -> None:
        if self.longer not in LONGER:
            raise OptionError(f"Unknown way {self.longer!r} for a longer sound: choose from {', '.join(LONGER)}.")
        if self.shorter not in SHORTER:
            raise OptionError(f"Unknown way {self.shorter!r} for a shorter sound: choose from {', '.join(SHORTER)}.")

    def frames(self, pictures: int, spoken: int) -> int:
        """How many frames a video of `pictures` frames and a sound of `spoken` frames give."""
        if spoken > pictures:
            return pictures if self.longer == "trim" else spoken
        return spoken if self.shorter == "trim" else pictures


def ping_pong(pictures: int) -> Iterator[int]:
    """0, 1, …, n - 1, n - 2, …, 0, 1, …: no frame is shown twice in a row."""
    period = max(1, 2 * pictures - 2)
    for n in count():
        place = n % period
        yield place if place < pictures else period - place


def forth_and_back(reader: VideoReader, pictures: int) -> Iterator[tuple[int, np.ndarray]]:
    """(index, frame) without end, in the order of `ping_pong`; backwards in pieces of at most `BACKWARDS` bytes.

    reader: of the whole video, which has `pictures` frames.
    """
    yield from zip(range(pictures), reader, strict=False)
    while pictures == 1:
        yield from zip(range(1), reader, strict=False)
    size = max(2, min(pictures, BACKWARDS // (3 * reader.width * reader.height)))
    while pictures > 1:
        for last in range(pictures - 1, 0, -size):
            first = max(0, last - size)
            with stretch(reader, first, last) as part:
                piece = list(zip(range(first, last), part, strict=False))
            yield from reversed(piece)
        yield from islice(zip(range(pictures), reader, strict=False), 1, None)


def stretch(reader: VideoReader, first: int, last: int) -> VideoReader:
    """A reader of the frames from `first` to before `last` of a whole video."""
    return VideoReader(reader.path, fps=reader.fps, start=float(first / reader.fps), end=float(last / reader.fps))
