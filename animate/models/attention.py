"""Attention of the denoiser: reference injection in self-attention, face masks in cross-attention.

Every attention goes through `dispatch_attention_fn`, so that diffusers' attention back ends (sdpa, flash,
xformers) apply. Parameter names are Stable Diffusion's, so that Follow-Your-Emoji's checkpoints load key for
key.
"""

import torch
import torch.nn.functional as F
from diffusers.models.attention import AttentionModuleMixin, FeedForward
from diffusers.models.attention_dispatch import dispatch_attention_fn
from torch import nn

from animate.models.kept_states import KeptStates

KeysValues = tuple[torch.Tensor, torch.Tensor]

SHARED_FACE = -1
"""Face id of a token that every pixel may attend to, whichever face the pixel belongs to."""


class FaceMask:
    """Which expression tokens a pixel may attend to: those of its own face, and no others.

    Args:
        face_map: (B, T, H, W) integers, the id of the face that each pixel belongs to at the sample's
            resolution. Any id without tokens (for example 0 for the background) attends to shared tokens
            only.
        token_faces: (B, L) integers, the face id of each token; `SHARED_FACE` marks a token for everybody.

    Raises:
        ValueError: a tensor has another rank or the batches differ.
    """

    def __init__(self, face_map: torch.Tensor, token_faces: torch.Tensor):
        if face_map.ndim != 4:
            raise ValueError(f"`face_map` must be (B, T, H, W) but has shape {tuple(face_map.shape)}")
        if token_faces.ndim != 2 or token_faces.shape[0] not in (1, face_map.shape[0]):
            raise ValueError(
                f"`token_faces` must be (B, L) with B = {face_map.shape[0]} but has shape {tuple(token_faces.shape)}"
            )
        self.face_map = face_map
        self.token_faces = token_faces
        self._pyramid: dict[tuple[int, int], torch.Tensor] = {}

    def at(self, height: int, width: int) -> torch.Tensor:
        """The mask for a feature map of this size: (B*T, 1, height*width, L) bool, True = attend."""
        if (height, width) not in self._pyramid:
            faces = self.face_map
            if faces.shape[-2:] != (height, width):
                # float32 holds face ids exactly; nearest neighbours never mix two ids
                faces = F.interpolate(faces.float(), (height, width), mode="nearest-exact").long()
            batch, frames = faces.shape[:2]
            faces = faces.reshape(batch, frames, height * width, 1)
            tokens = self.token_faces[:, None, None, :].to(faces.device)
            mask = (faces == tokens) | (tokens == SHARED_FACE)  # (B, T, HW, L)
            self._pyramid[height, width] = mask.reshape(batch * frames, 1, height * width, -1)
        return self._pyramid[height, width]


class LandmarkAttnProcessor:
    """Scaled dot-product attention with optional reference tokens and an optional boolean mask."""

    _attention_backend = None
    _parallel_config = None

    def __call__(
        self,
        attn: "LandmarkAttention",
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | KeysValues | None = None,
        attention_mask: torch.Tensor | None = None,
        reference_states: torch.Tensor | KeysValues | None = None,
    ) -> torch.Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query = attn.to_q(hidden_states)
        key, value = self._per_row(attn, context, hidden_states.shape[0])
        if reference_states is not None:
            reference_key, reference_value = self._per_row(attn, reference_states, hidden_states.shape[0])
            key = torch.cat([key, reference_key], dim=1)
            value = torch.cat([value, reference_value], dim=1)

        lonely = None
        if attention_mask is not None:
            # a row that may attend to nothing would be softmax of nothing: let it see all and drop its result
            lonely = ~attention_mask.any(dim=-1)  # (N, 1, S)
            attention_mask = attention_mask | lonely.unsqueeze(-1)

        query, key, value = (x.unflatten(-1, (attn.heads, -1)) for x in (query, key, value))  # (N, S, heads, D)
        hidden_states = dispatch_attention_fn(
            query,
            key,
            value,
            attn_mask=attention_mask,
            backend=self._attention_backend,
            parallel_config=self._parallel_config,
        )
        hidden_states = hidden_states.flatten(2).to(query.dtype)
        if lonely is not None:
            hidden_states = hidden_states.masked_fill(lonely.transpose(1, 2), 0)
        return attn.to_out[1](attn.to_out[0](hidden_states))

    @staticmethod
    def _per_row(attn, states: torch.Tensor | KeysValues, rows: int) -> KeysValues:
        """Keys and values of `states`, projected once a sample and only then repeated for its frames."""
        key, value = states if isinstance(states, tuple) else attn.keys_values(states)
        if rows % key.shape[0]:
            raise ValueError(f"{rows} rows of queries cannot be shared among {key.shape[0]} rows of keys")
        repeats = rows // key.shape[0]
        if repeats > 1:
            key, value = key.repeat_interleave(repeats, dim=0), value.repeat_interleave(repeats, dim=0)
        return key, value


