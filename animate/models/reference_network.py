"""ReferenceNetwork: the portrait's features, handed to the denoiser's self-attention.

A Stable Diffusion UNet that runs once, at timestep 0, on the portrait's latents. What it gives is not an
image but the `norm1` output of each spatial transformer (Follow-Your-Emoji, section 3; after AnimateAnyone,
arXiv 2311.17117).
"""

from collections.abc import Sequence

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.attention import AttentionMixin
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.modeling_utils import ModelMixin
from torch import nn

from animate.models.unet import DOWN_BLOCKS, MID_BLOCKS, UP_BLOCKS, attends
from animate.models.unet_blocks import (
    BlockSettings,
    Conditioning,
    DownBlock,
    MidBlock,
    UpBlock,
    run_up_blocks,
    up_block_channels,
)


class ReferenceNetwork(ModelMixin, ConfigMixin, AttentionMixin):
    """Feature maps of a portrait, one for each spatial transformer of a `LandmarkUNet` of the same layout.

    Nothing after the last `norm1` is ever read, so the network ends there: its last spatial transformer holds
        `norm`,
    `proj_in`, `norm1` and (only because the published checkpoint has it) `proj_out`, and finer levels that do
    not attend are left out.

    Args: as in `LandmarkUNet`; the block types are the same names with or without `3D`/`2D` meaning the same.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ["ResnetBlock2D", "SpatialTransformerBlock"]
    _repeated_blocks = ["ResnetBlock2D", "SpatialTransformerBlock"]
    _skip_layerwise_casting_patterns = ["norm"]

    @register_to_config
    def __init__(
        self,
        in_channels: int = 4,
        down_block_types: Sequence[str] = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        mid_block_type: str = "UNetMidBlock2DCrossAttn",
        up_block_types: Sequence[str] = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        block_out_channels: Sequence[int] = (320, 640, 1280, 1280),
        layers_per_block: int = 2,
        num_attention_heads: int | Sequence[int] = 8,
        cross_attention_dim: int | None = 768,
        image_embedding_dim: int | None = 1024,
        norm_num_groups: int = 32,
        norm_eps: float = 1e-5,
    ):
        super().__init__()
        levels = len(block_out_channels)
        if not len(down_block_types) == len(up_block_types) == levels:
            raise ValueError(
                f"`block_out_channels` names {levels} levels but there are {len(down_block_types)} down and "
                f"{len(up_block_types)} up block types"
            )
        heads = [num_attention_heads] * levels if isinstance(num_attention_heads, int) else list(num_attention_heads)
        down = [attends(name.replace("2D", "3D"), DOWN_BLOCKS) for name in down_block_types]
        middle = attends(mid_block_type.replace("2D", "3D"), MID_BLOCKS)
        up = [attends(name.replace("2D", "3D"), UP_BLOCKS) for name in up_block_types]
        if not any(up):
            raise ValueError(f"a reference network needs an up block that attends but has {list(up_block_types)}")
        last = max(index for index, attending in enumerate(up) if attending)

        # 1. Input, time and tokens
        self.conv_in = nn.Conv2d(in_channels, block_out_channels[0], 3, padding=1)
        temb_channels = 4 * block_out_channels[0]
        self.time_proj = Timesteps(block_out_channels[0], flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(block_out_channels[0], temb_channels)
        self.clip_fc = None
        if image_embedding_dim is not None:
            if cross_attention_dim is None:
                raise ValueError("`image_embedding_dim` needs a `cross_attention_dim` to project to, but that is None")
            self.clip_fc = nn.Linear(image_embedding_dim, cross_attention_dim)

        # 2. Blocks
        settings = BlockSettings(temb_channels, norm_num_groups, norm_eps, cross_attention_dim, motion=None)
        self.down_blocks = nn.ModuleList()
        channels = block_out_channels[0]
        for level, out_channels in enumerate(block_out_channels):
            self.down_blocks.append(
                DownBlock(
                    channels,
                    out_channels,
                    layers_per_block,
                    settings,
                    heads=heads[level] if down[level] else None,
                    downsample=level < levels - 1,
                )
            )
            channels = out_channels
        self.mid_block = MidBlock(channels, settings, heads=heads[-1] if middle else None)
        self.up_blocks = nn.ModuleList()
        plan = up_block_channels(block_out_channels, layers_per_block)
        for index, (into, out, skips) in enumerate(plan[: last + 1]):
            self.up_blocks.append(
                UpBlock(
                    into,
                    out,
                    skips,
                    settings,
                    heads=heads[levels - 1 - index] if up[index] else None,
                    upsample=index < last,
                    truncate_last=index == last,
                )
            )
        self.gradient_checkpointing = False

    def forward(
        self,
        sample: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        timestep: torch.Tensor | float | int = 0,
    ) -> list[torch.Tensor]:
        """Features of a portrait's clean latents.

        Args:
            sample: (B, in_channels, H, W).
            encoder_hidden_states: (B, L, D) CLIP hidden states or tokens; None without cross-attention.
            timestep: one number or (B,); the checkpoints want 0.

        Returns:
            A list of (B, tokens, channels), in the order in which the denoiser attends: down, middle, up.
        """
        if sample.ndim != 4:
            raise ValueError(f"`sample` must be (B, C, H, W) but has shape {tuple(sample.shape)}")
        if self.config.cross_attention_dim is not None and encoder_hidden_states is None:
            raise ValueError("`encoder_hidden_states` is None but this network has cross-attention")
        timestep = torch.as_tensor(timestep, device=sample.device).reshape(-1).expand(sample.shape[0])
        conditioning = Conditioning(
            temb=self.time_embedding(self.time_proj(timestep).to(sample.dtype)),
            tokens=self.clip_fc(encoder_hidden_states) if self.clip_fc is not None else encoder_hidden_states,
            captured=[],
        )
        hidden_states = self.conv_in(sample)
        skips = [hidden_states]
        for block in self.down_blocks:
            hidden_states, block_skips = block(hidden_states, conditioning)
            skips += block_skips
        hidden_states = self.mid_block(hidden_states, conditioning)
        hidden_states = run_up_blocks(self.up_blocks, hidden_states, skips, conditioning)
        return conditioning.captured
