"""A folder of runs holds one suite and one system under each name; what cannot be kept is not booked as a failure."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from animate.errors import MediaError, OptionError
from bench.report.summary import summarise
from bench.runner.case import Workshop
from bench.runner.claim import SUITE_FILE, check_disk, sweep
from bench.runner.distributed import Job, run_processes
from bench.runner.run import run_suite
from bench.suites.manifest import Suite

COPY = "import shutil; shutil.copy(ARGV[1], ARGV[2])"


def still(suite, out, **options):
    return run_suite(suite, ["still"], out, baselines=False, **options)


@pytest.fixture
def full():
    """An error of a disk that is full, as the system itself raises it."""
    with pytest.raises(OSError) as told, Path("/dev/full").open("wb", buffering=0) as file:
        file.write(b"\0")
    return told.value


class TestClaim:
    def test_another_suite_is_refused_before_anything_is_written(self, self_suite, tmp_path):
        still(self_suite, tmp_path)
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
        with pytest.raises(OptionError, match="runs of the suite reenact-self, not of mine"):
            still(replace(self_suite, name="mine"), tmp_path)
        assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}

    def test_another_system_of_the_same_name_is_refused(self, self_suite, tmp_path, program):
        run_suite(self_suite, ["mine=" + program(COPY)], tmp_path, baselines=False)
        with pytest.raises(OptionError, match="holds mine as command:"):
            run_suite(self_suite, ["mine=" + program(COPY)], tmp_path, baselines=False)

    def test_a_suite_file_that_lies_in_the_folder_stays(self, self_suite, tmp_path):
        file = self_suite.save(tmp_path / "suite.yaml")
        file.write_text(f"# mine\n{file.read_text()}")
        before = file.read_bytes()
        still(Suite.load(file), tmp_path, limit=1)
        assert file.read_bytes() == before and len(Suite.load(tmp_path / SUITE_FILE).cases) == 1


class TestNewest:
    def test_the_first_cases_alone_do_not_hide_the_others(self, self_suite, tmp_path):
        still(self_suite, tmp_path)
        run_suite(self_suite, ["copy"], tmp_path, baselines=False, limit=1)
        told = summarise(tmp_path)
        assert told["suite"]["cases"] == 2 and told["systems"]["copy"]["not_run"] == 1

    def test_cases_of_other_media_are_not_counted(self, self_suite, tmp_path):
        for case in self_suite.cases:
            still(replace(self_suite, cases=(case,)), tmp_path)
        told = summarise(tmp_path)
        assert [case["case"] for case in told["cases"]] == [self_suite.cases[1].id]
        assert any("1 records of other cases" in note for note in told["notes"])

    def test_records_of_other_settings_are_not_counted(self, self_suite, tmp_path):
        still(self_suite, tmp_path)
        still(self_suite, tmp_path, limit=1, settings={"max_frames": 4})
        told = summarise(tmp_path)
        assert told["systems"]["still"]["ok"] == 1 and told["systems"]["still"]["frames"] == 3

    def test_another_system_of_other_settings_is_not_compared(self, self_suite, tmp_path):
        run_suite(self_suite, ["copy"], tmp_path, baselines=False)
        still(self_suite, tmp_path, settings={"max_frames": 4})
        told = summarise(tmp_path)
        assert told["systems"]["still"]["ok"] == 2 and told["systems"]["copy"]["ok"] == 0


class TestUnforeseen:
    def test_a_damaged_track_is_made_anew(self, self_suite, tmp_path):
        still(self_suite, tmp_path, limit=1)
        (kept,) = (tmp_path / "tracks").glob("*.npz")
        content = bytearray(kept.read_bytes())
        content[200:-200] = bytes(len(content) - 400)
        kept.write_bytes(content)
        assert still(self_suite, tmp_path, limit=1, settings={"stride_faces": 2})["ok"] == 1
        assert kept.read_bytes() != content

    def test_a_case_that_cannot_be_made_ready_is_left_out_and_no_system_is_charged(self, self_suite, tmp_path):
        class Broken(Workshop):
            def __init__(self, *arguments):
                super().__init__(*arguments)
                self.stage.scene = lambda case: {}[case.id]

        task = one_task(self_suite, tmp_path)
        record = Broken(self_suite, tmp_path).run(task)
        assert record["status"] == "left out" and "cannot be made ready: KeyError" in record["error"]


class TestDisk:
    def test_a_full_disk_is_told_and_not_booked_as_a_failure(self, self_suite, tmp_path, full):
        class Full(Workshop):
            def _produce(self, *_):
                raise MediaError("out.mp4 cannot be written.") from full

        with pytest.raises(MediaError, match="is full or cannot be written to"):
            Full(self_suite, tmp_path).run(one_task(self_suite, tmp_path))
        assert not list(tmp_path.glob("still/cases/*"))

    def test_other_errors_pass(self, tmp_path):
        check_disk(tmp_path, ValueError("no frames"))

    def test_a_folder_that_cannot_be_written_ends_a_run_of_processes_in_a_sentence(self, self_suite, tmp_path):
        task = one_task(self_suite, tmp_path)
        (tmp_path / "still" / "videos").write_text("in the way")
        with pytest.raises(MediaError):
            list(run_processes(Job(self_suite, tmp_path / "still" / "videos"), [task], 2))


class TestSweep:
    def test_what_a_killed_process_was_at_goes_and_the_work_of_a_living_one_stays(self, tmp_path):
        code = (
            "import pathlib, sys, time; from bench.runner.claim import work_prefix\n"
            f"pathlib.Path({str(tmp_path)!r}, 'mine', work_prefix() + 'x').mkdir(parents=True); print(1, flush=True)\n"
            "time.sleep(60)"
        )
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            sweep(tmp_path)
            assert list((tmp_path / "mine").iterdir())
            process.kill()
        sweep(tmp_path)
        assert not list((tmp_path / "mine").iterdir())


def one_task(suite, out):
    """The task of the first case for the still portrait, which nothing was done for."""
    from bench.runner.record import Task, input_key, made_key, measured_key
    from bench.systems.system import parse_system

    (out / "still").mkdir()
    case = suite.cases[0]
    made = made_key(input_key(suite, case), "still", "still")
    return Task(case.id, parse_system("still"), input_key(suite, case), made, measured_key(made, suite))
