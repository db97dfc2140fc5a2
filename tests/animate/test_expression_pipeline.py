"""ExpressionPipeline with tiny networks: conventions, guidance, characters, schedulers, saving, memory settings."""

import numpy as np
import PIL.Image
import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    PipelineQuantizationConfig,
    UniPCMultistepScheduler,
    WanImageToVideoPipeline,
)

from animate.errors import OptionError
from animate.models.character_mask import CharacterMask
from animate.pipelines.expression import ExpressionPipeline
from animate.pipelines.flow import flow_scheduler, set_flow_scheduler, set_flow_timesteps
from animate.pipelines.noise import FrameNoise
from cache import TaylorCacheConfig

torch.set_num_threads(1)

FRAMES, WIDTH, HEIGHT = 9, 64, 48
LATENTS = (1, 16, 3, 6, 8)


@pytest.fixture(scope="module")
def image() -> PIL.Image.Image:
    return PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 56, 3), dtype=np.uint8))


def features(characters: int = 1, frames: int = FRAMES, seed: int = 0) -> torch.Tensor:
    return torch.randn(characters, frames, 554, generator=torch.Generator().manual_seed(seed))


def halves(frames: int = FRAMES) -> torch.Tensor:
    """(2, T, 4): the left and the right third of the picture."""
    boxes = torch.tensor([[0.0, 0, 16, HEIGHT], [48, 0, WIDTH, HEIGHT]])
    return boxes[:, None].expand(-1, frames, -1)


def prompt(seed: int = 0) -> torch.Tensor:
    return torch.randn(1, 5, 16, generator=torch.Generator().manual_seed(seed))


def draw(pipeline, image, expression=None, **changes):
    given = {
        "image": image,
        "expression": features() if expression is None else expression,
        "prompt_embeds": prompt(),
        "width": WIDTH,
        "height": HEIGHT,
        "generator": torch.Generator().manual_seed(3),
        "output_type": "latent",
    }
    given |= changes
    return pipeline(**{name: value for name, value in given.items() if value is not None}).frames


class TestConventions:
    def test_without_expression_it_is_diffusers_wan_pipeline(self, tiny_expression, image):
        """Same picture, noise, text and scheduler: condition, CLIP states, loop and decoding give the same video."""
        plain = WanImageToVideoPipeline(
            tokenizer=None,
            text_encoder=None,
            vae=tiny_expression.vae,
            scheduler=flow_scheduler(),
            image_processor=tiny_expression.image_processor,
            image_encoder=tiny_expression.image_encoder,
            transformer=tiny_expression.transformer,
        )
        plain.set_progress_bar_config(disable=True)
        noise = torch.randn(LATENTS, generator=torch.Generator().manual_seed(0))
        # diffusers places the lower levels elsewhere than the published code: it gets the published ones
        plain.scheduler = PublishedLevels.from_config(flow_scheduler().config)
        wanted = plain(
            image=image,
            prompt_embeds=prompt(),
            height=HEIGHT,
            width=WIDTH,
            num_frames=FRAMES,
            num_inference_steps=3,
            guidance_scale=1.0,
            latents=noise,
            output_type="pt",
        ).frames
        for block in tiny_expression.transformer.blocks:
            torch.nn.init.zeros_(block.attn2.to_v_expression.weight)
        made = draw(tiny_expression, image, latents=noise, generator=None, num_inference_steps=3, output_type="pt")
        assert torch.allclose(made, wanted, atol=1e-5)

    def test_thirty_steps_visit_the_published_levels(self):
        scheduler = flow_scheduler()
        set_flow_timesteps(scheduler, 30)
        levels = scheduler.timesteps.numpy()
        assert np.allclose(levels[[0, 1, -2, -1]], [1000, 993.15, 263.16, 147.06], atol=0.006)
        assert scheduler.sigmas[-1] == 0 and len(levels) == 30

    @pytest.mark.parametrize(
        ("kind", "check"),
        [
            ("pt", lambda made: made.shape == (1, FRAMES, 3, HEIGHT, WIDTH) and 0 <= made.min() <= made.max() <= 1),
            ("np", lambda made: made.shape == (1, FRAMES, HEIGHT, WIDTH, 3)),
            ("pil", lambda made: len(made[0]) == FRAMES and made[0][0].size == (WIDTH, HEIGHT)),
            ("latent", lambda made: made.shape == LATENTS),
        ],
    )
    def test_output_types(self, tiny_expression, image, kind, check):
        assert check(draw(tiny_expression, image, output_type=kind))

    def test_a_tuple_instead_of_an_object(self, tiny_expression, image):
        made = tiny_expression(image, features(), prompt_embeds=prompt(), width=64, height=48, return_dict=False)
        assert isinstance(made, tuple) and len(made) == 1

    def test_pictures_may_be_of_any_kind_and_size(self, tiny_expression, image):
        array = np.asarray(image)
        tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)[None] / 127.5 - 1
        wanted = draw(tiny_expression, image)
        assert torch.equal(draw(tiny_expression, array), wanted) and torch.equal(draw(tiny_expression, tensor), wanted)

    def test_the_size_follows_the_pictures_shape(self, tiny_expression):
        assert tiny_expression.fit_size(1920, 1080) == (720, 400)
        assert tiny_expression.fit_size(600, 800, longest=64) == (48, 64)
        assert tiny_expression.fit_size(4000, 10) == (720, 16)

    def test_one_frame_and_many(self, tiny_expression, image):
        assert draw(tiny_expression, image, features(frames=1)).shape[2] == 1
        assert draw(tiny_expression, image, features(frames=21)).shape[2] == 6

    def test_a_picture_that_was_encoded_before_gives_the_same(self, tiny_expression, image):
        longer = tiny_expression.encode_picture(image, 5, WIDTH, HEIGHT)
        made = draw(tiny_expression, None, picture=longer, width=None, height=None)
        assert torch.allclose(made, draw(tiny_expression, image), atol=1e-6)


