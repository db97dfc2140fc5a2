"""The speed of speech to motion: its made-up sound, its latency, its report."""

import json
from fractions import Fraction

import numpy as np
import pytest

from animate.media import read_sound
from bench.speed import run as speed
from bench.speed import talk as speed_talk
from bench.speed.talk import BatchRun, StreamRun, bars, format_runs, format_streams, live_latency, speech_like
from bench.talk.clips import speech_shares


class TestSound:
    def test_is_repeatable_and_looks_like_speech(self):
        sound = speech_like(6)
        assert sound.dtype == np.float32 and len(sound) == 96_000 and np.abs(sound).max() == pytest.approx(0.5)
        assert np.array_equal(sound, speech_like(6)) and not np.array_equal(sound, speech_like(6, seed=1))
        loud, voiced = speech_shares(sound)
        assert 0.25 < loud < 0.75 and 0.25 < voiced < 0.9

    def test_given_speech_is_repeated_to_the_length(self, tmp_path):
        speed_talk.write_sound(tmp_path / "short.wav", 1.0, None)
        speed_talk.write_sound(tmp_path / "long.wav", 2.5, tmp_path / "short.wav")
        long, short = (read_sound(tmp_path / name)[:, 0] for name in ("long.wav", "short.wav"))
        assert len(long) == 40_000 and np.allclose(long[16_000:32_000], short, atol=1e-3)


class TestLatency:
    FPS = Fraction(25)

    def test_a_frame_waits_for_the_end_of_its_chunk_and_for_the_work(self):
        # Chunks of 40 ms, 10 ms of work each, a frame each: it shows a moment 40 ms before its chunk ends.
        assert live_latency([0.01] * 4, [1] * 4, 0.04, self.FPS) == pytest.approx([0.05] * 4)

    def test_frames_that_come_late_have_waited_for_other_sound(self):
        latency = live_latency([0.0] * 6, [0, 0, 0, 1, 1, 2], 0.04, self.FPS)
        assert latency == pytest.approx([0.16, 0.16, 0.16, 0.12])

    def test_a_push_that_takes_longer_than_its_chunk_holds_up_those_behind_it(self):
        latency = live_latency([0.1, 0.01, 0.01, 0.01], [1, 1, 1, 1], 0.04, self.FPS)
        assert latency == pytest.approx([0.14, 0.11, 0.08, 0.05])

    def test_slower_than_real_time_falls_behind_ever_more(self):
        latency = live_latency([0.05] * 100, [1] * 100, 0.04, self.FPS)
        assert latency[-1] == pytest.approx(0.04 + 0.05 * 100 - 0.04 * 99)


RUNS = [
    BatchRun("motion", 60.0, 1500, 0.6, 2.0, {"features": 0.3, "network": 0.12}, 500, 0.9),
    BatchRun("motions", 60.0, 1500, 0.7, 2.0, {}, 480),
    BatchRun("motions", 600.0, 15000, 7.0, 2.0, {}, 490),
]
STREAM = StreamRun(20, 300.0, 1500, (1.0, 9.0, 30.0), (60.0, 90.0, 150.0), 60.0)


class TestReport:
    def test_tables(self):
        rows = [line.split() for line in format_runs(RUNS).splitlines()]
        assert rows[1] == ["motion", "60", "1500", "100.0", "2.0", "10.00", "15.00", "5.00", "2.00", "500"]
        assert rows[3][:3] == ["motions", "600", "15000"] and rows[3][-1] == "490" and "-" in rows[3]
        stream = format_streams([STREAM]).splitlines()[1].split()
        assert stream == ["20", "1.0", "9.0", "30.0", "300.0", "60.0", "90.0", "150.0", "1500"]

    def test_bars(self):
        assert [line[:4] for line in bars(RUNS, [STREAM])] == ["pass", "pass", "pass"]
        slow = [
            BatchRun("motion", 60.0, 1500, 1.3, 2.0, {}, 500),
            RUNS[1],
            BatchRun("motions", 600.0, 1, 7, 2, {}, 520),
        ]
        late = StreamRun(20, 300.0, 1500, (1.0, 9.0, 30.0), (60.0, 90.0, 301.0), 60.0)
        assert [line[:4] for line in bars(slow, [late])] == ["FAIL", "FAIL", "FAIL"]
        assert len(bars(RUNS[:2], [STREAM])) == 2  # no long sound, no word of its growth

    def test_an_unknown_part_is_one_sentence(self, capsys):
        assert speed.main(["--parts", "dance"]) == 1
        assert "There is no part dance" in capsys.readouterr().err

    def test_a_job_that_fails_is_one_sentence_and_the_json_stands(self, tmp_path, capsys):
        arguments = ["--parts", "talk", "--talk-method", "shout", "--talk-seconds", "2", "--talk-long", "0"]
        assert speed.main([*arguments, "--json", str(tmp_path / "s.json")]) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "shout" in error
        assert json.loads((tmp_path / "s.json").read_text())["machine"]["cores"] >= 1


def test_the_loudness_method_end_to_end(tmp_path, capsys, monkeypatch):
    from talking_face.talker import EMBEDDED

    if not (EMBEDDED / "basis.safetensors").is_file():
        pytest.skip("the embedded speech model is not there")
    monkeypatch.setattr(speed_talk, "CHUNKS_MS", (40,))
    arguments = ["--parts", "talk", "--talk-method", "loudness", "--talk-seconds", "3", "--talk-long", "0"]
    assert speed.main([*arguments, "--json", str(tmp_path / "s.json")]) == 0
    talk = json.loads((tmp_path / "s.json").read_text())["talk"]
    assert [run["frames"] for run in talk["runs"]] == [75, 75] == [r["frames"] for r in talk["runs"]]
    assert [(run["chunk_ms"], run["frames"]) for run in talk["streams"]] == [(40, 75)]
    assert {"read", "features", "network", "rest"} == talk["runs"][0]["stages"].keys()
    assert all(run["latency_ms"][0] <= run["latency_ms"][2] for run in talk["streams"])
    assert "x real" in capsys.readouterr().out
