"""Networks of a golden-vector folder: built from the published configurations, filled from the names of their keys."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from animate.errors import WeightsError
from animate.models.guider import LandmarkGuider
from animate.models.reference_network import ReferenceNetwork
from animate.models.unet import LandmarkUNet

TINY = {
    "unet": {"block_out_channels": [32, 64, 64, 64], "norm_num_groups": 8},
    "referencenet": {"block_out_channels": [32, 64, 64, 64], "norm_num_groups": 8},
    "guider": {"conditioning_embedding_channels": 32},
}
"""The tiny configuration, for a folder of vectors without a configuration of its own."""

SAME_NAME = (
    "in_channels",
    "down_block_types",
    "block_out_channels",
    "layers_per_block",
    "cross_attention_dim",
    "norm_num_groups",
    "norm_eps",
)
"""Arguments that both networks call as the published configuration does."""

FIXED = {
    "act_fn": "silu",
    "attention_mode": "SpatialAtten",
    "center_input_sample": False,
    "downsample_padding": 1,
    "dual_cross_attention": False,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "info_mode": "addRefImg",
    "mid_block_scale_factor": 1,
    "motion_module_decoder_only": False,
    "motion_module_type": "Vanilla",
    "num_class_embeds": None,
    "only_cross_attention": False,
    "unet_use_cross_frame_attention": False,
    "unet_use_temporal_attention": False,
    "use_inflated_groupnorm": True,
    "use_linear_projection": False,
}
"""What the published configurations say and our networks are: another value is another network."""

FIXED_MOTION = {"num_transformer_block": 1, "temporal_attention_dim_div": 1, "temporal_position_encoding": True}


@dataclass
class Networks:
    """The three networks of one configuration, on the CPU in float32."""

    unet: LandmarkUNet
    reference_network: ReferenceNetwork
    guider: LandmarkGuider


def fill_by_name(network: nn.Module) -> None:
    """Overwrite a network's floating-point values, each as a function of its key's name and shape alone.

    The seed is the CRC-32 of the key. Matrices and convolutions are N(0, 0.05), vectors whose key ends in "weight"
    1 + N(0, 0.1), other vectors N(0, 0.1); position tables (".pe") and numbers without an axis stay as they are.
    """
    for key, value in network.state_dict().items():
        if value.ndim == 0 or key.endswith(".pe") or not value.is_floating_point():
            continue
        value.copy_(named_value(key, value.shape))


def named_value(key: str, shape: Sequence[int]) -> torch.Tensor:
    """The value of one key; see `fill_by_name`."""
    noise = torch.randn(tuple(shape), generator=torch.Generator().manual_seed(zlib.crc32(key.encode())))
    return 0.05 * noise if len(shape) > 1 else 0.1 * noise + float(key.endswith("weight"))


def named_values(shapes: Mapping[str, Sequence[int]]) -> dict[str, torch.Tensor]:
    """The values of all keys of a network; see `fill_by_name`."""
    return {key: named_value(key, shape) for key, shape in shapes.items()}


def build_networks(config: Mapping, image_embedding_dim: int = 1024) -> Networks:
    """The networks of a published configuration with values that their keys' names give.

    Args:
        config: ``unet``, ``referencenet`` and ``guider``, each a mapping with the published code's names.
        image_embedding_dim: channels of CLIP's hidden states, which the configuration does not say.

    Raises:
        WeightsError: the configuration is of another kind of network.
    """
    if lacking := sorted({"unet", "referencenet", "guider"} - config.keys()):
        raise WeightsError(f"the configuration has no {', '.join(lacking)}")
    try:
        networks = Networks(
            LandmarkUNet(**_unet_arguments(config["unet"]), image_embedding_dim=image_embedding_dim),
            ReferenceNetwork(**_reference_arguments(config["referencenet"]), image_embedding_dim=image_embedding_dim),
            LandmarkGuider(**config["guider"]),
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise WeightsError(f"the configuration cannot be built: {error}") from error
    for network in (networks.unet, networks.reference_network, networks.guider):
        fill_by_name(network)
        network.eval()
    return networks


def _reference_arguments(config: Mapping) -> dict:
    _check(config, FIXED)
    names = (*SAME_NAME, "up_block_types", "mid_block_type")
    arguments = {name: config[name] for name in names if config.get(name) is not None}
    if "attention_head_dim" in config:
        arguments["num_attention_heads"] = config["attention_head_dim"]  # the published name, but a count of heads
    return arguments


def _unet_arguments(config: Mapping) -> dict:
    arguments = _reference_arguments(config)
    for name in ("out_channels", "use_motion_module", "motion_module_mid_block"):
        if name in config:
            arguments[name] = config[name]
    if "motion_module_resolutions" in config:
        arguments["motion_module_levels"] = [factor.bit_length() - 1 for factor in config["motion_module_resolutions"]]
    motion = config.get("motion_module_kwargs", {})
    _check(motion, FIXED_MOTION)
    if "attention_block_types" in motion:
        kinds = motion["attention_block_types"]
        if other := sorted(set(kinds) - {"Temporal_Self"}):
            raise WeightsError(f"the configuration wants attention_block_types {', '.join(other)}")
        arguments["motion_num_attentions"] = len(kinds)
    for name, ours in (
        ("num_attention_heads", "motion_num_attention_heads"),
        ("temporal_position_encoding_max_len", "motion_max_frames"),
    ):
        if name in motion:
            arguments[ours] = motion[name]
    return arguments


def _check(config: Mapping, fixed: Mapping) -> None:
    for name, value in fixed.items():
        if name in config and config[name] != value:
            raise WeightsError(f"the configuration wants {name} {config[name]!r}, but our networks have {value!r}")
