"""The feature cache in the pipeline and in the animators, on tiny real networks."""

import copy
from itertools import zip_longest

import numpy as np
import pytest
import torch

from animate import animator as animator_module
from animate.animator import PortraitAnimator
from animate.caching import CACHES, CacheTally, cache_config, has_work, with_own_hooks
from animate.errors import OptionError
from animate.full_size_options import FullSizeOptions
from animate.pipelines.denoising import Denoising
from animate.pipelines.noise import FrameNoise
from animate.pipelines.sampling import NoiseSource
from animate.pipelines.scheduler import set_scheduler
from animate.portrait import Portrait
from animate.work_folder import WorkFolder
from cache import PRESETS, CacheReport, TaylorCacheConfig, cache_report
from weights.registry import get

torch.set_num_threads(1)
FIXED = TaylorCacheConfig(interval=3, tolerance=1.0)


def draw(pipeline, **changes):
    """A guided clip of 3 frames in 9 steps, as latents; `seed` is the portrait's and the landmarks'."""
    generator = torch.Generator().manual_seed(changes.pop("seed", 1))
    arguments = {
        "reference_image": torch.rand(1, 3, 32, 32, generator=generator) * 2 - 1,
        "landmark_map": torch.rand(1, 3, 3, 32, 32, generator=generator),
        "guidance_scale": 3.5,
        "noise": FrameNoise(2, range(3)),
        "num_inference_steps": 9,
        "output_type": "latent",
    }
    return pipeline(**{**arguments, **changes})


def distance(one, other) -> float:
    return float((one - other).norm() / other.norm())