class LandmarkAttention(nn.Module, AttentionModuleMixin):
    """Multi-head attention with Stable Diffusion's parameter names.

    Args:
        dim: channels of queries and of the output.
        heads: number of heads; must divide `dim`.
        context_dim: channels of keys' and values' source; None for self-attention.
    """

    _default_processor_cls = LandmarkAttnProcessor
    _available_processors = [LandmarkAttnProcessor]
    _supports_qkv_fusion = False  # keys of the reference tokens have no queries

    def __init__(self, dim: int, heads: int, context_dim: int | None = None):
        super().__init__()
        if dim % heads:
            raise ValueError(f"`heads` must divide the channels but {dim} channels were given {heads} heads")
        self.heads = heads
        self.is_cross_attention = context_dim is not None
        self.use_bias = False
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k = nn.Linear(context_dim or dim, dim, bias=False)
        self.to_v = nn.Linear(context_dim or dim, dim, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(dim, dim), nn.Dropout(0.0)])
        self.set_processor(self._default_processor_cls())

    def keys_values(self, states: torch.Tensor) -> KeysValues:
        """(R, L, context_dim or dim) -> keys and values, (R, L, dim) each."""
        return self.to_k(states), self.to_v(states)

    def keep(self, states: torch.Tensor | None, kept: KeptStates | None) -> torch.Tensor | KeysValues | None:
        """Keys and values of states that no step changes, for `forward`; the states where nothing is kept."""
        if states is None or kept is None or torch.is_grad_enabled():
            return states
        if not isinstance(self.processor, LandmarkAttnProcessor):
            return states
        return kept.get(self, self.keys_values, states)

    def forward(
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | KeysValues | None = None,
        attention_mask: torch.Tensor | None = None,
        reference_states: torch.Tensor | KeysValues | None = None,
    ) -> torch.Tensor:
        """(N, S, dim) -> the same; context and reference have N rows or a divisor of N (each repeated).

        Both may also be given as their keys and values, from `keep`.
        """
        return self.processor(self, hidden_states, encoder_hidden_states, attention_mask, reference_states)


