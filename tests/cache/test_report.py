"""What a run did, and what it kept."""

import json

import pytest
import torch

from cache import CacheReport, TaylorCacheConfig, apply_taylor_cache, cache_report, end_run
from cache.report import ContextReport, merge_reports


def cached_bytes(model) -> int:
    states = model._diffusers_hook.get_hook("mien_taylor_cache").states._state_cache
    return sum(call.memory for context in states.values() for call in context.calls)


def test_steps_errors_and_memory_of_a_run(unet, loop):
    apply_taylor_cache(unet, TaylorCacheConfig(interval=3, tolerance=1.0, order=1))
    loop(unet).run()
    context = cache_report(unet).contexts["cond"]
    assert context.computed == [0, 1, 4, 7, 10, 11] and context.forecast == [2, 3, 5, 6, 8, 9]
    assert [step for step, _ in context.errors] == context.computed[1:]
    assert all(error > 0 for _, error in context.errors)
    assert context.interval == 2.0
    assert len(context.orders) == 6 and set(context.orders) <= {0, 1}
    assert context.memory == 2 * 8 * 8 * 8 * 4  # order 1 keeps two of the (1, 8, 8, 8) that enter the last up layer
    assert context.memory >= cached_bytes(unet)


@pytest.mark.parametrize("placement", ["branch", "output"])
@pytest.mark.parametrize("order", [0, 1, 3])
def test_memory_is_bounded_by_the_order(unet, loop, order, placement):
    apply_taylor_cache(unet, TaylorCacheConfig(placement=placement, order=order, interval=2, tolerance=1.0))
    run = loop(unet, steps=20)
    most = 0
    for _ in range(19):
        run.advance()
        most = max(most, cached_bytes(unet))
    channels = {"branch": 8, "output": 4}[placement]
    assert most == (order + 1) * channels * 64 * 4 == cache_report(unet).memory


def test_tensors_go_at_the_end_of_the_run(unet, loop):
    apply_taylor_cache(unet, TaylorCacheConfig(interval=2, tolerance=1.0))
    for name in ("cond/1", "cond/2"):
        loop(unet, name=name, contexts=[name]).run()
        assert cached_bytes(unet) == 0
    interrupted = loop(unet)
    interrupted.advance()
    assert cached_bytes(unet) > 0
    end_run(unet)
    assert cached_bytes(unet) == 0 and cache_report(unet).computed == 1


def test_tensors_may_be_kept_in_half_precision(unet, loop):
    apply_taylor_cache(unet, TaylorCacheConfig(interval=2, tolerance=1.0))
    plain = loop(unet).run()
    full = cache_report(unet).memory
    from cache import remove_taylor_cache

    remove_taylor_cache(unet)
    apply_taylor_cache(unet, TaylorCacheConfig(interval=2, tolerance=1.0, dtype=torch.bfloat16))
    half = loop(unet).run()
    assert cache_report(unet).memory * 2 == full
    assert half.dtype == torch.float32 and torch.allclose(half, plain, atol=0.02)


def test_a_half_precision_network(unet, loop):
    apply_taylor_cache(unet.to(torch.bfloat16), TaylorCacheConfig(interval=2, tolerance=1.0))
    run = loop(unet)
    run.sample, run.tokens = run.sample.bfloat16(), run.tokens.bfloat16()
    assert run.run().dtype == torch.bfloat16 and cache_report(unet).forecast > 0


def test_the_worst_error_is_one_that_mattered():
    context = ContextReport(computed=[0, 1, 4], forecast=[2, 3], errors=[(1, 0.9), (4, 0.2)])
    assert CacheReport(True, contexts={"cond": context}).worst_error == 0.2


def test_runs_add_up_and_memory_does_not():
    one = CacheReport(True, "branch", 0.1, 1, 0, 2, {"cond": ContextReport([0, 1], [2], [1], [(1, 0.5)], 100)})
    two = CacheReport(True, "branch", 0.1, 1, 1, 0, {"cond": ContextReport([0], [1], [0], [], 60)})
    merged = merge_reports([one, two])
    assert (merged.runs, merged.restarts, merged.inactive) == (2, 1, 2)
    assert (merged.computed, merged.forecast, merged.memory) == (3, 2, 100)
    assert one.computed == 2  # as it was


def test_it_is_plain_numbers_and_one_sentence(unet, loop):
    apply_taylor_cache(unet, TaylorCacheConfig(interval=3, tolerance=1.0))
    loop(unet).run()
    report = cache_report(unet)
    told = json.loads(json.dumps(report.to_dict()))
    assert told["computed"] == 6 and told["contexts"]["cond"]["forecast"] == [2, 3, 5, 6, 8, 9]
    assert str(report).startswith("branch cache: 6 of 12 steps computed, 6 forecast, largest measured error")
