"""The landmark pipeline at both sizes, on tiny real networks with fixed seeds."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from animate.models.codec import SpaceToDepthCodec
from animate.models.expression_tokens import ExpressionTokens
from animate.models.guider import LandmarkGuider
from animate.models.reference_network import ReferenceNetwork
from animate.models.unet import LandmarkUNet
from animate.pipelines.landmark import EncodedReference, LandmarkAnimationPipeline
from animate.pipelines.scheduler import landmark_scheduler, mini_scheduler

torch.set_num_threads(1)

FRAMES, SIZE = 3, 16


def mini_pipeline(zero_init_output=False, reference_in_condition=True, prediction_type="sample"):
    torch.manual_seed(0)
    pipeline = LandmarkAnimationPipeline(
        vae=SpaceToDepthCodec(patch_size=2),
        unet=LandmarkUNet(
            in_channels=12,
            out_channels=12,
            condition_channels=12 + 4 + (12 if reference_in_condition else 0),
            down_block_types=("DownBlock3D", "CrossAttnDownBlock3D"),
            up_block_types=("CrossAttnUpBlock3D", "UpBlock3D"),
            block_out_channels=(16, 32),
            layers_per_block=1,
            num_attention_heads=2,
            cross_attention_dim=8,
            image_embedding_dim=None,
            norm_num_groups=8,
            use_motion_module=False,
            zero_init_output=zero_init_output,
        ),
        scheduler=landmark_scheduler(prediction_type),
        guider=LandmarkGuider(16, block_out_channels=(8, 8), strides=(1,), patch_size=2),
        expression_tokens=ExpressionTokens(feature_dim=6, num_tokens=2, token_dim=8, hidden_dim=8),
        default_num_inference_steps=2,
        default_guidance_scale=1.0,
    )
    torch.nn.init.normal_(pipeline.guider.conv_out.weight, std=0.1)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def mini_inputs(batch=1) -> dict:
    generator = torch.Generator().manual_seed(1)
    return {
        "reference_image": torch.rand(batch, 3, SIZE, SIZE, generator=generator) * 2 - 1,
        "landmark_map": torch.rand(batch, 3, FRAMES, SIZE, SIZE, generator=generator),
        "base": torch.rand(batch, 3, FRAMES, SIZE, SIZE, generator=generator) * 2 - 1,
        "gate": torch.rand(batch, 1, FRAMES, SIZE, SIZE, generator=generator),
        "expression": torch.randn(batch, FRAMES, 6, generator=generator),
        "generator": torch.Generator().manual_seed(7),
    }


def full_pipeline():
    """Every part of the full-size pipeline, a few channels wide."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(0)
    layout = {
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "num_attention_heads": 2,
        "norm_num_groups": 4,
    }
    layout |= {"cross_attention_dim": 8, "image_embedding_dim": 16}
    pipeline = LandmarkAnimationPipeline(
        vae=AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(8, 8),
            norm_num_groups=4,
            latent_channels=4,
            scaling_factor=0.18215,
        ),
        unet=LandmarkUNet(
            **layout,
            down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
            up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
            motion_num_attention_heads=2,
            motion_norm_num_groups=4,
        ),
        reference_network=ReferenceNetwork(
            **layout,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        ),
        guider=LandmarkGuider(8, block_out_channels=(8, 8), strides=(2,)),
        image_encoder=CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                image_size=32,
                patch_size=16,
                projection_dim=8,
            )
        ),
        scheduler=landmark_scheduler(),
        default_num_inference_steps=2,
    )
    torch.nn.init.normal_(pipeline.guider.conv_out.weight, std=0.1)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def full_inputs() -> dict:
    generator = torch.Generator().manual_seed(1)
    return {
        "reference_image": torch.rand(1, 3, SIZE, SIZE, generator=generator) * 2 - 1,
        "landmark_map": torch.rand(1, 3, FRAMES, SIZE, SIZE, generator=generator),
        "generator": torch.Generator().manual_seed(7),
    }


