"""The denoiser: masks, guidance, motion modules, training switches."""

import pytest
import torch

from animate.models.reference_network import ReferenceNetwork
from animate.models.unet import LandmarkUNet

torch.set_num_threads(1)


def mini_unet(**changes) -> LandmarkUNet:
    """A tiny `mini`: two levels, attention in the lower one and in the middle."""
    torch.manual_seed(0)
    config = {
        "in_channels": 12,
        "out_channels": 12,
        "condition_channels": 5,
        "down_block_types": ("DownBlock3D", "CrossAttnDownBlock3D"),
        "up_block_types": ("CrossAttnUpBlock3D", "UpBlock3D"),
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "num_attention_heads": 2,
        "cross_attention_dim": 8,
        "image_embedding_dim": None,
        "norm_num_groups": 8,
        "use_motion_module": False,
    }
    return LandmarkUNet(**{**config, **changes}).eval()


def mini_reference_network(**changes) -> ReferenceNetwork:
    torch.manual_seed(1)
    config = {
        "in_channels": 12,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "num_attention_heads": 2,
        "cross_attention_dim": None,
        "image_embedding_dim": None,
        "norm_num_groups": 8,
    }
    return ReferenceNetwork(**{**config, **changes}).eval()


def mini_inputs(batch=2, frames=3, size=8, tokens=4) -> dict:
    generator = torch.Generator().manual_seed(2)
    return {
        "sample": torch.randn(batch, 12, frames, size, size, generator=generator),
        "timestep": 500,
        "condition": torch.randn(batch, 5, frames, size, size, generator=generator),
        "encoder_hidden_states": torch.randn(batch * frames, tokens, 8, generator=generator),
    }


class TestFaceMask:
    """A pixel attends to the tokens of its own face alone."""

    @torch.no_grad()
    def run_block(self, tokens):
        from animate.models.attention import FaceMask, SpatialTransformer

        torch.manual_seed(0)
        transformer = SpatialTransformer(16, heads=2, context_dim=8, norm_num_groups=8)
        pixels = torch.randn(2, 16, 4, 4)
        face_map = torch.zeros(1, 2, 8, 8, dtype=torch.long)
        face_map[..., :4] = 1
        face_map[:, :, :4, 4:] = 2  # the lower right quarter is background
        mask = FaceMask(face_map, torch.tensor([[1, 1, 2, 2]]))
        return transformer(pixels, tokens, mask)

    def test_tokens_of_another_face_have_exactly_no_influence(self):
        tokens = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0))
        changed = tokens.clone()
        changed[:, 2:] += 10  # face 2
        before, after = self.run_block(tokens), self.run_block(changed)
        differs = (before != after).any(dim=1)  # (frames, 4, 4)
        assert differs[:, :2, 2:].all()
        assert not differs[:, :, :2].any()
        assert not differs[:, 2:, 2:].any()

    def test_background_is_finite_and_takes_nothing(self):
        tokens = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0))
        before, after = self.run_block(tokens), self.run_block(tokens * 3 + 1)
        assert before.isfinite().all()
        assert torch.equal(before[:, :, 2:, 2:], after[:, :, 2:, 2:])

    @torch.no_grad()
    def test_one_face_everywhere_is_the_same_as_no_mask(self):
        unet, inputs = mini_unet(), mini_inputs()
        face_map, token_faces = torch.ones(2, 3, 8, 8, dtype=torch.long), torch.ones(2, 4, dtype=torch.long)
        masked = unet(**inputs, face_map=face_map, token_faces=token_faces).sample
        torch.testing.assert_close(masked, unet(**inputs).sample)

    def test_shared_tokens_reach_every_pixel(self):
        from animate.models.attention import SHARED_FACE, FaceMask

        mask = FaceMask(torch.tensor([[[[0, 7]]]]), torch.tensor([[SHARED_FACE, 7]]))
        assert mask.at(1, 2).squeeze().tolist() == [[True, False], [True, True]]

    def test_map_without_token_ids_is_an_error(self):
        with pytest.raises(ValueError, match="`face_map` and `token_faces` belong together"):
            mini_unet()(**mini_inputs(), face_map=torch.ones(2, 3, 8, 8, dtype=torch.long))


