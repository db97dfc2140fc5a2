"""What the published families of checkpoints are made of: network classes, configurations, sampling.

Follow-Your-Emoji is the default configuration of our classes. AniPortrait (arXiv 2403.17694) differs in that its tokens
are one projected CLIP embedding, brought in without `clip_fc`; its guider is a pyramid; its betas are linear.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from weights.convert import family
from weights.errors import WeightsError

# lambdalabs' sd-image-variations: OpenAI's CLIP ViT-L/14
IMAGE_ENCODER = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "projection_dim": 768,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 14,
    "hidden_act": "quick_gelu",
}
# Stable Diffusion 1.5's autoencoder
VAE = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 4,
    "norm_num_groups": 32,
    "sample_size": 256,
    "scaling_factor": 0.18215,
}


def networks(name: str, changes: Mapping[str, Mapping]) -> dict[str, tuple[Callable, dict]]:
    """(class, configuration) of "unet", "reference_network" and "guider" of a family.

    Args:
        changes: to the configurations, by part.

    Raises:
        WeightsError: an unknown family.
    """
    family(name)
    from animate.models.guider import LandmarkGuider
    from animate.models.pose_guider import PoseGuider
    from animate.models.reference_network import ReferenceNetwork
    from animate.models.unet import LandmarkUNet

    own = {"image_embedding_dim": None} if name == "aniportrait" else {}
    classes = {
        "unet": (LandmarkUNet, own),
        "reference_network": (ReferenceNetwork, own),
        "guider": (PoseGuider if name == "aniportrait" else LandmarkGuider, {}),
    }
    return {part: (network, {**config, **changes.get(part, {})}) for part, (network, config) in classes.items()}


def assemble(name: str, components: Mapping):
    """The pipeline of a family from its networks, with its scheduler and defaults."""
    from animate.pipelines.landmark import LandmarkAnimationPipeline
    from animate.pipelines.scheduler import landmark_scheduler

    scheduler = landmark_scheduler()
    if name != "aniportrait":
        return LandmarkAnimationPipeline(scheduler=scheduler, **components)
    return LandmarkAnimationPipeline(
        scheduler=type(scheduler).from_config(scheduler.config, beta_schedule="linear"),
        default_num_inference_steps=25,
        image_token_mode="embedding",
        landmark_style="aniportrait",
        **components,
    )


def image_encoder_network(config: Path | None) -> tuple[Callable, dict]:
    """CLIP's image encoder as its `config.json` says, ViT-L/14 without one."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    values = dict(IMAGE_ENCODER) if config is None else _read(config)
    return CLIPVisionModelWithProjection, {"config": CLIPVisionConfig(**values)}


def vae_network(config: Path | None) -> tuple[Callable, dict]:
    """The autoencoder as its `config.json` says, Stable Diffusion 1.5's without one."""
    from diffusers import AutoencoderKL

    values = dict(VAE) if config is None else _read(config)
    if values.get("scaling_factor") is None:
        values["scaling_factor"] = VAE["scaling_factor"]  # files of 2022 leave it to the reader
    return AutoencoderKL, {key: value for key, value in values.items() if not key.startswith("_")}


def _read(config: Path) -> dict:
    try:
        values = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{config} cannot be read: get it again.") from error
    if not isinstance(values, dict):
        raise WeightsError(f"{config} is no configuration: get it again.")
    return {key: value for key, value in values.items() if key not in ("torch_dtype", "transformers_version")}
