"""Systems that are not ours: a folder of their finished videos, or a program that is started for each case."""

from __future__ import annotations

import hashlib
import os
import shlex
import signal
import subprocess
import tempfile
from pathlib import Path
from string import Template

from animate.errors import OptionError
from bench.runner.inputs import write_inputs
from bench.runner.scene import LeftOut, Scene
from bench.suites.manifest import sha256
from bench.systems.system import Failed, FileSystem

SUFFIXES = (".mp4", ".webm", ".mov", ".mkv", ".avi", ".gif", ".png", ".jpg", ".jpeg", ".webp")
"""Of outputs, in the order in which they are looked for."""

PLACEHOLDERS = ("portrait", "driver", "audio", "output", "case", "fps", "frames", "prompt")

LAST_WORDS = 300
"""Characters of a program's complaint that are reported."""


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
        """The file of a case, or None."""
        candidates = (self.path / f"{case_id}{suffix}" for suffix in SUFFIXES)
        return next((path for path in candidates if path.is_file()), None)

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
    that the benchmark was started in.

    Raises:
        OptionError: the line is empty, its quotes do not match, or it never names {output}.
    """

    def __init__(self, line: str):
        self.line = line
        self.words = _split(line)
        if not any("{output}" in word for word in self.words):
            raise OptionError(f"The command {line!r} lacks {{output}}: it has to be told which file to write.")

    def digest(self, case_id: str) -> str:
        files = [sha256(Path(word)) for word in self.words if Path(word).is_file()]
        return hashlib.sha256("\n".join([self.line, *files]).encode()).hexdigest()

    def file(self, scene: Scene, work: Path, timeout: float | None = None) -> Path:
        output = work / f"output{'.png' if scene.size is None else '.mp4'}"
        asked = {name for name in PLACEHOLDERS if any(f"{{{name}}}" in word for word in self.words)}
        values = write_inputs(scene, work / "inputs", asked) | {"output": str(output)}
        if lacking := sorted(asked - values.keys()):
            raise LeftOut(f"The command asks for {{{lacking[0]}}}, which this case has not.")
        words = [_fill(word, values) for word in self.words]
        with tempfile.TemporaryFile() as log:
            self._run(words, log, timeout)
        if not output.is_file() or output.stat().st_size == 0:
            raise Failed("The command ended well but wrote no output.")
        return output

    def _run(self, words: list[str], log, timeout: float | None) -> None:
        try:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True
            )
        except OSError as error:
            raise Failed(f"The command cannot be started ({error.strerror}: {words[0]}).") from error
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failed(f"The command took more than {timeout:g} s and was stopped.") from None
        finally:
            _end(process)
        if code:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 4096))
            said = [line for line in log.read().decode("utf-8", "replace").splitlines() if line.strip()]
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"
            raise Failed(
                f"The command ended with {how}: {said[-1].strip()[:LAST_WORDS] if said else 'it said nothing'}"
            )


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


def _end(process: subprocess.Popen) -> None:
    """End a program and all that it started."""
    if process.poll() is None or os.name == "posix":
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            process.kill()
    process.wait()
