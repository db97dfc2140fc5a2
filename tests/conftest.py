"""Fixtures that every test folder shares."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GLOG_minloglevel", "2")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The data folder that lies beside the checkout; tests that need it skip where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("the data folder ../shared is not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def astronaut():
    """A real portrait, (512, 512, 3) uint8 RGB, that comes inside scikit-image."""
    from skimage import data

    return data.astronaut()


def tiny_full_size_pipeline():
    """Every part of the full-size pipeline, a few channels wide, seeded; no part of it is without effect.

    Four levels of 8, 8, 16, 16 channels with attention in the two middle ones, so that 512 px frames are still quick.
    Knows 32 frames at most, draws in 2 steps with guidance 3.5; height and width must be multiples of 8.
    """
    import torch
    from diffusers import AutoencoderKL
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    from animate.models.guider import LandmarkGuider
    from animate.models.reference_network import ReferenceNetwork
    from animate.models.unet import LandmarkUNet
    from animate.pipelines.landmark import LandmarkAnimationPipeline
    from animate.pipelines.scheduler import landmark_scheduler

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layout = {"block_out_channels": (8, 8, 16, 16), "layers_per_block": 1, "num_attention_heads": 2}
        layout |= {"norm_num_groups": 4, "cross_attention_dim": 8, "image_embedding_dim": 16}
        attending = [False, True, True, False]

        def blocks(kind: str, dimensions: int) -> tuple[str, ...]:
            return tuple(f"CrossAttn{kind}Block{dimensions}D" if a else f"{kind}Block{dimensions}D" for a in attending)

        pipeline = LandmarkAnimationPipeline(
            vae=AutoencoderKL(
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                block_out_channels=(4, 4, 8, 8),
                norm_num_groups=4,
                latent_channels=4,
                scaling_factor=0.18215,
                mid_block_add_attention=False,
            ),
            unet=LandmarkUNet(
                **layout,
                down_block_types=blocks("Down", 3),
                up_block_types=blocks("Up", 3),
                motion_num_attention_heads=2,
                motion_norm_num_groups=4,
            ),
            reference_network=ReferenceNetwork(
                **layout, down_block_types=blocks("Down", 2), up_block_types=blocks("Up", 2)
            ),
            guider=LandmarkGuider(8, block_out_channels=(4, 4, 8, 8)),
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
            ).eval(),
            scheduler=landmark_scheduler(),
            default_num_inference_steps=2,
        )
        # these start at zero, so that without training landmarks and motion modules would do nothing
        torch.nn.init.normal_(pipeline.guider.conv_out.weight, std=0.5)
        for name, parameter in pipeline.unet.named_parameters():
            if name.endswith("temporal_transformer.proj_out.weight"):
                torch.nn.init.normal_(parameter, std=0.3)
    for part in (pipeline.vae, pipeline.unet, pipeline.reference_network, pipeline.guider):
        part.eval()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="session")
def _tiny_pipeline():
    return tiny_full_size_pipeline()


@pytest.fixture(scope="session")
def tiny_pipeline_folder(tmp_path_factory, _tiny_pipeline) -> Path:
    """A saved full-size pipeline of random weights (`tiny_full_size_pipeline`); read only, copy it to change it."""
    folder = tmp_path_factory.mktemp("tiny") / "follow-your-emoji"
    _tiny_pipeline.save_pretrained(folder)
    return folder


@pytest.fixture
def tiny_pipeline(_tiny_pipeline):
    """The same pipeline as an object of the test's own."""
    from copy import deepcopy

    pipeline = type(_tiny_pipeline)(**deepcopy(_tiny_pipeline.components), default_num_inference_steps=2)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
