"""PortraitTokens: FantasyPortrait's token networks, from a frame's expression features to 24 tokens.

Facts (arXiv 2507.12956 and its public checkpoint): a frame is 554 numbers of PD-FGC's encoder, head 6, eyes 6, emotion
30, mouth 512. `proj_model` makes one token of each; two resamplers (IP-Adapter's, arXiv 2308.06721) add 16 tokens of
the mouth and 4 of the emotion. Key names are the checkpoint's, under the names of its three state dicts.
"""

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn
from torch.nn import functional as F

FRAMES_PER_LATENT = 4
"""Video frames of a latent frame of Wan's autoencoder; the first latent frame is a single video frame."""


class MultiProj(nn.Module):
    """Head, eyes, emotion and mouth as a token each, with one norm for all four."""

    def __init__(self, feature_dims: tuple[int, int, int, int], token_dim: int):
        super().__init__()
        head, eye, emotion, mouth = feature_dims
        self.headpose_proj = nn.Linear(head, token_dim, bias=False)
        self.eye_proj = nn.Linear(eye, token_dim, bias=False)
        self.emo_proj = nn.Linear(emotion, token_dim, bias=False)
        self.mouth_proj = nn.Linear(mouth, token_dim, bias=False)
        self.norm = nn.LayerNorm(token_dim)

    def forward(
        self, head: torch.Tensor, eye: torch.Tensor, emotion: torch.Tensor, mouth: torch.Tensor
    ) -> torch.Tensor:
        """(..., 6), (..., 6), (..., 30), (..., 512) -> (..., 4, token_dim)."""
        tokens = (self.headpose_proj(head), self.eye_proj(eye), self.emo_proj(emotion), self.mouth_proj(mouth))
        return self.norm(torch.stack(tokens, dim=-2))


