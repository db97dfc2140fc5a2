"""A program that runs to its end or to the end of its time: how it ended, and the last of what it printed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import unicodedata
from collections.abc import Sequence
from typing import BinaryIO

from bench.systems.system import Failed

KEPT = 32 * 1024
"""Bytes, the last ones, that are kept of each of the two streams on which a program prints."""

LAST_WORDS = 300
"""Characters of a program's complaint that are reported."""

LINGER = 1.0
"""Seconds that the pipes of a program that has ended are read on: something that it left behind may hold them open."""

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\r\n]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
_DIRECTIONS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_HELP = re.compile(r"Try ['`\"‘].+ (--help|-h)['`\"’] for (more information|help)\.?")
_FRAME = " \t│┃|"


class Tail:
    """The end of a stream."""

    def __init__(self) -> None:
        self._kept = b""

    def read(self, stream: BinaryIO) -> None:
        """Take in a stream until it ends, and close it."""
        with stream:
            while chunk := stream.read(KEPT):
                self._kept = (self._kept + chunk)[-KEPT:]

    @property
    def text(self) -> str:
        """It as plain lines."""
        return plain(self._kept.decode("utf-8", "replace"))


class Printed:
    """The ends of what a program printed."""

    def __init__(self) -> None:
        self.stdout, self.stderr = Tail(), Tail()

    @property
    def text(self) -> str:
        """Both, one after the other, each under its name; "" where the program said nothing."""
        texts = {"stdout": self.stdout.text, "stderr": self.stderr.text}
        return "\n".join(f"{name}:\n{text}" for name, text in texts.items() if text.strip())

    @property
    def complaint(self) -> str:
        """The last line that says something, of stderr if there is one; "" for none."""
        return _last_words(self.stderr.text) or _last_words(self.stdout.text)


def plain(text: str) -> str:
    """Text without escape sequences, control characters and marks that turn its direction; lines end with \\n."""
    lines = _ESCAPES.sub("", text).splitlines()
    return "".join("".join(filter(_shows, line)).rstrip() + "\n" for line in lines)


def run_program(words: Sequence[str], printed: Printed, timeout: float | None = None) -> None:
    """Run a program without a shell and end whatever it started.

    Args:
        words: the program and its arguments.
        printed: takes in what it prints.
        timeout: seconds.

    Raises:
        Failed: it cannot be started, takes too long or ends with an error.
    """
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise Failed(f"The command cannot be started ({why}: {words[0]}).") from error
    tails = ((printed.stdout, process.stdout), (printed.stderr, process.stderr))
    readers = [threading.Thread(target=tail.read, args=(stream,), daemon=True) for tail, stream in tails]
    try:
        for reader in readers:
            reader.start()
        code = process.wait(timeout)
    except subprocess.TimeoutExpired:
        raise Failed(f"The command took more than {timeout:g} s and was stopped.") from None
    finally:
        _end(process)
        for reader in readers:
            if reader.ident is not None:
                reader.join(LINGER)
    if code:
        raise Failed(f"The command ended with {ending(code)}: {printed.complaint or 'it said nothing'}")


def ending(code: int | None) -> str:
    """How a process ended: "status 1", "signal SIGKILL", "signal 40"."""
    if code is None or code >= 0:
        return f"status {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal has no name of its own
        return f"signal {-code}"


def _end(process: subprocess.Popen) -> None:
    """End a program and all that it started."""
    if process.poll() is None or os.name == "posix":
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            process.kill()
    process.wait()


def _last_words(text: str) -> str:
    """The last line with a word in it that is no advice to ask for help, without the frame that is drawn round it."""
    lines = [line for line in (line.strip(_FRAME) for line in text.splitlines()) if line]
    said = [line for line in lines if any(map(str.isalnum, line)) and not _HELP.fullmatch(line)]
    return next(reversed(said or lines), "")[:LAST_WORDS]


def _shows(character: str) -> bool:
    return character == "\t" or not (unicodedata.category(character) == "Cc" or character in _DIRECTIONS)
