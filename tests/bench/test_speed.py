"""The speed benchmark."""

import time
from fractions import Fraction

import numpy as np
import pytest

from animate.errors import MienError
from animate.media import VideoReader, VideoWriter, probe
from animate.motion import Motion
from bench.speed import run as speed
from bench.speed.run import Run, Stopwatch, bars, format_runs


@pytest.fixture(scope="module")
def driving(tmp_path_factory, face):
    path = tmp_path_factory.mktemp("speed") / "driving.mp4"
    with VideoWriter(path, Fraction(25)) as writer:
        for t in range(6):
            writer.write(np.roll(face[0], t, axis=1))
    return path


def test_stopwatch_adds_up_and_counts_failures_too():
    watch = Stopwatch()
    assert watch.measure("nap", lambda x: time.sleep(0.01) or x, 7) == 7
    with pytest.raises(KeyError):
        watch.measure("nap", {}.__getitem__, "no")
    assert 0.01 <= watch.seconds["nap"] < 1


def test_a_job_tracks_animates_and_encodes_and_accounts_for_its_time(driving, tmp_path):
    run = speed.run_job("warp", driving, tmp_path / "out.mp4")
    assert run.frames == 6 == probe(tmp_path / "out.mp4").frames
    assert {"load", "portrait", "track", "retarget", "warp", "paste", "encode", "other"} <= run.stages.keys()
    assert sum(run.stages.values()) == pytest.approx(run.seconds, rel=0.02)
    assert 50 < run.peak_mib < 8000 and run.rate == 6 / run.seconds


def test_a_child_measures_its_own_peak(driving, tmp_path):
    ballast = np.ones(600 * 2**20, np.uint8)  # this process is large, its child is not
    run = speed.run_in_child("still", driving, tmp_path / "out.mp4")
    assert run.frames == 6 and run.peak_mib < speed.peak_memory() and ballast.any()
    assert 5 < run.children_mib < 600  # ffmpeg's own, not what it was forked from


def test_table_has_a_row_a_run_and_milliseconds_a_frame():
    lines = format_runs([Run("mini", 100, 20.0, {"track": 1.0, "network": 15.0}, 900, 50)]).splitlines()
    row = dict(zip(lines[0].split(), lines[1].split()[1:], strict=False))
    assert row["fps"] == "5.00" and row["track"] == "10.0" and row["network"] == "150.0"


def test_bars():
    short, other = Run("mini", 100, 10.0, {}, 1000), Run("prior", 100, 5.0, {}, 500)
    good = bars([short, other], Run("mini", 600, 60.0, {}, 1049))
    assert [line[:4] for line in good] == ["pass", "pass", "pass", "pass", "    "]
    assert "0.50 of the speed of prior" in good[-1]
    bad = bars([Run("mini", 100, 20.0, {}, 2000)], Run("mini", 600, 60.0, {}, 2101))
    assert [line[:4] for line in bad] == ["FAIL"] * 4


def test_an_unknown_motion_is_one_sentence(tmp_path):
    with pytest.raises(MienError, match="somersault"):
        speed.make_driving_video(tmp_path / "d.mp4", 1.0, "somersault")


def test_the_driving_video_loops_a_motion_to_its_length(driving, redetector, tmp_path):
    with VideoReader(driving) as reader:
        track = redetector.tracker.track(reader, reader.fps)[0]
    Motion.from_track(track).save(tmp_path / "short.safetensors")
    frames = speed.make_driving_video(tmp_path / "d.mp4", 0.6, str(tmp_path / "short.safetensors"))
    assert frames == 15 == probe(tmp_path / "d.mp4").frames
