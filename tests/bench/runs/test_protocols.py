"""Every protocol, run on small media: what is made, what is measured, and what cannot be."""

import json
import shutil
from dataclasses import replace

import numpy as np

from bench.metrics import METRICS
from bench.runner.inputs import write_sound
from bench.runner.run import run_suite
from bench.runner.record import RunFolder
from bench.suites.manifest import Case
from bench.suites.prepare import fill


def records(out, system):
    return {path.stem: json.loads(path.read_text()) for path in sorted((out / system / "cases").glob("*.json"))}


def test_cross_a_portrait_without_a_face_fails_where_one_is_needed(media, quick, tmp_path):
    suite = quick(fill("reenact-cross", media), "aed_mesh", "identity", "warping_error", "l1")
    run_suite(suite, ["warp", "still", "truth"], tmp_path, baselines=False)
    warp = {name.split("--")[0]: record for name, record in records(tmp_path, "warp").items()}
    assert warp["ana"]["status"] == "ok" and warp["ana"]["values"]["aed_mesh"] is not None
    assert warp["ana"]["groups"]["style"] == "human"
    assert warp["blank"]["status"] == "failed" and "No face" in warp["blank"]["error"]
    assert {record["status"] for record in records(tmp_path, "truth").values()} == {"left out"}


def test_pairs_are_measured_face_by_face(media, quick, tmp_path):
    suite = quick(fill("expression-multi", media), "akd", "face_count")
    run_suite(suite, ["warp", "still", "truth", "copy"], tmp_path, baselines=False)
    error = {s: next(iter(records(tmp_path, s).values()))["values"] for s in ("warp", "still", "truth", "copy")}
    assert error["truth"]["akd"] == error["copy"]["akd"] < error["warp"]["akd"] < error["still"]["akd"]
    assert error["truth"]["face_count"] == 1.0


def test_speech_moves_a_portrait(media, quick, tmp_path):
    suite = quick(fill("talk", media), "sync_corr", "identity").take(1)
    assert suite.cases[0].portrait == "portraits/ana_female.png"
    run_suite(suite, ["mien:warp"], tmp_path, baselines=True, settings={"max_frames": 12})
    found = records(tmp_path, "mien-warp")[suite.cases[0].id]
    assert found["status"] == "ok" and found["frames"] == 12 and found["fps"] == "25"
    assert records(tmp_path, "copy")[suite.cases[0].id]["status"] == "left out"
    from animate.media import VideoReader

    frames = list(VideoReader(tmp_path / "mien-warp" / "videos" / f"{suite.cases[0].id}.mp4"))
    assert any(np.abs(frames[0].astype(int) - frame).max() > 40 for frame in frames)


def test_a_sound_that_ends_before_its_picture_is_silent_from_there_on(media, quick, tmp_path):
    shutil.copytree(media, tmp_path / "media")
    write_sound(tmp_path / "media" / "short.wav", np.sin(np.arange(2400) / 8).astype(np.float32) * 0.5)
    case = Case("self", "talk", audio="short.wav", truth="video/nod.mp4")
    suite = replace(quick(fill("talk", media), "akd"), cases=(case,), folder=tmp_path / "media", hashes={})
    run_suite(suite, ["mien:warp"], tmp_path / "out", baselines=False)
    (found,) = records(tmp_path / "out", "mien-warp").values()
    assert (found["status"], found["frames_asked"]) == ("ok", 6), found["error"]


def test_a_long_clip_goes_there_and_back(media, quick, tmp_path):
    suite = quick(fill("long", media, settings={"seconds": 1, "stride": 1}), "akd").take(1)
    run_suite(suite, ["truth"], tmp_path, baselines=False)
    from animate.media import VideoReader

    frames = np.stack(list(VideoReader(tmp_path / "truth" / "videos" / f"{suite.cases[0].id}.mp4"))).astype(int)
    assert len(frames) == 25
    near, far = np.abs(frames[4] - frames[6]).mean(), np.abs(frames[4] - frames[5]).mean()
    assert near < far / 4


def test_pictures_of_several_people_count_also_where_they_are_missing(media, tmp_path):
    people = ["portraits/ana_female.png", "portraits/old.png"]
    items = [{"people": people[:n], "prompt": "friends", "attributes": []} for n in (1, 2, 2)]
    shutil.copytree(media, tmp_path / "bench")
    (tmp_path / "bench" / "metadata.json").write_text(json.dumps(items))
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    shutil.copy(media / people[0], theirs / "0.png")
    shutil.copy(media / people[0], theirs / "1.png")
    suite = fill("multi-human", None, metadata=tmp_path / "bench")
    suite = replace(suite, metrics=("face_count", "matched_identity"))
    run_suite(suite, [f"folder:{theirs}"], tmp_path / "out", baselines=True)
    found = records(tmp_path / "out", "folder-theirs")
    assert [found[n]["values"]["face_count"] for n in "012"] == [1.0, 0.0, 0.0]
    assert found["2"]["status"] == "failed"
    if not METRICS["matched_identity"].missing():
        identity = [found[n]["values"]["matched_identity"] for n in "012"]
        assert identity[0] > 0.99 and 0.45 < identity[1] < 0.51 and identity[2] == 0
    assert records(tmp_path / "out", "still")["0"]["status"] == "left out"
    assert RunFolder(tmp_path / "out" / "folder-theirs").video("0").suffix == ".png"


def test_the_records_of_the_cache_benchmark_become_runs(tmp_path):
    point = {"method": "taylor", "scheduler": "DPM++ 2M", "speedup": 2.5, "psnr": 41.0}
    report = {
        "benchmark": "cache", "points": [point], "notes": [], "versions": {}, "machine": {}, "settings": {}
    }  # fmt: skip
    (tmp_path / "cache.json").write_text(json.dumps(report))
    counts = run_suite(fill("cache", tmp_path), [], tmp_path / "out")
    assert counts["systems"] == ["taylor"] and counts["ok"] == 1
    (record,) = records(tmp_path / "out", "taylor").values()
    assert record["values"]["speedup"] == 2.5 and record["not_computed"]["flicker"]
