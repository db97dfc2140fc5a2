"""Programs under test: what is told and what is kept of what they print, and how they end."""

import json
import sys
import time

import pytest

from bench.runner.run import run_suite
from bench.systems.process import KEPT, Printed, ending, plain, run_program
from bench.systems.system import Failed


@pytest.fixture
def failure():
    """Function: what is said of Python code that fails, and all that it printed."""

    def run(code: str, timeout: float | None = None) -> tuple[str, str]:
        printed = Printed()
        with pytest.raises(Failed) as caught:
            run_program([sys.executable, "-c", f"import os, sys, time\n{code}"], printed, timeout)
        return str(caught.value), printed.text

    return run


class TestComplaint:
    def test_an_advice_to_ask_for_help_is_not_it(self, failure):
        code = "sys.exit('prog: no such option -z\\nTry \\'prog --help\\' for more information.\\n\\n')"
        assert failure(code)[0] == "The command ended with status 1: prog: no such option -z"

    def test_a_frame_round_it_is_not_it(self, failure):
        code = "sys.stderr.buffer.write('╭─ Error ───╮\\n│ No model. │\\n╰───────────╯\\n'.encode()); sys.exit(2)"
        assert failure(code)[0] == "The command ended with status 2: No model."

    def test_stderr_goes_before_what_is_printed_last(self, failure):
        said, text = failure("print('step 1'); sys.stderr.write('out of cheese\\n'); sys.exit(1)")
        assert said.endswith("status 1: out of cheese") and text == "stdout:\nstep 1\n\nstderr:\nout of cheese\n"

    def test_what_a_silent_stderr_does_not_say_is_taken_from_stdout(self, failure):
        assert failure("print('out of cheese'); sys.exit(1)")[0].endswith("status 1: out of cheese")

    def test_control_characters_never_reach_the_terminal(self, failure):
        raw = "\\x1b[1;31mout\\x1b[0m\\a of\\x1b]0;title\\x07 \\u009b\\u202echeese\\x00"
        said, text = failure(f"sys.stderr.buffer.write('{raw}'.encode()); sys.exit(1)")
        assert said.endswith("status 1: out of cheese") and text == "stderr:\nout of cheese\n"

    def test_lines_that_a_progress_bar_overwrites_are_lines(self):
        assert plain("10 %\r20 %\rdone\r\n\tnext") == "10 %\n20 %\ndone\n\tnext\n"


class TestProcess:
    def test_only_the_end_of_a_flood_is_held(self, failure):
        _, text = failure("sys.stdout.write('x' * 5_000_000 + 'end'); sys.stdout.flush(); sys.exit(1)")
        assert text.endswith("xend\n") and text.count("x") == KEPT - 3

    def test_what_it_printed_before_its_time_was_up_is_there(self, failure):
        said, text = failure("print('step 1', flush=True); time.sleep(60)", timeout=3)
        assert "more than 3 s" in said and text == "stdout:\nstep 1\n"

    def test_what_it_leaves_behind_with_its_pipes_does_not_hold_it_up(self, failure):
        began = time.monotonic()
        child = "import subprocess; subprocess.Popen(['sleep', '20'], start_new_session=True); sys.exit('gone')"
        assert failure(child)[0].endswith("status 1: gone") and time.monotonic() - began < 10

    @pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (40, "40")])
    def test_a_signal_is_told_by_its_name_or_number(self, failure, number, name):
        assert failure(f"os.kill(os.getpid(), {number})")[0].startswith(f"The command ended with signal {name}:")

    def test_an_ending_that_nobody_knows_is_a_status(self):
        assert [ending(code) for code in (3, -11, None)] == ["status 3", "signal SIGSEGV", "status None"]


class TestLogs:
    @pytest.fixture
    def run(self, self_suite, tmp_path):
        """Function: run a command on one case, again if it failed; its record and the text of its log."""

        def run(word: str, **options) -> tuple[dict, str | None]:
            run_suite(self_suite, [f"x={word}"], tmp_path, limit=1, baselines=False, retry=True, **options)
            (record,) = (tmp_path / "x" / "cases").glob("*.json")
            log = tmp_path / "x" / "logs" / f"{record.stem}.txt"
            return json.loads(record.read_text()), log.read_text() if log.exists() else None

        return run

    def test_a_failure_keeps_what_was_printed_and_names_the_file(self, run, program):
        record, log = run(program("print('step 1', flush=True); sys.exit('out of cheese')"))
        assert log == "stdout:\nstep 1\n\nstderr:\nout of cheese\n"
        assert (
            record["error"]
            == f"The command ended with status 1: out of cheese (what it printed: logs/{record['case']}.txt)"
        )

    def test_a_program_that_writes_nothing_and_ends_well_is_a_failure_too(self, run, program):
        record, log = run(program("print('no face')"))
        assert log == "stdout:\nno face\n" and f"logs/{record['case']}.txt" in record["error"]

    def test_one_that_says_nothing_has_none(self, run, program):
        record, log = run(program("sys.exit(3)"))
        assert log is None and record["error"] == "The command ended with status 3: it said nothing"

    def test_success_leaves_none_and_takes_away_an_older_one(self, run, program, tmp_path_factory):
        flag = tmp_path_factory.mktemp("flag") / "flag"
        code = f"import os, shutil; print('hello'); os.path.exists({str(flag)!r}) or sys.exit('no flag')\n"
        word = program(code + "shutil.copy(ARGV[1], ARGV[2])")
        assert run(word)[1] is not None
        flag.touch()
        record, log = run(word)
        assert record["status"] == "ok" and log is None

    def test_one_that_is_stopped_names_it_too(self, run, program):
        record, log = run(program("import time; print('half way', flush=True); time.sleep(90)"), timeout=6)
        assert log == "stdout:\nhalf way\n"
        assert record["error"].startswith("It took more than 6 s and was stopped.")
        assert f"logs/{record['case']}.txt" in record["error"]
