"""Runs over several processes: the same records as from one; processes that die, hang or are interrupted."""

import json
import os
import signal
import subprocess
import sys
import time

from bench.runner.run import run_suite


def figures(out, system):
    paths = sorted((out / system / "cases").glob("*.json"))
    return {path.stem: json.loads(path.read_text()) for path in paths}


def test_two_processes_give_what_one_gives(alone, same_run, tmp_path):
    counts = run_suite(alone[0], ["mien:prior"], tmp_path, baselines=False, jobs=2)
    assert counts["ok"] == 2
    same_run(alone, tmp_path)


def test_a_process_that_dies_or_hangs_takes_its_case_alone(self_suite, tmp_path, monkeypatch):
    """The systems run inside the workers here: a folder of code that Python loads there."""
    code = tmp_path / "sitecustomize.py"
    code.write_text(
        "import os, sys, time\n"
        "if 'spawn_main' in ' '.join(sys.orig_argv):\n"
        "    import bench.systems.mien as m\n"
        "    own = m.Mien.frames\n"
        "    def frames(self, scene):\n"
        "        if scene.case.id == 'self--nod':\n"
        "            os.kill(os.getpid(), 11)\n"
        "        time.sleep(900)\n"
        "    m.Mien.frames = frames\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    began = time.monotonic()
    counts = run_suite(self_suite, ["still"], tmp_path / "out", baselines=False, timeout=15)
    found = figures(tmp_path / "out", "still")
    assert counts["failed"] == 2 and time.monotonic() - began < 600
    assert "SIGSEGV" in found["self--nod"]["error"]
    assert "more than 15 s" in found["self--slow"]["error"]


def test_ctrl_c_ends_everything_and_the_next_run_goes_on(self_suite, tmp_path, program):
    suite_file = self_suite.save(tmp_path / "suite.yaml")
    started = tmp_path / "started"
    code = (
        f"import time, shutil; open({str(started)!r}, 'a').write(ARGV[3])\n"
        "'slow' in ARGV[3] and time.sleep(90)\n"
        "shutil.copy(ARGV[1], ARGV[2])"
    )
    word = "x=" + program(code, "{portrait} {driver} {output} {case}")
    script = (
        "import sys\nfrom pathlib import Path\nfrom bench.runner.run import run_suite\nfrom bench.suites.manifest import Suite\n"
        "if __name__ == '__main__':\n"
        f"    run_suite(Suite.load({str(suite_file)!r}), [{word!r}], Path({str(tmp_path / 'out')!r}), baselines=False, "
        "jobs=1, timeout=80)\n"
    )
    (tmp_path / "main.py").write_text(script)
    root = os.getcwd()
    environment = {**os.environ, "PYTHONPATH": root}
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "main.py")],
        env=environment,
        start_new_session=True,
        # what a shell starts in the background, and all below it, ignores Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 90
        while not (started.exists() and "slow" in started.read_text()) and time.monotonic() < deadline:
            time.sleep(0.1)
        os.killpg(process.pid, 2)
        assert process.wait(90) != 0
    finally:
        if process.poll() is None:
            process.kill()
    found = figures(tmp_path / "out", "x")
    assert list(found) == ["self--nod"] and found["self--nod"]["status"] == "ok"
    assert not list((tmp_path / "out" / "x").glob(".making-*"))
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert str(started.parent / "out") not in listed