class PublishedLevels(FlowMatchEulerDiscreteScheduler):
    """diffusers' scheduler with the levels of the published code for a number of steps."""

    def set_timesteps(self, num_inference_steps=None, device=None, sigmas=None, **kwargs):
        if sigmas is None:
            sigmas = np.linspace(1.0, 0.0, num_inference_steps + 1)[:-1]
        super().set_timesteps(sigmas=sigmas, device=device)


class TestGuidance:
    def test_expression_decides_what_is_drawn(self, tiny_expression, image):
        one, other = (draw(tiny_expression, image, features(seed=seed)) for seed in (0, 1))
        assert (one - other).abs().max() > 1e-2

    def test_expression_guidance_is_the_published_formula(self, tiny_expression, image):
        """u + 3 (c - u) of the two passes of the first and only step."""
        one_step = {"num_inference_steps": 1}
        noise = torch.randn(LATENTS, generator=torch.Generator().manual_seed(0))
        common = one_step | {"latents": noise, "generator": None}
        with_it = draw(tiny_expression, image, expression_guidance_scale=1.0, **common)
        guided = draw(tiny_expression, image, expression_guidance_scale=3.0, **common)
        for block in tiny_expression.transformer.blocks:
            torch.nn.init.zeros_(block.attn2.to_v_expression.weight)
        without = draw(tiny_expression, image, expression_guidance_scale=1.0, **common)
        assert torch.allclose(guided, without + 3 * (with_it - without), atol=1e-5)

    def test_guidance_by_text_as_well(self, tiny_expression, image):
        """n + 2 (u - n) + 3 (c - u)."""
        noise = torch.randn(LATENTS, generator=torch.Generator().manual_seed(0))
        common = {"latents": noise, "generator": None, "num_inference_steps": 1}
        negative = {"prompt_embeds": prompt(9), "expression_guidance_scale": 1.0}
        made = draw(
            tiny_expression,
            image,
            guidance_scale=2.0,
            expression_guidance_scale=3.0,
            negative_prompt_embeds=prompt(9),
            **common,
        )
        c = draw(tiny_expression, image, expression_guidance_scale=1.0, **common)
        for block in tiny_expression.transformer.blocks:
            torch.nn.init.zeros_(block.attn2.to_v_expression.weight)
        u = draw(tiny_expression, image, expression_guidance_scale=1.0, **common)
        n = draw(tiny_expression, image, **common, **negative)
        assert torch.allclose(made, n + 2 * (u - n) + 3 * (c - u), atol=1e-5)

    def test_without_guidance_the_network_runs_once_a_step(self, tiny_expression, image):
        calls = []
        tiny_expression.transformer.register_forward_hook(lambda *_: calls.append(1))
        draw(tiny_expression, image, expression_guidance_scale=1.0, num_inference_steps=3)
        assert len(calls) == 3
        draw(tiny_expression, image, expression_guidance_scale=2.0, num_inference_steps=3)
        assert len(calls) == 3 + 6


