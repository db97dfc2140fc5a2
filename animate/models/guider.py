"""LandmarkGuider: landmark maps brought to the denoiser's first features (Follow-Your-Emoji, section 3.2)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn


class LandmarkGuider(ModelMixin, ConfigMixin):
    """Per-frame convolutions with SiLU between and a zero-initialised last one, so that it starts without
    effect.

    Args:
        conditioning_embedding_channels: channels out, the denoiser's first `block_out_channels`.
        conditioning_channels: channels of a landmark map.
        block_out_channels: channels of the stages.
        strides: stride between two stages, one fewer than stages; their product times `patch_size` is the
            factor between pixels and latents (8 for the published checkpoint).
        patch_size: fold this many pixels into channels first (4 makes it fast enough for a CPU).
    """

    @register_to_config
    def __init__(
        self,
        conditioning_embedding_channels: int = 320,
        conditioning_channels: int = 3,
        block_out_channels: Sequence[int] = (16, 32, 96, 256),
        strides: Sequence[int] = (2, 2, 2),
        patch_size: int = 1,
    ):
        super().__init__()
        if len(strides) != len(block_out_channels) - 1:
            raise ValueError(
                f"`strides` must hold {len(block_out_channels) - 1} numbers, one fewer than "
                "`block_out_channels`, "
                f"but is {tuple(strides)}"
            )
        self.scale_factor = patch_size
        self.conv_in = nn.Conv2d(conditioning_channels * patch_size**2, block_out_channels[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        for index, stride in enumerate(strides):
            channels, next_channels = block_out_channels[index : index + 2]
            self.blocks.append(nn.Conv2d(channels, channels, 3, padding=1))
            self.blocks.append(nn.Conv2d(channels, next_channels, 3, padding=1, stride=stride))
            self.scale_factor *= stride
        self.conv_out = nn.Conv2d(block_out_channels[-1], conditioning_embedding_channels, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)

    def forward(self, landmark_map: torch.Tensor) -> torch.Tensor:
        """(B, C, T, H, W) RGB in [0, 1] -> (B, conditioning_embedding_channels, T, H/scale, W/scale)."""
        if landmark_map.ndim != 5:
            raise ValueError(f"`landmark_map` must be (B, C, T, H, W) but has shape {tuple(landmark_map.shape)}")
        batch, _, frames = landmark_map.shape[:3]
        hidden_states = landmark_map.transpose(1, 2).flatten(0, 1)  # (B*T, C, H, W)
        if self.config.patch_size > 1:
            hidden_states = F.pixel_unshuffle(hidden_states, self.config.patch_size)
        hidden_states = F.silu(self.conv_in(hidden_states))
        for block in self.blocks:
            hidden_states = F.silu(block(hidden_states))
        return self.conv_out(hidden_states).unflatten(0, (batch, frames)).transpose(1, 2)
