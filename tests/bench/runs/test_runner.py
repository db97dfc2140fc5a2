"""Runs of a suite: records, resuming, and bad input that is reported while the run goes on."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from animate.errors import MienError, OptionError
from bench.metrics import METRICS
from bench.runner.run import run_suite
from bench.runner.record import load_features


def records(out, system):
    return {path.stem: json.loads(path.read_text()) for path in sorted((out / system / "cases").glob("*.json"))}


@pytest.fixture(scope="module")
def run(self_suite, quick, tmp_path_factory):
    """Two clips that drive themselves, with all baselines and mini's prior."""
    out = tmp_path_factory.mktemp("run")
    suite = quick(self_suite, "l1", "akd", "identity", "frechet_dlib", "lpips", "sync_corr", "no_such_metric")
    told = []
    counts = run_suite(suite, ["mien:prior"], out, progress=lambda *event: told.append(event))
    return suite, out, counts, told


class TestRecords:
    def test_every_system_has_a_folder_with_a_record_a_case(self, run):
        suite, out, counts, told = run
        assert counts["systems"] == ["still", "warp", "copy", "mien-prior", "truth"]
        assert (counts["ok"], counts["failed"], counts["left out"], counts["reused"]) == (10, 0, 0, 0)
        assert [event[1:] for event in told] == [(n, 10) for n in range(1, 11)]
        for system in counts["systems"]:
            assert list(records(out, system)) == ["self--nod", "self--slow"]
            assert (out / system / "videos" / "self--nod.mp4").is_file()

    def test_the_truth_is_best_and_still_is_worst(self, run):
        _, out, _, _ = run
        error = {system: records(out, system)["self--nod"]["values"]["akd"] for system in run[2]["systems"]}
        assert error["truth"] < error["mien-prior"] < error["still"] and error["warp"] < error["still"]
        assert error["truth"] == error["copy"] < 0.2

    def test_what_is_not_computed_says_why(self, run):
        record = records(run[1], "warp")["self--nod"]
        assert set(record["values"]) == set(run[0].metrics)
        assert record["not_computed"]["sync_corr"] == "there is no sound"
        assert record["not_computed"]["no_such_metric"] == "this version knows no metric of that name"
        assert record["not_computed"]["lpips"].startswith("needs ") or record["values"]["lpips"] is not None
        assert record["not_computed"].keys().isdisjoint(k for k, v in record["values"].items() if v is not None)

    def test_set_metrics_leave_features_of_every_case(self, run):
        if METRICS["frechet_dlib"].missing():
            pytest.skip(METRICS["frechet_dlib"].missing())
        found = load_features(run[1] / "warp", "frechet_dlib")
        assert set(found) == {"self--nod", "self--slow"}
        assert found["self--nod"]["output"].shape == found["self--nod"]["truth"].shape
        assert METRICS["frechet_dlib"].combine([]) is None

    def test_run_json_says_what_was_run(self, run):
        about = json.loads((run[1] / "mien-prior" / "run.json").read_text())
        assert about["system"] == "mien:prior" and about["role"] == "system"
        assert about["suite"]["cases"] == ["self--nod", "self--slow"] and len(about["suite"]["sha256"]) == 64
        assert about["weights"] == [] and about["versions"]["torch"] and about["machine"]["cores"]
        assert len(about["hashes"]["video/nod.mp4"]) == 64
        assert about["metrics_known"]["akd"]["direction"] == "lower"

    def test_a_record_tells_frames_time_and_groups(self, run):
        record = records(run[1], "mien-prior")["self--nod"]
        assert record["frames"] == 5 and record["frames_asked"] == 6 and record["lost"] == 0
        assert record["seconds"] > 0 and record["size"] == [192, 192] and record["fps"] == "25"
        assert record["groups"] == {"part": "self"}

    def test_no_machine_path_is_in_what_is_published(self, run, media):
        for path in run[1].rglob("*.json"):
            assert str(media) not in path.read_text()


