"""The cache on a model: what it leaves alone, what it puts back, what it refuses."""

import pytest
import torch
from diffusers import AutoencoderKL
from diffusers.hooks import HookRegistry, ModelHook
from torch import nn

from cache import (
    TaylorCacheConfig,
    apply_taylor_cache,
    begin_run,
    cache_context,
    cache_report,
    remove_taylor_cache,
)

FAST = TaylorCacheConfig(interval=3, tolerance=1.0)


class Doubling(ModelHook):
    """A hook of somebody else."""

    def new_forward(self, module, *args, **kwargs):
        return 2 * self.fn_ref.original_forward(*args, **kwargs)


class Adding(ModelHook):
    def post_forward(self, module, output):
        return output + 1


def count_calls(module) -> list:
    calls = []
    module.register_forward_pre_hook(lambda *_: calls.append(1))
    return calls


def instance_attributes(model) -> dict:
    return {name: sorted(module.__dict__) for name, module in model.named_modules()}


@pytest.mark.parametrize("placement", ["branch", "output"])
def test_tolerance_zero_is_bit_identical(unet, loop, placement):
    plain = loop(unet).run()
    apply_taylor_cache(unet, TaylorCacheConfig(placement=placement, tolerance=0))
    assert torch.equal(loop(unet).run(), plain)
    assert cache_report(unet).forecast == 0 and cache_report(unet).computed == 12


def test_computed_steps_are_bit_identical_up_to_the_first_forecast(unet, loop):
    def first_steps():
        run = loop(unet)
        return [(run.advance(), run.sample)[1] for _ in range(4)]

    plain = first_steps()
    apply_taylor_cache(unet, TaylorCacheConfig(interval=4, warmup=3, tolerance=1.0))
    same = [torch.equal(*pair) for pair in zip(first_steps(), plain, strict=True)]
    assert same == [True, True, True, False]


@pytest.mark.parametrize("placement", ["branch", "output"])
def test_removal_restores_the_model(unet, loop, placement):
    before, plain = instance_attributes(unet), loop(unet).run()
    unet.__dict__.pop("_diffusers_hook", None)
    apply_taylor_cache(unet, TaylorCacheConfig(placement=placement, interval=3, tolerance=1.0))
    assert not torch.equal(loop(unet).run(), plain)
    remove_taylor_cache(unet)
    assert instance_attributes(unet) == before
    assert torch.equal(loop(unet).run(), plain)
    remove_taylor_cache(unet)  # nothing is there: nothing happens


def test_skipped_parts_do_not_run(unet, loop):
    deep = [unet.mid_block.resnets[0].conv1, unet.down_blocks[1].attentions[0].proj_in]
    deep = [count_calls(module) for module in (*deep, unet.up_blocks[-1].resnets[0].conv1)]
    shallow = [unet.conv_in, unet.up_blocks[-1].resnets[1].conv1, unet.conv_out]
    shallow = [count_calls(module) for module in shallow]
    apply_taylor_cache(unet, FAST)
    loop(unet).run()
    report = cache_report(unet)
    assert report.forecast >= 6
    assert {len(calls) for calls in deep} == {report.computed}
    assert {len(calls) for calls in shallow} == {12}


def test_a_forecast_output_runs_nothing(unet, loop):
    calls = count_calls(unet.conv_in)
    apply_taylor_cache(unet, TaylorCacheConfig(placement="output", interval=3, tolerance=1.0))
    loop(unet).run()
    assert len(calls) == cache_report(unet).computed < 12


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5, 6])
def test_every_depth_of_the_branch_works_and_a_constant_network_is_forecast_exactly(unet, loop, depth):
    apply_taylor_cache(unet, TaylorCacheConfig(branch_depth=depth, interval=3, tolerance=1.0))
    run = loop(unet)
    tokens, outputs = torch.ones(1, 3, 8), []
    for step in range(6):
        with torch.no_grad(), cache_context(unet, "cond", step_index=step):
            outputs.append(unet(torch.ones(1, 4, 8, 8), 10, tokens).sample)
    assert run.step == 0 and cache_report(unet).forecast > 0
    assert all(torch.allclose(output, outputs[0], atol=1e-5) for output in outputs)


def test_gradients_on_leaves_the_model_alone(unet, loop):
    plain = unet(torch.ones(1, 4, 8, 8), 10, torch.ones(1, 3, 8)).sample
    apply_taylor_cache(unet, TaylorCacheConfig(placement="output", interval=3, tolerance=1.0))
    run = loop(unet)
    for step in range(6):
        with cache_context(unet, "cond", step_index=step):
            output = unet(torch.ones(1, 4, 8, 8), 10, torch.ones(1, 3, 8)).sample
        output.sum().backward()
    assert torch.equal(output, plain) and run.model.conv_in.weight.grad is not None
    assert cache_report(unet).inactive == 6 and cache_report(unet).computed == 0


def test_without_a_context_the_model_is_left_alone(unet):
    apply_taylor_cache(unet, FAST)
    with torch.no_grad():
        for _ in range(4):
            unet(torch.ones(1, 4, 8, 8), 10, torch.ones(1, 3, 8))
    assert cache_report(unet).inactive == 4


