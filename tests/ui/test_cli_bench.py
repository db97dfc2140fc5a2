"""`mien bench list | prepare | run | report | compare` at the terminal, on a portrait and a clip of ten frames."""

import json
import shutil
import sys

import pytest

MOVE = "import shutil, sys; shutil.copy(sys.argv[1], sys.argv[2])"


@pytest.fixture(scope="module")
def media(files, tmp_path_factory):
    """A folder of one portrait and two clips with a face."""
    folder = tmp_path_factory.mktemp("media")
    shutil.copy(files / "portrait.png", folder / "portrait.png")
    shutil.copy(files / "clip.mp4", folder / "clip.mp4")
    return folder


@pytest.fixture(scope="module")
def suite(media, tmp_path_factory):
    from ui.cli import main

    out = tmp_path_factory.mktemp("suite")
    words = ["bench", "prepare", media, "--protocol", "reenact-self", "-o", out, "--set", "max_frames=4", "-q"]
    assert main([str(word) for word in words]) == 0
    return out / "suite.yaml"


def test_prepare_tells_what_it_made(media, tmp_path, mien):
    code, out, err = mien("bench", "prepare", media, "--protocol", "reenact-self", "-o", tmp_path, "--json")
    told = json.loads(out)
    assert code == 0 and told["file"] == str(tmp_path / "suite.yaml") and told["cases"] == 1 and "bench run" in err


@pytest.fixture(scope="module")
def done(suite, tmp_path_factory):
    """Folder of a finished run of a system that copies the driver, and of one that crashes."""
    from ui.cli import main

    out = tmp_path_factory.mktemp("run")
    copies = f"{sys.executable} -c '{MOVE}' {{driver}} {{output}}"
    words = ["bench", "run", suite, "--system", f"command:{copies}", "--output", out, "--clips", "1", "-q"]
    assert main([str(word) for word in words]) == 0
    return out


@pytest.fixture(scope="module")
def inputs(suite, tmp_path_factory):
    """Folder that `mien bench inputs` wrote."""
    from ui.cli import main

    folder = tmp_path_factory.mktemp("inputs")
    assert main(["bench", "inputs", str(suite), "-o", str(folder), "-q"]) == 0
    return folder


class TestList:
    def test_json_has_suites_and_metrics_with_source_and_what_is_missing(self, mien):
        code, out, _ = mien("bench", "list", "--json")
        data = json.loads(out)
        assert code == 0 and {"reenact-self", "reenact-cross", "talk"} <= {suite["name"] for suite in data["suites"]}
        metrics = {metric["name"]: metric for metric in data["metrics"]}
        assert metrics["identity"]["direction"] == "higher" and metrics["identity"]["source"]
        assert all(metric["missing"] is None or "needs" in metric["missing"] for metric in metrics.values())

    def test_text_names_the_licence_of_what_a_metric_needs(self, mien):
        code, out, _ = mien("bench", "list")
        assert code == 0 and "dlib-bin (BSL-1.0)" in out and "\nreenact-cross" in out


class TestInputs:
    def test_every_case_has_its_files(self, suite, tmp_path, mien):
        code, out, err = mien("bench", "inputs", suite, "-o", tmp_path / "inputs", "--json")
        told = json.loads(out)
        assert code == 0 and "inputs.json" in err
        ((case, facts),) = told["cases"].items()
        assert all((tmp_path / "inputs" / facts[kind]).is_file() for kind in ("portrait", "driver"))
        assert (tmp_path / "inputs" / case).is_dir()

    def test_finished_videos_come_back_as_a_system(self, suite, inputs, tmp_path, mien):
        theirs = tmp_path / "theirs"
        theirs.mkdir()
        for case in json.loads((inputs / "inputs.json").read_text())["cases"]:
            shutil.copy(inputs / case / "driver.mp4", theirs / f"{case}.mp4")
        words = ("bench", "run", suite, "--system", f"theirs=folder:{theirs}", "--output", tmp_path / "out")
        code, out, err = mien(*words, "--clips", 0, "--json")
        figures = json.loads(out)
        assert code == 0 and "ground truth" in err, err
        assert figures["table"]["theirs"]["l1"]["mean"] < 0.2 * figures["table"]["still"]["l1"]["mean"]


