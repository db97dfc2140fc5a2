"""What the full-size pipeline has beside `mini`'s: known frames, noise of frames, samplers, codecs, tokens, dtypes."""

import subprocess
import sys

import pytest
import torch

from animate.errors import OptionError
from animate.pipelines.landmark import FrameNoise, LandmarkAnimationPipeline
from animate.pipelines.noise import frame_noise
from animate.pipelines.scheduler import SCHEDULERS, landmark_scheduler, mini_scheduler, set_scheduler

torch.set_num_threads(1)

FRAMES, SIZE = 4, 32
LATENTS = (1, 4, FRAMES, SIZE // 8, SIZE // 8)
PINNED = [0.11893184, 0.92114085, 1.0476898]  # of seed 12580, frame 3


def inputs(frames=FRAMES) -> dict:
    generator = torch.Generator().manual_seed(1)
    return {
        "reference_image": torch.rand(1, 3, SIZE, SIZE, generator=generator) * 2 - 1,
        "landmark_map": torch.rand(1, 3, FRAMES, SIZE, SIZE, generator=generator)[:, :, :frames],
        "noise": FrameNoise(3, range(frames)),
    }


def mask(*known: int) -> torch.Tensor:
    return torch.tensor([frame in known for frame in range(FRAMES)])


def normal(shape=LATENTS, seed=5) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class TestFrameNoise:
    def test_frame_has_its_noise_whatever_is_drawn_with_it(self):
        alone = frame_noise(7, [12], (4, 8, 8))
        together = frame_noise(7, range(10, 16), (4, 8, 8))
        assert alone.shape == (1, 4, 1, 8, 8)
        assert torch.equal(together[:, :, 2:3], alone)
        assert torch.equal(frame_noise(7, (30, 12), (4, 8, 8))[:, :, 1:], alone)

    def test_frames_seeds_and_draws_are_unrelated_and_normal(self):
        rows = [frame_noise(seed, [n], (4, 64, 64), draw) for seed in (0, 1) for n in (0, 1) for draw in (0, 1)]
        rows = torch.stack(rows).flatten(1)
        assert (torch.corrcoef(rows) - torch.eye(8)).abs().max() < 0.04  # 16,384 numbers: 5 sigma
        assert rows.mean().abs() < 0.02
        assert abs(rows.std() - 1) < 0.02

    def test_bits_are_pinned_so_that_old_work_folders_stay_good(self):
        torch.testing.assert_close(
            frame_noise(12580, [3], (1, 1, 3)).flatten(), torch.tensor(PINNED), atol=1e-7, rtol=0
        )

    @pytest.mark.parametrize("arguments", [(-1, [0]), (0, [-1]), (0, [])])
    def test_impossible_numbers_are_named(self, arguments):
        with pytest.raises(ValueError, match="frame"):
            frame_noise(*arguments, (4, 8, 8))

    @pytest.mark.parametrize("scheduler", ["ddim", "lcm"])
    def test_fresh_noise_is_the_frames_own_too(self, tiny_pipeline, scheduler):
        """What one frame gets does not depend on the frames beside it: neither first noise nor added noise."""
        set_scheduler(tiny_pipeline, scheduler)
        for module in tiny_pipeline.unet.modules():  # without them no frame sees another
            if type(module).__name__ == "MotionModule":
                module.forward = lambda hidden_states, num_frames: hidden_states
        long, short = (
            tiny_pipeline(**inputs(n), num_inference_steps=3, eta=1.0, output_type="latent").frames for n in (FRAMES, 2)
        )
        torch.testing.assert_close(long[:, :, :2], short, atol=1e-4, rtol=1e-4)

    def test_eta_matters(self, tiny_pipeline):
        plain, stochastic = (tiny_pipeline(**inputs(), eta=eta, output_type="latent").frames for eta in (0.0, 1.0))
        assert stochastic.isfinite().all()
        assert (plain - stochastic).abs().max() > 1e-2

    def test_two_noises_are_an_error(self, tiny_pipeline):
        with pytest.raises(ValueError, match="give `noise`, or `generator`"):
            tiny_pipeline(**inputs(), generator=torch.Generator())

    def test_noise_of_other_frames_is_an_error(self, tiny_pipeline):
        with pytest.raises(ValueError, match="`noise` is of 2 frames but the clip has 4"):
            tiny_pipeline(**{**inputs(), "noise": FrameNoise(0, range(2))})


class TestKnownFrames:
    @pytest.mark.parametrize("scheduler", SCHEDULERS)
    def test_known_frames_are_exact_in_the_result(self, tiny_pipeline, scheduler):
        set_scheduler(tiny_pipeline, scheduler)
        known = normal()
        frames = tiny_pipeline(
            **inputs(), known_latents=known, known_frames=mask(0, 3), output_type="latent", num_inference_steps=3
        ).frames
        assert torch.equal(frames[:, :, [0, 3]], known[:, :, [0, 3]])
        assert frames.isfinite().all()
        assert (frames[:, :, 1:3] - known[:, :, 1:3]).abs().max() > 1e-2

    def test_network_sees_them_at_each_steps_level_with_their_own_noise(self, tiny_pipeline):
        seen = []
        forward = tiny_pipeline.unet.forward

        def spy(sample, timestep, **kwargs):
            seen.append((sample[0, :, 3].clone(), int(timestep)))
            return forward(sample, timestep, **kwargs)

        tiny_pipeline.unet.forward = spy
        known = normal()
        tiny_pipeline(**inputs(), known_latents=known, known_frames=mask(3), num_inference_steps=3)
        noise = FrameNoise(3, range(FRAMES))(LATENTS)[0, :, 3]
        assert [timestep for _, timestep in seen] == [999, 666, 332]
        for sample, timestep in seen:
            level = tiny_pipeline.scheduler.alphas_cumprod[timestep]
            torch.testing.assert_close(sample, level.sqrt() * known[0, :, 3] + (1 - level).sqrt() * noise)

    def test_they_change_the_frames_beside_them(self, tiny_pipeline):
        one, other = (
            tiny_pipeline(
                **inputs(), known_latents=normal(seed=seed), known_frames=mask(0), output_type="latent"
            ).frames
            for seed in (5, 6)
        )
        assert (one[:, :, 1:] - other[:, :, 1:]).abs().max() > 1e-3

    def test_frames_that_are_not_known_are_never_read(self, tiny_pipeline):
        known = normal()
        holes = torch.where(mask(1)[:, None, None], known, torch.nan)
        one, other = (
            tiny_pipeline(**inputs(), known_latents=latents, known_frames=mask(1)).frames for latents in (known, holes)
        )
        assert torch.equal(one, other)

    def test_no_known_frame_changes_nothing(self, tiny_pipeline):
        plain = tiny_pipeline(**inputs()).frames
        assert torch.equal(tiny_pipeline(**inputs(), known_latents=normal(), known_frames=mask()).frames, plain)

    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            ({"known_frames": None}, ValueError, "`known_frames` is None"),
            ({"known_latents": None}, ValueError, "`known_latents` is None"),
            ({"known_latents": normal()[:, :, :2]}, ValueError, r"`known_latents` must be \(1, 4, 4, 4, 4\)"),
            ({"known_frames": torch.ones(FRAMES)}, ValueError, r"`known_frames` must be \(4,\) bool"),
            ({"known_frames": [True] * FRAMES}, TypeError, "`known_frames` must be a torch.Tensor but is a list"),
        ],
    )
    def test_what_does_not_fit_is_named(self, tiny_pipeline, change, error, message):
        with pytest.raises(error, match=message):
            tiny_pipeline(**{**inputs(), "known_latents": normal(), "known_frames": mask(0), **change})


