"""Where networks are cut, and that nothing else of them changes: transformers, motion modules, ControlNets."""

import diffusers
import pytest
import torch
from torch import nn

from cache import TaylorCacheConfig, apply_taylor_cache, begin_run, cache_context, cache_report, remove_taylor_cache
from cache.placements import find_cut

FIXED = TaylorCacheConfig(interval=3, tolerance=1.0)


def count_calls(module) -> list:
    calls = []
    module.register_forward_pre_hook(lambda *_: calls.append(1))
    return calls


def relative(one, other) -> float:
    return float((one - other).norm() / other.norm())


class TestAuto:
    def test_unets_are_cut_at_the_branch(self, unet, motion_unet):
        assert find_cut(unet, "auto").placement == find_cut(motion_unet, "auto").placement == "branch"

    def test_transformers_at_their_blocks(self, wan):
        cut = find_cut(wan, "auto")
        assert cut.placement == "blocks" and cut.stacks == [list(wan.blocks)]

    def test_others_at_the_output(self):
        assert find_cut(nn.Linear(2, 2), "auto").placement == "output"


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_what_lies_above_the_cut_always_runs(unet, depth):
    cut = find_cut(unet, "branch", depth)
    away = {*cut.skipped, cut.source}
    up = [layer for block in unet.up_blocks for layer in block.resnets]
    assert [layer in away for layer in up] == [True] * (6 - depth) + [False] * depth
    # conv_in is the first skip connection, then the down layers and samplers
    down = [unet.down_blocks[0].resnets[0], unet.down_blocks[0].downsamplers[0], unet.down_blocks[1].resnets[0]]
    assert [layer in away for layer in down] == [False] * (depth - 1) + [True] * (4 - depth)


class TestBlocks:
    def test_tolerance_zero_is_bit_identical(self, wan, loop):
        plain = loop(wan, shape=(4, 2, 8, 8)).run()
        apply_taylor_cache(wan, TaylorCacheConfig(tolerance=0))
        assert torch.equal(loop(wan, shape=(4, 2, 8, 8)).run(), plain)
        remove_taylor_cache(wan)
        assert torch.equal(loop(wan, shape=(4, 2, 8, 8)).run(), plain) and wan._cache_config is None

    def test_blocks_do_not_run_and_the_result_is_near(self, wan, loop):
        plain = loop(wan, shape=(4, 2, 8, 8), steps=20).run()
        calls = [count_calls(block.attn1) for block in wan.blocks]
        apply_taylor_cache(wan, FIXED)
        cached = loop(wan, shape=(4, 2, 8, 8), steps=20).run()
        assert {len(c) for c in calls} == {cache_report(wan).computed} and cache_report(wan).forecast > 10
        assert 0 < relative(cached, plain) < 0.1

    def test_what_a_model_does_between_its_blocks_is_counted_once(self):
        class Adapted(nn.Module):
            def __init__(self):
                super().__init__()
                self.blocks = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])
                self.adapter = nn.Linear(4, 4)

            def forward(self, hidden_states):
                for block in self.blocks:
                    hidden_states = block(hidden_states) + 0 * hidden_states
                    hidden_states = hidden_states + self.adapter(hidden_states)
                return hidden_states

        torch.manual_seed(0)
        model, sample = Adapted(), torch.randn(2, 3, 4)
        apply_taylor_cache(model, TaylorCacheConfig(interval=2, tolerance=1.0, coordinate="step", warmup=1))
        outputs = []
        for step in range(4):
            with torch.no_grad(), cache_context(model, "cond", step_index=step):
                outputs.append(model(sample))
        assert cache_report(model).contexts["cond"].forecast == [1, 3]
        assert all(torch.allclose(output, outputs[0], atol=1e-5) for output in outputs)

    def test_both_streams_of_flux(self):
        torch.manual_seed(0)
        flux = diffusers.FluxTransformer2DModel(
            in_channels=4,
            num_layers=2,
            num_single_layers=2,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=8,
            pooled_projection_dim=8,
            axes_dims_rope=(2, 2, 4),
        ).eval()
        scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
        scheduler.set_timesteps(10)

        def run():
            generator = torch.Generator().manual_seed(0)
            sample, tokens = torch.randn(1, 16, 4, generator=generator), torch.randn(1, 3, 8, generator=generator)
            begin_run(flux, scheduler)
            scheduler._step_index = None
            for step, timestep in enumerate(scheduler.timesteps):
                with torch.no_grad(), cache_context(flux, "cond", step_index=step):
                    velocity = flux(
                        sample,
                        tokens,
                        torch.ones(1, 8),
                        timestep.expand(1) / 1000,
                        img_ids=torch.zeros(16, 3),
                        txt_ids=torch.zeros(3, 3),
                    ).sample
                sample = scheduler.step(velocity, timestep, sample).prev_sample
            return sample

        plain = run()
        apply_taylor_cache(flux, TaylorCacheConfig(tolerance=0))
        assert torch.equal(run(), plain)
        remove_taylor_cache(flux)
        calls = [count_calls(flux.transformer_blocks[1].attn), count_calls(flux.single_transformer_blocks[0].attn)]
        apply_taylor_cache(flux, FIXED)
        assert 0 < relative(run(), plain) < 0.1
        assert {len(c) for c in calls} == {cache_report(flux).computed} and cache_report(flux).forecast > 4

    def test_blocks_that_take_turns_are_refused(self):
        model = nn.Module()
        model.transformer_blocks = nn.ModuleList([nn.Linear(2, 2)])
        model.temporal_transformer_blocks = nn.ModuleList([nn.Linear(2, 2)])
        with pytest.raises(ValueError, match="take turns"):
            apply_taylor_cache(model, TaylorCacheConfig(placement="blocks"))

    def test_blocks_that_change_the_shape_are_refused(self):
        model = nn.Sequential()
        model.blocks = nn.ModuleList([nn.Linear(2, 1)])
        model.forward = lambda hidden_states: model.blocks[0](hidden_states)
        apply_taylor_cache(model, TaylorCacheConfig(placement="blocks", coordinate="step"))
        with pytest.raises(ValueError, match="keep the shape"), torch.no_grad(), cache_context(model, "c", 0):
            model(torch.ones(3, 2))


