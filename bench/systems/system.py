"""Systems under test: what makes a video, or a picture, of a case.

A system is named on the command line by a word:

    mien:mini, mien:prior, mien:warp, mien:still, mien:FOLDER   this project's own
    folder:PATH                                                 finished videos, PATH/<case id>.mp4
    command:"prog {portrait} {driver} {output}"                  any program, started once a case, without a shell
    still, warp, copy, truth                                     the baselines, and the ground truth

A command's words may hold {portrait} (a PNG), {driver} (an MP4), {audio} (a WAV), {output} (the file to write; needed),
{case} (its id), {fps} and {frames} (what is asked for) and {prompt}. ``NAME=`` in front of a word gives the system that
name in the report, and its folder.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from animate.errors import OptionError
from bench.runner.clip import TrackedClip
from bench.runner.scene import LeftOut, Scene
from bench.suites.checks import OF_RUNS, file_key

Role = Literal["system", "baseline", "truth"]

BASELINES = ("still", "warp", "copy")
"""Run beside every system, so that its figures can be judged."""

TRUTH = "truth"

_NAMED = re.compile(r"([^\W_][\w.-]*)=(.+)", re.DOTALL)
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class Failed(Exception):
    """A system gave nothing for a case; the sentence says what it said."""


@dataclass(frozen=True)
class SystemSpec:
    """A system as it was named: WORD, or NAME=WORD.

    Attributes:
        name: in the report; NAME, else one that is made of the word.
        word: what `open_system` takes: "mien:mini", "folder:out" or "command:prog {portrait} {driver} {output}", whose
            placeholders are {portrait}, {driver}, {audio}, {output}, {case}, {fps}, {frames} and {prompt}.
        role: what it is run for.
    """

    name: str
    word: str
    role: Role = "system"

    @property
    def folder(self) -> str:
        """The name of its run's folder: ASCII, with a few digits that stand for what is not."""
        name = _UNSAFE.sub("-", self.name).strip("-.")[:80] or "system"
        return name if self.name.isascii() else f"{name}-{hashlib.sha256(self.name.encode()).hexdigest()[:6]}"


class System(ABC):
    """A system, ready to be asked for cases."""

    @abstractmethod
    def digest(self, case_id: str) -> str:
        """A word that changes when the system would give something else for a case."""

    def weights(self) -> list[dict[str, str]]:
        """Name and SHA-256 of its weights, as far as they are known."""
        return []


class FrameSystem(System):
    """A system that gives frames, one by one."""

    def load(self, scene: Scene) -> None:
        """Load what the case needs: that time does not count."""
        return None

    @abstractmethod
    def frames(self, scene: Scene) -> Iterator[np.ndarray]:
        """`scene.count` frames (H, W, 3) uint8 RGB.

        Raises:
            LeftOut: the case asks for what this system is not made for.
            Failed, MienError: it should be able to, and is not.
        """


class FileSystem(System):
    """A system that gives a video or a picture as a file."""

    @abstractmethod
    def file(self, scene: Scene, work: Path, timeout: float | None = None) -> Path:
        """The file for a case. Takes seconds only where it has to be made.

        Args:
            scene: the case.
            work: an empty folder to work in.
            timeout: seconds.

        Raises:
            LeftOut, Failed: as of `FrameSystem.frames`.
        """


class Truth(FrameSystem):
    """The frames that a perfect system gives: what the metrics give at best."""

    def digest(self, case_id: str) -> str:
        return TRUTH

    def frames(self, scene: Scene) -> Iterator[np.ndarray]:
        frames = scene.truth_frames()
        if frames is None:
            raise LeftOut("This case has no truth: nobody knows the frames that a perfect system would give.")
        return frames


class Copy(FrameSystem):
    """The driver itself in place of the portrait: perfect expressions of the wrong person."""

    def digest(self, case_id: str) -> str:
        return "copy"

    def frames(self, scene: Scene) -> Iterator[np.ndarray]:
        clips = [view.driver or view.truth for view in scene.views]
        tiles = _tiles(scene)
        if tiles is None or None in clips:
            raise LeftOut("This case has no driver that could stand in for the portrait.")
        each = [_fitted(clip, size) for clip, size in zip(clips, tiles, strict=True)]
        return (np.hstack(frames) for frames in zip(*each, strict=True))


