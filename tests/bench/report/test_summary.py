"""From run folders to figures: what counts, what is charged, what is told."""

import json
import math

import numpy as np
import pytest

from animate.errors import MediaError
from bench.report.columns import columns
from bench.report.compare import compare
from bench.report.runs import load_runs, plain
from bench.report.summary import case_names, summarise
from bench.report.text import best_systems

from .conftest import CASES, write_case, write_run


@pytest.fixture(scope="module")
def data(finished):
    return summarise(finished)


def values_of(out, metric):
    runs = load_runs(out)
    return next(column for column in columns(runs, case_names(runs)) if column.name == metric)


class TestRows:
    def test_truth_comes_first_then_systems_then_baselines(self, data):
        assert list(data["systems"]) == ["truth", "mien:mini", "worse", "still", "warp", "copy"]

    def test_means_are_over_cases(self, data):
        found = data["table"]["mien:mini"]["mouth_corr"]
        expected = np.mean([0.9 - 0.1 * (i % 2) - 0.01 * i for i in range(8)])
        assert found["mean"] == pytest.approx(expected, rel=1e-5) and found["n"] == 8
        assert found["low"] < expected < found["high"]

    def test_time_is_a_frame_s(self, data):
        assert data["systems"]["mien:mini"]["seconds_a_frame"]["mean"] == pytest.approx(0.2)
        assert data["systems"]["truth"]["seconds_a_frame"] is None

    def test_set_metrics_are_of_all_clips(self, data):
        truth, mini = (data["table"][name]["frechet_dlib"] for name in ("truth", "mien:mini"))
        assert truth["mean"] < mini["mean"] and mini["n"] == 8 and mini["low"] < mini["mean"] < mini["high"]
        assert data["metrics"]["frechet_dlib"]["of_sets"] and not data["metrics"]["frechet_dlib"]["not_computed"]

    def test_the_same_folder_gives_the_same_report(self, finished, data):
        assert summarise(finished) == data


class TestFailures:
    def test_are_counted_apart(self, data):
        facts = data["systems"]["worse"]
        assert (facts["ok"], facts["failed"], facts["frames"], facts["lost"]) == (7, 1, 56, 7)

    def test_count_with_the_worst_value_of_any_case(self, finished):
        column = values_of(finished, "identity")
        assert column.charged["worse"] == {CASES[2], CASES[3]}
        measured = [v for row in column.values for c, v in column.values[row].items() if c not in column.charged[row]]
        assert column.values["worse"][CASES[2]] == column.values["worse"][CASES[3]] == min(measured)
        assert len(column.values["worse"]) == len(CASES)

    def test_never_make_a_mean_better(self, tmp_path):
        for name, good in (("one", 0.9), ("other", 0.5)):
            folder = write_run(tmp_path, name)
            for case in CASES[:3]:
                write_case(folder, case, {"identity": good})
        before = values_of(tmp_path, "identity").values["one"]
        write_case(tmp_path / "one", CASES[0], {}, status="failed", error="crashed")
        after = values_of(tmp_path, "identity").values["one"]
        assert sum(after.values()) < sum(before.values()) and len(after) == len(before)

    def test_are_not_lent_the_good_value_of_another_system(self, tmp_path):
        for name, values in (("fails", (0.9, None)), ("other", (0.6, 1.0))):
            folder = write_run(tmp_path, name)
            for case, value in zip(CASES, values, strict=False):
                told = {"status": "failed", "error": "crashed"} if value is None else {}
                write_case(folder, case, {} if value is None else {"identity": value}, **told)
        assert values_of(tmp_path, "identity").values["fails"][CASES[1]] == 0.6

    def test_count_with_the_metrics_own_value_for_failures(self, tmp_path):
        for name in ("one", "other"):
            write_case(write_run(tmp_path, name), CASES[0], {"face_count": 1.0})
        write_case(tmp_path / "one", CASES[0], {}, status="failed", error="no picture")
        assert values_of(tmp_path, "face_count").values["one"] == {CASES[0]: 0.0}

    def test_do_not_make_up_for_errors_on_the_other_side(self, tmp_path):
        for name, value in (("sharp", 1.5), ("crashes", 1.5), ("blurred", 0.0)):
            write_run(tmp_path, name)
            for i, case in enumerate(CASES[:4]):
                failed = name == "crashes" and i == 3
                facts = {"status": "failed", "error": "crashed"} if failed else {}
                write_case(tmp_path / name, case, {"flicker": None if failed else value}, **facts)
        table = summarise(tmp_path)["table"]
        assert table["crashes"]["flicker"]["mean"] > table["sharp"]["flicker"]["mean"] == 1.5

    def test_are_told_beside_figures_of_all_clips_and_never_the_best(self, finished):
        data = summarise(finished)
        table = data["table"]
        assert table["worse"]["frechet_dlib"]["charged"] == 1 and table["mien:mini"]["frechet_dlib"]["charged"] == 0
        table["worse"]["frechet_dlib"]["mean"] = 0.0
        assert "worse" not in best_systems(data, table, "frechet_dlib")

    def test_of_everybody_count_for_nobody(self, tmp_path):
        write_case(write_run(tmp_path, "one"), CASES[0], {}, status="failed", error="crashed")
        assert summarise(tmp_path)["table"]["one"]["identity"] is None

    def test_a_case_that_nobody_can_be_measured_on_is_told(self, data):
        assert data["table"]["worse"]["eye_corr"]["n"] == 7
        assert any(note.startswith("eye_corr: 1 of 8 cases count for no system") for note in data["notes"])