class TestResuming:
    def again(self, run, **changes):
        told = []
        suite = changes.pop("suite", run[0])
        counts = run_suite(suite, ["mien:prior"], run[1], progress=lambda *event: told.append(event), **changes)
        return counts, told

    def test_finished_cases_are_not_run_again(self, run):
        before = {
            path: path.stat().st_mtime_ns for path in run[1].rglob("*") if path.parent.name in ("cases", "videos")
        }
        counts, told = self.again(run)
        assert counts["reused"] == 10 and len(told) == 10 and counts["ok"] == 10
        assert before == {path: path.stat().st_mtime_ns for path in before}

    def test_a_lost_record_is_made_again_and_nothing_else(self, run):
        path = run[1] / "warp" / "cases" / "self--nod.json"
        before = path.read_bytes()
        path.unlink()
        assert self.again(run)[0]["reused"] == 9
        values = [json.loads(text)["values"] for text in (before, path.read_bytes())]
        assert values[0] == values[1]

    def test_another_metric_measures_the_same_videos_again(self, run, quick):
        videos = {path: path.stat().st_mtime_ns for path in run[1].glob("*/videos/*")}
        counts, _ = self.again(run, suite=quick(run[0], "landmark"))
        assert counts["reused"] == 0 and counts["ok"] == 10
        assert videos == {path: path.stat().st_mtime_ns for path in videos}
        assert records(run[1], "warp")["self--nod"]["values"].keys() == {"landmark"}

    def test_other_settings_run_everything_again(self, self_suite, tmp_path):
        run_suite(self_suite, ["still"], tmp_path, baselines=False)
        counts = run_suite(self_suite, ["still"], tmp_path, baselines=False, settings={"max_frames": 4})
        assert counts["reused"] == 0
        assert records(tmp_path, "still")["self--nod"]["frames"] == 3