class TestMotion:
    RUN = {"shape": (4, 3, 8, 8), "repeat": 3}

    def test_the_branch_of_a_motion_unet(self, motion_unet, loop):
        plain = loop(motion_unet, **self.RUN).run()
        apply_taylor_cache(motion_unet, TaylorCacheConfig(tolerance=0, temporal_interval=3))
        assert torch.equal(loop(motion_unet, **self.RUN).run(), plain)
        remove_taylor_cache(motion_unet)
        calls = count_calls(motion_unet.mid_block.motion_modules[0].proj_in)
        apply_taylor_cache(motion_unet, FIXED)
        loop(motion_unet, **self.RUN).run()
        assert len(calls) == cache_report(motion_unet).computed < 12

    @pytest.mark.parametrize("placement", ["branch", "output"])
    def test_motion_modules_may_have_a_longer_interval(self, motion_unet, loop, placement):
        spatial = count_calls(motion_unet.mid_block.resnets[0].conv1)
        temporal = count_calls(motion_unet.mid_block.motion_modules[0].proj_in)
        config = TaylorCacheConfig(placement=placement, interval=2, temporal_interval=4, tolerance=1.0)
        apply_taylor_cache(motion_unet, config)
        loop(motion_unet, **self.RUN).run()
        report = cache_report(motion_unet).contexts["cond"]
        assert len(spatial) == len(report.computed) == 7
        assert len(temporal) == 5  # steps 0, 1, 5, 9 and the last of the full steps 0, 1, 3, 5, 7, 9, 11
        assert report.motion_forecast > 0

    def test_motion_modules_that_are_on_the_way_run_in_forecast_steps_too(self, motion_unet, loop):
        shallow = count_calls(motion_unet.up_blocks[-1].motion_modules[-1].proj_in)
        apply_taylor_cache(motion_unet, FIXED)
        loop(motion_unet, **self.RUN).run()
        assert len(shallow) == 12

    def test_motion_alone(self, motion_unet, loop):
        plain = loop(motion_unet, **self.RUN).run()
        apply_taylor_cache(motion_unet, TaylorCacheConfig(interval=1, temporal_interval=3, tolerance=1.0))
        cached = loop(motion_unet, **self.RUN).run()
        report = cache_report(motion_unet)
        assert report.forecast == 0 and report.contexts["cond"].motion_forecast > 4
        assert 0 < relative(cached, plain) < 0.05


def test_residuals_of_a_controlnet_pass_through_forecast_steps(unet):
    torch.manual_seed(0)
    sample, tokens = torch.randn(1, 4, 8, 8), torch.randn(1, 3, 8)
    shapes = [(8, 8), (8, 8), (8, 4), (16, 4), (16, 2), (16, 2)]
    down = [torch.randn(1, channels, size, size) for channels, size in shapes]
    residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": torch.randn(1, 16, 2, 2)}
    apply_taylor_cache(unet, TaylorCacheConfig(interval=2, tolerance=1.0, coordinate="step", warmup=1))
    outputs = []
    for step in range(4):
        with torch.no_grad(), cache_context(unet, "cond", step_index=step):
            outputs.append(unet(sample, 10, tokens, **residuals).sample)
    assert cache_report(unet).contexts["cond"].forecast == [1, 3]
    assert all(torch.allclose(output, outputs[0], atol=1e-5) for output in outputs)


def test_freeu_acts_as_without_a_cache(unet):
    unet.enable_freeu(0.9, 0.2, 1.2, 1.4)
    apply_taylor_cache(unet, TaylorCacheConfig(interval=2, tolerance=1.0, coordinate="step", warmup=1))
    outputs = []
    for step in range(2):
        with torch.no_grad(), cache_context(unet, "cond", step_index=step):
            outputs.append(unet(torch.ones(1, 4, 8, 8), 10, torch.ones(1, 3, 8)).sample)
    assert cache_report(unet).forecast == 1 and torch.allclose(*outputs, atol=1e-5)


@pytest.mark.parametrize("return_dict", [True, False])
@pytest.mark.parametrize("placement", ["branch", "output"])
def test_outputs_keep_their_form(unet, placement, return_dict):
    apply_taylor_cache(unet, TaylorCacheConfig(placement=placement, interval=2, tolerance=1.0, coordinate="step"))
    kinds = set()
    for step in range(4):
        with torch.no_grad(), cache_context(unet, "cond", step_index=step):
            kinds.add(type(unet(torch.ones(1, 4, 8, 8), 10, torch.ones(1, 3, 8), return_dict=return_dict)))
    assert cache_report(unet).forecast == 1 and len(kinds) == 1