def _tiles(scene: Scene) -> list[tuple[int, int]] | None:
    """(width, height) of the views where they stand side by side and fill the picture, else None."""
    if scene.size is None:
        return None
    boxes = [view.box for view in scene.views]
    starts = [0, *(box[2] for box in boxes)]
    whole = all(box[0] == start and box[1] == 0 and box[3] == scene.size[1] for box, start in zip(boxes, starts))  # noqa: B905
    return [(box[2] - box[0], box[3] - box[1]) for box in boxes] if whole and starts[-1] == scene.size[0] else None


def _fitted(clip: TrackedClip, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """A clip's frames cut to a shape, as large as fits, round the middle of the face, and scaled to a size."""
    width, height = clip.track.size
    scale = min(width / size[0], height / size[1])
    cut = (min(width, max(1, round(size[0] * scale))), min(height, max(1, round(size[1] * scale))))
    middle = np.median(clip.track.landmarks[..., :2].mean(1), axis=0)
    x, y = (int(np.clip(round(float(middle[i]) - cut[i] / 2), 0, (width, height)[i] - cut[i])) for i in (0, 1))
    for frame in clip.frames():
        yield cv2.resize(frame[y : y + cut[1], x : x + cut[0]], size, interpolation=cv2.INTER_AREA)


def parse_system(word: str, role: Role = "system") -> SystemSpec:
    """A system as it is named on the command line.

    Raises:
        OptionError: the word names none, or its name is taken by a file of the runs.
    """
    name = None
    if (found := _NAMED.fullmatch(word.strip())) and ":" in found.group(2):
        name, word = found.groups()
    kind, _, rest = word.strip().partition(":")
    if kind == "command":
        from bench.systems.files import command_name

        rest = _unquoted(rest.strip())
        name = name or command_name(rest)
    elif kind == "folder":
        name = name or f"folder:{Path(rest).name}"
    elif kind == "mien":
        name = name or (f"mien:{Path(rest).name}" if rest else None)
    elif word in (*BASELINES, TRUTH):
        return SystemSpec(word, word, TRUTH if word == TRUTH else "baseline")
    else:
        rest = ""
    if not rest:
        raise OptionError(
            f'There is no system {word!r}: give mien:mini, folder:PATH or command:"PROGRAM {{portrait}} {{driver}} '
            '{output}".'
        )
    spec = SystemSpec(name, f"{kind}:{rest}", role)
    if file_key(spec.folder) in OF_RUNS:
        raise OptionError(f"A system cannot be called {name}: runs keep something else under {spec.folder}.")
    return spec


def _unquoted(line: str) -> str:
    """A command's line without the quotes that stand round the whole of it."""
    if line[:1] not in ("'", '"'):
        return line
    try:
        words = shlex.split(line)
    except ValueError:
        return line
    return words[0] if len(words) == 1 else line


def parse_systems(words: Sequence[str], baselines: bool = True) -> list[SystemSpec]:
    """All systems of a run, the baselines and the truth first; names that two share are numbered."""
    specs = [parse_system(word) for word in (*(BASELINES if baselines else ()), *words, *([TRUTH] * baselines))]
    found: dict[str, SystemSpec] = {}
    taken: set[str] = set()
    for spec in specs:
        if any(other.word == spec.word and other.name == spec.name for other in found.values()):
            continue
        number, name = 1, spec.name
        while SystemSpec(name, spec.word).folder.lower() in taken:
            number += 1
            name = f"{spec.name}-{number}"
        taken.add(SystemSpec(name, spec.word).folder.lower())
        found[name] = SystemSpec(name, spec.word, spec.role)
    return list(found.values())


def open_system(word: str) -> System:
    """A system, its weights loaded.

    Raises:
        MienError: it cannot be used here.
    """
    kind, _, rest = word.partition(":")
    if kind == "folder":
        from bench.systems.files import Folder

        return Folder(Path(rest))
    if kind == "command":
        from bench.systems.files import Command

        return Command(rest)
    if word == TRUTH:
        return Truth()
    if word == "copy":
        return Copy()
    from bench.systems.mien import Mien

    return Mien(rest or kind)