class TestRun:
    def test_leaves_all_reports(self, done):
        assert all((done / f"report.{kind}").stat().st_size > 500 for kind in ("html", "md", "json", "csv"))
        data = json.loads((done / "report.json").read_text())
        roles = {facts["role"] for facts in data["systems"].values()}
        assert roles == {"truth", "system", "baseline"} and list(data["systems"])[0] == "truth"
        assert '<video src="data:video/mp4' in (done / "report.html").read_text()

    def test_a_perfect_copy_is_better_than_the_still_portrait(self, done):
        table = json.loads((done / "report.json").read_text())["table"]
        (name,) = set(table) - {"truth", "still", "warp", "copy"}
        assert table[name]["l1"]["mean"] < table["still"]["l1"]["mean"]

    def test_the_same_command_again_runs_nothing_anew(self, suite, done, mien):
        before = (done / "still" / "cases").stat().st_mtime_ns
        name = json.loads((done / "report.json").read_text())["systems"]
        spec = next(facts["spec"] for facts in name.values() if facts["role"] == "system")
        code, out, err = mien("bench", "run", suite, "--system", spec, "--output", done, "--clips", 0)
        assert code == 0 and "report.html" in err and "ground truth" in out
        assert (done / "still" / "cases").stat().st_mtime_ns == before

    def test_a_system_that_always_fails_is_told_and_exits_with_one(self, suite, tmp_path, mien):
        command = f"command:{sys.executable} -c 'raise SystemExit(3)' {{driver}} {{output}}"
        code, _, err = mien("bench", "run", suite, "--system", command, "--output", tmp_path / "out", "--clips", 0)
        assert code == 1 and "failed" in err and "Not one case could be measured" in err
        assert "## Failures" in (tmp_path / "out" / "report.md").read_text()

    def test_a_system_of_an_earlier_command_does_not_decide_the_exit_code(self, suite, tmp_path, mien):
        words = ("bench", "run", suite, "--output", tmp_path / "out", "--clips", 0)
        fails = f"fails=command:{sys.executable} -c 'raise SystemExit(3)' {{output}}"
        assert mien(*words, "--system", fails)[0] == 1
        assert mien(*words)[0] == 0

    def test_failed_cases_that_are_not_tried_again_are_told(self, suite, tmp_path, mien):
        fails = f"fails=command:{sys.executable} -c 'raise SystemExit(3)' {{output}}"
        words = ("bench", "run", suite, "--output", tmp_path / "out", "--clips", 0, "--system", fails)
        assert "--retry" not in mien(*words)[2]
        assert "--retry" in mien(*words)[2]

    @pytest.fixture
    def poor(self, suite, media, tmp_path):
        """The suite with its media in a folder that may be spoilt."""
        shutil.copytree(media, tmp_path / "media")
        text = suite.read_text().splitlines()
        (tmp_path / "suite.yaml").write_text("\n".join("data: media" if t.startswith("data:") else t for t in text))
        return tmp_path

    def test_a_case_that_nobody_can_run_is_told_with_its_reason_and_exits_with_one(self, poor, mien):
        (poor / "media" / "clip.mp4").unlink()
        code, _, err = mien("bench", "run", poor / "suite.yaml", "--output", poor / "out", "--clips", 0)
        assert code == 1 and err.count("left out: clip.mp4 is missing.") == 1 and "Not one case" in err
        assert "left out: clip.mp4 is missing." in (poor / "out" / "report.md").read_text()

    def test_a_medium_with_another_content_is_told_once(self, poor, mien):
        with (poor / "media" / "clip.mp4").open("ab") as file:
            file.write(b"\0")
        code, _, err = mien("bench", "run", poor / "suite.yaml", "--output", poor / "out", "--clips", 0)
        assert code == 0 and err.count("clip.mp4 is not the file that the suite was made with") == 1

    def test_the_cache_suite_runs_no_system(self, tmp_path, mien):
        facts = {key: {} for key in ("versions", "machine", "settings")}
        point = {"scheduler": "ddim", "method": "none"}
        (tmp_path / "cache.json").write_text(
            json.dumps({"benchmark": "cache", "points": [point], "notes": [], **facts})
        )
        code, _, err = mien(
            "bench", "run", "cache", "--data", tmp_path, "--system", "mien:mini", "-o", tmp_path / "out"
        )
        assert code == 2 and "leave --system out" in err

    def test_half_a_record_of_the_cache_is_one_sentence(self, tmp_path, mien):
        (tmp_path / "cache.json").write_text('{"benchmark": "cache"}')
        code, _, err = mien("bench", "run", "cache", "--data", tmp_path, "-o", tmp_path / "out")
        assert code == 2 and "no record of the cache benchmark" in err

    def test_a_setting_that_is_no_number_is_one_sentence(self, suite, tmp_path, mien):
        code, _, err = mien("bench", "run", suite, "--set", "max_frames=--5", "-o", tmp_path / "out")
        assert code == 2 and "max_frames" in err and err.count("\n") == 1

    def test_a_suite_that_is_not_there_is_one_sentence(self, tmp_path, mien):
        code, _, err = mien("bench", "run", "nonsense", "--system", "mien:mini", "--data", tmp_path)
        assert code == 2 and err.count("\n") == 1 and "reenact-cross" in err

    def test_a_setting_needs_a_value(self, suite, mien):
        code, _, err = mien("bench", "run", suite, "--system", "mien:mini", "--set", "max_frames")
        assert code == 2 and "KEY=VALUE" in err


