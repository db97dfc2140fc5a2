"""What belongs together and what must never mix: halves of guidance, windows, runs, shapes, schedulers."""

import diffusers
import pytest
import torch

from cache import (
    TaylorCacheConfig,
    apply_taylor_cache,
    begin_run,
    cache_context,
    cache_report,
    end_run,
    remove_taylor_cache,
)

ADAPTIVE = TaylorCacheConfig(placement="output", tolerance=0.1, floor=0.0, order=1)
PLACEMENTS = pytest.mark.parametrize(
    "config",
    [ADAPTIVE, TaylorCacheConfig(tolerance=0.5), TaylorCacheConfig(interval=3, tolerance=1.0)],
    ids=["output", "branch", "fixed"],
)
SCALE = 2.0


def relative(one, other) -> float:
    return float((one - other).norm() / other.norm())


class Guided:
    """A run with guidance, both halves in one call or in two."""

    def __init__(self, model, scheduler, batched: bool, one_context: bool = False):
        generator = torch.Generator().manual_seed(3)
        scheduler.set_timesteps(12)
        sample = torch.randn(1, 4, 8, 8, generator=generator)
        tokens = torch.randn(2, 3, 8, generator=generator)
        begin_run(model, scheduler)
        for step, timestep in enumerate(scheduler.timesteps):
            with torch.no_grad():
                if batched:
                    with cache_context(model, "cfg", step_index=step):
                        halves = model(torch.cat([sample] * 2), timestep, tokens).sample.chunk(2)
                elif one_context:
                    with cache_context(model, "both", step_index=step):
                        halves = [model(sample, timestep, tokens[i : i + 1]).sample for i in range(2)]
                else:
                    halves = []
                    for i, name in enumerate(("uncond", "cond")):
                        with cache_context(model, name, step_index=step):
                            halves.append(model(sample, timestep, tokens[i : i + 1]).sample)
                prediction = halves[0] + SCALE * (halves[1] - halves[0])
            sample = scheduler.step(prediction, timestep, sample).prev_sample
        self.sample, self.report = sample, cache_report(model)


@PLACEMENTS
def test_guidance_in_one_batch_and_in_two_calls_agree(unet, make_scheduler, config):
    apply_taylor_cache(unet, config)
    batched = Guided(unet, make_scheduler(), batched=True)
    split = Guided(unet, make_scheduler(), batched=False)
    together = Guided(unet, make_scheduler(), batched=False, one_context=True)
    steps = batched.report.contexts["cfg"].computed
    assert len(steps) < 12
    assert [context.computed for context in split.report.contexts.values()] == [steps, steps]
    assert set(together.report.contexts) == {"both", "both#1"}
    assert relative(split.sample, batched.sample) < 1e-4
    assert torch.equal(split.sample, together.sample)


@PLACEMENTS
def test_interleaved_clips_never_mix(unet, loop, config):
    apply_taylor_cache(unet, config)
    alone = [loop(unet, seed=seed, name=f"cond/{seed}").run() for seed in (1, 2)]
    runs = [loop(unet, seed=seed, name=f"cond/{seed}", contexts=[f"cond/{seed}"]) for seed in (1, 2)]
    while not all(run.over for run in runs):
        for run in runs:
            run.advance()
    assert all(torch.equal(run.sample, one) for run, one in zip(runs, alone, strict=True))
    assert cache_report(unet).forecast > 0


def test_interleaved_runs_may_have_different_lengths_and_schedulers(unet, loop):
    apply_taylor_cache(unet, ADAPTIVE)

    def make(name):
        scheduler = diffusers.EulerDiscreteScheduler() if name == "b" else None
        return loop(unet, scheduler, steps={"a": 8, "b": 13}[name], name=name, contexts=[name])

    alone = [make(name).run() for name in ("a", "b")]
    runs = [make(name) for name in ("a", "b")]
    while not all(run.over for run in runs):
        for run in runs:
            if not run.over:
                run.advance()
    assert all(torch.equal(run.sample, one) for run, one in zip(runs, alone, strict=True))


def test_the_report_of_a_context_goes_with_its_run(unet, loop):
    apply_taylor_cache(unet, ADAPTIVE)
    runs = [loop(unet, name=name, contexts=[name]) for name in ("a", "b")]
    for run in runs:
        run.run()
    report = end_run(unet, ["a"])
    assert list(report.contexts) == ["a"] and report.runs == 1 and report.computed + report.forecast == 12
    assert list(cache_report(unet).contexts) == ["b"]
    merged = report.merge(end_run(unet, ["b"]))
    assert merged.runs == 2 and sorted(merged.contexts) == ["a", "b"]