class TestReference:
    @torch.no_grad()
    def test_network_hands_out_one_map_for_each_transformer(self):
        unet, network = mini_unet(), mini_reference_network()
        features = network(torch.randn(2, 12, 8, 8))
        # one in the lower down block, one in the middle, two in the lower up block; all at 4x4
        assert [tuple(f.shape) for f in features] == [(2, 16, 32)] * 4
        assert unet.num_reference_features == 4
        assert len(network.up_blocks) == 1  # what follows the last norm1 is left out

    @torch.no_grad()
    def test_features_change_the_picture_but_not_the_unconditional_half(self):
        unet, inputs = mini_unet(), mini_inputs()
        features = mini_reference_network()(torch.randn(1, 12, 8, 8, generator=torch.Generator().manual_seed(3)))
        plain = unet(**inputs).sample
        guided = unet(**inputs, reference_features=features, unconditional_batch=1).sample
        torch.testing.assert_close(guided[:1], plain[:1], atol=1e-6, rtol=1e-5)
        assert (guided[1] - plain[1]).abs().max() > 1e-3

    def test_wrong_number_of_features_is_an_error(self):
        with pytest.raises(ValueError, match="must hold 4 maps but holds 1"):
            mini_unet()(**mini_inputs(), reference_features=[torch.zeros(2, 16, 32)])


class TestMini:
    @torch.no_grad()
    def test_zero_initialised_output_is_exactly_zero(self):
        output = mini_unet(zero_init_output=True)(**mini_inputs()).sample
        assert output.shape == (2, 12, 3, 8, 8)
        assert not output.any()

    @torch.no_grad()
    def test_frames_are_independent_without_motion_modules(self):
        unet, inputs = mini_unet(), mini_inputs(batch=1)
        tokens = inputs.pop("encoder_hidden_states")
        clip = unet(**inputs, encoder_hidden_states=tokens).sample
        inputs["sample"], inputs["condition"] = inputs["sample"][:, :, 1:2], inputs["condition"][:, :, 1:2]
        frame = unet(**inputs, encoder_hidden_states=tokens[1:2]).sample
        torch.testing.assert_close(clip[:, :, 1:2], frame, atol=1e-5, rtol=1e-5)

    @torch.no_grad()
    def test_motion_modules_start_as_the_identity_and_then_mix_frames(self):
        inputs = mini_inputs(batch=1)
        unet = mini_unet(use_motion_module=True, motion_num_attention_heads=2, motion_norm_num_groups=8)
        plain = mini_unet()
        plain.load_state_dict({k: v for k, v in unet.state_dict().items() if "motion_modules" not in k})
        torch.testing.assert_close(unet(**inputs).sample, plain(**inputs).sample)

        for name, parameter in unet.named_parameters():
            if "temporal_transformer.proj_out.weight" in name:
                parameter.fill_(0.05)
        changed = {**inputs, "condition": inputs["condition"].clone()}
        changed["condition"][:, :, 2] += 1
        difference = (unet(**inputs).sample - unet(**changed).sample).abs()
        assert difference[:, :, 0].max() > 1e-5

    def test_more_frames_than_positions_is_an_error(self):
        unet = mini_unet(
            use_motion_module=True,
            motion_num_attention_heads=2,
            motion_norm_num_groups=8,
            motion_max_frames=2,
        )
        with pytest.raises(ValueError, match="`num_frames` is 3 but the motion modules know 2"):
            unet(**mini_inputs())

    @torch.no_grad()
    def test_odd_sizes_come_back_as_they_went_in(self):
        unet = mini_unet(cross_attention_dim=None)
        output = unet(torch.randn(1, 12, 1, 7, 5), 0, condition=torch.randn(1, 5, 1, 7, 5)).sample
        assert output.shape == (1, 12, 1, 7, 5)

    @torch.no_grad()
    def test_condition_and_landmarks_reach_the_output(self):
        unet, inputs = mini_unet(), mini_inputs()
        plain = unet(**inputs).sample
        assert (unet(**{**inputs, "condition": inputs["condition"] + 1}).sample - plain).abs().max() > 1e-3
        landmarks = torch.ones(2, 16, 3, 8, 8)
        assert (unet(**inputs, landmark_features=landmarks).sample - plain).abs().max() > 1e-3

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"sample": torch.zeros(1, 12, 8, 8)}, r"`sample` must be \(B, C, T, H, W\)"),
            ({"condition": None}, "`condition` must have 5 channels but has 0"),
            ({"encoder_hidden_states": None}, "`encoder_hidden_states` is None"),
        ],
    )
    def test_wrong_input_is_named(self, change, message):
        with pytest.raises(ValueError, match=message):
            mini_unet()(**{**mini_inputs(), **change})

    def test_unknown_block_type_is_named(self):
        with pytest.raises(ValueError, match="unknown block type 'DownBlock2D'"):
            mini_unet(down_block_types=("DownBlock2D", "CrossAttnDownBlock3D"))