class TestPipeline:
    @pytest.mark.parametrize("lookahead", [False, True])
    def test_without_tolerance_the_result_is_bit_for_bit_that_without_a_cache(self, tiny_pipeline, lookahead):
        plain = draw(tiny_pipeline)
        assert plain.cache is None
        tiny_pipeline.unet.enable_cache(TaylorCacheConfig(tolerance=0.0, lookahead=lookahead))
        cached = draw(tiny_pipeline)
        assert torch.equal(cached.frames, plain.frames)
        assert cached.cache.computed == 9 and cached.cache.forecast == 0
        tiny_pipeline.unet.disable_cache()
        again = draw(tiny_pipeline)
        assert torch.equal(again.frames, plain.frames) and again.cache is None

    @pytest.mark.parametrize("scheduler", ["ddim", "dpm++", "lcm"])
    @pytest.mark.parametrize("lookahead", [False, True])
    def test_forecast_steps_leave_the_deep_part_out_and_change_little(self, tiny_pipeline, scheduler, lookahead):
        set_scheduler(tiny_pipeline, scheduler)
        plain, calls = draw(tiny_pipeline).frames, []
        tiny_pipeline.unet.enable_cache(TaylorCacheConfig(interval=3, tolerance=1.0, lookahead=lookahead))
        # below the hooks: what a skipped part would have run
        tiny_pipeline.unet.mid_block.resnets[0].conv1.register_forward_hook(lambda *_: calls.append(1))
        cached = draw(tiny_pipeline)
        context = cached.cache.context("cfg")
        assert context.computed == [0, 1, 4, 7, 8] and len(calls) == 5
        assert set(context.forecast) >= {2, 3, 5, 6}
        assert 0 < distance(cached.frames, plain) < (0.25 if scheduler == "lcm" else 0.1)

    def test_known_frames_stay_exact(self, tiny_pipeline):
        tiny_pipeline.unet.enable_cache(TaylorCacheConfig(interval=2, tolerance=1.0, lookahead=True))
        known = torch.randn(1, 4, 3, 4, 4)
        made = draw(tiny_pipeline, known_latents=known, known_frames=torch.tensor([True, False, True])).frames
        assert torch.equal(made[:, :, [0, 2]], known[:, :, [0, 2]])

    def test_clips_drawn_by_turns_do_not_mix(self, tiny_pipeline):
        """Two windows of different lengths of run, a step of the one and a step of the other, on one network."""
        tiny_pipeline.unet.enable_cache(FIXED)
        tiny_pipeline._guidance_scale = 1.0

        def begin(seed, steps):
            own = copy.copy(tiny_pipeline)
            own.scheduler = copy.deepcopy(tiny_pipeline.scheduler)
            own.scheduler.set_timesteps(steps)
            noise = NoiseSource((1, 4, 3, 4, 4), False, torch.Generator().manual_seed(seed))
            inputs = {"encoder_hidden_states": torch.full((1, 5, 16), float(seed))}
            denoising = Denoising(own, inputs, None, None, noise, name=str(seed))
            return denoising, denoising.run(noise.first("cpu"))

        def finish(*runs):
            with torch.no_grad():
                for _ in zip_longest(*(steps for _, steps in runs)):
                    pass
            return [(denoising.sample, denoising.report) for denoising, _ in runs]

        alone = [finish(begin(seed, steps))[0] for seed, steps in ((1, 9), (2, 6))]
        turns = finish(begin(1, 9), begin(2, 6))
        for (sample, report), (own_sample, own_report) in zip(turns, alone, strict=True):
            assert torch.equal(sample, own_sample) and report == own_report and report.forecast > 0
        assert not cache_report(tiny_pipeline.unet).contexts

    def test_after_an_interrupted_run_another_batch_is_drawn_as_if_nothing_had_been(self, tiny_pipeline):
        tiny_pipeline.unet.enable_cache(FIXED)
        small = {"landmark_map": torch.ones(2, 3, 2, 16, 16), "reference_image": torch.zeros(2, 3, 16, 16)}
        small |= {"noise": None, "latents": torch.ones(1, 4, 1, 2, 2)}
        whole, fresh = draw(tiny_pipeline), draw(tiny_pipeline, **small)

        def stop(pipeline, step, timestep, tensors):
            pipeline._interrupt = step == 4
            return tensors

        stopped = draw(tiny_pipeline, callback_on_step_end=stop)
        assert stopped.cache.computed + stopped.cache.forecast == 5
        assert torch.equal(draw(tiny_pipeline, **small).frames, fresh.frames)
        assert torch.equal(draw(tiny_pipeline).frames, whole.frames)

    def test_an_error_within_a_run_leaves_nothing_behind(self, tiny_pipeline):
        tiny_pipeline.unet.enable_cache(FIXED)
        whole = draw(tiny_pipeline)

        def fail(*_):
            raise RuntimeError("no")

        with pytest.raises(RuntimeError):
            draw(tiny_pipeline, callback_on_step_end=fail)
        assert torch.equal(draw(tiny_pipeline).frames, whole.frames)

    def test_look_ahead_draws_no_second_noise(self, tiny_pipeline):
        """With a generator's noise in each step a repeated step would get another one: it is not repeated."""
        set_scheduler(tiny_pipeline, "lcm")
        tiny_pipeline.unet.enable_cache(TaylorCacheConfig(interval=3, tolerance=1.0, lookahead=True))
        drawn = draw(tiny_pipeline, noise=None, generator=torch.Generator().manual_seed(0))
        assert drawn.cache.context("cfg").forecast == [2, 3, 5, 6]

    def test_compiled_blocks_give_the_same(self, tiny_pipeline):
        from animate.pipelines.acceleration import compile_blocks

        few = {"guidance_scale": 1.0, "num_inference_steps": 5}
        torch._dynamo.reset()
        limit = torch._dynamo.config.recompile_limit
        tiny_pipeline.unet.enable_cache(FIXED)
        plain = draw(tiny_pipeline, **few).frames
        tiny_pipeline.unet.disable_cache()
        try:
            compile_blocks(tiny_pipeline, backend="eager")
            tiny_pipeline.unet.enable_cache(FIXED)
            torch.testing.assert_close(draw(tiny_pipeline, **few).frames, plain, atol=1e-5, rtol=0)
        finally:
            torch._dynamo.config.recompile_limit = limit
            torch._dynamo.reset()

    def test_errors_count_where_the_weight_says(self, tiny_pipeline):
        tiny_pipeline.unet.enable_cache(FIXED)
        everywhere = draw(tiny_pipeline)
        corner = torch.zeros(1, 1, 3, 32, 32)
        corner[..., :8, :8] = 1
        weighted = draw(tiny_pipeline, error_weight=corner)
        assert weighted.cache.context("cfg").errors != everywhere.cache.context("cfg").errors
        assert draw(tiny_pipeline).cache.context("cfg").errors == everywhere.cache.context("cfg").errors


class TestNames:
    def test_the_commands_names_are_the_librarys_presets(self):
        assert set(CACHES) == {"off", *PRESETS}
        assert cache_config("off") is None and cache_config("fast") == PRESETS["fast"]

    def test_an_unknown_name_is_one_sentence(self):
        for method in ("mini", "warp"):
            with pytest.raises(OptionError, match="Unknown --cache 'quick': choose one of off, fast, balanced, exact."):
                PortraitAnimator.from_pretrained(method=method, cache="quick")

    def test_a_run_too_short_to_forecast_has_no_cache(self):
        config = TaylorCacheConfig(warmup=2, last_steps=1)
        assert [steps for steps in range(1, 6) if has_work(config, steps)] == [4, 5]
        assert not has_work(None, 30) and not has_work(TaylorCacheConfig(tolerance=0.0), 30)