class TestNearToOne:
    @pytest.fixture
    def both(self, tmp_path):
        """`swings` is 0.9 away on either side and right on average; `steady` is 0.2 away."""
        for name, values in (("swings", (0.1, 1.9)), ("steady", (1.2, 1.2))):
            folder = write_run(tmp_path, name)
            for i, case in enumerate(CASES):
                write_case(folder, case, {"flicker": values[i % 2]})
        return summarise(tmp_path)

    def test_rows_rank_by_their_cases_and_show_their_mean(self, both):
        table = both["table"]
        assert table["swings"]["flicker"]["mean"] == pytest.approx(1.0)
        assert table["swings"]["flicker"]["badness"] == pytest.approx(0.9)
        assert best_systems(both, table, "flicker") == {"steady"}

    def test_comparing_two_says_the_same(self, both):
        alone = both | {"metrics": {"flicker": both["metrics"]["flicker"]}}
        assert compare(alone, alone, "swings", "steady")["metrics"]["flicker"]["verdict"] == "b"

    def test_reports_of_older_versions_rank_by_their_means(self, both):
        for row in both["table"].values():
            del row["flicker"]["badness"]
        assert best_systems(both, both["table"], "flicker") == {"swings"}

    def test_other_metrics_hold_their_mean_alone(self, data):
        assert "badness" not in data["table"]["mien:mini"]["identity"]


class TestSets:
    @pytest.mark.parametrize(("metric", "shift"), [("frechet_dlib", 0.3), ("kid", 0.0)])
    def test_an_interval_of_a_distance_ends_at_zero_or_at_the_figure(self, tmp_path, metric, shift):
        rng = np.random.default_rng(0)
        suite = {"name": "s", "metrics": [metric], "cases": list(CASES)}
        folder = write_run(tmp_path, "one", suite=suite)
        (folder / "features").mkdir()
        for case in CASES[:4]:
            write_case(folder, case, {})
            made = {"output": rng.normal(size=(3, 2)) + shift * rng.normal(), "truth": rng.normal(size=(3, 2))}
            np.savez(folder / "features" / f"{case}.npz", **{f"{metric}.{key}": value for key, value in made.items()})
        found = summarise(tmp_path)["table"]["one"][metric]
        assert found["low"] == min(0.0, found["mean"]) and found["high"] > max(found["mean"], 0)


