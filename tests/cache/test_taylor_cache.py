"""The cache on a real small network: identical where it must be, near where it may forecast, gone when removed."""

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel

from cache import TaylorCacheConfig, apply_taylor_cache, begin_run, cache_context, cache_report, remove_taylor_cache
from cache.predictor import NewtonPredictor

STEPS = 12


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        norm_num_groups=8,
        layers_per_block=1,
        cross_attention_dim=8,
        attention_head_dim=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    ).eval()


@torch.no_grad()
def sample(unet, config=None, seed=0, batch=1, names=("cfg",), steps=STEPS):
    """The result of a run and its report; several names are clips drawn by turns."""
    scheduler = DDIMScheduler()
    scheduler.set_timesteps(steps)
    schedulers = {name: scheduler for name in names}
    generator = torch.Generator().manual_seed(seed)
    latents = {name: torch.randn(batch, 4, 8, 8, generator=generator) for name in names}
    tokens = torch.randn(1, 3, 8, generator=generator).expand(batch, -1, -1)
    if config is not None:
        apply_taylor_cache(unet, config)
    try:
        if config is not None:
            begin_run(unet, scheduler)
        for step, t in enumerate(scheduler.timesteps):
            for name in names:
                if config is None:
                    noise = unet(latents[name], t, tokens).sample
                else:
                    with cache_context(unet, name, step_index=step, timestep=t):
                        noise = unet(latents[name], t, tokens).sample
                latents[name] = schedulers[name].step(noise, t, latents[name]).prev_sample
        report = cache_report(unet) if config is not None else None
    finally:
        if config is not None:
            remove_taylor_cache(unet)
    return (latents[names[0]] if len(names) == 1 else latents), report


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_polynomials_are_exact_on_uneven_nodes(order):
    nodes = [0.0, 0.7, 1.1, 2.9][: order + 1]
    factors = torch.randn(order + 1, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(order))

    def value(x):
        return sum(factor * x**power for power, factor in enumerate(factors))

    predictor = NewtonPredictor(order)
    for x in nodes:
        predictor.add(x, value(x))
    for x in (3.7, 1.9, -1.0):
        torch.testing.assert_close(predictor.predict(x, order), value(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("placement", ["branch", "output"])
def test_tolerance_zero_is_bit_identical(unet, placement):
    plain, _ = sample(unet)
    cached, report = sample(unet, TaylorCacheConfig(placement=placement, tolerance=0))
    assert torch.equal(plain, cached) and report.contexts["cfg"].forecast == []


@pytest.mark.parametrize("placement", ["branch", "output"])
@torch.no_grad()
def test_forecasts_save_steps_and_stay_near(unet, placement):
    scheduler = DDIMScheduler()
    scheduler.set_timesteps(STEPS)
    x, tokens = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1)), torch.zeros(1, 3, 8)
    truth = [unet(x, t, tokens).sample for t in scheduler.timesteps]
    apply_taylor_cache(unet, TaylorCacheConfig(placement=placement, interval=3, order=1))
    try:
        begin_run(unet, scheduler)
        seen = []
        for step, t in enumerate(scheduler.timesteps):
            with cache_context(unet, "cfg", step_index=step, timestep=t):
                seen.append(unet(x, t, tokens).sample)
        context = cache_report(unet).contexts["cfg"]
    finally:
        remove_taylor_cache(unet)
    assert context.forecast and sorted(context.computed + context.forecast) == list(range(STEPS))
    assert all(torch.equal(seen[i], truth[i]) for i in context.computed)
    errors = [float((seen[i] - truth[i]).norm() / truth[i].norm()) for i in context.forecast]
    reused = [float((truth[max(c for c in context.computed if c < i)] - truth[i]).norm()) for i in context.forecast]
    assert max(errors) < 0.2 and sum(float((seen[i] - truth[i]).norm()) for i in context.forecast) <= 1.001 * sum(
        reused
    )


def test_removal_restores_the_network(unet):
    plain, _ = sample(unet)
    sample(unet, TaylorCacheConfig(interval=3))
    assert torch.equal(sample(unet)[0], plain)


def test_clips_by_turns_never_mix(unet):
    config = TaylorCacheConfig(interval=3, order=1)
    together, _ = sample(unet, config, names=("a", "b"))
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(1, 4, 8, 8, generator=generator)
    alone, _ = sample(unet, config, names=("a", "b"), seed=0)
    assert first.shape == together["a"].shape and not torch.equal(together["a"], together["b"])
    assert all(torch.equal(together[name], alone[name]) for name in "ab")


def test_another_batch_size_after_a_run_starts_anew(unet):
    config = TaylorCacheConfig(interval=3)
    sample(unet, config, batch=1)
    expected, _ = sample(unet, config, batch=2)
    apply_taylor_cache(unet, config)
    try:
        scheduler = DDIMScheduler()
        scheduler.set_timesteps(STEPS)
        begin_run(unet, scheduler)
        with torch.no_grad():
            for step in range(3):  # interrupted
                with cache_context(unet, "cfg", step_index=step, timestep=scheduler.timesteps[step]):
                    unet(torch.randn(1, 4, 8, 8), scheduler.timesteps[step], torch.zeros(1, 3, 8))
            with cache_context(unet, "cfg", step_index=3, timestep=scheduler.timesteps[3]):
                out = unet(torch.randn(2, 4, 8, 8), scheduler.timesteps[3], torch.zeros(2, 3, 8)).sample
    finally:
        remove_taylor_cache(unet)
    assert out.shape[0] == 2 and expected.shape[0] == 2


def test_gradients_leave_it_inactive(unet):
    apply_taylor_cache(unet, TaylorCacheConfig(interval=2, warmup=1))
    try:
        scheduler = DDIMScheduler()
        scheduler.set_timesteps(4)
        begin_run(unet, scheduler)
        x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
        for step, t in enumerate(scheduler.timesteps):
            with cache_context(unet, "cfg", step_index=step, timestep=t):
                unet(x, t, torch.zeros(1, 3, 8))
        assert not cache_report(unet).contexts
    finally:
        remove_taylor_cache(unet)


def test_a_network_without_the_placement_is_an_error(unet):
    with pytest.raises(ValueError):
        apply_taylor_cache(torch.nn.Linear(2, 2), TaylorCacheConfig(placement="branch"))


@pytest.mark.parametrize("wrong", [{"order": 4}, {"tolerance": -1}, {"placement": "deep"}, {"warmup": 0}])
def test_settings_are_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TaylorCacheConfig(**wrong)