class TestCharacters:
    def test_each_character_has_its_own_driver(self, tiny_expression, image):
        one = draw(tiny_expression, image, features(2), boxes=halves())
        other = draw(tiny_expression, image, features(2).flip(0), boxes=halves())
        swapped = draw(tiny_expression, image, features(2).flip(0), boxes=halves().flip(0))
        assert (one - other).abs().max() > 1e-3
        assert torch.allclose(one, swapped, atol=1e-5)

    def test_boxes_and_masks_of_the_same_places_are_the_same(self, tiny_expression, image):
        masks = torch.zeros(2, 1, HEIGHT, WIDTH, dtype=torch.bool)
        masks[0, :, :, :16], masks[1, :, :, 48:] = True, True
        one = draw(tiny_expression, image, features(2), boxes=halves())
        assert torch.allclose(draw(tiny_expression, image, features(2), masks=masks), one, atol=1e-6)

    def test_a_ready_mask_and_ready_tokens(self, tiny_expression, image):
        tokens, real = tiny_expression.encode_expression(features(2), 3)
        mask = tiny_expression.character_mask(None, halves(), LATENTS, real)
        assert isinstance(mask, CharacterMask)
        given = {"expression_embeds": tokens, "expression_mask": mask, "expression": None}
        made = tiny_expression(
            image,
            prompt_embeds=prompt(),
            width=WIDTH,
            height=HEIGHT,
            generator=torch.Generator().manual_seed(3),
            output_type="latent",
            **given,
        ).frames
        assert torch.equal(made, draw(tiny_expression, image, features(2), boxes=halves()))

    def test_options_of_the_regions_are_passed_on(self, tiny_expression, image):
        plain = draw(tiny_expression, image, features(2), boxes=halves())
        for options in ({"background": "all"}, {"padding": "masked"}, {"compat": True}):
            made = draw(tiny_expression, image, features(2), boxes=halves(), region_options=options)
            assert (made - plain).abs().max() > 1e-5, options
        masked = draw(tiny_expression, image, region_options={"padding": "masked"})
        assert (masked - draw(tiny_expression, image)).abs().max() > 1e-5

    def test_a_window_may_begin_with_another_expression(self, tiny_expression):
        first = features(seed=5)[:, 0]
        tokens, _ = tiny_expression.encode_expression(features(), 3, first)
        plain, _ = tiny_expression.encode_expression(features(), 3)
        own, _ = tiny_expression.encode_expression(first[:, None], 1)
        assert torch.equal(tokens[:, 1:], plain[:, 1:]) and torch.equal(tokens[:, :1], own)


class TestRun:
    def test_a_seed_decides_and_numbered_noise_is_the_frames_own(self, tiny_expression, image):
        one, two = (draw(tiny_expression, image, generator=torch.Generator().manual_seed(1)) for _ in range(2))
        assert torch.equal(one, two) and not torch.equal(one, draw(tiny_expression, image))
        numbered = draw(tiny_expression, image, generator=None, noise=FrameNoise(0, (4, 5, 6)))
        assert not torch.equal(numbered, draw(tiny_expression, image, generator=None, noise=FrameNoise(0, (0, 5, 6))))

    def test_known_latents_are_exact_and_hand_the_picture_on(self, tiny_expression, image):
        known = torch.randn(LATENTS, generator=torch.Generator().manual_seed(7))
        frames = torch.tensor([False, True, False])
        made = draw(tiny_expression, image, known_latents=known, known_frames=frames)
        assert torch.equal(made[:, :, 1], known[:, :, 1])
        assert not torch.allclose(made[:, :, 2], draw(tiny_expression, image)[:, :, 2], atol=1e-4)

    @pytest.mark.parametrize(
        ("name", "kind"), [("unipc", UniPCMultistepScheduler), ("dpm++", DPMSolverMultistepScheduler)]
    )
    def test_other_solvers_of_the_same_flow(self, tiny_expression, image, name, kind):
        """With many steps all of them follow the same path."""
        fine = {"num_inference_steps": 40, "expression_guidance_scale": 1.0}
        wanted = draw(tiny_expression, image, **fine)
        set_flow_scheduler(tiny_expression, name)
        assert isinstance(tiny_expression.scheduler, kind)
        made = draw(tiny_expression, image, **fine)
        assert made.isfinite().all() and (made - wanted).abs().mean() < 0.05 * wanted.std()
        set_flow_scheduler(tiny_expression, "euler")
        assert tiny_expression.scheduler.config.shift == 5

    def test_the_callback_sees_and_changes_each_step(self, tiny_expression, image):
        seen = []

        def watch(pipeline, step, timestep, tensors):
            seen.append((step, float(timestep)))
            return {"latents": tensors["latents"] * 0}

        made = draw(tiny_expression, image, callback_on_step_end=watch, num_inference_steps=3)
        assert [step for step, _ in seen] == [0, 1, 2] and not made.any()

    def test_an_interrupted_run_ends_early(self, tiny_expression, image):
        def stop(pipeline, step, timestep, tensors):
            pipeline._interrupt = step == 1
            return {}

        calls = []
        tiny_expression.transformer.register_forward_hook(lambda *_: calls.append(1))
        draw(tiny_expression, image, callback_on_step_end=stop, num_inference_steps=5, expression_guidance_scale=1.0)
        assert len(calls) == 2

    def test_the_cache_at_tolerance_zero_changes_nothing_and_knows_both_halves(self, tiny_expression, image):
        plain = draw(tiny_expression, image, num_inference_steps=6)
        tiny_expression.transformer.enable_cache(TaylorCacheConfig(tolerance=0))
        assert torch.equal(draw(tiny_expression, image, num_inference_steps=6), plain)
        tiny_expression.transformer.disable_cache()
        tiny_expression.transformer.enable_cache(TaylorCacheConfig(interval=2, tolerance=1.0, warmup=2))
        result = tiny_expression(
            image, features(), prompt_embeds=prompt(), width=64, height=48, num_inference_steps=8, name="a"
        )
        assert set(result.cache.contexts) == {"cond/a", "uncond/a"}
        assert all(context.forecast for context in result.cache.contexts.values())


