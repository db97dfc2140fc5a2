"""Look-ahead on a toy whose denoiser is known exactly: a mixture of Gaussians, forecast at its output."""

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
    UniPCMultistepScheduler,
)
from torch import nn

from cache import (
    LookAheadRun,
    TaylorCacheConfig,
    apply_taylor_cache,
    begin_run,
    cache_context,
    cache_report,
    next_key_step,
)

torch.set_num_threads(1)


class Mixture(nn.Module):
    """The best possible denoiser of a mixture of narrow Gaussians in 16 dimensions; counts its calls.

    `kind`: "epsilon" for schedulers with alphas, "flow" for flow matching, whose prediction is noise - clean.
    """

    def __init__(self, scheduler, kind: str):
        super().__init__()
        self.kind, self.calls = kind, 0
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("means", torch.randn(12, 16, generator=generator, dtype=torch.float64))
        self.register_buffer("cumprod", getattr(scheduler, "alphas_cumprod", torch.ones(1)).double())

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.kind == "flow":
            sigma = timestep.double() / 1000
            signal, noise = 1 - sigma, sigma
        else:
            signal = self.cumprod[timestep.long()].sqrt()
            noise = (1 - self.cumprod[timestep.long()]).sqrt()
        width = 0.3**2
        variance = signal**2 * width + noise**2
        distance = torch.cdist(sample.double(), signal * self.means)
        shares = torch.softmax(-(distance**2) / (2 * variance), dim=-1)
        centre = shares @ self.means
        clean = centre + signal * width / variance * (sample - signal * centre)
        prediction = (sample - signal * clean) / noise
        return (prediction - clean if self.kind == "flow" else prediction).to(sample.dtype)


def ddim():
    return DDIMScheduler(timestep_spacing="trailing", clip_sample=False)


SCHEDULERS = {
    "ddim": (ddim, "epsilon"),
    "dpm++": (lambda: DPMSolverMultistepScheduler(timestep_spacing="trailing"), "epsilon"),
    "unipc": (lambda: UniPCMultistepScheduler(timestep_spacing="trailing"), "epsilon"),
    "flow": (lambda: FlowMatchEulerDiscreteScheduler(shift=3.0), "flow"),
}


