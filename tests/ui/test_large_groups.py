"""Several faces drawn by large models with `mien animate`: each by its own driver, killed and gone on with."""

import json
import signal

import numpy as np
import pytest
import torch

from .test_resume import kill_when, read

torch.set_num_threads(1)

FULL_SIZE = ("--size", "64", "--window", "4", "--steps", "1")
EXPRESSION = ("--size", "64", "--window", "9", "--steps", "1")


@pytest.fixture
def common(duo, tiny_pipeline_folder, tiny_expression_folder, with_encoder):
    """What every command is told: common("full size", *drivers)."""

    def make(model: str, *drivers) -> tuple:
        chosen = (tiny_pipeline_folder, *FULL_SIZE) if model == "full size" else (tiny_expression_folder, *EXPRESSION)
        return ("animate", "-s", duo / "duo.png", "--crf", "5", "--model", *chosen, *drivers)

    return make


def test_two_faces_and_two_clips_at_full_size(mien, files, duo, common, tmp_path):
    report = tmp_path / "report.json"
    drivers = ("-d", f"left={files / 'clip.mp4'}", "-d", f"right={duo / 'slow.mp4'}")
    code, _, err = mien(*common("full size", *drivers), "-o", tmp_path / "out.mp4", "--report", report)
    assert code == 0, err
    frames = read(tmp_path / "out.mp4")
    assert frames.shape == (10, 256, 512, 3) and "Faces that moved, 2 of 2" in err
    entries = {entry["place"]: entry for entry in json.loads(report.read_text())["cast"]}
    assert entries["left-to-right:0"]["driver"] == "clip.mp4" and entries["left-to-right:1"]["driver"] == "slow.mp4"
    assert entries["left-to-right:1"]["fit"] == "held", "0.2 of 0.3 s"
    code, _, err = mien(*common("full size", *drivers[:2]), "-o", tmp_path / "one.mp4")
    assert code == 0, err
    alone = read(tmp_path / "one.mp4")
    change = np.abs(frames.astype(int) - alone).mean(axis=(0, 1, 3))
    assert change[384 - 40 : 384 + 40].mean() > 10 * change[128 - 40 : 128 + 40].mean(), "the other face alone differs"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
@pytest.mark.parametrize(
    ("model", "last"),
    [("full size", "face-0/window-00000001.safetensors"), ("expression", "window-00000001.safetensors")],
)
def test_a_killed_group_goes_on_and_gives_the_identical_video(mien, duo, common, tmp_path, model, last):
    work, report = tmp_path / "work", tmp_path / "report.json"
    job = common(model, "-d", f"left={duo / 'slow.mp4'}", "-m", "right=smile", "--trim-end", "0.6")

    code = kill_when((*job, "-o", tmp_path / "out.mp4", "--work-folder", work), work / last, tmp_path)
    assert code == -signal.SIGKILL, (tmp_path / "log.txt").read_text()
    finished = len(list(work.rglob("window-*")))
    assert not (tmp_path / "out.mp4").exists() and finished > 0
    code, _, err = mien(*job, "-o", tmp_path / "out.mp4", "--work-folder", work, "--report", report)
    assert code == 0, err
    assert finished < len(list(work.rglob("window-*"))) and f"{finished} window" in err
    assert not {"tracking", "expression"} & json.loads(report.read_text())["seconds"].keys(), (
        "it need not be followed again"
    )
    code, _, err = mien(*job, "-o", tmp_path / "whole.mp4")
    assert code == 0, err
    assert np.array_equal(read(tmp_path / "out.mp4"), read(tmp_path / "whole.mp4"))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_a_killed_clip_goes_on_with_the_features_that_it_has(mien, files, plain_folder, with_encoder, tmp_path):
    """One face of a model without a projection, killed once its clip has been read."""
    work, report = tmp_path / "work", tmp_path / "report.json"
    job = ("animate", "-s", files / "portrait.png", "-d", files / "clip.mp4", "--model", plain_folder, *EXPRESSION)
    job += ("--trim-end", "0.1", "--crf", "5")
    code = kill_when((*job, "-o", tmp_path / "out.mp4", "--work-folder", work), work / "features.safetensors", tmp_path)
    assert code == -signal.SIGKILL and not (tmp_path / "out.mp4").exists(), (tmp_path / "log.txt").read_text()
    code, _, err = mien(*job, "-o", tmp_path / "out.mp4", "--work-folder", work, "--report", report)
    assert code == 0 and "expression" not in json.loads(report.read_text())["seconds"], err
    assert "instead of 29.97 frames/s" in err, "what was found then is said again"
    code, _, err = mien(*job, "-o", tmp_path / "whole.mp4")
    assert code == 0, err
    assert np.array_equal(read(tmp_path / "out.mp4"), read(tmp_path / "whole.mp4"))
    other = ("--driving-face", "left")
    code, _, err = mien(*job, *other, "-o", tmp_path / "o.mp4", "--work-folder", work)
    assert code == 2 and "belongs to another job" in err and "driving clip" in err