def test_a_network_with_its_own_hooks_shares_its_weights(tiny_pipeline):
    unet = tiny_pipeline.unet
    copy = with_own_hooks(unet)
    copy.enable_cache(FIXED)
    assert copy.is_cache_enabled and not unet.is_cache_enabled
    assert all(a is b for a, b in zip(unet.parameters(), copy.parameters(), strict=True))
    assert copy.conv_in is not unet.conv_in


def test_the_tally_is_as_large_for_a_long_run_as_for_a_short_one():
    tally = CacheTally()
    for clip in range(50):
        report = CacheReport(enabled=True)
        context = report.context(f"cfg/{clip}")
        context.computed, context.forecast, context.memory = [0, 1, 3], [2, 2, 3], 10 + clip
        context.errors = [(3, 0.01 * clip)]
        tally.add(report)
    tally.add(None)
    assert tally.to_dict() == {
        "computed": 150,
        "forecast": 50,
        "computed_by_step": {0: 50, 1: 50, 3: 50},
        "forecast_by_step": {2: 50},
        "worst_error": pytest.approx(0.49),
        "memory_bytes": 59,
    }
    tally.clear()
    assert tally.to_dict() == {}


def test_a_step_counts_once_for_all_halves_of_guidance():
    report = CacheReport(enabled=True)
    report.context("cond").computed, report.context("cond").forecast = [0, 1, 4], [2, 3]
    report.context("uncond").computed, report.context("uncond").forecast = [0, 1, 3, 4], [2]
    tally = CacheTally()
    tally.add(report)
    facts = tally.to_dict()
    assert facts["computed_by_step"] == {0: 1, 1: 1, 3: 1, 4: 1} and facts["forecast_by_step"] == {2: 1}


@pytest.fixture(scope="module")
def portrait(astronaut):
    return Portrait.from_image(np.ascontiguousarray(astronaut[:256, 96:352]))


@pytest.fixture(scope="module")
def load(tiny_pipeline_folder):
    """A maker of animators of the tiny pipeline."""

    def make(cache="off", steps=8):
        options = FullSizeOptions(size=64, window=5)
        return PortraitAnimator.from_pretrained(tiny_pipeline_folder, steps=steps, full_size=options, cache=cache)

    return make


class TestFullSize:
    def test_a_film_is_nearly_the_same_and_says_what_was_forecast(self, load, portrait, talk):
        motion = talk.take(slice(0, 9))
        plain, animator = np.stack(list(load().animate(portrait, motion))), load("fast")
        cached = np.stack(list(animator.animate(portrait, motion)))
        facts = animator.cached.to_dict()
        assert facts["computed"] + facts["forecast"] == 8 * animator.cached.clips and facts["forecast"] > 0
        assert 0 < np.abs(cached.astype(int) - plain).mean() < 4
        list(animator.animate(portrait, motion.take(slice(0, 5))))
        assert animator.cached.clips == 1, "each film is counted anew"

    def test_a_work_folder_belongs_to_its_cache(self, load, portrait, talk, tmp_path):
        motion = talk.take(slice(0, 5))
        list(load().animate(portrait, motion, work=WorkFolder(tmp_path)))
        with pytest.raises(OptionError, match="not the same: cache"):
            load("fast").animate(portrait, motion, work=WorkFolder(tmp_path))

    def test_off_and_too_few_steps_leave_the_network_without_hooks(self, load):
        assert not load().pipeline.unet.is_cache_enabled
        assert not load("fast", steps=2).pipeline.unet.is_cache_enabled


@pytest.mark.skipif(not get("mini").available, reason="the embedded model is not built yet")
class TestMini:
    def film(self, portrait, talk, cache="off", steps=None):
        animator = PortraitAnimator.from_pretrained("mini", cache=cache, steps=steps)
        frames = np.stack(list(animator.animate(portrait, talk.take(slice(20, 28)))))
        return frames, animator.cached.to_dict()

    def test_frames_do_not_depend_on_the_number_of_threads(self, portrait, talk, monkeypatch):
        films = []
        for workers in (1, 3):
            monkeypatch.setattr(animator_module, "WORKERS", workers)
            films.append(self.film(portrait, talk, "fast", 8))
        assert np.array_equal(films[0][0], films[1][0]) and films[0][1] == films[1][1]
        assert films[0][1]["forecast"] > 0

    def test_with_the_default_steps_frames_stay_as_they_are_to_the_eye(self, portrait, talk):
        plain, nothing = self.film(portrait, talk)
        cached, facts = self.film(portrait, talk, "fast")
        error = (cached.astype(float) - plain)[(plain != portrait.image).any(-1)]
        assert nothing == {} and facts["computed"] + facts["forecast"] == 4 * 4
        assert 10 * np.log10(255**2 / max(1e-9, (error**2).mean())) > 50
