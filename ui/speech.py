"""The sound that `mien talk` and `mien dub` speak: checked early, read in pieces, its faults noted in the report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from animate.errors import MediaError

from .job import DrawingJob
from .report import RunReport

if TYPE_CHECKING:
    import numpy as np

    from animate.animator import PortraitAnimator
    from animate.motion import Motion
    from talking_face.talker import Talker


@dataclass(frozen=True, kw_only=True)
class SpeechJob(DrawingJob):
    """The options that `mien talk` and `mien dub` share besides: what is said, and how."""

    audio: Path
    style: str = "neutral"
    mouth: float = 1.0
    speech_model: str = "mini"
    speech_method: str = "mini"

    def load_talker(self) -> Talker:
        """What turns the speech into movement. Raises MienError for a speech model or a device that is not there."""
        from talking_face.talker import Talker

        return Talker.from_pretrained(self.speech_model, self.speech_method, self.device)


class Speech:
    """A sound file on its way to a `Talker`.

    Raises MediaError at once for a file that is no sound, has none, or lasts 0 s.

    Attributes:
        path: the file; it can be laid under the frames from its beginning.
    """

    def __init__(self, path: Path):
        from talking_face.audio import SoundCheck, duration_of, stream_audio

        self.path = path
        self._seconds = duration_of(path)
        self._check, self._notes = SoundCheck(), []
        blocks = stream_audio(path, notes=self._notes)
        self._blocks = chain([next(blocks)], blocks)  # the first block tells whether there is anything
        self._skip = before_picture(path)

    def frames(self, fps: Fraction) -> int | None:
        """How many frames to expect, for a progress bar; None where the file does not tell."""
        if self._seconds is None:
            return None
        return max(1, round((Fraction(self._seconds) - self._skip) * fps))

    def blocks(self) -> Iterator[np.ndarray]:
        """(n,) float32 samples at 16,000 Hz, once, from the moment on that lies under the first frame."""
        import numpy as np

        from talking_face.audio import SAMPLE_RATE

        skip, given = round(self._skip * SAMPLE_RATE), False
        for block in self._blocks:
            self._check.add(block)
            block, skip = block[skip:], max(0, skip - len(block))
            if len(block):
                given = True
                yield block
        if not given:
            yield np.zeros(1, np.float32)

    def note(self, report: RunReport) -> None:
        """Says in the report what is wrong with the sound, once it has gone by."""
        for sentence in [*self._notes, *self._check.notes()]:
            report.note(sentence)


def timed(motions: Iterator[Motion], animator: PortraitAnimator) -> Iterator[Motion]:
    """The same stretches of motion; the time that they take stands in the animator's timings."""
    while True:
        with animator.timed("speech"):
            motion = next(motions, None)
        if motion is None:
            return
        yield motion


def before_picture(path: Path) -> Fraction:
    """Seconds by which a video file's sound may begin before its picture: `VideoWriter` leaves that part out."""
    from animate.media import probe

    try:
        info = probe(path)
    except MediaError:  # a file without picture
        return Fraction(0)
    return max(Fraction(0), Fraction(info.start - info.container_start))
