"""Systems that are not ours: a folder of their finished videos, or a program that is started for each case."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template

from animate.errors import OptionError
from bench.runner.claim import work_prefix
from bench.runner.inputs import write_inputs
from bench.runner.scene import LeftOut, Scene
from bench.suites.manifest import sha256
from bench.systems.process import Printed, run_program
from bench.systems.system import Failed, FileSystem
from bench.tables import write_whole

SUFFIXES = (".mp4", ".webm", ".mov", ".mkv", ".avi", ".gif", ".png", ".jpg", ".jpeg", ".webp")
"""Of outputs, in the order in which they are looked for."""

PLACEHOLDERS = ("portrait", "driver", "audio", "output", "case", "fps", "frames", "prompt")

LOGS = "logs"
"""Folder of a run: what a program printed that failed on a case."""

_PLACEHOLDER = re.compile(r"(?<!\$)\{([a-z_]+)\}")


class Folder(FileSystem):
    """Videos or pictures that another system made beforehand, named by the case's id.

    Raises:
        OptionError: there is no such folder.
    """

    def __init__(self, path: Path):
        if not path.is_dir():
            raise OptionError(f"There is no folder {path}: name one that holds a video for each case, <case id>.mp4.")
        self.path = path

    def find(self, case_id: str) -> Path | None:
        """The file of a case, or None; one whose name differs in upper and lower case only where no other is there."""
        names = [f"{case_id}{suffix}" for suffix in SUFFIXES]
        found = next((self.path / name for name in names if (self.path / name).is_file()), None)
        return found or self._alike([name.lower() for name in names])

    def _alike(self, names: list[str]) -> Path | None:
        order = {name: place for place, name in enumerate(names)}
        alike = sorted(path for path in self.path.iterdir() if path.name.lower() in order and path.is_file())
        return min(alike, key=lambda path: order[path.name.lower()], default=None)

    def digest(self, case_id: str) -> str:
        path = self.find(case_id)
        return "missing" if path is None else f"{path.suffix} {sha256(path)}"

    def file(self, scene: Scene, work: Path, timeout: float | None = None) -> Path:
        path = self.find(scene.case.id)
        if path is None:
            raise Failed(
                f"There is no file {scene.case.id}.mp4 (or of another kind of video or picture) in the folder."
            )
        return path


class Command(FileSystem):
    """A program that reads a case's files and writes its output; started without a shell.

    Its words may hold {portrait} (PNG), {driver} (MP4), {audio} (WAV), {output} (the file to write), and {case}, {fps},
    {frames}, {prompt}. The output is an MP4; where a case asks for a picture, a PNG. The program starts in the folder
    that the benchmark was started in. What it printed is kept where it fails: RUN/logs/<case id>.txt.

    Raises:
        OptionError: the line is empty, its quotes do not match, it has a placeholder that does not exist, or it never
            names {output}.
    """

    def __init__(self, line: str):
        self.line = line
        self.words = _split(line)
        unknown = [name for word in self.words for name in _PLACEHOLDER.findall(word) if name not in PLACEHOLDERS]
        if unknown:
            known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
            raise OptionError(
                f"The command {line!r} asks for {{{unknown[0]}}}, which does not exist: there are {known}; braces that "
                "are meant for the program itself go into a script."
            )
        if not any("{output}" in word for word in self.words):
            raise OptionError(f"The command {line!r} lacks {{output}}: it has to be told which file to write.")

    def digest(self, case_id: str) -> str:
        files = [found for word in self.words if (found := _file_digest(word))]
        return hashlib.sha256("\n".join([self.line, *files]).encode()).hexdigest()

    def file(self, scene: Scene, work: Path, timeout: float | None = None) -> Path:
        output = work / f"output{'.png' if scene.size is None else '.mp4'}"
        asked = {name for name in PLACEHOLDERS if any(f"{{{name}}}" in word for word in self.words)}
        values = write_inputs(scene, work / "inputs", asked) | {"output": str(output)}
        if lacking := sorted(asked - values.keys()):
            raise LeftOut(f"The command asks for {{{lacking[0]}}}, which this case has not.")
        words = [_fill(word, values) for word in self.words]
        printed = Printed()
        with _logged(printed, work, scene.case.id):
            run_program(words, printed, timeout)
            if not output.is_file() or output.stat().st_size == 0:
                raise Failed("The command ended well but wrote no output.")
        return output


def command_name(line: str) -> str:
    """What a command is called where it has no name: its program and a few digits of its line."""
    program = next((Path(word).stem for word in _split(line) if not word.startswith("-")), "command")
    return f"command:{program}-{hashlib.sha256(line.encode()).hexdigest()[:6]}"


def _split(line: str) -> list[str]:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise OptionError(f"The command {line!r} cannot be taken apart: {error}.") from None
    if not words:
        raise OptionError("The command is empty: name a program.")
    return words


class _Braces(Template):
    """Placeholders in single braces; any other brace stays as it is."""

    pattern = r"\{(?P<named>(?P<braced>" + "|".join(PLACEHOLDERS) + r"))\}|(?P<escaped>(?!))|(?P<invalid>(?!))"


def _fill(word: str, values: dict[str, str]) -> str:
    return _Braces(word).safe_substitute(values)


@contextmanager
def _logged(printed: Printed, work: Path, case_id: str) -> Iterator[None]:
    """Keep what a program printed where it fails, beside the folder of this process in which it works."""
    run = next((folder.parent for folder in work.parents if folder.name.startswith(work_prefix())), None)
    if run is None:
        yield
        return
    log = run / LOGS / f"{case_id}.txt"
    log.unlink(missing_ok=True)
    try:
        yield
    except BaseException as error:
        if text := printed.text:
            write_whole(log, text)
            if isinstance(error, Failed):
                raise Failed(f"{error} (what it printed: {LOGS}/{log.name})") from error
        raise


def _file_digest(word: str) -> str | None:
    """SHA-256 of the file that a word names, None where it names none that can be read."""
    try:
        return sha256(Path(word)) if Path(word).is_file() else None
    except (OSError, ValueError):
        return None
