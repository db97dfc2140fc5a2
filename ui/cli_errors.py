"""How a command ends that cannot do its work: a sentence on standard error, with `--json` also as JSON, and a code."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from animate.errors import MienError

EXIT_PROBLEM = 1  # `mien check` found something that makes the job fail
EXIT_ERROR = 2  # a MienError or a mistake in the options
EXIT_BUG = 70  # an error that no sentence was written for (EX_SOFTWARE)
EXIT_INTERRUPTED = 130
INTERRUPTED = "interrupted, nothing was written."


def asks_for_json(arguments: Sequence[str]) -> bool:
    """Whether a command line holds --json: its parser cannot tell where it did not get through."""
    words = list(arguments)
    return "--json" in words[: words.index("--") if "--" in words else None]


@contextmanager
def marked_for_json(wanted: bool) -> Iterator[None]:
    """Errors from here know that their command was told `json: true` by a file: see `tell`."""
    try:
        yield
    except BaseException as error:
        error.as_json = wanted
        raise


def tell(error: BaseException, as_json: bool = False) -> int:
    """Says what went wrong; returns the exit code.

    as_json: also {"error": the sentence, "exit_code": the code} on standard output: who reads it always gets JSON.
    """
    unnamed = isinstance(error, OSError) and error.filename is None
    # What failed to be written may be gone from the stream: an empty line tells whether it was this stream.
    fault = _fault(sys.stdout, "\n" if unnamed else "")
    if unnamed and fault is not None and not _after_interrupt(error):
        _forget(sys.stdout)
        if isinstance(fault, BrokenPipeError):  # the reader (`| head`) has seen enough: no error of ours
            return EXIT_PROBLEM
        sentence, code = f"standard output cannot be written to ({fault.strerror}): send it elsewhere.", EXIT_ERROR
    else:
        sentence, code = _sentence(error)
    if not sentence:  # the help that was shown instead says it all
        return code
    # One sentence stays one line, also when a library's message in it has several.
    sentence = " ".join(sentence.split())
    # There may be nobody left to tell: the terminal was closed, or the disk behind the stream is full.
    with suppress(OSError):
        if os.environ.get("MIEN_DEBUG") == "1":
            import traceback

            traceback.print_exception(error)
        print(f"mien: {sentence}", file=sys.stderr)
    if fault is None and (as_json or getattr(error, "as_json", False)):
        with suppress(OSError):
            print(json.dumps({"error": sentence, "exit_code": code}, indent=2, ensure_ascii=False), flush=True)
    for stream in (sys.stdout, sys.stderr):
        if _fault(stream) is not None:
            _forget(stream)
    return code


def _sentence(error: BaseException) -> tuple[str, int]:
    """What to say of an error, and the exit code."""
    if isinstance(error, MienError):
        return str(error), getattr(error, "exit_code", EXIT_ERROR)
    # typer brings click's classes under other names from version to version: tell them by what they offer.
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort" or _after_interrupt(error):
        return INTERRUPTED, EXIT_INTERRUPTED
    if callable(getattr(error, "format_message", None)):
        message = error.format_message()
        return message if not message or message.endswith((".", "?")) else f"{message}.", EXIT_ERROR
    if isinstance(error, OSError) and error.filename is not None:
        return (
            f"{error.filename} cannot be used ({error.strerror}): check the path, its permissions and its disk.",
            EXIT_ERROR,
        )
    if isinstance(error, OSError) and error.strerror:
        return f"something could not be read or written ({error.strerror}): check the disk and the output.", EXIT_ERROR
    return (
        f"something went wrong that Mien did not foresee ({type(error).__name__}: {error}). "
        "Please report it with what `mien --debug …` prints.",
        EXIT_BUG,
    )


def _after_interrupt(error: BaseException | None) -> bool:
    """Whether something could not be written while an interrupted command tidied up, as to a closed terminal."""
    found = isinstance(error, OSError)
    while found and error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return found and error is not None


def _fault(stream: TextIO | None, text: str = "") -> OSError | None:
    """What keeps a stream from passing on what it was told; None where it does, or was closed from the beginning."""
    try:
        if stream is not None and not stream.closed:
            stream.write(text)
            stream.flush()
    except OSError as error:
        return error
    return None


def _forget(stream: TextIO) -> None:
    """What a stream still holds goes nowhere, or Python would complain of it at its end."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


@contextmanager
def ends_cleanly() -> Iterator[None]:
    """SIGTERM, and SIGHUP of a terminal that is closed, unwind the stack like Ctrl-C, so that half-written files go.

    A signal that was ignored before (`nohup`) stays ignored.
    """
    before: dict[int, Any] = {}

    def handle(number: int, frame: object) -> None:
        if number != signal.SIGTERM:  # shell and system both send SIGHUP: the second must not stop the tidying
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    with suppress(ValueError):  # not in the main thread
        for number in (signal.SIGTERM, getattr(signal, "SIGHUP", None)):
            if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
