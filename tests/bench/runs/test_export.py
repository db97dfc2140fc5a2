"""A suite's inputs as files for a system that runs elsewhere, and its outputs when they come back."""

import json
import shutil
import wave
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from animate.media import VideoReader, read_image
from bench.runner.export import export_inputs
from bench.runner.run import run_suite
from bench.suites.prepare import fill

FRAMES = 6  # of the clips in conftest.py


@pytest.fixture(scope="module")
def exported(self_suite, tmp_path_factory):
    """Two clips that drive themselves, a portrait that is to say a sound, and one whose sound is not there."""
    folder = tmp_path_factory.mktemp("exported")
    talk = fill("talk", self_suite.folder)
    spoken = next(case for case in talk.cases if case.portrait and "ana" in case.portrait)
    silent = replace(spoken, id="silent", audio="gone.wav")
    suite = replace(self_suite, cases=(*self_suite.cases, spoken, silent))
    return suite, folder, export_inputs(suite, folder)


def video(path):
    with VideoReader(path) as reader:
        return reader.fps, np.stack(list(reader)).astype(int)


def test_list_names_what_every_case_gives(exported):
    suite, folder, _ = exported
    told = json.loads((folder / "inputs.json").read_text())
    assert told["suite"] == suite.name and {"self--nod", "self--slow"} <= told["cases"].keys()
    assert told["cases"]["self--nod"] == {
        "case": "self--nod",
        "fps": "25",
        "frames": str(FRAMES),
        "portrait": "self--nod/portrait.png",
        "driver": "self--nod/driver.mp4",
    }


def test_driver_is_the_clip_frame_by_frame(exported):
    suite, folder, _ = exported
    for case, rate in (("self--nod", 25), ("self--slow", 30)):
        fps, frames = video(folder / case / "driver.mp4")
        assert fps == Fraction(rate) and len(frames) == FRAMES
        _, original = video(suite.folder / f"video/{case.removeprefix('self--')}.mp4")
        assert np.abs(frames - original).mean() < 2


def test_portrait_is_the_clips_first_frame(exported):
    suite, folder, _ = exported
    _, original = video(suite.folder / "video/nod.mp4")
    assert np.abs(read_image(folder / "self--nod/portrait.png").astype(int) - original[0]).mean() < 2


def test_sound_is_16_khz_and_as_long_as_the_frames(exported):
    _, folder, _ = exported
    told = json.loads((folder / "inputs.json").read_text())["cases"]
    (case,) = (facts for facts in told.values() if "audio" in facts)
    with wave.open(str(folder / case["audio"])) as sound:
        assert sound.getframerate() == 16_000
        seconds = sound.getnframes() / 16_000
    assert seconds == pytest.approx(int(case["frames"]) / float(Fraction(case["fps"])), abs=0.05)


def test_a_case_that_cannot_be_used_is_left_out_and_says_why(exported):
    _, folder, left_out = exported
    ((case, why),) = left_out.items()
    assert case == "silent" and why == "gone.wav is missing."
    told = json.loads((folder / "inputs.json").read_text())
    assert told["left_out"] == left_out and case not in told["cases"] and not (folder / case).exists()


def test_outputs_come_back_as_a_system(self_suite, exported, quick, tmp_path):
    """Copies of the drivers: a self-reenactment that is as good as the driver's coding."""
    _, folder, _ = exported
    (tmp_path / "theirs").mkdir()
    for case in self_suite.cases:
        shutil.copy(folder / case.id / "driver.mp4", tmp_path / "theirs" / f"{case.id}.mp4")
    (tmp_path / "theirs" / "self--slow.mp4").unlink()
    counts = run_suite(quick(self_suite, "l1"), [f"theirs=folder:{tmp_path / 'theirs'}"], tmp_path / "out")
    assert counts["failed"] == 1
    records = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "out" / "theirs" / "cases").glob("*")}
    assert records["self--nod"]["values"]["l1"] < 0.01
    assert "no file self--slow.mp4" in records["self--slow"]["error"]


def test_a_killed_export_is_known_by_its_list(self_suite, tmp_path, monkeypatch):
    from bench.suites.walk import files_below, holds_runs

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.runner.export.write_inputs", killed)
    with pytest.raises(KeyboardInterrupt):
        export_inputs(self_suite, tmp_path / "media" / "exported")
    assert holds_runs(tmp_path / "media" / "exported")
    assert files_below(tmp_path / "media") == ([], ["exported"])