class SpatialTransformerBlock(nn.Module):
    """Self-attention (with reference tokens), cross-attention, feed-forward, each with its norm and residual.

    With `truncated`, only `norm1` exists: the last block of a reference network hands out its normalised
    input and nothing reads what would come after.
    """

    def __init__(self, dim: int, heads: int, context_dim: int | None, truncated: bool = False):
        super().__init__()
        self.truncated = truncated
        self.norm1 = nn.LayerNorm(dim)
        if truncated:
            return
        self.attn1 = LandmarkAttention(dim, heads)
        self.has_cross_attention = context_dim is not None
        if self.has_cross_attention:
            self.norm2 = nn.LayerNorm(dim)
            self.attn2 = LandmarkAttention(dim, heads, context_dim)
        self.norm3 = nn.LayerNorm(dim)
        self.ff = FeedForward(dim, activation_fn="geglu")

    def forward(
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | KeysValues | None = None,
        attention_mask: torch.Tensor | None = None,
        reference_states: torch.Tensor | KeysValues | None = None,
        unconditional_rows: int = 0,
        return_norm1: bool = False,
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """(N, S, dim) -> the same; with `return_norm1` also the norm1 output, for reference injection.

        The first `unconditional_rows` rows attend to their own tokens only, the others also to
        `reference_states`.
        """
        # 1. Self-attention
        normed = self.norm1(hidden_states)
        if self.truncated:
            return (hidden_states, normed) if return_norm1 else hidden_states
        if reference_states is None or unconditional_rows == normed.shape[0]:
            attended = self.attn1(normed)
        elif unconditional_rows == 0:
            attended = self.attn1(normed, reference_states=reference_states)
        else:
            own = self.attn1(normed[:unconditional_rows])
            referring = self.attn1(normed[unconditional_rows:], reference_states=reference_states)
            attended = torch.cat([own, referring])
        hidden_states = attended + hidden_states

        # 2. Cross-attention to CLIP or expression tokens
        if self.has_cross_attention:
            hidden_states = hidden_states + self.attn2(
                self.norm2(hidden_states), encoder_hidden_states, attention_mask=attention_mask
            )

        # 3. Feed-forward
        hidden_states = hidden_states + self.ff(self.norm3(hidden_states))
        return (hidden_states, normed) if return_norm1 else hidden_states


class SpatialTransformer(nn.Module):
    """One transformer block over the pixels of a frame, between 1x1 convolutions (Stable Diffusion 1.x).

    `inner_channels` is the block's width, the feature map's own when None.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        context_dim: int | None,
        norm_num_groups: int,
        truncated: bool = False,
        inner_channels: int | None = None,
    ):
        super().__init__()
        inner = inner_channels or channels
        self.truncated = truncated
        self.norm = nn.GroupNorm(norm_num_groups, channels, eps=1e-6)
        self.proj_in = nn.Conv2d(channels, inner, 1)
        self.transformer_blocks = nn.ModuleList([SpatialTransformerBlock(inner, heads, context_dim, truncated)])
        # a truncated block never reads it, but the published checkpoints hold it
        self.proj_out = nn.Conv2d(inner, channels, 1)

    def forward(
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        face_mask: FaceMask | None = None,
        reference_states: torch.Tensor | None = None,
        unconditional_rows: int = 0,
        return_norm1: bool = False,
        kept: KeptStates | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """(N, C, H, W) -> (N, C, H, W); with `return_norm1` also the block's (N, H*W, C) norm1 output.

        With `kept`, keys and values of tokens and reference are made once for all calls with it.
        """
        residual = hidden_states
        height, width = hidden_states.shape[-2:]
        hidden_states = self.proj_in(self.norm(hidden_states))
        hidden_states = hidden_states.flatten(2).transpose(1, 2)  # (N, HW, C)
        mask = face_mask.at(height, width) if face_mask is not None else None
        if not self.truncated:
            # out here, so that a block that is compiled or hooked does not see what is kept
            block = self.transformer_blocks[0]
            reference_states = block.attn1.keep(reference_states, kept)
            if block.has_cross_attention:
                encoder_hidden_states = block.attn2.keep(encoder_hidden_states, kept)
        hidden_states = self.transformer_blocks[0](
            hidden_states,
            encoder_hidden_states,
            mask,
            reference_states,
            unconditional_rows,
            return_norm1=return_norm1,
        )
        normed = None
        if return_norm1:
            hidden_states, normed = hidden_states
        if self.truncated:
            return (residual, normed) if return_norm1 else residual
        hidden_states = hidden_states.transpose(1, 2).unflatten(2, (height, width))  # (N, C, H, W)
        hidden_states = self.proj_out(hidden_states) + residual
        return (hidden_states, normed) if return_norm1 else hidden_states
