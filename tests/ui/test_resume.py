"""`mien animate --work-folder`: a job that is killed in the middle goes on and gives the identical video."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from weights.registry import get

FULL_SIZE = ("--size", "128", "--window", "4", "--steps", "6")
# killed when this window is finished
LAST = {"full size": "window-00000001.safetensors", "mini": "window-00000002.safetensors"}


def read(path) -> np.ndarray:
    from animate.media import VideoReader

    with VideoReader(path) as reader:
        return np.stack(list(reader))


def kill_when(arguments, file, folder) -> int:
    """Runs `mien` and kills it with SIGKILL once `file` is there; returns the exit code."""
    code = "import sys; from ui.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}  # sums of floats depend on it
    with open(folder / "log.txt", "w") as log:
        process = subprocess.Popen(command, cwd=os.getcwd(), stdout=log, stderr=log, env=os.environ | threads)
        while process.poll() is None and not file.exists():
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        return process.wait()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
@pytest.mark.parametrize("model", ["full size", "mini"])
def test_a_killed_job_goes_on_and_gives_the_identical_video(mien, files, tiny_pipeline_folder, tmp_path, model):
    if model == "mini" and not get("mini").available:
        pytest.skip("the embedded model is not built yet")
    work, report = tmp_path / "work", tmp_path / "report.json"
    movement = ("-d", files / "clip.mp4") if model == "full size" else ("-m", "talk", "--trim-end", "1")
    common = ("animate", "-s", files / "portrait.png", *movement, "--model")
    common += (tiny_pipeline_folder, *FULL_SIZE) if model == "full size" else ("mini",)

    code = kill_when((*common, "-o", tmp_path / "out.mp4", "--work-folder", work), work / LAST[model], tmp_path)
    assert code == -signal.SIGKILL, (tmp_path / "log.txt").read_text()
    finished = len(list(work.glob("window-*")))
    assert not (tmp_path / "out.mp4").exists() and finished > 0
    code, _, err = mien(*common, "-o", tmp_path / "out.mp4", "--work-folder", work, "--report", report)
    assert code == 0, err
    facts = json.loads(report.read_text())
    assert finished < len(list(work.glob("window-*"))) and f"{finished} window" in err
    assert ("tracking" in facts["seconds"]) is False, "the driving clip need not be tracked again"

    code, _, err = mien(*common, "-o", tmp_path / "whole.mp4")
    assert code == 0, err
    assert np.array_equal(read(tmp_path / "out.mp4"), read(tmp_path / "whole.mp4"))


def test_a_finished_job_is_repeated_without_drawing_and_another_one_is_refused(mien, files, motion_file, tmp_path):
    common = ("animate", "-s", files / "portrait.png", "-m", motion_file, "--method", "warp")
    common += ("--work-folder", tmp_path / "work")
    assert mien(*common, "-o", tmp_path / "one.mp4")[0] == 0
    code, _, err = mien(*common, "-o", tmp_path / "two.mp4")
    assert code == 0 and "3 windows were finished before" in err
    assert np.array_equal(read(tmp_path / "one.mp4"), read(tmp_path / "two.mp4"))
    for change, named in ((("--strength", "1.3"), "movement"), (("--trim-end", "0.2"), "movement")):
        code, _, err = mien(*common, "-o", tmp_path / "three.mp4", *change)
        assert code == 2 and "belongs to another job" in err and named in err
    assert not (tmp_path / "three.mp4").exists()


def test_a_folder_with_other_things_is_refused_before_any_work(mien, files, motion_file):
    code, _, err = mien(
        *("animate", "-s", files / "portrait.png", "-m", motion_file, "-o", files / "o.mp4", "--work-folder", files)
    )
    assert code == 2 and "holds other things" in err and err.count("\n") == 1


def test_help_shows_the_full_size_apart(mien):
    code, out, _ = mien("animate", "--help")
    assert code == 0 and out.index("Full-size models") > out.index("--device")
    assert all(name in out for name in ("--work-folder", "--guidance", "--long"))