class TestReport:
    def test_is_made_anew_elsewhere(self, done, tmp_path, mien):
        code, out, _ = mien("bench", "report", done, "-o", tmp_path, "--clips", 0)
        assert code == 0 and "ground truth" in out
        assert (tmp_path / "report.json").read_bytes() == (done / "report.json").read_bytes()

    def test_json_is_what_the_file_holds(self, done, tmp_path, mien):
        code, out, err = mien("bench", "report", done, "-o", tmp_path, "--clips", 0, "--json", "-q")
        assert code == 0 and err == "" and out == (tmp_path / "report.json").read_text()

    def test_without_a_run_is_one_sentence(self, tmp_path, mien):
        code, _, err = mien("bench", "report", tmp_path)
        assert code == 2 and "no run" in err and err.count("\n") == 1


class TestCompare:
    def test_says_how_many_cases_and_which_is_better(self, done, mien):
        report = done / "report.json"
        code, out, _ = mien("bench", "compare", report, report, "--a", "still", "--b", "copy")
        assert code == 0 and "A = still, B = copy: 1 cases of reenact-self." in out and "too few cases" in out

    def test_json(self, done, mien):
        code, out, _ = mien("bench", "compare", done, done, "--a", "still", "--b", "copy", "--json")
        assert code == 0 and json.loads(out)["cases"]["same"] == 1

    def test_an_unknown_system_is_one_sentence(self, done, mien):
        code, _, err = mien("bench", "compare", done, done, "--a", "nobody")
        assert code == 2 and "no system nobody" in err

    def test_baselines_alone_are_told_apart_from_systems(self, suite, tmp_path, mien):
        assert mien("bench", "run", suite, "--output", tmp_path, "--clips", 0)[0] == 0
        code, _, err = mien("bench", "compare", tmp_path, tmp_path)
        assert code == 2 and "baselines only (truth, still, warp, copy)" in err

    def test_other_settings_are_told_apart_from_other_cases(self, suite, done, tmp_path, mien):
        mien("bench", "run", suite, "--set", "max_frames=3", "--output", tmp_path, "--clips", 0)
        code, _, err = mien("bench", "compare", done, tmp_path, "--a", "still", "--b", "still")
        assert code == 2 and "has other media or settings (cases: 1)" in err

    def test_half_a_report_is_one_sentence(self, tmp_path, mien):
        (tmp_path / "x.json").write_text('{"benchmark": "suite", "schema": 1}')
        code, _, err = mien("bench", "compare", tmp_path / "x.json", tmp_path / "x.json")
        assert code == 2 and "damaged" in err and err.count("\n") == 1


def test_help_names_every_setting_and_every_placeholder(mien):
    from bench.suites.checks import SETTINGS
    from bench.systems.files import PLACEHOLDERS

    told = " ".join(mien("bench", "run", "--help")[1].split())
    assert [key for key in SETTINGS if key not in told] == []
    assert [key for key in PLACEHOLDERS if f"{{{key}}}" not in told] == []


def test_a_run_whose_facts_make_no_sense_is_one_sentence(done, tmp_path, mien):
    shutil.copytree(done, tmp_path / "run")
    file = tmp_path / "run" / "still" / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"role": "judge"}))
    code, _, err = mien("bench", "report", tmp_path / "run")
    assert code == 2 and "damaged" in err and err.count("\n") == 1
