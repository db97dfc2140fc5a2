"""The speakers of a cast: when each speaks, how each moves meanwhile, and the sound of all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from animate.casting import Role, Seat

from .report import RunReport
from .speech import Speech

if TYPE_CHECKING:
    from animate.motion import Motion
    from talking_face.talker import Talker, TalkOptions

PAUSE = 0.3  # seconds between two turns
STRETCH = 256  # frames of a listener that are made at a time


@dataclass(frozen=True)
class Saying:
    """A sound and when it is heard, in samples at 16,000 Hz from the video's beginning."""

    role: Role
    start: int
    samples: int

    @property
    def end(self) -> int:
        return self.start + self.samples


def schedule(roles: Sequence[Role], turns: bool, report: RunReport) -> list[Saying]:
    """When each sound is heard: all from the beginning, or one after the other with a short pause.

    Every sound is read once, for its length and its faults, which the report names. Raises MediaError for a file
    without sound.
    """
    from talking_face.audio import SAMPLE_RATE

    sayings, start = [], 0
    for role in roles:
        speech = Speech(Path(role.source))
        samples = sum(len(block) for block in speech.blocks())
        heard = RunReport("", "", "")
        speech.note(heard)
        for sentence in heard.notes:
            report.note(sentence if role.name in sentence else f"{role.name}: {sentence[:1].lower()}{sentence[1:]}")
        sayings.append(Saying(role, start, samples))
        if turns:
            start += samples + round(PAUSE * SAMPLE_RATE)
    return sayings


def speak(
    talker: Talker,
    seats: Sequence[Seat],
    sayings: Sequence[Saying],
    fps: Fraction,
    frames: int,
    options: TalkOptions,
) -> dict[int, Motion]:
    """Face → the motion of its speaker, `frames` long: lips closed and alive while it says nothing.

    Each speaker has a seed of its own, so that no two blink together.
    """
    from animate.motion import Motion

    when = {saying.role: saying for saying in sayings}
    motions = {}
    for number, face in enumerate(dict.fromkeys(seat.face for seat in seats)):
        said = sorted((when[seat.role] for seat in seats if seat.face == face), key=lambda saying: saying.start)
        own = replace(options, seed=options.seed + number)
        blocks = _voice(said, round(frames * 16_000 / fps))
        motions[face] = Motion.whole(list(talker.motions(blocks, fps, own))).take(slice(0, frames))
    return motions


def listen(talker: Talker, number: int, fps: Fraction, frames: int, options: TalkOptions) -> Motion:
    """The motion of a face that says nothing. number: of the listener, counted after the speakers."""
    from animate.motion import Motion
    from talking_face.dress import idle

    own = replace(options, seed=options.seed + number)
    stretches = ((first, min(STRETCH, frames - first)) for first in range(0, frames, STRETCH))
    return Motion.whole([idle(talker.basis, fps, first, count, own) for first, count in stretches])


def _voice(sayings: Sequence[Saying], total: int) -> Iterator[np.ndarray]:
    """One speaker's sound in blocks (n,) float32 at 16,000 Hz, `total` samples in all, silence between."""
    given = 0
    for saying in sayings:
        yield from _silence(min(saying.start, total) - given)
        given = max(given, min(saying.start, total))
        for block in Speech(Path(saying.role.source)).blocks():
            block = block[: total - given]
            given += len(block)
            if len(block):
                yield block
    yield from _silence(total - given)


def _silence(samples: int, block: int = 160_000) -> Iterator[np.ndarray]:
    for first in range(0, max(0, samples), block):
        yield np.zeros(min(block, samples - first), np.float32)