def run(scheduler, kind, config=None, steps=24, own_loop=True):
    """The final sample, the number of evaluations in full, and the loop."""
    scheduler.set_timesteps(steps)
    model = Mixture(scheduler, kind)
    sample = torch.randn(8, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    if config is None:
        config = TaylorCacheConfig(placement="output", tolerance=0.0)
    apply_taylor_cache(model, config)
    begin_run(model, scheduler)
    seen = []

    def evaluate(sample, step, mode):
        timestep = scheduler.timesteps[step]
        with torch.no_grad(), cache_context(model, "toy", step_index=step, timestep=timestep, mode=mode):
            return model(sample, timestep)

    loop = LookAheadRun(scheduler, evaluate, config, next_full=lambda step: next_key_step(model, "toy", step))
    for step in loop(sample * scheduler.init_noise_sigma if hasattr(scheduler, "init_noise_sigma") else sample):
        seen.append(step)
    assert seen == list(range(len(scheduler.timesteps)))
    assert loop.sample.isfinite().all()
    return loop.sample, model, loop


def cached(**settings):
    return TaylorCacheConfig(placement="output", last_steps=1, warmup=2, **settings)


def error(sample, truth) -> float:
    return float((sample - truth).norm() / truth.norm())


# Where it pays on this toy: at interval 2, and on flow matching at 4; between, plain forecasting is as good or better.
@pytest.mark.parametrize(("name", "interval"), [("ddim", 2), ("dpm++", 2), ("unipc", 2), ("flow", 4)])
def test_interpolating_costs_no_more_evaluations_and_is_closer_to_the_truth(name, interval):
    make, kind = SCHEDULERS[name]
    truth = run(make(), kind)[0]
    settings = {"interval": interval, "order": 2, "tolerance": 1.0}
    forecast, plain, _ = run(make(), kind, cached(**settings))
    between, ahead, loop = run(make(), kind, cached(**settings, lookahead=True))
    assert ahead.calls == plain.calls < 24 and loop.interpolated > 0
    assert error(between, truth) < 0.7 * error(forecast, truth)


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("settings", [{"tolerance": 0.0}, {"interval": 1, "tolerance": 1.0}])
def test_nothing_is_forecast_without_tolerance_or_interval(name, settings):
    make, kind = SCHEDULERS[name]
    truth = run(make(), kind)[0]
    ahead, model, loop = run(make(), kind, cached(**settings, lookahead=True))
    assert model.calls == 24 and loop.interpolated == 0
    assert torch.equal(ahead, truth)


def test_error_control_chooses_the_intervals():
    make, kind = SCHEDULERS["ddim"]
    truth = run(make(), kind)[0]
    calls, errors = [], []
    for tolerance in (0.001, 0.01, 0.1):
        ahead, model, _ = run(make(), kind, cached(tolerance=tolerance, lookahead=True))
        calls.append(model.calls)
        errors.append(error(ahead, truth))
    assert calls == sorted(calls, reverse=True) and calls[0] > calls[-1]
    assert errors[0] < errors[-1] < 0.2


def test_the_schedulers_memory_of_steps_is_put_back():
    """A multistep solver that had seen the trial steps would go wrong, or run out of steps."""
    make, kind = SCHEDULERS["dpm++"]
    scheduler = make()
    _, model, loop = run(scheduler, kind, cached(interval=3, tolerance=1.0, lookahead=True))
    assert loop.interpolated > 4 and scheduler.step_index == 24


def test_two_evaluations_a_step():
    """Heun: a turn of the loop is one evaluation, two of them a step; the nodes say where each stands."""
    scheduler = HeunDiscreteScheduler()
    settings = cached(interval=2, order=1, tolerance=1.0, lookahead=True)
    sample, model, loop = run(scheduler, "epsilon", settings, steps=12)
    assert sample.isfinite().all() and model.calls < len(scheduler.timesteps)


def test_first_and_last_steps_are_computed():
    make, kind = SCHEDULERS["ddim"]
    settings = TaylorCacheConfig(placement="output", interval=4, tolerance=1.0, warmup=3, last_steps=2, lookahead=True)
    _, model, _ = run(make(), kind, settings)
    computed = cache_report(model).context("toy").computed
    assert {0, 1, 2, 22, 23} <= set(computed) and len(computed) < 12


def test_a_fixed_interval_needs_no_hook():
    """`evaluate` may be anything that knows how to forecast."""
    scheduler = ddim()
    scheduler.set_timesteps(9)
    modes = []

    def evaluate(sample, step, mode):
        modes.append((step, mode))
        return torch.zeros_like(sample)

    config = TaylorCacheConfig(interval=3, tolerance=1.0, lookahead=True)
    assert list(LookAheadRun(scheduler, evaluate, config)(torch.ones(1, 2))) == list(range(9))
    assert modes[:6] == [
        *((step, "compute") for step in (0, 1, 4)),
        *((step, "forecast") for step in (2, 3, 4)),
    ]


def test_what_is_assigned_to_the_sample_is_what_the_next_step_begins_with():
    scheduler = ddim()
    scheduler.set_timesteps(4)
    seen = []

    def evaluate(sample, step, mode):
        seen.append((step, float(sample.mean())))
        return torch.zeros_like(sample)

    for lookahead in (False, True):
        seen.clear()
        loop = LookAheadRun(scheduler, evaluate, TaylorCacheConfig(interval=1, lookahead=lookahead))
        for step in loop(torch.ones(2, 2)):
            loop.sample = torch.full((2, 2), 10.0 + step)
        assert seen == [(0, 1.0), (1, 10.0), (2, 11.0), (3, 12.0)]


def test_look_ahead_that_cannot_know_the_next_full_step_is_refused():
    with pytest.raises(ValueError, match="give `next_full`, or a fixed `interval`"):
        LookAheadRun(ddim(), None, TaylorCacheConfig(lookahead=True))
