"""Two systems on the same cases."""

import copy
import json
from pathlib import Path

import pytest

from animate.errors import MediaError, OptionError
from bench.report.compare import choose_system, compare, format_comparison, read_report
from bench.report.summary import summarise
from bench.tables import write_json

from .conftest import CASES

RESULTS = Path(__file__).resolve().parents[3] / "bench" / "results" / "suites"
SYSTEMS = ("worse", "mien:mini")


@pytest.fixture(scope="module")
def report(finished):
    return summarise(finished)


@pytest.fixture(scope="module")
def alone(report):
    """The same with one metric, so that none is corrected for others."""
    return report | {"metrics": {"face_l1": report["metrics"]["face_l1"]}}


def test_a_small_steady_gain_is_found(alone):
    found = compare(alone, alone, "worse", "mien:mini")
    told = found["metrics"]["face_l1"]
    assert found["cases"] | {"same": 8, "failed_a": 1, "failed_b": 0} == found["cases"]
    assert told["n"] == 8 and told["wins"] == 8 and told["verdict"] == "b"
    values = {name: [case["systems"][name]["values"].get("face_l1") for case in alone["cases"]] for name in SYSTEMS}
    worst = max(value for each in values.values() for value in each if value is not None)
    gains = [(worst if a is None else a) - b for a, b in zip(values["worse"], values["mien:mini"], strict=True)]
    assert told["gain"] == pytest.approx(sum(gains) / 8) and told["low"] > 0
    assert (told["charged_a"], told["charged_b"]) == (1, 0)
    assert told["p"] == pytest.approx(2 / 2**8) == told["p_holm"]


def test_an_output_that_shows_nothing_is_charged_and_told(report):
    found = compare(report, report, "worse", "mien:mini")
    told = found["metrics"]["identity"]
    assert told["n"] == 8 and (told["charged_a"], told["charged_b"]) == (2, 0)
    assert told["a"] == pytest.approx(0.55) and "identity 2 and 0" in format_comparison(found)


def test_a_mean_that_one_case_turns_is_no_verdict(alone):
    odd = copy.deepcopy(alone)
    for i, case in enumerate(odd["cases"]):
        case["systems"] = {name: {"status": "ok", "values": {"face_l1": 0.5}, "not_computed": {}} for name in SYSTEMS}
        case["systems"]["mien:mini"]["values"]["face_l1"] = 0.49 - 0.001 * i if i else 0.9
    odd["cases"] = odd["cases"] + [case | {"case": f"{case['case']}-2"} for case in odd["cases"][1:]]
    told = compare(odd, odd, "worse", "mien:mini")["metrics"]["face_l1"]
    assert told["p_holm"] < 0.05 and told["gain"] < 0 < told["ranks"] and told["verdict"] == "mixed"


def test_several_metrics_cost_evidence(report):
    metrics = compare(report, report, "worse", "mien:mini")["metrics"]
    assert metrics["face_l1"]["p_holm"] > 2 * metrics["face_l1"]["p"]


def test_exchanged_the_gain_turns(alone):
    one = compare(alone, alone, "worse", "mien:mini")["metrics"]["face_l1"]
    other = compare(alone, alone, "mien:mini", "worse")["metrics"]["face_l1"]
    assert one["gain"] == -other["gain"] and (one["verdict"], other["verdict"]) == ("b", "a")


def test_a_system_equals_itself(report):
    found = compare(report, report, "mien:mini", "mien:mini")
    assert {told["verdict"] for told in found["metrics"].values()} == {"none"}


def test_nearer_to_one_is_a_gain(report):
    told = compare(report, report, "warp", "still")["metrics"]["flicker"]  # 1.2 against 1.1
    assert told["gain"] == pytest.approx(0.1) and told["wins"] == 8


def test_only_cases_of_the_same_files_count(report):
    other = copy.deepcopy(report)
    other["cases"][0]["systems"]["mien:mini"]["inputs"] = "changed"
    del other["cases"][1]["systems"]["mien:mini"]
    found = compare(report, other, "mien:mini", "mien:mini")
    assert found["cases"] | {"same": 6, "only_a": 1, "only_b": 0, "other_inputs": 1} == found["cases"]
    assert "1 cases whose input files differ" in format_comparison(found)


def test_set_metrics_stand_without_a_test(report):
    found = compare(report, report, "worse", "mien:mini")
    assert "frechet_dlib" not in found["metrics"] and found["sets"]["frechet_dlib"]["a"] > 0
    assert "one number for all clips, not tested" in format_comparison(found)


def test_few_cases_say_that_nothing_can_be_shown(report):
    few = copy.deepcopy(report)
    few["cases"] = few["cases"][:4]
    text = format_comparison(compare(few, few, "worse", "mien:mini"))
    assert "fewer than 6 cases" in text and "no difference shown" in text


class TestReading:
    def test_a_folder_or_a_file(self, report, tmp_path):
        write_json(tmp_path / "report.json", report)
        assert read_report(tmp_path) == read_report(tmp_path / "report.json") == report

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [("{", "damaged"), ('{"benchmark": "talk"}', "no report of a suite"), ("[]", "no report")],
    )
    def test_other_files_are_refused(self, tmp_path, content, sentence):
        (tmp_path / "a.json").write_text(content)
        with pytest.raises(MediaError, match=sentence):
            read_report(tmp_path / "a.json")

    def test_another_version_is_refused(self, report, tmp_path):
        (tmp_path / "a.json").write_text(json.dumps(report | {"schema": 99}))
        with pytest.raises(MediaError, match="version 99"):
            read_report(tmp_path / "a.json")

    @pytest.mark.parametrize(
        "change",
        [
            {"schema": "1"},
            {"schema": True},
            {"schema": None},
            {"table": {}},
            {"table": {"worse": []}},
            {"metrics": {"identity": 1}},
            {"systems": {"worse": "system"}},
            {"cases": [{"case": "a", "systems": {"worse": {"status": "ok", "values": {"identity": "0.5"}}}}]},
            {"cases": [{"case": "a", "systems": {"worse": {"status": "ok", "values": []}}}]},
            {"cases": ["a"]},
        ],
    )
    def test_parts_of_the_wrong_kind_are_damage(self, report, tmp_path, change):
        (tmp_path / "a.json").write_text(json.dumps(report | change))
        with pytest.raises(MediaError, match="is damaged: make it again"):
            read_report(tmp_path / "a.json")

    @pytest.mark.parametrize("file", sorted(RESULTS.glob("*.json")), ids=lambda file: file.stem)
    def test_the_reports_of_the_repository_can_be_read(self, file):
        read = read_report(file)
        metrics = compare(read, read, "mien:mini", "warp")["metrics"]
        assert metrics and all(told["n"] for told in metrics.values())

    def test_an_absent_file(self, tmp_path):
        with pytest.raises(MediaError, match="no report"):
            read_report(tmp_path / "a.json")


def test_the_system_is_chosen_where_there_is_one(report):
    one = {"systems": {"mien:mini": {"role": "system"}, "still": {"role": "baseline"}}}
    assert choose_system(one, None, "a.json", "--a") == "mien:mini"
    assert choose_system(one, "still", "a.json", "--a") == "still"
    with pytest.raises(OptionError, match="--a NAME"):
        choose_system(report, None, "a.json", "--a")
    with pytest.raises(OptionError, match="no system other"):
        choose_system(one, "other", "a.json", "--a")


def test_cases_are_those_of_the_suite(report):
    assert [case["case"] for case in report["cases"]] == list(CASES)
