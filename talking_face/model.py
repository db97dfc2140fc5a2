"""AudioToExpression: a small transformer from a sound's features to the coefficients of the lower face.

After GSmoothFace's A2EP (a transformer over speech) and GeneFace++ (pitch beside the phonetic features), with what
their public code
lacks: every frame has a position of its own (a learned bias for each distance between two frames), attention sees a
band of `past` frames back and `ahead` frames on, so the look-ahead is bounded and a long sound gives the same frames
in one piece, in chunks, or as a stream.
"""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn
from torch.nn import functional as F


class AudioToExpression(ModelMixin, ConfigMixin):
    """features (B, n, C) at 50 Hz and style (B, S) -> coefficients (B, n, K), closure logits (B, n), jaw (B, n),
    phone logits (B, n, P).

    Args:
        features: C, columns of `talking_face.features`. coefficients: K of the `LowerFaceBasis`.
        phones: P, for the auxiliary phone loss of training; 0 leaves that head out.
        style: S numbers that say how a speaker moves: log of the gain, offset of the width, tempo of the
        articulation; 0 is the mean speaker.
        width, layers, heads, dropout: of the transformer.
        gain: factor that `Talker` lays on what comes out, for means are smaller than what they are means of.
        past, ahead: frames that one layer attends to on each side. Convolutions before them see one more frame each.
    """

    @register_to_config
    def __init__(
        self,
        features: int = 85,
        coefficients: int = 12,
        phones: int = 0,
        style: int = 3,
        width: int = 160,
        layers: int = 4,
        heads: int = 4,
        past: int = 24,
        ahead: int = 3,
        dropout: float = 0.1,
        gain: float = 1.0,
    ):
        super().__init__()
        self.stem = nn.ModuleList([nn.Conv1d(features, width, 3, padding=1), nn.Conv1d(width, width, 3, padding=1)])
        self.blocks = nn.ModuleList([_Block(width, heads, past, ahead, style, dropout) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.expression = nn.Linear(width, coefficients)
        self.gate = nn.Linear(width, 1)
        self.jaw = nn.Linear(width, 1)
        self.phone = nn.Linear(width, phones) if phones else None
        self.drop = nn.Dropout(dropout)
        nn.init.zeros_(self.expression.bias)

    @property
    def look_ahead(self) -> int:
        """Frames after a frame that it depends on."""
        return len(self.stem) + len(self.blocks) * self.config.ahead

    @property
    def reach(self) -> int:
        """Frames before a frame that it depends on."""
        return len(self.stem) + len(self.blocks) * self.config.past

    def forward(self, features: torch.Tensor, style: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """Keys "coefficients", "closure" (logits), "jaw" (IOD, >= 0), and "phones" (logits) where that head exists."""
        x = features.transpose(1, 2)
        for conv in self.stem:
            x = F.gelu(conv(x))
        x = self.drop(x.transpose(1, 2))
        if style is None:
            style = x.new_zeros(len(x), self.config.style)
        mask = band_mask(x.shape[1], self.config.past, self.config.ahead, x.device)
        for block in self.blocks:
            x = block(x, style, mask)
        x = self.norm(x)
        out = {
            "coefficients": self.expression(x),
            "closure": self.gate(x)[..., 0],
            "jaw": F.softplus(self.jaw(x)[..., 0] - 3.0),
        }
        if self.phone is not None:
            out["phones"] = self.phone(x)
        return out


def band_mask(count: int, past: int, ahead: int, device=None) -> torch.Tensor:
    """Distances (count, count) from query to key, clamped into -1..past+ahead+1; inside the band 0..past+ahead."""
    index = torch.arange(count, device=device)
    return (index[None] - index[:, None] + past).clamp(-1, past + ahead + 1)


class _Block(nn.Module):
    """Pre-norm attention in a band and a feed-forward layer; the style scales and shifts what enters each."""

    def __init__(self, width: int, heads: int, past: int, ahead: int, style: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.distance = nn.Parameter(torch.zeros(heads, past + ahead + 1))
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.style = nn.Linear(style, 4 * width)
        self.drop = nn.Dropout(dropout)
        nn.init.zeros_(self.style.weight)
        nn.init.zeros_(self.style.bias)

    def forward(self, x: torch.Tensor, style: torch.Tensor, distances: torch.Tensor) -> torch.Tensor:
        scale1, shift1, scale2, shift2 = self.style(style)[:, None].chunk(4, dim=-1)
        y = self.norm1(x) * (1 + scale1) + shift1
        q, k, v = self.qkv(y).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        size = self.distance.shape[1]
        bias = F.pad(self.distance, (1, 1), value=float("-inf"))[:, (distances + 1).clamp(0, size + 1)]
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None].to(q.dtype))
        x = x + self.drop(self.out(y.transpose(1, 2).flatten(2)))
        y = self.norm2(x) * (1 + scale2) + shift2
        return x + self.drop(self.down(F.gelu(self.up(y))))