class PerceiverAttention(nn.Module):
    """Queries look at the input and at each other."""

    def __init__(self, dim: int, heads: int, head_dim: int):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, heads * head_dim, bias=False)
        self.to_kv = nn.Linear(dim, 2 * heads * head_dim, bias=False)
        self.to_out = nn.Linear(heads * head_dim, dim, bias=False)

    def forward(self, states: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """(N, S, dim), (N, Q, dim) -> (N, Q, dim)."""
        states, latents = self.norm1(states), self.norm2(latents)
        key, value = self.to_kv(torch.cat([states, latents], dim=1)).chunk(2, dim=-1)
        query, key, value = (
            x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (self.to_q(latents), key, value)
        )  # (N, heads, S, D)
        return self.to_out(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class Resampler(nn.Module):
    """A few learned queries that read a feature vector.

    Args:
        in_dim: channels of the input. dim: width. depth: layers. queries: number of tokens. token_dim: their channels.
    """

    def __init__(
        self, in_dim: int, dim: int, depth: int, heads: int, head_dim: int, queries: int, token_dim: int, mult: int = 4
    ):
        super().__init__()
        self.latents = nn.Parameter(torch.randn(1, queries, dim) / dim**0.5)
        self.proj_in = nn.Linear(in_dim, dim)
        self.proj_out = nn.Linear(dim, token_dim)
        self.norm_out = nn.LayerNorm(token_dim)

        def perceptron() -> nn.Sequential:
            return nn.Sequential(
                nn.LayerNorm(dim),
                nn.Linear(dim, mult * dim, bias=False),
                nn.GELU(),
                nn.Linear(mult * dim, dim, bias=False),
            )

        self.layers = nn.ModuleList(
            nn.ModuleList([PerceiverAttention(dim, heads, head_dim), perceptron()]) for _ in range(depth)
        )

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(N, S, in_dim) -> (N, queries, token_dim)."""
        latents = self.latents.expand(len(states), -1, -1)
        states = self.proj_in(states)
        for attention, perceptron in self.layers:
            latents = attention(states, latents) + latents
            latents = perceptron(latents) + latents
        return self.norm_out(self.proj_out(latents))


class PortraitTokens(ModelMixin, ConfigMixin):
    """Expression features of a frame as tokens for `ExpressionDiT`.

    Args:
        feature_dims: numbers of head pose, eyes, emotion and mouth, in the features' order.
        token_dim: channels of a token. dim, depth, heads, head_dim: size of the two resamplers.
        mouth_tokens, emotion_tokens: tokens that these make.
    """

    _skip_layerwise_casting_patterns = ["norm"]

    @register_to_config
    def __init__(
        self,
        feature_dims: tuple[int, int, int, int] = (6, 6, 30, 512),
        token_dim: int = 2048,
        dim: int = 1280,
        depth: int = 4,
        heads: int = 20,
        head_dim: int = 64,
        mouth_tokens: int = 16,
        emotion_tokens: int = 4,
    ):
        super().__init__()
        size = (dim, depth, heads, head_dim)
        self.proj_model = MultiProj(tuple(feature_dims), token_dim)
        self.mouth_proj_model = Resampler(feature_dims[3], *size, mouth_tokens, token_dim)
        self.emo_proj_model = Resampler(feature_dims[2], *size, emotion_tokens, token_dim)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Tokens of each frame.

        Args:
            features: (B, T, 554): head pose, eyes, emotion, mouth. B may be one character each.

        Returns:
            (B, T, 24, token_dim): head, eyes, emotion, mouth, then the resampled mouth and emotion.

        Raises:
            ValueError: another shape.
        """
        if features.ndim != 3 or features.shape[-1] != sum(self.config.feature_dims):
            raise ValueError(
                f"`features` must be (B, T, {sum(self.config.feature_dims)}) but has shape {tuple(features.shape)}"
            )
        flat = features.to(self.dtype).flatten(0, 1)  # (B*T, 554)
        head, eye, emotion, mouth = flat.split(tuple(self.config.feature_dims), dim=-1)
        tokens = torch.cat(
            [
                self.proj_model(head, eye, emotion, mouth),
                self.mouth_proj_model(mouth.unsqueeze(1)),
                self.emo_proj_model(emotion.unsqueeze(1)),
            ],
            dim=1,
        )
        return tokens.unflatten(0, features.shape[:2])


def per_latent_frame(tokens: torch.Tensor, latent_frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens that each latent frame of the video attends to.

    FantasyPortrait takes the tokens of a latent frame's four video frames and the last one before these: indices -73 to
    23, 23 to 119, 119 to 215, ... with both ends, 97 in all. Where there are none (before the clip, after its end) it
    has zeros, which come last. Attention does not know the order of tokens.

    Args:
        tokens: (B, T, n, D), T video frames; latent frame 0 is video frame 0, each further one four frames.
        latent_frames: F; tokens that a shorter clip lacks are padding.

    Returns:
        (B, F, 4n + 1, D) tokens, and (B, F, 4n + 1) bool, False where a token is padding.

    Raises:
        ValueError: the clip has more frames than so many latent frames.
    """
    batch, frames, count, dim = tokens.shape
    if frames > FRAMES_PER_LATENT * (latent_frames - 1) + 1:
        raise ValueError(f"{frames} frames are more than {latent_frames} latent frames hold")
    span = FRAMES_PER_LATENT * count
    index = count - 1 - span + torch.arange(latent_frames)[:, None] * span + torch.arange(span + 1)  # (F, 4n+1)
    real = (index >= 0) & (index < frames * count)
    order = (~real).to(torch.uint8).argsort(dim=1, stable=True)  # padding to the end
    index, real = index.gather(1, order), real.gather(1, order).to(tokens.device)
    index = index.clamp(0, frames * count - 1).to(tokens.device)
    chosen = tokens.flatten(1, 2)[:, index] * real[..., None].to(tokens.dtype)
    return chosen, real.expand(batch, -1, -1)


def join_characters(tokens: torch.Tensor) -> torch.Tensor:
    """One character a row, (N, F, L, D), -> the `expression` of `ExpressionDiT`, (1, F, N*L, D)."""
    return tokens.transpose(0, 1).flatten(1, 2).unsqueeze(0)