class TestSaving:
    def test_a_saved_pipeline_draws_the_same(self, tiny_expression, tiny_expression_folder, image):
        loaded = ExpressionPipeline.from_pretrained(tiny_expression_folder)
        loaded.set_progress_bar_config(disable=True)
        assert loaded.config.default_num_inference_steps == 2
        # not bit for bit: where a tensor lies in memory decides which kernel multiplies it
        assert torch.allclose(draw(loaded, image), draw(tiny_expression, image), atol=1e-4)

    def test_parts_may_have_dtypes_of_their_own(self, tiny_expression_folder, image):
        kinds = {"default": torch.bfloat16, "vae": torch.float32, "image_encoder": torch.float32}
        loaded = ExpressionPipeline.from_pretrained(tiny_expression_folder, dtype=kinds)
        loaded.set_progress_bar_config(disable=True)
        assert loaded.transformer.dtype == torch.bfloat16 and loaded.vae.dtype == torch.float32
        assert draw(loaded, image).isfinite().all()

    def test_a_quantisation_reaches_the_part_that_it_names(self, tiny_expression_folder):
        """No library that quantises is on this machine: that it is asked for proves that the setting arrives."""
        config = PipelineQuantizationConfig(
            quant_backend="bitsandbytes_8bit",
            quant_kwargs={"load_in_8bit": True},
            components_to_quantize=["transformer"],
        )
        try:
            loaded = ExpressionPipeline.from_pretrained(tiny_expression_folder, quantization_config=config)
        except (ImportError, RuntimeError, ValueError) as error:
            assert any(word in str(error).lower() for word in ("bitsandbytes", "accelerate", "quantiz"))
        else:
            assert loaded.transformer.is_quantized


class TestMemory:
    def test_model_by_model_runs_in_the_declared_order(self, tiny_expression, image):
        plain = draw(tiny_expression, image, output_type="pt")
        tiny_expression.enable_model_cpu_offload(device="cpu")
        assert len(tiny_expression._all_hooks) == 4
        assert torch.equal(draw(tiny_expression, image, output_type="pt"), plain)

    def test_layer_by_layer_finds_every_weight(self, tiny_expression, image, tmp_path):
        from diffusers.hooks import apply_group_offloading

        plain = draw(tiny_expression, image)
        for name in ("transformer", "tokens"):
            apply_group_offloading(
                getattr(tiny_expression, name),
                onload_device=torch.device("cpu"),
                offload_device=torch.device("cpu"),
                offload_type="leaf_level",
                offload_to_disk_path=str(tmp_path / name),
            )
        assert torch.allclose(draw(tiny_expression, image), plain, atol=1e-4)

    def test_narrow_storage(self, tiny_expression, image):
        plain = draw(tiny_expression, image)
        tiny_expression.transformer.enable_layerwise_casting(
            storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32
        )
        assert tiny_expression.transformer.blocks[0].attn2.to_k_expression.weight.dtype == torch.float8_e4m3fn
        made = draw(tiny_expression, image)
        assert made.isfinite().all() and 0 < (made - plain).abs().mean() < plain.std()


