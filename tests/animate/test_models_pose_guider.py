"""AniPortrait's guider: published layout, and a pipeline of AniPortrait's kind that is drawn with it."""

import pytest
import torch

from animate.models.pose_guider import PoseGuider
from animate.pipelines.landmark import LandmarkAnimationPipeline

torch.set_num_threads(1)

TINY = {
    "conditioning_embedding_channels": 8,
    "block_out_channels": (4, 4, 8, 8),
    "num_attention_heads": 2,
    "attention_head_dim": 8,
    "norm_num_groups": 4,
}


def guider() -> PoseGuider:
    torch.manual_seed(0)
    network = PoseGuider(**TINY).eval()
    torch.nn.init.normal_(network.final_proj.weight, std=0.5)  # zero before training
    return network


class TestGuider:
    def test_default_has_the_published_layout(self):
        with torch.device("meta"):
            network = PoseGuider().eval()
        state = network.state_dict()
        assert state["conv_layers.21.weight"].shape == (128, 64, 3, 3)
        assert state["conv_layers.22.running_var"].shape == (128,)
        assert state["final_proj.weight"].shape == (320, 128, 1, 1)
        assert state["conv_layers_3.3.weight"].shape == (1280, 640, 3, 3)
        assert state["cross_attn2.proj_in.weight"].shape == (1408, 640, 1, 1)
        assert state["cross_attn4.transformer_blocks.0.attn1.to_q.weight"].shape == (1408, 1408)
        assert not any(".attn2." in key for key in state)
        features = network(torch.zeros(1, 3, 2, 512, 512, device="meta"))
        assert [tuple(f.shape) for f in features] == [
            (1, 320, 2, 64, 64),
            (1, 320, 2, 32, 32),
            (1, 640, 2, 16, 16),
            (1, 1280, 2, 8, 8),
            (1, 1280, 2, 8, 8),
        ]

    @torch.no_grad()
    def test_starts_without_effect(self):
        torch.manual_seed(0)
        assert not PoseGuider(**TINY).eval()(torch.rand(1, 3, 1, 64, 64))[0].any()

    @torch.no_grad()
    def test_frames_are_apart(self):
        clip = torch.rand(1, 3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        whole, one = guider()(clip), guider()(clip[:, :, 1:2])
        for feature, alone in zip(whole, one, strict=True):
            torch.testing.assert_close(feature[:, :, 1:2], alone, atol=1e-5, rtol=1e-5)


class TestPipeline:
    @pytest.fixture
    def pipeline(self, tiny_pipeline):
        """The tiny pipeline's layout, with CLIP's embedding as the one token and a map for each level."""
        torch.manual_seed(0)
        components = tiny_pipeline.components
        for name in ("unet", "reference_network"):
            network = components[name]
            config = {**network.config, "image_embedding_dim": None, "block_out_channels": (8, 16, 32, 32)}
            components[name] = type(network).from_config(config).eval()
        components["guider"] = guider()
        pipeline = LandmarkAnimationPipeline(**components, default_num_inference_steps=2, image_token_mode="embedding")
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def draw(self, pipeline, brightness=1.0) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1)
        portrait = torch.rand(1, 3, 64, 64, generator=generator) * 2 - 1
        landmark_map = torch.rand(1, 3, 2, 64, 64, generator=generator) * brightness
        return pipeline(portrait, landmark_map, generator=generator).frames

    def test_draws_and_comes_back_from_a_folder(self, pipeline, tmp_path):
        frames = self.draw(pipeline)
        assert frames.isfinite().all()
        pipeline.save_pretrained(tmp_path)
        loaded = LandmarkAnimationPipeline.from_pretrained(tmp_path)
        loaded.set_progress_bar_config(disable=True)
        assert loaded.config.image_token_mode == "embedding"
        torch.testing.assert_close(self.draw(loaded), frames, atol=1e-5, rtol=0)

    def test_landmarks_matter(self, pipeline):
        assert (self.draw(pipeline) - self.draw(pipeline, brightness=0.3)).abs().max() > 1e-3

    @torch.no_grad()
    def test_every_level_matters(self, pipeline):
        unet = pipeline.unet
        features = pipeline.guider(torch.rand(1, 3, 2, 64, 64, generator=torch.Generator().manual_seed(1)))
        inputs = {"sample": torch.randn(1, 4, 2, 8, 8), "timestep": 500, "encoder_hidden_states": torch.randn(1, 1, 8)}
        plain = unet(**inputs, landmark_features=features).sample
        for level in range(len(features)):
            changed = [feature + (index == level) for index, feature in enumerate(features)]
            assert (unet(**inputs, landmark_features=changed).sample - plain).abs().max() > 1e-4, level

    def test_wrong_number_of_maps_is_named(self, pipeline):
        with pytest.raises(ValueError, match="must be one map, or 5 in a list, but holds 2"):
            pipeline.unet(
                torch.zeros(1, 4, 1, 8, 8),
                0,
                torch.zeros(1, 1, 8),
                landmark_features=[torch.zeros(1, 8, 1, 8, 8)] * 2,
            )
