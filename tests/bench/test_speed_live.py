"""The speed of what answers while somebody waits: the camera, the queue, the sliders, the report."""

import json

import numpy as np
import pytest

from animate.live import write_jpeg
from bench.speed import live as speed_live
from bench.speed import run as speed
from bench.speed.live import EditRun, LiveRun, bars, format_edits, format_lives

pytest.importorskip("skimage", reason="the extra `demo` brings the portrait")
pytest.importorskip("mediapipe", reason="live mode follows faces with mediapipe")


class TestCamera:
    def test_gives_each_frame_once_and_no_sooner_than_it_is_there(self):
        camera = speed_live._Camera([np.zeros((1, 1)), np.ones((1, 1))], 0.2)
        frames = list(iter(camera.next, None))
        assert len(frames) == camera.shown - 1  # the one of the very beginning has gone by
        assert speed_live.time.perf_counter() - camera.began >= (camera.shown - 1) / speed_live.CAMERA_FPS

    def test_goes_on_while_nobody_takes_a_frame(self):
        camera = speed_live._Camera([np.zeros((1, 1))], 0.2)
        camera.began -= 0.1
        assert len(list(iter(camera.next, None))) == camera.shown - 3

    def test_shows_the_clip_at_the_size_of_the_page(self, tmp_path):
        speed.make_driving_video(tmp_path / "clip.mp4", 0.1)
        frames = speed_live.camera_frames(tmp_path / "clip.mp4")
        assert {frame.shape for frame in frames} == {(360, 480, 3)}


def test_an_answer_that_is_overtaken_is_not_shown():
    answers = speed_live._Answers()
    picture = write_jpeg(np.zeros((8, 8, 3), np.uint8))
    now = speed_live.time.perf_counter()
    for answer, taken in (((picture, 0.1), now), ((picture, 0.1), now - 1), (None, now + 1), ((b"", 0.1), now + 2)):
        answers.add(answer, taken)
    assert len(answers.latency) == 1 and answers.lost == 1


def test_live_draws_the_clip_and_accounts_for_every_frame(tmp_path):
    speed.make_driving_video(tmp_path / "clip.mp4", 0.4)
    run = speed_live.run_live("warp", tmp_path / "clip.mp4", 1.0)
    assert run.size == (512, 512) and run.offered == 25 == run.shown + run.dropped + run.lost
    assert run.shown >= 1 and run.lost == 0
    assert 0 < run.latency_ms[0] <= run.latency_ms[1]


def test_sliders_are_timed_with_and_without_the_network():
    for method in speed_live.METHODS:
        run = speed_live.run_edit(method, 2)
        assert run.pictures == 2 and 0 < run.slider_ms[0] <= run.slider_ms[1]


def test_tables_and_bars():
    live = LiveRun("mini", (512, 512), 10.0, 250, 40, 1, 209, (270.0, 330.0), 750.0)
    row = format_lives([live]).splitlines()[1].split()
    assert row == ["mini", "4.0", "270", "330", "250", "40", "209", "1", "750"]
    quick, slow = EditRun("warp", (512, 512), 30, (10.0, 20.0)), EditRun("mini", (512, 512), 30, (900.0, 1600.0))
    assert format_edits([quick]).splitlines()[1].split() == ["warp", "30", "10", "20", "300"]
    assert [line[:4] for line in bars([quick, slow])] == ["pass", "FAIL"]


def test_the_option_measures_this_part_alone(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(speed_live, "METHODS", ("warp",))
    arguments = ["--live", "--live-seconds", "0.4", "--live-pictures", "2", "--json", str(tmp_path / "s.json")]
    assert speed.main(arguments) == 0
    figures = json.loads((tmp_path / "s.json").read_text())
    assert "runs" not in figures and "talk" not in figures
    assert figures["live"]["live"][0]["offered"] == 10 and figures["live"]["edit"][0]["pictures"] == 2
    assert "slider to picture, warp" in capsys.readouterr().out