class TestBadInput:
    def test_a_system_that_crashes_on_one_case_fails_there_alone(self, self_suite, tmp_path, program):
        code = "import shutil; assert 'nod' not in ARGV[3], 'I fear nodding'; shutil.copy(ARGV[1], ARGV[2])"
        word = "bad=" + program(code, "{portrait} {driver} {output} {case}")
        counts = run_suite(self_suite, [word], tmp_path, baselines=False)
        found = records(tmp_path, "bad")
        assert counts["failed"] == 1 and counts["ok"] == 1
        assert found["self--nod"]["status"] == "failed" and "I fear nodding" in found["self--nod"]["error"]
        assert set(found["self--nod"]["values"].values()) == {None} and found["self--nod"]["video"] is None
        assert found["self--slow"]["status"] == "ok" and found["self--slow"]["values"]["akd"] < 0.3

    def test_failed_cases_run_again_only_when_asked(self, self_suite, tmp_path, program):
        flag = tmp_path / "flag"
        code = f"import os, shutil; os.path.exists({str(flag)!r}) or sys.exit('no flag'); shutil.copy(ARGV[1], ARGV[2])"
        word = "moody=" + program(code)
        assert run_suite(self_suite, [word], tmp_path / "out", baselines=False)["failed"] == 2
        flag.touch()
        assert run_suite(self_suite, [word], tmp_path / "out", baselines=False)["failed"] == 2
        assert run_suite(self_suite, [word], tmp_path / "out", baselines=False, retry=True)["ok"] == 2

    def test_other_lengths_rates_and_sizes_are_told_and_measured(self, self_suite, run, tmp_path):
        from animate.media import VideoReader, VideoWriter

        folder = tmp_path / "theirs"
        folder.mkdir()
        frames = list(VideoReader(run[1] / "truth" / "videos" / "self--nod.mp4"))
        with VideoWriter(folder / "self--nod.mp4", 50, crf=8) as writer:
            for frame in frames[:4]:
                for _ in range(2):
                    writer.write(np.ascontiguousarray(frame.repeat(2, 0).repeat(2, 1)))
        run_suite(self_suite, [f"folder:{folder}"], tmp_path / "out", baselines=False)
        found = records(tmp_path / "out", "folder-theirs")
        assert [words in " ".join(found["self--nod"]["notes"]) for words in ("384x384", "50 frames/s", "short")] == [
            True
        ] * 3
        assert found["self--nod"]["status"] == "ok" and found["self--nod"]["frames"] == 5
        assert found["self--nod"]["seconds"] == 0
        assert found["self--slow"]["status"] == "failed" and "no file self--slow.mp4" in found["self--slow"]["error"]

    def test_a_file_that_is_no_video_is_a_failure(self, self_suite, tmp_path):
        (tmp_path / "theirs").mkdir()
        for case in self_suite.cases:
            (tmp_path / "theirs" / f"{case.id}.mp4").write_text("no film")
        run_suite(self_suite, [f"folder:{tmp_path}/theirs"], tmp_path / "out", baselines=False)
        assert {record["status"] for record in records(tmp_path / "out", "folder-theirs").values()} == {"failed"}

    def test_wrong_hashes_and_missing_media_are_told_and_the_run_goes_on(self, self_suite, media, tmp_path):
        shutil.copytree(media, tmp_path / "media")
        suite = replace(self_suite, folder=tmp_path / "media")
        (tmp_path / "media" / "video" / "slow.mp4").unlink()
        with (tmp_path / "media" / "video" / "nod.mp4").open("ab") as file:
            file.write(b"\0")
        counts = run_suite(suite, ["still"], tmp_path / "out", baselines=False)
        found = records(tmp_path / "out", "still")
        assert found["self--nod"]["status"] == "ok" and "SHA-256 differs" in found["self--nod"]["notes"][0]
        assert found["self--slow"]["status"] == "left out" and "missing" in found["self--slow"]["error"]
        assert counts["notes"] == [
            "video/nod.mp4 is not the file that the suite was made with: its SHA-256 differs.",
            "video/slow.mp4 is missing.",
        ]

    def test_a_missing_truth_costs_only_the_metrics_that_need_it(self, self_suite, tmp_path):
        case = replace(self_suite.cases[0], portrait="portraits/ana_female.png", truth="video/gone.mp4")
        suite = replace(self_suite, cases=(case,))
        run_suite(suite, ["warp", "truth"], tmp_path, baselines=False)
        record = records(tmp_path, "warp")[case.id]
        assert record["status"] == "ok" and record["values"]["aed_mesh"] is not None
        assert record["not_computed"]["l1"] == "there is no true video to compare with"
        assert any("no truth to compare with" in note for note in record["notes"])
        assert records(tmp_path, "truth")[case.id]["status"] == "left out"

    def test_a_driver_without_a_face_leaves_its_case_out(self, self_suite, media, tmp_path):
        from animate.media import VideoWriter

        shutil.copytree(media, tmp_path / "media")
        with VideoWriter(tmp_path / "media" / "video" / "nod.mp4", 25) as writer:
            for _ in range(4):
                writer.write(np.full((64, 64, 3), 90, np.uint8))
        run_suite(replace(self_suite, folder=tmp_path / "media"), ["still"], tmp_path / "out", baselines=False)
        assert "face" in records(tmp_path / "out", "still")["self--nod"]["error"]

    @pytest.mark.parametrize(
        ("options", "said"), [({"jobs": 0}, "jobs"), ({"timeout": 0}, "time"), ({"limit": 0}, "limit")]
    )
    def test_options_that_cannot_be_are_refused(self, self_suite, tmp_path, options, said):
        with pytest.raises(OptionError, match=said):
            run_suite(self_suite, ["still"], tmp_path, **options)

    def test_a_system_that_cannot_be_opened_leaves_no_folder(self, self_suite, tmp_path):
        with pytest.raises(MienError):
            run_suite(self_suite, [f"folder:{tmp_path}/nowhere"], tmp_path / "out")
        assert not (tmp_path / "out").exists()