class TestSchedulers:
    @pytest.fixture
    def scheduler(self, request):
        class Holder:
            def __init__(self):
                self.scheduler = landmark_scheduler()

            def register_modules(self, scheduler):
                self.scheduler = scheduler

        def make(name):
            holder = Holder()
            set_scheduler(holder, name)
            return holder.scheduler

        return make

    @pytest.mark.parametrize("name", SCHEDULERS)
    def test_noise_levels_stay_and_the_first_is_pure_noise(self, scheduler, name):
        own, published = scheduler(name), landmark_scheduler()
        torch.testing.assert_close(own.alphas_cumprod, published.alphas_cumprod, atol=1e-7, rtol=0)
        for steps in (1, 4, 7, 30, 50):
            own.set_timesteps(steps)
            assert len(own.timesteps) == steps
            assert own.timesteps[0] == 999
            assert own.timesteps[-1] >= 0
        assert own.config.prediction_type == "v_prediction"

    def test_ddim_visits_the_published_timesteps(self, scheduler):
        own = scheduler("ddim")
        own.set_timesteps(30)
        assert own.timesteps[:4].tolist() == [999, 966, 932, 899]
        assert own.timesteps[-2:].tolist() == [66, 32]

    def test_dpm_solver_goes_where_ddim_goes_but_nearer_to_the_exact_path(self, scheduler):
        """Data N(mean, deviation): the exact path carries noise z to mean + deviation * z."""
        mean, deviation = 0.7, 0.5
        noise = torch.randn(2000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

        def draw(name, steps=30):
            sampler = scheduler(name)
            sampler.set_timesteps(steps)
            sample = noise.clone()
            for t in sampler.timesteps:
                alpha = sampler.alphas_cumprod[t].double()
                signal, sigma = alpha.sqrt(), (1 - alpha).sqrt()
                clean = mean + signal * deviation**2 / (alpha * deviation**2 + 1 - alpha) * (sample - signal * mean)
                velocity = signal * (sample - signal * clean) / sigma - sigma * clean
                sample = sampler.step(velocity, t, sample).prev_sample
            return sample

        exact = mean + deviation * noise
        ddim, dpm = draw("ddim"), draw("dpm++")
        assert (dpm - ddim).abs().mean() < 0.02
        assert (dpm - exact).abs().mean() < 0.7 * (ddim - exact).abs().mean() < 0.05

    @pytest.mark.parametrize("name", SCHEDULERS)
    @pytest.mark.parametrize("steps", [1, 2, 5])
    def test_pipeline_draws_with_it(self, tiny_pipeline, name, steps):
        set_scheduler(tiny_pipeline, name)
        first, second = (tiny_pipeline(**inputs(), num_inference_steps=steps).frames for _ in range(2))
        assert first.isfinite().all()
        assert torch.equal(first, second)

    @pytest.mark.parametrize("name", SCHEDULERS)
    def test_prediction_of_the_sample_stays_too(self, tiny_pipeline, name):
        tiny_pipeline.register_modules(scheduler=mini_scheduler())
        set_scheduler(tiny_pipeline, name)
        assert tiny_pipeline.scheduler.config.prediction_type == "sample"

    def test_there_and_back_is_the_same(self, tiny_pipeline):
        plain = tiny_pipeline(**inputs()).frames
        for name in ("dpm++", "lcm", "ddim"):
            set_scheduler(tiny_pipeline, name)
        assert torch.equal(tiny_pipeline(**inputs()).frames, plain)

    def test_unknown_name_is_named(self, tiny_pipeline):
        with pytest.raises(OptionError, match="Unknown scheduler 'euler': choose one of ddim, dpm"):
            set_scheduler(tiny_pipeline, "euler")


class TestParts:
    def test_taesd_takes_the_codecs_place(self, tiny_pipeline):
        from diffusers import AutoencoderTiny

        torch.manual_seed(0)
        channels = (8,) * 4
        tiny_pipeline.register_modules(
            vae=AutoencoderTiny(encoder_block_out_channels=channels, decoder_block_out_channels=channels)
        )
        assert tiny_pipeline.vae_scale_factor == 8
        clip = torch.rand(1, 3, 2, SIZE, SIZE) * 2 - 1
        latents = tiny_pipeline.encode_clip(clip)
        assert latents.shape == (1, 4, 2, 4, 4)
        assert tiny_pipeline.decode_clip(latents).shape == clip.shape
        assert tiny_pipeline(**inputs()).frames.shape == (1, FRAMES, 3, SIZE, SIZE)

    def test_codec_works_frame_by_frame(self, tiny_pipeline):
        seen = []
        decode = tiny_pipeline.vae.decode
        tiny_pipeline.vae.decode = lambda z: (seen.append(tuple(z.shape)), decode(z))[1]
        tiny_pipeline(**inputs())
        assert seen == [(1, 4, 4, 4)] * FRAMES

    def test_portrait_is_moved_once_for_each_dtype_and_kept(self, tiny_pipeline):
        reference = tiny_pipeline.encode_reference(inputs()["reference_image"])
        half = reference.to("cpu", torch.bfloat16)
        assert half is reference.to("cpu", torch.bfloat16)
        assert {f.dtype for f in half.features} == {half.tokens.dtype} == {torch.bfloat16}
        assert half.latents.dtype == torch.float32
        same = reference.to("cpu", torch.float32)
        assert all(a is b for a, b in zip(same.features, reference.features, strict=True))  # no second copy

    def test_reference_network_runs_once_a_clip(self, tiny_pipeline):
        calls = []
        tiny_pipeline.reference_network.register_forward_hook(lambda *_: calls.append(1))
        tiny_pipeline(**inputs(), num_inference_steps=3)
        assert len(calls) == 1

    @pytest.mark.parametrize(("mode", "shape"), [("hidden_states", (1, 5, 16)), ("embedding", (1, 1, 8))])
    def test_image_tokens(self, tiny_pipeline, mode, shape):
        tiny_pipeline.register_to_config(image_token_mode=mode)
        assert tiny_pipeline.encode_image(inputs()["reference_image"]).shape == shape

    def test_unknown_token_mode_is_named(self, tiny_pipeline):
        with pytest.raises(ValueError, match="`image_token_mode` must be one of hidden_states, embedding"):
            LandmarkAnimationPipeline(**tiny_pipeline.components, image_token_mode="pooled")

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_is_near_full(self, tiny_pipeline, dtype):
        full = tiny_pipeline(**inputs()).frames
        half = tiny_pipeline.to(dtype)(**inputs()).frames
        assert half.dtype == torch.float32
        assert half.isfinite().all()
        assert not torch.equal(half, full)
        assert (half - full).abs().mean() < 0.02

    def test_saved_folder_loads_in_a_dtype(self, tiny_pipeline_folder):
        pipeline = LandmarkAnimationPipeline.from_pretrained(tiny_pipeline_folder, dtype=torch.bfloat16)
        pipeline.set_progress_bar_config(disable=True)
        assert {part.dtype for part in (pipeline.unet, pipeline.vae, pipeline.guider)} == {torch.bfloat16}
        assert pipeline(**inputs()).frames.isfinite().all()


class TestLoading:
    def test_pipeline_module_alone_is_enough(self, tiny_pipeline_folder):
        """In a fresh process: whoever imports the pipeline need not know which networks a folder holds."""
        code = "import sys; from animate.pipelines.landmark import LandmarkAnimationPipeline as P; "
        code += "print(type(P.from_pretrained(sys.argv[1]).reference_network).__name__)"
        done = subprocess.run(
            [sys.executable, "-c", code, str(tiny_pipeline_folder)], capture_output=True, text=True, check=False
        )
        assert done.stdout.strip() == "ReferenceNetwork", done.stderr


class TestGuidance:
    def test_costs_no_more_than_twice_one_branch(self, tiny_pipeline):
        """The unconditional half is computed once, on its own tokens: counted in multiplications, not in time."""
        from torch.utils.flop_counter import FlopCounterMode

        def cost(scale):
            unet = tiny_pipeline.unet
            counter = FlopCounterMode(display=False)
            forward = unet.forward

            def counted(*args, **kwargs):
                with counter:
                    return forward(*args, **kwargs)

            unet.forward = counted
            tiny_pipeline(**inputs(), guidance_scale=scale, num_inference_steps=1)
            unet.forward = forward
            return counter.get_total_flops()

        one, guided = cost(1.0), cost(3.5)
        assert 1.7 * one < guided <= 2.0 * one

    def test_unconditional_half_sees_neither_reference_nor_tokens(self, tiny_pipeline):
        seen = []
        forward = tiny_pipeline.unet.forward

        def spy(*args, **kwargs):
            output = forward(*args, **kwargs)
            seen.append(output.sample.clone())
            return output

        tiny_pipeline.unet.forward = spy
        for seed in (1, 2):
            portrait = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed)) * 2 - 1
            tiny_pipeline(**{**inputs(), "reference_image": portrait}, num_inference_steps=1)
        (first, conditional), (second, other_conditional) = (output.chunk(2) for output in seen)
        assert torch.equal(first, second)
        assert (conditional - other_conditional).abs().max() > 1e-3
