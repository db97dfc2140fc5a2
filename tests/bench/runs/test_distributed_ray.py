"""Runs over a Ray cluster on this machine: the same records as from one process."""

import os

import pytest

from animate.errors import OptionError
from bench.runner.distributed import ONE_THREAD
from bench.runner.run import run_suite

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'mien[scale]'")


@pytest.fixture(scope="module")
def cluster():
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("two workers need two cores")
    options = {"include_dashboard": False, "log_to_driver": False, "runtime_env": {"env_vars": ONE_THREAD}}
    ray.init(address="local", num_cpus=2, **options)
    yield
    ray.shutdown()


def test_a_cluster_gives_what_one_process_gives(cluster, alone, same_run, tmp_path):
    counts = run_suite(alone[0], ["mien:prior"], tmp_path, baselines=False, ray="auto")
    assert counts["ok"] == 2
    same_run(alone, tmp_path)
    assert run_suite(alone[0], ["mien:prior"], tmp_path, baselines=False, ray="auto")["reused"] == 2


def test_a_slow_case_is_stopped(cluster, alone, program, tmp_path):
    word = "slow=" + program("import time; time.sleep(60)")
    counts = run_suite(alone[0].take(1), [word], tmp_path, baselines=False, ray="auto", timeout=2)
    assert counts["failed"] == 1


def test_a_cluster_that_is_not_there_is_told(self_suite, tmp_path):
    if ray.is_initialized():
        ray.shutdown()
    with pytest.raises(OptionError, match="cannot be used"):
        run_suite(self_suite, ["still"], tmp_path, baselines=False, ray="127.0.0.1:1")
    assert not list(tmp_path.iterdir())