@PLACEMENTS
def test_an_interrupted_run_leaves_nothing_to_the_next_of_another_batch(unet, loop, config):
    apply_taylor_cache(unet, config)
    expected = loop(unet, batch=2).run()
    interrupted = loop(unet, batch=1, seed=5)
    for _ in range(7):
        interrupted.advance()
    assert torch.equal(loop(unet, batch=2).run(), expected)


def test_another_shape_in_the_same_run_restarts_and_is_never_broadcast(unet, loop):
    apply_taylor_cache(unet, TaylorCacheConfig(interval=6, tolerance=1.0, warmup=1))
    begun = loop(unet)
    for _ in range(3):
        begun.advance()
    with torch.no_grad(), cache_context(unet, "cond", step_index=3):
        output = unet(torch.ones(2, 4, 8, 8), 10, torch.ones(2, 3, 8)).sample
    assert output.shape[0] == 2
    report = cache_report(unet)
    assert report.restarts == 1 and report.contexts["cond"].computed == [0, 3]


def test_an_error_in_the_model_leaves_nothing_behind(unet, loop):
    apply_taylor_cache(unet, TaylorCacheConfig(interval=3, tolerance=1.0))
    expected = loop(unet).run()
    broken = loop(unet)
    for _ in range(3):
        broken.advance()
    with pytest.raises(RuntimeError), torch.no_grad(), cache_context(unet, "cond", step_index=3):
        unet(torch.ones(1, 4, 8, 8), 10, torch.ones(1, 3, 9))  # tokens of the wrong width
    assert torch.equal(loop(unet).run(), expected)


def test_a_run_that_begins_again_without_being_told_is_noticed(unet, loop):
    apply_taylor_cache(unet, TaylorCacheConfig(interval=3, tolerance=1.0, coordinate="step"))
    expected = loop(unet, seed=2).run()
    other = loop(unet, seed=1)
    for _ in range(8):
        other.advance()
    silent = loop(unet, seed=2, contexts=["nothing"])  # begins, but not the context that it uses
    assert torch.equal(silent.run(), expected) and cache_report(unet).restarts >= 1


@pytest.mark.parametrize("coordinate", ["log_snr", "sigma", "timestep", "step"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: diffusers.HeunDiscreteScheduler(),
        lambda: diffusers.KDPM2DiscreteScheduler(),
        lambda: diffusers.DPMSolverMultistepScheduler(use_karras_sigmas=True),
        lambda: diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        lambda: diffusers.FlowMatchHeunDiscreteScheduler(),
    ],
    ids=["heun", "kdpm2", "dpm++ karras", "flow", "flow heun"],
)
def test_other_schedulers(unet, loop, make, coordinate):
    plain = loop(unet, make(), steps=10).run()
    apply_taylor_cache(unet, TaylorCacheConfig(placement="output", tolerance=0.0, coordinate=coordinate))
    assert torch.equal(loop(unet, make(), steps=10).run(), plain)
    remove_taylor_cache(unet)
    apply_taylor_cache(unet, TaylorCacheConfig(placement="output", interval=2, tolerance=1.0, coordinate=coordinate))
    cached = loop(unet, make(), steps=10).run()
    assert cache_report(unet).forecast >= 4
    assert torch.isfinite(cached).all() and relative(cached, plain) < 0.1


def test_heun_keeps_both_evaluations_of_a_step_apart(unet, loop):
    apply_taylor_cache(unet, TaylorCacheConfig(placement="output", tolerance=0.05, floor=0.0, order=2))
    run = loop(unet, diffusers.HeunDiscreteScheduler(), steps=10)
    run.run()
    context = cache_report(unet).contexts["cond"]
    assert sorted(context.computed + context.forecast) == list(range(19))
    assert context.computed[:2] == [0, 1] and context.computed[-1] == 18


def test_loops_that_tell_no_step_are_followed_by_the_timestep(unet, make_scheduler):
    scheduler = make_scheduler()
    apply_taylor_cache(unet, TaylorCacheConfig(interval=3, tolerance=1.0), scheduler=scheduler)
    for steps in (9, 6):
        scheduler.set_timesteps(steps)
        for timestep in scheduler.timesteps:
            for name in ("cond", "uncond"):
                with torch.no_grad(), cache_context(unet, name):
                    unet(torch.ones(1, 4, 8, 8), timestep, torch.ones(1, 3, 8))
    contexts = cache_report(unet).contexts
    assert contexts["cond"].computed == [0, 1, 4, 7, 8, 0, 1, 4, 5] == contexts["uncond"].computed
