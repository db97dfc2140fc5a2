"""What training of the full size starts from and what it leaves: pipeline folders."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path

import torch

from animate.checkpoints import find_pipeline, load_pipeline
from animate.errors import OptionError, WeightsError
from animate.loading import undisturbed
from animate.models.guider import LandmarkGuider
from animate.models.reference_network import ReferenceNetwork
from animate.models.unet import LandmarkUNet
from animate.pipelines.landmark import LandmarkAnimationPipeline
from animate.pipelines.scheduler import landmark_scheduler

MOTION = "motion_modules"
TRAINED = ("unet", "reference_network", "guider")


def find_base(folder: Path) -> Path:
    """The pipeline folder meant by a pipeline folder, a checkpoint, a run (its last checkpoint) or a family's name.

    Raises WeightsError where there is none.
    """
    folder = Path(folder)
    for candidate in (folder / "pipeline", *sorted(folder.glob("checkpoint-*/pipeline"), reverse=True)):
        if (candidate / "model_index.json").is_file():
            return candidate
    return find_pipeline(folder)


def load_base(folder: Path, stage: str, motion_from: Path | None = None) -> LandmarkAnimationPipeline:
    """A full-size pipeline in float32 on the CPU, its UNet without motion modules for stage "image", with them for
    stage "motion".

    motion_from: pipeline folder whose motion modules are taken; fresh ones begin as the identity.
    Raises WeightsError or OptionError where the folder is not a full-size model.
    """
    pipeline = load_pipeline(find_base(folder))
    missing = [name for name in ("reference_network", "guider", "image_encoder") if getattr(pipeline, name) is None]
    if missing:
        raise OptionError(f"{folder} is no full-size model: it has no {', '.join(missing)}; train mini another way.")
    if pipeline.scheduler.config.prediction_type != "v_prediction":
        raise OptionError(
            f"{folder} predicts {pipeline.scheduler.config.prediction_type}, training needs v_prediction."
        )
    pipeline.unet = with_motion_modules(pipeline.unet, stage == "motion")
    if motion_from is not None and stage == "motion":
        take_motion_modules(pipeline.unet, find_base(motion_from))
    return pipeline


def with_motion_modules(unet: LandmarkUNet, wanted: bool) -> LandmarkUNet:
    """The same UNet with fresh motion modules, or without any; itself where that is so already."""
    if unet.config.use_motion_module == wanted:
        return unet
    changed = LandmarkUNet.from_config({**unet.config, "use_motion_module": wanted})
    state = {name: value for name, value in unet.state_dict().items() if MOTION not in name}
    missing, unexpected = changed.load_state_dict(state, strict=False)
    other = [name for name in missing if MOTION not in name] + unexpected
    if other:
        raise WeightsError(f"The UNet does not fit itself without motion modules: {', '.join(other[:5])}.")
    return changed


def take_motion_modules(unet: LandmarkUNet, folder: Path) -> None:
    """Copies the motion modules of a pipeline folder's UNet; WeightsError where they do not fit."""
    source = load_pipeline(folder).unet.state_dict()
    wanted = {name: tuple(value.shape) for name, value in unet.state_dict().items() if MOTION in name}
    taken = {name: value for name, value in source.items() if MOTION in name}
    if {name: tuple(value.shape) for name, value in taken.items()} != wanted:
        raise WeightsError(f"The motion modules of {folder} do not fit this model: give one of the same layout.")
    unet.load_state_dict(taken, strict=False)


def export_pipeline(
    pipeline: LandmarkAnimationPipeline, state: Mapping[str, torch.Tensor], folder: Path, dtype: torch.dtype
) -> None:
    """Writes a pipeline folder: what learned from `state` ("unet.…", "reference_network.…", "guider.…") as `dtype`,
    the rest from `pipeline`."""
    parts = {}
    for name in TRAINED:
        network = getattr(pipeline, name)
        own = {
            key.removeprefix(f"{name}."): value.detach().to("cpu", dtype)
            for key, value in state.items()
            if key.startswith(f"{name}.")
        }
        with torch.device("meta"):
            parts[name] = type(network).from_config(network.config)
        parts[name].load_state_dict(own, strict=True, assign=True)
    components = pipeline.components | parts
    options = inspect.signature(type(pipeline).__init__).parameters.keys() - components.keys() - {"self"}
    settings = {name: pipeline.config[name] for name in options if name in pipeline.config}
    type(pipeline)(**components, **settings).save_pretrained(folder, safe_serialization=True)
    for path in Path(folder).rglob("*.safetensors"):
        path.chmod(0o644)  # safetensors writes files that only their owner can read


def start_from_stable_diffusion(unet: Path, image_encoder: Path, vae: Path, out: Path) -> Path:
    """The model folder that image training starts from: Stable Diffusion 1.5's UNet in UNet and reference network,
    fresh projections of the image tokens, a guider without effect.

    Args:
        unet: folder of a diffusers `UNet2DConditionModel`. image_encoder: of a `CLIPVisionModelWithProjection`.
        vae: of an `AutoencoderKL`. out: folder to write.

    Raises WeightsError where a folder is not what it should be or its weights do not fit.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPVisionModelWithProjection

    if Path(out).exists() and any(Path(out).iterdir()):
        raise OptionError(f"{out} is not empty: give a new folder.")
    loaded = {}
    for kind, folder in (
        (UNet2DConditionModel, unet),
        (CLIPVisionModelWithProjection, image_encoder),
        (AutoencoderKL, vae),
    ):
        if not (Path(folder) / "config.json").is_file():
            raise WeightsError(f"{folder} holds no {kind.__name__} (config.json): download it and give its folder.")
        try:
            with undisturbed():
                loaded[kind] = kind.from_pretrained(folder).float()
        except (OSError, ValueError, RuntimeError) as error:
            raise WeightsError(f"{folder} cannot be loaded as {kind.__name__} ({error}).") from error
    source, encoder = loaded[UNet2DConditionModel], loaded[CLIPVisionModelWithProjection]
    given = source.config
    same = ("in_channels", "block_out_channels", "layers_per_block", "cross_attention_dim", "norm_num_groups")
    layout = {name: given[name] for name in same} | {
        "num_attention_heads": given.num_attention_heads or given.attention_head_dim,  # the count, by a misnomer
        "image_embedding_dim": encoder.config.hidden_size,
    }
    flat = {name: tuple(given[name]) for name in ("down_block_types", "up_block_types")}
    deep = {name: tuple(kind.replace("2D", "3D") for kind in kinds) for name, kinds in flat.items()}
    networks = {
        "unet": LandmarkUNet(**layout, **deep, use_motion_module=False),
        "reference_network": ReferenceNetwork(**layout, **flat),
    }
    for network in networks.values():
        missing = network.load_state_dict(_fitting(source.state_dict(), network), strict=False).missing_keys
        other = [name for name in missing if "clip_fc" not in name]
        if other:
            raise WeightsError(f"{unet} is no Stable Diffusion 1.5 UNet: it lacks {', '.join(other[:5])}.")
    LandmarkAnimationPipeline(
        vae=loaded[AutoencoderKL],
        image_encoder=encoder,
        guider=LandmarkGuider(given.block_out_channels[0]),
        scheduler=landmark_scheduler(),
        **networks,
    ).save_pretrained(out, safe_serialization=True)
    return Path(out)


def _fitting(state: Mapping[str, torch.Tensor], network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """What the network has of a Stable Diffusion UNet: the reference network is cut short."""
    own = network.state_dict()
    return {name: value for name, value in state.items() if name in own and value.shape == own[name].shape}
