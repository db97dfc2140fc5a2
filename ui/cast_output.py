"""What a video of several faces shows and sounds beside the faces: the drivers in a row, and the sound of all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from animate.casting import Role

from .cast_options import Cast
from .cast_report import describe_sound
from .report import RunReport
from .speech import before_picture

if TYPE_CHECKING:
    import numpy as np

    from .cast_job import Play


def driving_frames(play: Play, cast: Cast, resources: ExitStack) -> Iterator[np.ndarray] | None:
    """The driving clips' frames in a row, as they are held, looped or trimmed; None without a clip."""
    from animate.compositing import side_by_side
    from animate.media import VideoReader

    clips = {role.source: role for role in play.fittings if role.kind == "driving"}.values()
    if not clips:
        return None

    def shown(role: Role) -> Iterator[np.ndarray]:
        start, last = play.movements[role].start, None
        reader = resources.enter_context(VideoReader(role.source, fps=play.fps, start=start))
        frames, own = iter(reader), play.fittings[role].frames
        for number in range(play.frames):
            if cast.ends == "loop" and number and number % own == 0:
                frames.close()
                frames = iter(reader)
            if cast.ends == "loop" or number < own:
                last = next(frames, last)
            yield last

    return (side_by_side(*pictures) for pictures in zip(*map(shown, clips), strict=True))


def sound_of_cast(play: Play, cast: Cast, report: RunReport, resources: ExitStack) -> tuple[Path, float] | None:
    """A file and its second at the first frame: the mix of all speech, or the sound of one or all clips."""
    from animate.media import sound_of
    from talking_face.mixdown import Voice, mix

    voices: dict[tuple[str, int], Voice] = {}  # a sound that several faces make is heard once
    names: list[str] = []
    direct: tuple[Path, float] | None = None
    for saying in play.sayings:
        path = Path(saying.role.source)
        if (saying.role.source, saying.start) in voices:
            continue
        voices[saying.role.source, saying.start] = Voice(path, float(before_picture(path)), saying.start / 16_000)
        names.append(saying.role.name)
        direct = (path, 0.0) if saying.start == 0 else None
    clips = {role.source: role for role in play.fittings if role.kind == "driving"}.values()
    for role in clips if cast.sound != "none" else ():
        if (cast.sound == "first" and voices) or sound_of(role.source) is None:
            continue
        path, start, fitting = Path(role.source), play.movements[role].start, play.fittings[role]
        repeat = cast.ends == "loop" and fitting.missing > 0
        length = float(fitting.frames / play.fps)
        voices[role.source, 0] = Voice(path, start + float(before_picture(path)), 0.0, length, repeat)
        names.append(path.name)
        direct = (path, start) if fitting.missing <= 0 else None
    if not voices:
        return None
    if len(voices) == 1 and direct is not None:
        report.note(describe_sound(names, 1.0))
        return direct
    with report.stage("sound"):
        mixed = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="mien-"))) / "mix.wav"
        factor = mix(list(voices.values()), float(play.frames / play.fps), mixed)
    report.note(describe_sound(names, factor))
    return mixed, 0.0
