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


def tiny_expression_pipeline():
    """Every part of the expression-driven pipeline but its text encoder, a few channels wide, seeded.

    Height and width must be multiples of 16; draws in 2 steps. States of texts are (1, L, 16).
    """
    import torch
    from diffusers import AutoencoderKLWan
    from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModel

    from animate.models.dit import ExpressionDiT
    from animate.models.motion_projection import MotionProjection
    from animate.models.portrait_tokens import PortraitTokens
    from animate.pipelines.expression import ExpressionPipeline
    from animate.pipelines.flow import flow_scheduler

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformer = ExpressionDiT(
            num_attention_heads=2,
            attention_head_dim=12,
            text_dim=16,
            freq_dim=32,
            ffn_dim=32,
            num_layers=2,
            image_dim=16,
            added_kv_proj_dim=24,
            rope_max_seq_len=64,
            expression_dim=16,
        )
        for block in transformer.blocks:  # starts at zero: without training the expression would do nothing
            torch.nn.init.normal_(block.attn2.to_v_expression.weight, std=0.5)
        vision = CLIPVisionConfig(
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=32,
            patch_size=16,
        )
        pipeline = ExpressionPipeline(
            transformer=transformer,
            tokens=PortraitTokens(token_dim=16, dim=16, depth=1, heads=2, head_dim=8),
            vae=AutoencoderKLWan(base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1),
            scheduler=flow_scheduler(),
            image_encoder=CLIPVisionModel(vision),
            image_processor=CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
            motion_projection=MotionProjection(hidden_dim=8),
            default_num_inference_steps=2,
        )
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="session")
def _tiny_expression():
    return tiny_expression_pipeline()


@pytest.fixture(scope="session")
def tiny_expression_folder(tmp_path_factory, _tiny_expression) -> Path:
    """A saved `tiny_expression_pipeline` with the states of the empty text; read only, copy it to change it."""
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("tiny") / "fantasy-portrait"
    _tiny_expression.save_pretrained(folder)
    prompt = torch.randn(1, 4, 16, generator=torch.Generator().manual_seed(0))
    save_file({"prompt_embeds": prompt}, folder / "empty_prompt.safetensors")
    return folder


@pytest.fixture
def tiny_expression(_tiny_expression):
    """The same pipeline as an object of the test's own."""
    from copy import deepcopy

    pipeline = type(_tiny_expression)(**deepcopy(_tiny_expression.components), default_num_inference_steps=2)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
