"""Motion modules: self-attention over the frames at each pixel (AnimateDiff v2, arXiv 2307.04725, 4.2)."""

import math

import torch
from diffusers.models.attention import FeedForward
from torch import nn

from animate.models.attention import LandmarkAttention


class FramePositionTable(nn.Module):
    """Sinusoidal table (1, max_frames, dim), in the checkpoint as `pe` like AnimateDiff's."""

    def __init__(self, dim: int, max_frames: int):
        super().__init__()
        position = torch.arange(max_frames, dtype=torch.float32)[:, None]
        frequency = torch.exp(torch.arange(0, dim, 2, dtype=torch.float32) * (-math.log(10000.0) / dim))
        table = torch.stack([torch.sin(position * frequency), torch.cos(position * frequency)], dim=-1)
        self.register_buffer("pe", table.flatten(1)[None])  # sines and cosines alternate along dim

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return hidden_states + self.pe[:, : hidden_states.shape[1]].to(hidden_states.dtype)


class TemporalAttention(LandmarkAttention):
    """Self-attention over frames with the frame's position added to the normalised input."""

    def __init__(self, dim: int, heads: int, max_frames: int):
        super().__init__(dim, heads)
        self.pos_encoder = FramePositionTable(dim, max_frames)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return super().forward(self.pos_encoder(hidden_states))


class TemporalTransformerBlock(nn.Module):
    """Temporal self-attentions and a feed-forward, each with its norm and residual, on (N, T, dim)."""

    def __init__(self, dim: int, heads: int, max_frames: int, num_attentions: int):
        super().__init__()
        self.attention_blocks = nn.ModuleList(
            [TemporalAttention(dim, heads, max_frames) for _ in range(num_attentions)]
        )
        self.norms = nn.ModuleList([nn.LayerNorm(dim) for _ in range(num_attentions)])
        self.ff = FeedForward(dim, activation_fn="geglu")
        self.ff_norm = nn.LayerNorm(dim)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        for attention, norm in zip(self.attention_blocks, self.norms, strict=True):
            hidden_states = attention(norm(hidden_states)) + hidden_states
        return self.ff(self.ff_norm(hidden_states)) + hidden_states


class TemporalTransformer(nn.Module):
    """GroupNorm of each frame, linear in, one block over frames, zero-initialised linear out, residual."""

    def __init__(self, channels: int, heads: int, max_frames: int, num_attentions: int, norm_num_groups: int):
        super().__init__()
        self.max_frames = max_frames
        self.norm = nn.GroupNorm(norm_num_groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.transformer_blocks = nn.ModuleList([TemporalTransformerBlock(channels, heads, max_frames, num_attentions)])
        self.proj_out = nn.Linear(channels, channels)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, hidden_states: torch.Tensor, num_frames: int) -> torch.Tensor:
        if num_frames > self.max_frames:
            raise ValueError(
                f"`num_frames` is {num_frames} but the motion modules know {self.max_frames} positions: use windows"
            )
        residual = hidden_states
        rows, channels, height, width = hidden_states.shape
        # per frame, as AnimateDiff's checkpoints were trained; statistics across frames differ by a quarter
        hidden_states = self.norm(hidden_states)
        hidden_states = hidden_states.reshape(rows // num_frames, num_frames, channels, height * width)
        hidden_states = hidden_states.permute(0, 3, 1, 2).reshape(-1, num_frames, channels)  # (B*HW, T, C)
        hidden_states = self.proj_out(self.transformer_blocks[0](self.proj_in(hidden_states)))
        hidden_states = hidden_states.reshape(rows // num_frames, height * width, num_frames, channels)
        hidden_states = hidden_states.permute(0, 2, 3, 1).reshape(rows, channels, height, width)
        return hidden_states + residual


class MotionModule(nn.Module):
    """AnimateDiff's motion module: (B*T, C, H, W) -> the same; the identity at initialisation.

    Args:
        channels: channels of the feature map.
        heads: attention heads.
        max_frames: length of the position table; longer clips raise ValueError.
        num_attentions: temporal self-attentions in the block.
        norm_num_groups: groups of the entry norm.
    """

    def __init__(
        self,
        channels: int,
        heads: int = 8,
        max_frames: int = 32,
        num_attentions: int = 2,
        norm_num_groups: int = 32,
    ):
        super().__init__()
        self.temporal_transformer = TemporalTransformer(channels, heads, max_frames, num_attentions, norm_num_groups)

    def forward(self, hidden_states: torch.Tensor, num_frames: int) -> torch.Tensor:
        return self.temporal_transformer(hidden_states, num_frames)
