"""Codec, guider, expression tokens and the gated residual."""

import pytest
import torch

from animate.models.codec import SpaceToDepthCodec, retrieve_latents
from animate.models.expression_tokens import ExpressionTokens
from animate.models.guider import LandmarkGuider
from animate.pipelines.residual import predict_clean, residual_condition
from animate.pipelines.scheduler import landmark_scheduler, mini_scheduler

torch.set_num_threads(1)


class TestCodec:
    @pytest.mark.parametrize("shape", [(2, 3, 16, 24), (2, 3, 5, 16, 24)], ids=["image", "clip"])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_round_trip_is_bit_identical(self, shape, dtype):
        codec = SpaceToDepthCodec()
        pixels = torch.randn(shape).to(dtype)
        latents = retrieve_latents(codec.encode(pixels))
        assert latents.shape == (2, codec.latent_channels, *shape[2:-2], 4, 6)
        assert torch.equal(codec.decode(latents).sample, pixels)

    def test_channel_order_is_the_documented_one(self):
        pixels = torch.arange(3 * 8 * 8.0).reshape(1, 3, 8, 8)
        latents = SpaceToDepthCodec(patch_size=4).encode(pixels).latents
        colour, row, column = 2, 1, 3
        assert latents[0, colour * 16 + row * 4 + column, 1, 0] == pixels[0, colour, 4 + row, column]

    def test_latents_of_a_vae_are_its_mean(self):
        from diffusers import AutoencoderKL

        torch.manual_seed(0)
        vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=2)
        encoded = vae.encode(torch.randn(1, 3, 8, 8))
        assert torch.equal(retrieve_latents(encoded), encoded.latent_dist.mean)

    def test_something_else_has_no_latents(self):
        with pytest.raises(TypeError, match="is a Tensor"):
            retrieve_latents(torch.zeros(1))

    @pytest.mark.parametrize("shape", [(1, 3, 15, 16), (3, 16, 16)])
    def test_wrong_shape_is_named(self, shape):
        with pytest.raises(ValueError, match=f"has shape \\{shape}".replace(")", "\\)")):
            SpaceToDepthCodec().encode(torch.zeros(shape))

    def test_saved_and_loaded(self, tmp_path):
        SpaceToDepthCodec(patch_size=2).save_pretrained(tmp_path)
        assert SpaceToDepthCodec.from_pretrained(tmp_path).config.patch_size == 2


class TestGuider:
    def test_starts_without_effect_at_the_latents_size(self):
        guider = LandmarkGuider(16, block_out_channels=(8, 8, 8), strides=(2, 2))
        output = guider(torch.rand(2, 3, 4, 16, 24))
        assert guider.scale_factor == 4
        assert output.shape == (2, 16, 4, 4, 6)
        assert not output.any()

    def test_patches_make_the_same_size(self):
        guider = LandmarkGuider(16, block_out_channels=(8, 8), strides=(1,), patch_size=4)
        torch.nn.init.ones_(guider.conv_out.weight)
        landmark_map = torch.zeros(1, 3, 1, 16, 16)
        black = guider(landmark_map)
        landmark_map[..., 2, 3] = 1
        assert black.shape == (1, 16, 1, 4, 4)
        assert (guider(landmark_map) != black).any()

    def test_frames_do_not_mix(self):
        guider = LandmarkGuider(4, block_out_channels=(8, 8), strides=(2,))
        torch.nn.init.normal_(guider.conv_out.weight)
        clip = torch.rand(1, 3, 2, 8, 8)
        torch.testing.assert_close(guider(clip)[:, :, 1:], guider(clip[:, :, 1:]))

    def test_wrong_strides_are_named(self):
        with pytest.raises(ValueError, match="`strides` must hold 2 numbers"):
            LandmarkGuider(16, block_out_channels=(8, 8, 8), strides=(2,))


class TestExpressionTokens:
    def test_several_faces_are_side_by_side(self):
        torch.manual_seed(0)
        network = ExpressionTokens(feature_dim=6, num_tokens=3, token_dim=8, hidden_dim=16)
        motion = torch.randn(2, 4, 5, 6)  # four faces
        tokens = network(motion)
        assert tokens.shape == (2, 5, 12, 8)
        for face in range(4):
            torch.testing.assert_close(tokens[:, :, 3 * face : 3 * face + 3], network(motion[:, face]))
        assert network.face_ids(2, [4, 1, 9, 2]).tolist() == [[4, 4, 4, 1, 1, 1, 9, 9, 9, 2, 2, 2]] * 2

    def test_tokens_are_normalised_and_tell_motions_apart(self):
        torch.manual_seed(0)
        tokens = ExpressionTokens(feature_dim=6)(torch.randn(1, 2, 6))
        assert tokens.shape == (1, 2, 4, 128)
        torch.testing.assert_close(tokens.std(-1, correction=0), torch.ones(1, 2, 4), atol=2e-2, rtol=0)
        assert not torch.allclose(tokens[:, 0], tokens[:, 1])

    def test_wrong_length_is_named(self):
        with pytest.raises(ValueError, match=r"`motion` must be \(B, T, 6\).*\(1, 2, 7\)"):
            ExpressionTokens(feature_dim=6)(torch.zeros(1, 2, 7))


class TestResidual:
    def test_gate_of_one_channel_gates_every_colour_of_its_pixel(self):
        codec = SpaceToDepthCodec()
        residual, base = torch.randn(1, 3, 2, 8, 8), torch.randn(1, 3, 2, 8, 8)
        gate = torch.rand(1, 1, 2, 8, 8)
        latents = [codec.encode(x).latents for x in (residual, base, gate)]
        assert torch.equal(codec.decode(predict_clean(*latents)).sample, base + gate * residual)

    def test_closed_gate_gives_the_base_bit_for_bit(self):
        base = torch.randn(1, 48, 1, 2, 2)
        assert torch.equal(predict_clean(torch.randn(base.shape), base, torch.zeros(1, 16, 1, 2, 2)), base)

    @pytest.mark.parametrize("gate", [(1, 5, 1, 2, 2), (1, 16, 1, 4, 4)])
    def test_gate_that_does_not_fit_is_named(self, gate):
        base = torch.zeros(1, 48, 1, 2, 2)
        with pytest.raises(ValueError, match="`gate` of shape"):
            predict_clean(base, base, torch.zeros(gate))

    def test_condition_repeats_the_portrait_over_frames(self):
        base, gate, portrait = torch.zeros(1, 12, 3, 2, 2), torch.ones(1, 4, 3, 2, 2), torch.rand(1, 12, 2, 2)
        condition = residual_condition(base, gate, portrait)
        assert condition.shape == (1, 28, 3, 2, 2)
        assert torch.equal(condition[:, 16:, 2], portrait)


class TestScheduler:
    def test_published_timesteps_and_zero_terminal_signal(self):
        scheduler = landmark_scheduler()
        scheduler.set_timesteps(30)
        assert scheduler.timesteps[:3].tolist() == [999, 966, 932]
        assert scheduler.timesteps[-2:].tolist() == [66, 32]
        assert scheduler.alphas_cumprod[999] == 0

    def test_one_step_of_mini_gives_its_clean_prediction(self):
        scheduler = mini_scheduler()
        scheduler.set_timesteps(1)
        clean = torch.randn(4)
        assert torch.equal(scheduler.step(clean, scheduler.timesteps[0], torch.randn(4)).prev_sample, clean)