class TestTraining:
    def test_gradient_checkpointing_changes_nothing(self):
        torch.manual_seed(0)
        inputs = mini_inputs()
        network = mini_reference_network().train()
        portrait = torch.randn(2, 12, 8, 8)
        results = []
        for checkpointing in (False, True):
            unet = mini_unet(use_motion_module=True, motion_num_attention_heads=2, motion_norm_num_groups=8).train()
            network.zero_grad()
            for model in (unet, network):
                if checkpointing:
                    model.enable_gradient_checkpointing()
            loss = unet(**inputs, reference_features=network(portrait)).sample.square().mean()
            loss.backward()
            gradients = {f"unet.{k}": p.grad for k, p in unet.named_parameters()}
            gradients |= {f"reference.{k}": p.grad.clone() for k, p in network.named_parameters() if p.grad is not None}
            results.append((loss, gradients))
        (loss, gradients), (checkpointed_loss, checkpointed_gradients) = results
        torch.testing.assert_close(checkpointed_loss, loss)
        assert gradients.keys() == checkpointed_gradients.keys()
        for key, gradient in gradients.items():
            torch.testing.assert_close(checkpointed_gradients[key], gradient, atol=1e-6, rtol=1e-4, msg=key)

    def test_bfloat16_autocast_trains(self):
        unet = mini_unet().train()
        with torch.autocast("cpu", torch.bfloat16):
            loss = unet(**mini_inputs()).sample.float().square().mean()
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in unet.parameters())


class TestDiffusersManners:
    def test_saved_and_loaded_network_is_the_same(self, tmp_path):
        unet, inputs = (
            mini_unet(use_motion_module=True, motion_num_attention_heads=2, motion_norm_num_groups=8),
            mini_inputs(),
        )
        unet.save_pretrained(tmp_path)
        loaded = LandmarkUNet.from_pretrained(tmp_path)
        with torch.no_grad():
            assert torch.equal(loaded(**inputs).sample, unet(**inputs).sample)

    def test_attention_back_end_reaches_every_attention(self):
        unet = mini_unet(use_motion_module=True, motion_num_attention_heads=2, motion_norm_num_groups=8)
        unet.set_attention_backend("_native_math")
        # two in each of 4 spatial transformers, two in each of 7 motion modules
        assert len(unet.attn_processors) == 4 * 2 + 7 * 2
        assert all(p._attention_backend == "_native_math" for p in unet.attn_processors.values())

    @torch.no_grad()
    def test_half_precision_runs(self):
        unet = mini_unet().to(torch.bfloat16)
        inputs = {k: v.bfloat16() if torch.is_tensor(v) else v for k, v in mini_inputs().items()}
        assert unet(**inputs).sample.dtype == torch.bfloat16

    @torch.no_grad()
    def test_tuple_and_output_agree(self):
        unet, inputs = mini_unet(), mini_inputs()
        assert torch.equal(unet(**inputs, return_dict=False)[0], unet(**inputs).sample)
