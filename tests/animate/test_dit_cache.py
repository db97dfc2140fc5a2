"""The Taylor cache, and diffusers' own, on ExpressionDiT: the adapter is inside the block and counted once."""

import pytest
import torch
from diffusers import FirstBlockCacheConfig, FlowMatchEulerDiscreteScheduler
from torch import nn

from animate.models.character_mask import CharacterMask, regions_from_boxes
from animate.models.dit import ExpressionDiT
from animate.models.kept_states import KeptStates
from cache import TaylorCacheConfig, begin_run, cache_report, end_run

torch.set_num_threads(1)

GRID, TOKENS, STEPS = (2, 4, 4), 5, 20


def build():
    torch.manual_seed(0)
    dit = ExpressionDiT(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=8,
        out_channels=4,
        text_dim=8,
        freq_dim=16,
        ffn_dim=16,
        num_layers=3,
        image_dim=6,
        added_kv_proj_dim=24,
        rope_max_seq_len=16,
        expression_dim=10,
    )
    for block in dit.blocks:
        nn.init.normal_(block.attn2.to_v_expression.weight, std=0.3)
    return dit.eval()


def draw(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def sample(dit, steps=STEPS, guidance=3.0, number=2):
    """A run guided by the adapter, two calls a step: FlowMatch with shift 5, as the pipeline does."""
    scheduler = FlowMatchEulerDiscreteScheduler(shift=5.0)
    scheduler.set_timesteps(steps)
    latents, condition = draw(1, 4, *GRID[:1], 8, 8, seed=1), draw(1, 4, *GRID[:1], 8, 8, seed=2)
    half = torch.tensor([[[0.0, 0, 32, 64]], [[32.0, 0, 64, 64]]])[:number]
    mask = CharacterMask.from_regions(regions_from_boxes(half, (64, 64), GRID), GRID, TOKENS)
    context = {
        "encoder_hidden_states": draw(1, 6, 8, seed=3),
        "encoder_hidden_states_image": draw(1, 9, 6, seed=4),
        "expression": draw(1, GRID[0], number * TOKENS, 10, seed=5),
        "expression_mask": mask,
        "kept": KeptStates(),
    }
    begin_run(dit, scheduler)
    for index, timestep in enumerate(scheduler.timesteps):
        given = {"hidden_states": torch.cat([latents, condition], dim=1), "timestep": timestep.expand(1)} | context
        predictions = []
        for name, scale in (("uncond", 0.0), ("cond", 1.0)):
            with dit.cache_context(name, step_index=index, timestep=timestep):
                predictions.append(dit(**given, expression_scale=scale).sample)
        no, yes = predictions
        latents = scheduler.step(no + guidance * (yes - no), timestep, latents, return_dict=False)[0]
    return latents


def count_blocks(dit):
    """A list that grows by one whenever the middle block's feed-forward runs."""
    runs = []
    dit.blocks[1].ffn.register_forward_hook(lambda *_: runs.append(1))
    return runs


@pytest.fixture(scope="module")
def uncached():
    return sample(build())


class TestTaylor:
    @pytest.mark.parametrize("placement", ["auto", "blocks", "output"])
    def test_tolerance_0_is_bit_identical(self, uncached, placement):
        dit = build()
        dit.enable_cache(TaylorCacheConfig(placement=placement, tolerance=0.0))
        assert torch.equal(sample(dit), uncached)

    def test_forecasts_save_blocks_and_stay_close(self, uncached):
        dit = build()
        dit.enable_cache(TaylorCacheConfig(interval=2))
        runs = count_blocks(dit)
        result = sample(dit)
        report = cache_report(dit)
        assert report.placement == "blocks" and set(report.contexts) == {"cond", "uncond"}
        assert len(runs) < 0.7 * 2 * STEPS
        assert (result - uncached).norm() < 0.05 * uncached.norm()
        fewer = sample(build(), steps=STEPS // 2)
        assert (result - uncached).norm() < (fewer - uncached).norm()

    def test_the_error_sets_the_interval(self, uncached):
        distances, counts = [], []
        for tolerance in (0.002, 0.05):
            dit = build()
            dit.enable_cache(TaylorCacheConfig(tolerance=tolerance))
            runs = count_blocks(dit)
            distances.append(float((sample(dit) - uncached).norm() / uncached.norm()))
            counts.append(len(runs))
        assert counts[1] < counts[0] <= 2 * STEPS
        assert distances[0] <= distances[1]

    def test_the_halves_do_not_mix(self):
        """The half without the adapter is forecast as if it ran alone."""
        dit = build()
        dit.enable_cache(TaylorCacheConfig(interval=2))
        alone = build()
        alone.enable_cache(TaylorCacheConfig(interval=2))
        assert torch.equal(sample(dit, guidance=0.0), sample(alone, guidance=0.0, number=1))

    def test_off_again_is_as_before(self, uncached):
        dit = build()
        dit.enable_cache(TaylorCacheConfig(interval=2))
        sample(dit)
        end_run(dit)
        dit.disable_cache()
        assert torch.equal(sample(dit), uncached)


class TestOthers:
    def test_the_first_block_cache_counts_the_adapter_once(self, uncached):
        """A threshold that lets nothing through gives the uncached result; reuse of identical inputs is exact."""
        dit = build()
        dit.enable_cache(FirstBlockCacheConfig(threshold=0.0))
        torch.testing.assert_close(sample(dit), uncached, atol=1e-5, rtol=1e-5)

        dit = build()
        dit.enable_cache(FirstBlockCacheConfig(threshold=1e9))
        given = {
            "hidden_states": draw(1, 8, *GRID[:1], 8, 8, seed=1),
            "timestep": torch.tensor([500.0]),
            "encoder_hidden_states": draw(1, 6, 8, seed=3),
            "encoder_hidden_states_image": draw(1, 9, 6, seed=4),
            "expression": draw(1, GRID[0], TOKENS, 10, seed=5),
        }
        runs = count_blocks(dit)
        with torch.no_grad(), dit.cache_context("cond"):
            first, again = dit(**given).sample, dit(**given).sample
        assert len(runs) == 1
        torch.testing.assert_close(again, first, atol=1e-5, rtol=1e-5)