class TestNotComputed:
    def test_says_what_is_needed(self, data):
        assert data["table"]["mien:mini"]["lpips"] is None
        assert data["metrics"]["lpips"]["not_computed"][0].startswith("needs ")

    def test_missing_weights_are_no_failure(self, tmp_path):
        for name, value in (("with", 0.3), ("without", None)):
            write_case(write_run(tmp_path, name), CASES[0], {"lpips": value})
        column = values_of(tmp_path, "lpips")
        assert column.values == {"with": {CASES[0]: 0.3}, "without": {}} and not any(column.charged.values())

    def test_left_out_is_no_failure(self, tmp_path):
        write_case(write_run(tmp_path, "one"), CASES[0], {"identity": 0.3})
        write_case(write_run(tmp_path, "truth", "truth"), CASES[0], {}, status="left out")
        found = summarise(tmp_path)
        assert found["table"]["truth"]["identity"] is None
        assert found["systems"]["truth"]["left_out"] == 1 and found["systems"]["truth"]["failed"] == 0

    def test_a_metric_of_another_version_stands_without_a_direction(self, tmp_path):
        write_case(write_run(tmp_path, "one"), CASES[0], {"novelty": 2.5})
        found = summarise(tmp_path)
        assert found["metrics"]["novelty"]["direction"] is None and found["table"]["one"]["novelty"]["mean"] == 2.5


class TestDamage:
    def test_a_damaged_record_is_a_failure_that_names_it(self, tmp_path):
        folder = write_run(tmp_path, "one")
        write_case(folder, CASES[0], {"identity": 0.5})
        (folder / "cases" / f"{CASES[1]}.json").write_text("{")
        found = summarise(tmp_path)
        record = next(case for case in found["cases"] if case["case"] == CASES[1])["systems"]["one"]
        assert record["status"] == "failed" and CASES[1] in record["error"]
        assert found["systems"]["one"]["not_run"] == len(CASES) - 2

    def test_features_that_are_no_file_of_numpy_are_left_out(self, tmp_path):
        folder = write_run(tmp_path, "one")
        write_case(folder, CASES[0], {})
        (folder / "features").mkdir()
        (folder / "features" / f"{CASES[0]}.npz").write_bytes(b"PK no zip")
        assert summarise(tmp_path)["table"]["one"]["frechet_dlib"] is None

    def test_values_that_are_no_numbers_are_none(self, tmp_path):
        write_case(write_run(tmp_path, "one"), CASES[0], {"identity": math.nan, "flicker": math.inf})
        found = summarise(tmp_path)
        json.dumps(found, allow_nan=False)
        assert found["table"]["one"]["identity"] is None and found["table"]["one"]["flicker"] is None

    def test_no_run_is_one_sentence(self, tmp_path):
        with pytest.raises(MediaError, match="no run"):
            summarise(tmp_path)

    def test_two_suites_in_one_folder_are_refused(self, tmp_path):
        write_run(tmp_path, "one")
        write_run(tmp_path, "two", suite={"name": "talk"})
        with pytest.raises(MediaError, match="several suites"):
            summarise(tmp_path)

    def test_a_damaged_run_is_named(self, tmp_path):
        (tmp_path / "one").mkdir()
        (tmp_path / "one" / "run.json").write_text("[]")
        with pytest.raises(MediaError, match="run.json is damaged"):
            summarise(tmp_path)


def test_other_machines_versions_and_inputs_are_told(tmp_path):
    write_case(write_run(tmp_path, "one"), CASES[0], {})
    write_case(write_run(tmp_path, "two", machine={"cpu": "x"}, versions={"mien": "9"}), CASES[0], {}, inputs="other")
    said = " ".join(summarise(tmp_path)["notes"])
    assert "another machine" in said and "other versions" in said and "not given the same files" in said


def test_parts_of_a_suite_are_reported_apart(tmp_path):
    folder = write_run(tmp_path, "one")
    for i, case in enumerate(CASES[:4]):
        write_case(
            folder, case, {"identity": float(i % 2)}, groups={"part": ("self", "cross")[i % 2], "style": "human"}
        )
    found = summarise(tmp_path)
    assert {name: part["table"]["one"]["identity"]["mean"] for name, part in found["parts"].items()} == {
        "self": 0.0,
        "cross": 1.0,
    }
    assert "part" not in found["fairness"]


def test_no_path_of_the_machine_stays_in_a_report():
    data = plain({"a": "/home/me/data/x.mp4 is odd", "b": ["https://x.org/a/b", "~/.cache/mien/smirk", "frames/s"]})
    assert data == {"a": "x.mp4 is odd", "b": ["https://x.org/a/b", "~/.cache/mien/smirk", "frames/s"]}