class TestMini:
    @pytest.mark.parametrize("steps", [1, 2, 4, 6, 7])
    def test_network_that_answers_zero_gives_the_base_exactly(self, steps):
        inputs = mini_inputs()
        frames = mini_pipeline(zero_init_output=True)(**inputs, num_inference_steps=steps).frames
        expected = (inputs["base"] / 2 + 0.5).clamp(0, 1).transpose(1, 2)
        assert torch.equal(frames, expected)

    def test_closed_gate_keeps_the_base_and_an_open_one_does_not(self):
        inputs = mini_inputs()
        inputs["gate"][..., :8] = 0
        frames = mini_pipeline()(**inputs).frames
        expected = (inputs["base"] / 2 + 0.5).clamp(0, 1).transpose(1, 2)
        assert torch.equal(frames[..., :8], expected[..., :8])
        assert (frames[..., 8:] - expected[..., 8:]).abs().max() > 1e-3

    def test_same_seed_gives_identical_frames_and_another_does_not(self):
        pipeline = mini_pipeline()
        first, second = (pipeline(**mini_inputs()).frames for _ in range(2))
        other = pipeline(**{**mini_inputs(), "generator": torch.Generator().manual_seed(8)}).frames
        assert torch.equal(first, second)
        assert not torch.equal(first, other)

    def test_frames_that_want_the_same_get_the_same(self):
        inputs = mini_inputs()
        for name, axis in (("landmark_map", 2), ("base", 2), ("gate", 2), ("expression", 1)):
            inputs[name] = inputs[name].narrow(axis, 0, 1).repeat_interleave(FRAMES, dim=axis)
        frames = mini_pipeline()(**inputs).frames
        torch.testing.assert_close(frames[:, 1], frames[:, 0], atol=1e-5, rtol=0)
        restless = mini_pipeline()(**{**inputs, "share_noise": False}).frames
        assert (restless[:, 1] - restless[:, 0]).abs().max() > 1e-3

    def test_clip_in_pieces_is_the_whole_clip(self):
        pipeline = mini_pipeline()
        whole = pipeline(**mini_inputs()).frames
        pieces = []
        for part in (slice(0, 2), slice(2, 3)):
            inputs = mini_inputs()
            for name in ("landmark_map", "base", "gate"):
                inputs[name] = inputs[name][:, :, part]
            inputs["expression"] = inputs["expression"][:, part]
            pieces.append(pipeline(**inputs).frames)
        torch.testing.assert_close(torch.cat(pieces, dim=1), whole, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("name", ["reference_image", "landmark_map", "base", "expression"])
    def test_every_input_matters(self, name):
        pipeline, inputs = mini_pipeline(), mini_inputs()
        plain = pipeline(**inputs).frames
        inputs = mini_inputs()
        inputs[name] = inputs[name] * 0.5 + 0.1
        assert (pipeline(**inputs).frames - plain).abs().max() > 1e-4

    def test_without_the_portrait_in_the_condition_none_is_needed(self):
        inputs = mini_inputs()
        inputs.pop("reference_image")
        pipeline = mini_pipeline(reference_in_condition=False)
        assert pipeline(**inputs).frames.shape == (1, FRAMES, 3, SIZE, SIZE)

    def test_several_faces_with_a_map(self):
        pipeline, inputs = mini_pipeline(), mini_inputs(batch=2)
        inputs["expression"] = torch.randn(2, 2, FRAMES, 6)
        face_map = torch.full((2, FRAMES, SIZE, SIZE), 5)
        face_map[..., :8] = 3
        mapped = pipeline(**inputs, face_map=face_map, face_ids=[3, 5]).frames
        assert mapped.shape == (2, FRAMES, 3, SIZE, SIZE)

        # a map without any known face: nobody's expression is looked at
        inputs["generator"] = torch.Generator().manual_seed(7)
        nobody = pipeline(**inputs, face_map=face_map, face_ids=[8, 9]).frames
        inputs["generator"] = torch.Generator().manual_seed(7)
        inputs["expression"] = inputs["expression"] + 1
        still_nobody = pipeline(**inputs, face_map=face_map, face_ids=[8, 9]).frames
        assert torch.equal(nobody, still_nobody)
        assert not torch.equal(mapped, nobody)

    def test_noise_may_be_given_and_is_repeated(self):
        pipeline, inputs = mini_pipeline(), mini_inputs()
        noise = torch.randn(1, 12, 1, 8, 8, generator=torch.Generator().manual_seed(7))
        drawn = pipeline(**inputs).frames
        given = pipeline(**{**mini_inputs(), "generator": None, "latents": noise}).frames
        assert torch.equal(given, drawn)

    def test_fresh_noise_of_eta_is_shared_too(self):
        inputs = mini_inputs()
        for name, axis in (("landmark_map", 2), ("base", 2), ("gate", 2), ("expression", 1)):
            inputs[name] = inputs[name].narrow(axis, 0, 1).repeat_interleave(FRAMES, dim=axis)
        frames = mini_pipeline()(**inputs, eta=1.0).frames
        torch.testing.assert_close(frames[:, 1], frames[:, 0], atol=1e-5, rtol=0)


class TestFullSize:
    def test_runs_with_guidance_and_repeats(self):
        pipeline = full_pipeline()
        first, second = (pipeline(**full_inputs()).frames for _ in range(2))
        assert first.shape == (1, FRAMES, 3, SIZE, SIZE)
        assert first.isfinite().all()
        assert torch.equal(first, second)
        unguided = pipeline(**full_inputs(), guidance_scale=1.0).frames
        assert not torch.equal(first, unguided)

    def test_guidance_formula(self):
        """Scale s gives unconditional + s * (conditional - unconditional): linear in s after one step."""
        pipeline = full_pipeline()
        one, two, three = (
            pipeline(**full_inputs(), guidance_scale=s, num_inference_steps=1, output_type="latent").frames
            for s in (1.0, 2.0, 3.0)
        )
        torch.testing.assert_close(three - two, two - one, atol=1e-4, rtol=1e-3)
        assert (two - one).abs().max() > 1e-4

    def test_portrait_encoded_once_gives_the_same(self):
        pipeline, inputs = full_pipeline(), full_inputs()
        expected = pipeline(**inputs).frames
        inputs = full_inputs()
        reference = pipeline.encode_reference(inputs.pop("reference_image"))
        assert isinstance(reference, EncodedReference)
        assert reference.tokens.shape == (1, 5, 16)  # every patch and the class token
        assert len(reference.features) == pipeline.unet.num_reference_features
        assert torch.equal(pipeline(**inputs, reference=reference).frames, expected)

    def test_portrait_as_picture_or_array(self):
        import PIL.Image

        pipeline, inputs = full_pipeline(), full_inputs()
        array = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
        frames = []
        tensor = torch.from_numpy(array).permute(2, 0, 1)[None] / 127.5 - 1
        for portrait in (array, PIL.Image.fromarray(array), tensor):
            inputs = {**full_inputs(), "reference_image": portrait}
            frames.append(pipeline(**inputs).frames)
        assert torch.equal(frames[0], frames[1])
        assert torch.equal(frames[0], frames[2])

    def test_other_schedulers(self):
        from diffusers import DPMSolverMultistepScheduler

        pipeline = full_pipeline()
        pipeline.scheduler = DPMSolverMultistepScheduler.from_config(
            pipeline.scheduler.config, rescale_betas_zero_snr=False
        )
        assert pipeline(**full_inputs(), eta=0.5).frames.isfinite().all()


class TestManners:
    @pytest.mark.parametrize("size", ["mini", "full"])
    def test_saved_and_loaded_pipeline_draws_the_same(self, tmp_path, size):
        pipeline, inputs = (mini_pipeline, mini_inputs) if size == "mini" else (full_pipeline, full_inputs)
        pipeline = pipeline()
        pipeline.save_pretrained(tmp_path)
        loaded = LandmarkAnimationPipeline.from_pretrained(tmp_path)
        loaded.set_progress_bar_config(disable=True)
        assert loaded.config.default_num_inference_steps == 2
        for name, weight in pipeline.unet.state_dict().items():
            assert torch.equal(loaded.unet.state_dict()[name], weight), name
        # weights mapped from a file lie at other addresses, for which the kernels round differently
        torch.testing.assert_close(loaded(**inputs()).frames, pipeline(**inputs()).frames, atol=1e-5, rtol=0)
        for name in ("reference_network", "image_encoder", "expression_tokens"):
            assert (getattr(loaded, name) is None) == (getattr(pipeline, name) is None)

    @pytest.mark.parametrize("output_type", ["pt", "np", "pil", "latent"])
    def test_output_types(self, output_type):
        frames = mini_pipeline()(**mini_inputs(), output_type=output_type, return_dict=False)[0]
        if output_type == "pt":
            assert frames.shape == (1, FRAMES, 3, SIZE, SIZE)
        elif output_type == "np":
            assert frames.shape == (1, FRAMES, SIZE, SIZE, 3)
            assert 0 <= frames.min() and frames.max() <= 1
        elif output_type == "pil":
            assert [len(clip) for clip in frames] == [FRAMES]
            assert frames[0][0].size == (SIZE, SIZE)
        else:
            assert frames.shape == (1, 12, FRAMES, SIZE // 2, SIZE // 2)

    def test_callback_sees_each_step_and_may_change_it(self):
        seen = []

        def callback(pipeline, step, timestep, tensors):
            seen.append((step, int(timestep), tuple(tensors["latents"].shape)))
            return {"latents": torch.zeros_like(tensors["latents"])}

        frames = mini_pipeline()(**mini_inputs(), callback_on_step_end=callback).frames
        assert seen == [(0, 999, (1, 12, 3, 8, 8)), (1, 499, (1, 12, 3, 8, 8))]
        assert torch.equal(frames, torch.full_like(frames, 0.5))

    def test_interrupt_stops_after_the_step(self):
        calls = []

        def callback(pipeline, step, timestep, tensors):
            calls.append(step)
            pipeline._interrupt = True
            return tensors

        mini_pipeline()(**mini_inputs(), num_inference_steps=4, callback_on_step_end=callback)
        assert calls == [0]

    def test_half_precision_network_keeps_the_closed_gate_exact(self):
        pipeline, inputs = mini_pipeline(), mini_inputs()
        for name in ("unet", "guider", "expression_tokens"):
            getattr(pipeline, name).to(torch.bfloat16)
        inputs["gate"][:] = 0
        frames = pipeline(**inputs).frames
        assert torch.equal(frames, (inputs["base"] / 2 + 0.5).clamp(0, 1).transpose(1, 2))

    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            ({"landmark_map": None, "base": None}, ValueError, "both None"),
            ({"gate": None}, ValueError, "`gate` is None"),
            (
                {"base": np.zeros((1, 3, 3, 16, 16))},
                TypeError,
                "`base` must be a torch.Tensor but is a ndarray",
            ),
            (
                {"base": torch.zeros(1, 4, 3, 16, 16)},
                ValueError,
                r"`base` must be \(B, 3, T, H, W\) .*\(1, 4, 3",
            ),
            ({"gate": torch.zeros(1, 1, 2, 16, 16)}, ValueError, r"`gate` has .*\(1, 2, 16, 16\)"),
            ({"landmark_map": None}, ValueError, "`landmark_map` is None but the pipeline has `guider`"),
            ({"expression": None}, ValueError, "`expression` is None but the pipeline has"),
            ({"expression": torch.zeros(1, 2, 6)}, ValueError, r"`expression` must be \(1, 3, F\)"),
            ({"expression": torch.zeros(1, 2, 3, 6)}, ValueError, "holds 2 faces but `face_map`"),
            ({"face_map": torch.zeros(1, 3, 16, 16)}, ValueError, "integers but is torch.float32"),
            ({"face_ids": [1, 2]}, ValueError, "`face_ids` must hold 1 numbers, one a face, but holds 2"),
            ({"reference_image": None}, ValueError, "`reference_image` is None"),
            ({"reference_image": "portrait.jpg"}, TypeError, "but is a str"),
            (
                {"reference_image": torch.zeros(3, 16, 16)},
                ValueError,
                r"\(B, 3, H, W\) but has shape \(3, 16, 16\)",
            ),
            ({"num_inference_steps": 0}, ValueError, "must be 1 or more but is 0"),
            ({"num_inference_steps": 2.5}, TypeError, "must be an int but is a float"),
            ({"output_type": "gif"}, ValueError, "is 'gif'"),
            ({"latents": torch.zeros(1, 12, 2, 8, 8)}, ValueError, "`latents` must be"),
            ({"callback_on_step_end_tensor_inputs": ["x"]}, ValueError, r"holds \['x'\]"),
        ],
    )
    def test_wrong_input_is_named(self, change, error, message):
        with pytest.raises(error, match=message):
            mini_pipeline()(**{**mini_inputs(), **change})

    def test_size_must_fit_the_codec(self):
        inputs = {k: v[..., :15] if k in ("landmark_map", "base", "gate") else v for k, v in mini_inputs().items()}
        with pytest.raises(ValueError, match="multiples of 2 but are 16 and 15"):
            mini_pipeline()(**inputs)

    def test_base_needs_a_scheduler_for_samples(self):
        with pytest.raises(ValueError, match="prediction_type 'sample' but it is 'v_prediction'"):
            mini_pipeline(prediction_type="v_prediction")(**mini_inputs())

    def test_mini_scheduler_is_for_samples(self):
        assert mini_scheduler().config.prediction_type == "sample"