@pytest.mark.parametrize(
    ("changes", "error", "named"),
    [
        ({"expression": torch.zeros(8, 554)}, ValueError, "8 frames"),
        ({"expression": torch.zeros(9, 553)}, ValueError, "554"),
        ({"expression": torch.zeros(2, 9, 554)}, ValueError, "2 characters"),
        ({"expression": "smile"}, TypeError, "expression"),
        ({"width": 50}, ValueError, "multiple of 16"),
        ({"width": None}, ValueError, "width"),
        ({"picture": 1}, ValueError, "image"),
        ({"expression_guidance_scale": 0.5}, ValueError, "expression_guidance_scale"),
        ({"guidance_scale": float("nan")}, ValueError, "guidance_scale"),
        ({"prompt_embeds": None}, ValueError, "text encoder"),
        ({"prompt": "smiling"}, ValueError, "prompt"),
        ({"output_type": "gif"}, ValueError, "output_type"),
        ({"latents": torch.zeros(1, 16, 2, 6, 8)}, ValueError, "latents"),
        ({"callback_on_step_end_tensor_inputs": ("sigma",)}, ValueError, "sigma"),
        ({"boxes": halves(), "masks": torch.zeros(2, 1, 48, 64)}, ValueError, "masks and boxes"),
        ({"boxes": halves()}, OptionError, "characters"),
        ({"expression": features(2), "masks": torch.zeros(2, 1, 40, 64)}, OptionError, "40"),
    ],
)
def test_what_does_not_fit_is_named(tiny_expression, image, changes, error, named):
    with pytest.raises(error, match=named):
        draw(tiny_expression, image, changes.pop("expression", None), **changes)


def test_a_scheduler_of_another_kind_is_refused(tiny_expression, image):
    from animate.pipelines.scheduler import landmark_scheduler

    tiny_expression.register_modules(scheduler=landmark_scheduler())
    with pytest.raises(ValueError, match="flow"):
        draw(tiny_expression, image)
    with pytest.raises(OptionError, match="euler, unipc"):
        set_flow_scheduler(tiny_expression, "ddim")


class TestText:
    @pytest.fixture
    def with_text(self, tiny_expression):
        """The pipeline with a tiny UMT5 and a tokenizer of three words."""
        from tokenizers import Tokenizer, models, pre_tokenizers
        from tokenizers.processors import TemplateProcessing
        from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

        words = Tokenizer(models.WordLevel({"<pad>": 0, "</s>": 1, "<unk>": 2, "smiling": 3, "woman": 4}, "<unk>"))
        words.pre_tokenizer = pre_tokenizers.Whitespace()
        words.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
        torch.manual_seed(0)
        encoder = UMT5EncoderModel(
            UMT5Config(vocab_size=8, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, dropout_rate=0.0)
        )
        tiny_expression.register_modules(
            text_encoder=encoder.eval(),
            tokenizer=PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="</s>"),
        )
        return tiny_expression

    @pytest.mark.parametrize("text", ["", "smiling  woman"])
    def test_states_are_those_of_diffusers_wan_pipeline(self, with_text, text, monkeypatch):
        # repairs broken Unicode with a library that need not be installed
        monkeypatch.setattr("diffusers.pipelines.wan.pipeline_wan_i2v.basic_clean", str.strip)
        plain = WanImageToVideoPipeline(
            tokenizer=with_text.tokenizer,
            text_encoder=with_text.text_encoder,
            vae=with_text.vae,
            scheduler=with_text.scheduler,
        )
        wanted, _ = plain.encode_prompt([text], None, False, max_sequence_length=512, dtype=torch.float32)
        made = with_text.encode_prompt(text)
        assert made.shape == (1, 512, 16) and torch.allclose(made, wanted, atol=1e-6)
        assert made[0, 0].any() and not made[0, 3:].any()

    def test_the_empty_text_is_the_default(self, with_text, image):
        wanted = draw(with_text, image, prompt_embeds=with_text.encode_prompt(""))
        assert torch.equal(draw(with_text, image, prompt_embeds=None), wanted)
        assert not torch.equal(draw(with_text, image, prompt_embeds=None, prompt="smiling"), wanted)

    def test_text_encoder_and_tokenizer_are_saved_with_it(self, with_text, image, tmp_path):
        with_text.save_pretrained(tmp_path)
        loaded = ExpressionPipeline.from_pretrained(tmp_path)
        assert torch.allclose(loaded.encode_prompt("woman"), with_text.encode_prompt("woman"), atol=1e-5)
