"""PoseGuider: AniPortrait's landmark guider, a pyramid of features for every level of the denoiser (arXiv 2403.17694).

The public code hands its transformers the portrait's own landmark map too, but they have no second attention that could
read it, which the size of the published file (670 MB) confirms: they are self-attentions, and there is no such input
here. Not held against the original's numbers yet. One thing differs knowingly: batch norms use their stored statistics;
the public script never takes the guider out of training mode, so that its features depend on the clip's other frames.
"""

from collections.abc import Sequence

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn

from animate.models.attention import SpatialTransformer


class PoseGuider(ModelMixin, ConfigMixin):
    """Convolutions with batch norm to the latents' resolution, then one feature map for each level below it.

    Args:
        conditioning_embedding_channels: the denoiser's first `block_out_channels`; the levels have 1, 1, 2, 4, 4 times
            as many.
        conditioning_channels: channels of a landmark map.
        block_out_channels: channels of the stages before the pyramid; all but the last halve the size.
        num_attention_heads, attention_head_dim: of the pyramid's transformers.
        norm_num_groups: groups of their entry norm.
    """

    @register_to_config
    def __init__(
        self,
        conditioning_embedding_channels: int = 320,
        conditioning_channels: int = 3,
        block_out_channels: Sequence[int] = (16, 32, 64, 128),
        num_attention_heads: int = 16,
        attention_head_dim: int = 88,
        norm_num_groups: int = 32,
    ):
        super().__init__()
        stages, channels = [], conditioning_channels
        for index, out in enumerate(block_out_channels):
            last = index == len(block_out_channels) - 1
            stages += _conv(channels, channels)
            stages += _conv(channels, out) if last else _conv(channels, out, kernel=4, stride=2)
            channels = out
        first = conditioning_embedding_channels
        self.conv_layers = nn.Sequential(*stages)
        self.final_proj = nn.Conv2d(channels, first, 1)
        self.scale = nn.Parameter(torch.full((1,), 2.0))
        nn.init.zeros_(self.final_proj.weight)
        nn.init.zeros_(self.final_proj.bias)

        self.conv_layers_1 = nn.Sequential(*_conv(first, first), *_conv(first, first, stride=2))
        self.conv_layers_2 = nn.Sequential(*_conv(first, first), *_conv(first, 2 * first, stride=2))
        self.conv_layers_3 = nn.Sequential(*_conv(2 * first, 2 * first), *_conv(2 * first, 4 * first, stride=2))
        self.conv_layers_4 = nn.Sequential(*_conv(4 * first, 4 * first))
        width = num_attention_heads * attention_head_dim
        attention = {"heads": num_attention_heads, "context_dim": None, "norm_num_groups": norm_num_groups}
        self.cross_attn1 = SpatialTransformer(first, inner_channels=width, **attention)
        self.cross_attn2 = SpatialTransformer(2 * first, inner_channels=width, **attention)
        self.cross_attn3 = SpatialTransformer(4 * first, inner_channels=width, **attention)
        self.cross_attn4 = SpatialTransformer(4 * first, inner_channels=width, **attention)

    def forward(self, landmark_map: torch.Tensor) -> list[torch.Tensor]:
        """(B, C, T, H, W) RGB in [0, 1] -> five maps (B, c, T, h, w).

        The first belongs after the denoiser's `conv_in`, each other one after a down block; h = H/8, H/16, H/32, H/64
        and H/64 again with the published strides.
        """
        if landmark_map.ndim != 5:
            raise ValueError(f"`landmark_map` must be (B, C, T, H, W) but has shape {tuple(landmark_map.shape)}")
        batch, _, frames = landmark_map.shape[:3]
        hidden_states = 2 * landmark_map.transpose(1, 2).flatten(0, 1) - 1  # (B*T, C, H, W)
        features = [self.final_proj(self.conv_layers(hidden_states)) * self.scale]
        for level in range(1, 5):
            hidden_states = getattr(self, f"conv_layers_{level}")(features[-1])
            features.append(getattr(self, f"cross_attn{level}")(hidden_states))
        return [feature.unflatten(0, (batch, frames)).transpose(1, 2) for feature in features]


def _conv(channels: int, out: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(channels, out, kernel, stride=stride, padding=1), nn.BatchNorm2d(out), nn.ReLU()]