def test_a_step_that_is_unknown_is_computed(unet, caplog):
    apply_taylor_cache(unet, FAST)
    with torch.no_grad():
        for _ in range(4):
            with cache_context(unet, "cond"):
                unet(torch.ones(1, 4, 8, 8), 10, torch.ones(1, 3, 8))
    assert cache_report(unet).inactive == 4


def test_no_fitting_module_is_an_error():
    model = nn.Sequential(nn.Linear(2, 2))
    for placement in ("branch", "blocks"):
        with pytest.raises(ValueError, match="fits no module of Sequential"):
            apply_taylor_cache(model, TaylorCacheConfig(placement=placement))
    with pytest.raises(ValueError, match="motion_modules"):
        apply_taylor_cache(model, TaylorCacheConfig(temporal_interval=2))
    assert "forward" not in model.__dict__ and not hasattr(model, "_diffusers_hook")


def test_a_network_without_skip_connections_is_refused():
    with pytest.raises(ValueError, match="branch"):
        apply_taylor_cache(AutoencoderKL().decoder, TaylorCacheConfig(placement="branch"))


def test_a_depth_beyond_the_network_is_refused(unet):
    with pytest.raises(ValueError, match="6 up layers"):
        apply_taylor_cache(unet, TaylorCacheConfig(branch_depth=7))


def test_a_second_cache_is_refused(unet):
    apply_taylor_cache(unet, FAST)
    with pytest.raises(ValueError, match="already"):
        apply_taylor_cache(unet, FAST)


def test_registration_that_fails_leaves_the_model_as_it_was(unet, monkeypatch):
    before, count = instance_attributes(unet), [0]
    register = HookRegistry.register_hook

    def failing(self, hook, name):
        count[0] += 1
        if count[0] == 7:
            raise RuntimeError("no more")
        register(self, hook, name)

    monkeypatch.setattr(HookRegistry, "register_hook", failing)
    with pytest.raises(RuntimeError, match="no more"):
        apply_taylor_cache(unet, FAST)
    registries = [module.__dict__.pop("_diffusers_hook", None) for module in unet.modules()]
    assert not any(registry.hooks for registry in registries if registry is not None)
    assert instance_attributes(unet) == before


class TestHooksOfOthers:
    @pytest.fixture
    def part(self, unet):
        return unet.mid_block.resnets[1]

    @pytest.fixture
    def result(self, unet):
        def compute():
            with torch.no_grad():
                return unet(torch.ones(1, 4, 8, 8), 10, torch.ones(1, 3, 8)).sample

        return compute

    @pytest.mark.parametrize("hook", [Doubling, Adding])
    @pytest.mark.parametrize("first", [True, False], ids=["below", "above"])
    def test_they_survive_putting_the_cache_on_and_off(self, unet, part, result, hook, first):
        registry = HookRegistry.check_if_exists_or_initialize(part)
        if first:
            registry.register_hook(hook(), "other")
            expected = result()
            apply_taylor_cache(unet, FAST)
        else:
            apply_taylor_cache(unet, FAST)
            HookRegistry.check_if_exists_or_initialize(part).register_hook(hook(), "other")
            expected = result()
        assert torch.equal(result(), expected)
        remove_taylor_cache(unet)
        assert torch.equal(result(), expected)
        part._diffusers_hook.remove_hook("other")
        assert not torch.equal(result(), expected)

    def test_a_hook_below_may_go_away_while_the_cache_is_on(self, unet, part, loop):
        HookRegistry.check_if_exists_or_initialize(part).register_hook(Doubling(), "other")
        apply_taylor_cache(unet, FAST)
        part._diffusers_hook.remove_hook("other")  # diffusers cuts off the hook above
        calls = count_calls(part.conv1)
        loop(unet).run()  # `begin_run` puts it back
        assert len(calls) == cache_report(unet).computed < 12


def test_a_cache_of_diffusers_on_the_model_is_refused_and_the_other_way_round(wan):
    from diffusers import FirstBlockCacheConfig

    apply_taylor_cache(wan, FAST)
    with pytest.raises(ValueError, match="already"):
        wan.enable_cache(FirstBlockCacheConfig())
    remove_taylor_cache(wan)
    wan.enable_cache(FirstBlockCacheConfig())
    with pytest.raises(ValueError, match="FirstBlockCacheConfig"):
        apply_taylor_cache(wan, FAST)


def test_contexts_reach_caches_of_diffusers_and_may_be_nested(wan):
    from diffusers import FirstBlockCacheConfig

    wan.enable_cache(FirstBlockCacheConfig())
    with cache_context(wan, "outer", step_index=0):
        with cache_context(wan, "inner", step_index=0):
            pass
        with torch.no_grad():  # raises where no context is set
            wan(torch.ones(1, 4, 2, 8, 8), torch.tensor([10]), torch.ones(1, 3, 8))


def test_runs_and_contexts_do_nothing_without_a_cache(unet, loop, make_scheduler):
    scheduler = make_scheduler()
    scheduler.set_timesteps(4)
    begin_run(unet, scheduler)
    with cache_context(unet, "cond", step_index=0):
        pass
    assert not cache_report(unet).enabled and str(cache_report(unet)) == "no cache"
