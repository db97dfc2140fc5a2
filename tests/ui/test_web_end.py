"""How the page ends: with what it holds of people, whatever it does at the moment."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

pytest.importorskip("gradio", reason="the extra `ui` is not installed")

from ui.web_jobs import Cancelled, Running  # noqa: E402
from ui.web_place import own_place  # noqa: E402

PATIENCE = 120  # seconds


def test_the_folder_goes_with_the_page(tmp_path):
    with own_place(tmp_path) as work:
        (work / "uploads" / "portrait.png").write_text("somebody")
    assert not list(tmp_path.iterdir())


def test_what_a_killed_page_left_goes_at_the_next_start(tmp_path):
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom ui.web_place import own_place\n"
        "with own_place(Path(sys.argv[1])) as work:\n"
        "    (work / 'uploads' / 'portrait.png').write_text('somebody')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert (left / "uploads" / "portrait.png").exists()
    with own_place(tmp_path) as work:
        assert list(tmp_path.iterdir()) == [work]


def test_what_another_page_uses_stays_and_so_does_what_is_nobodys(tmp_path):
    (tmp_path / "mien-ui-without-lock").mkdir()
    with own_place(tmp_path) as first:
        with own_place(tmp_path) as second:
            assert first != second and (first / "uploads").is_dir()
        assert (first / "uploads").is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["mien-ui-without-lock"]


def test_nobody_waits_for_a_job_that_was_given_up():
    go, ended = threading.Event(), threading.Event()

    def inside_a_library(progress):
        go.wait(PATIENCE)
        ended.set()

    running = Running(inside_a_library)
    stands = iter(running)
    next(stands)
    running.progress.cancel(at_once=True)
    with pytest.raises(Cancelled):
        next(stands)
    assert not ended.is_set()
    go.set()
    assert ended.wait(PATIENCE)


@pytest.mark.parametrize("moment", ["at once", "while it draws"])
def test_ctrl_c_ends_the_server_and_leaves_nothing(files, tmp_path, moment):
    import gradio_client

    log = tmp_path / "log"
    place = tmp_path / "tmp"
    place.mkdir()
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "ui.cli", "ui"],
            env=os.environ | {"TMPDIR": str(place), "PYTHONUNBUFFERED": "1"},
            stdout=stream,
            stderr=stream,
        )
    try:
        url = wait_for(lambda: next((w for w in log.read_text().split() if w.startswith("http")), None))
        client = gradio_client.Client(url, verbose=False)
        portrait = gradio_client.handle_file(str(files / "portrait.png"))
        job = client.submit(portrait=portrait, clip=None, motion_file=None, motion="nod", api_name="/animate")
        if moment == "while it draws":
            wait_for(lambda: any("frames/s" in str(out[1]) for out in job.outputs()))
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
    assert "Traceback" not in log.read_text() and "FATAL" not in log.read_text()
    assert not list(place.glob("mien-ui-*"))


def wait_for(found):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if answer := found():
            return answer
        time.sleep(0.1)
    raise AssertionError("it did not happen")
