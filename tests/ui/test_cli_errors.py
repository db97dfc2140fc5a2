"""How commands end that cannot do their work: sentences, JSON, signals, full disks and closed pipes."""

import json
import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from tests.ui.test_vocabulary import commands
from ui.cli import EXIT_BUG, EXIT_ERROR, EXIT_INTERRUPTED, EXIT_PROBLEM
from ui.cli_errors import ends_cleanly, tell

MIEN = [sys.executable, "-m", "ui.cli"]
JSON_COMMANDS = [name for name, command in commands() if any("--json" in param.opts for param in command.params)]


def environment(unbuffered):
    return {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"} | (
        {"PYTHONUNBUFFERED": "1"} if unbuffered else {}
    )


def test_an_unforeseen_error_asks_for_a_report_and_shows_the_stack_only_with_debug(capsys, monkeypatch):
    monkeypatch.delenv("MIEN_DEBUG", raising=False)
    try:
        raise RuntimeError("two\nlines")
    except RuntimeError as error:
        assert tell(error) == EXIT_BUG
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and "two lines" in err and "report" in err
        monkeypatch.setenv("MIEN_DEBUG", "1")
        tell(error)
        assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("/somewhere/file", "/somewhere/file cannot be used (No space left on device): "),
        (None, "something could not be read or written (No space left on device): "),
    ],
)
def test_a_full_disk_in_the_middle_is_one_sentence(capsys, name, sentence):
    assert tell(OSError(28, "No space left on device", name)) == EXIT_ERROR
    err = capsys.readouterr().err
    assert err.startswith(f"mien: {sentence}") and err.count("\n") == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux's")
@pytest.mark.parametrize(("words", "unbuffered"), [("models --json", False), ("--version", False), ("models", True)])
def test_a_full_disk_behind_standard_output_is_one_sentence(words, unbuffered):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*MIEN, *words.split()], stdout=full, stderr=subprocess.PIPE, text=True, env=environment(unbuffered)
        )
    assert done.returncode == EXIT_ERROR
    assert done.stderr.startswith("mien: standard output cannot be written") and done.stderr.count("\n") == 1


def test_a_reader_that_has_seen_enough_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*MIEN, "models"], stdout=writing, stderr=subprocess.PIPE, text=True, env=environment(False))
    os.close(writing)
    assert (done.returncode, done.stderr) == (EXIT_PROBLEM, "")


@pytest.mark.parametrize("name", JSON_COMMANDS)
def test_a_mistake_in_the_options_is_json_too(mien, name):
    code, out, err = mien(*name.split(), "--json", "--no-such-option")
    assert code == EXIT_ERROR and err == f"mien: {json.loads(out)['error']}\n" and "--no-such-option" in err
    assert json.loads(out)["exit_code"] == EXIT_ERROR


@pytest.mark.parametrize(
    "words",
    ["motion info nowhere", "verify nowhere.mp4", "weights list nothing", "talk --audio=", "animte"],
)
def test_other_mistakes_are_json_where_it_is_asked_for(mien, words):
    code, out, err = mien(*words.split(), "--json")
    assert code == EXIT_ERROR and json.loads(out) == {"error": err[6:-1], "exit_code": code}
    assert mien(*words.split())[:2] == (EXIT_ERROR, "")


@pytest.mark.parametrize("text", ["json: true\nmotion: yodel", "json: true\nregion: ears", "json: true\nseed: abc"])
def test_a_configuration_may_ask_for_it(mien, files, tmp_path, text):
    (tmp_path / "c.yaml").write_text(f"source: {files / 'portrait.png'}\nmotion: smile\noutput: o.mp4\n")
    lines = dict(line.split(": ") for line in ((tmp_path / "c.yaml").read_text() + text).splitlines())
    (tmp_path / "c.yaml").write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
    code, out, err = mien("animate", "--config", tmp_path / "c.yaml")
    assert code == EXIT_ERROR and json.loads(out)["error"] == err[6:-1]


@pytest.fixture(scope="module")
def long_job(files, motion_file, tmp_path_factory):
    """Starts a long `mien animate` into a folder, in a session of its own; returns it once it writes."""
    from ui.cli import main

    long = tmp_path_factory.mktemp("long") / "long.safetensors"
    assert main(["motion", "join", *[str(motion_file)] * 60, "-o", str(long), "-q"]) == 0

    def start(folder, **more):
        words = ["animate", "-s", files / "portrait.png", "-m", long, "--method", "warp", "-o", folder / "out.mp4"]
        process = subprocess.Popen([*MIEN, *map(str, words)], start_new_session=True, text=True, **more)
        deadline = time.monotonic() + 60
        while not any(folder.glob(".out.mp4.*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.2)
        return process

    return start


def test_terminated_in_the_middle_leaves_nothing(long_job, tmp_path):
    process = long_job(tmp_path, stderr=subprocess.PIPE)
    process.send_signal(signal.SIGTERM)
    err = process.communicate(timeout=60)[1]
    assert process.returncode == EXIT_INTERRUPTED and err == "mien: interrupted, nothing was written.\n"
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_that_is_closed_leaves_nothing(long_job, tmp_path):
    import fcntl
    import termios

    ours, theirs = pty.openpty()
    process = long_job(
        tmp_path,
        **dict.fromkeys(("stdin", "stdout", "stderr"), theirs),
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # it becomes the session's terminal
    )
    os.close(theirs)
    os.close(ours)
    assert process.wait(timeout=60) == EXIT_INTERRUPTED
    assert list(tmp_path.iterdir()) == []


def test_a_second_hangup_does_not_stop_the_tidying():
    before = signal.getsignal(signal.SIGHUP)
    with ends_cleanly():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) == before


def test_nohup_is_respected():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ends_cleanly():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
