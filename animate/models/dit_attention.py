"""FantasyPortrait's adapter: a third cross-attention beside text and image, to the expression tokens of the frame.

It lives inside the attention of each block, so that what is cached or skipped of a block has it in it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.transformers.transformer_wan import WanAttention
from torch.nn import functional as F

from animate.models.kept_states import KeptStates, keep

WAN_TEXT_TOKENS = 512
"""Where nothing says otherwise, diffusers takes so many tokens of the context for the text's."""

MASKING = ("native", "_native_math", "_native_efficient", "_native_cudnn", "flex", "xformers")
"""Attention back ends of diffusers that take a mask for each query."""


@dataclass
class Conditioning:
    """What the blocks of one forward pass know beside their arguments.

    Attributes:
        image_tokens: so many tokens of the context, the first, are the image's.
        expression: (B or 1, F, L, D) tokens; None: the adapter rests.
        scale: of the adapter's output.
        frame_tokens: video tokens of a latent frame.
        start: index of the first video token that this process holds (context parallelism), else 0.
        count: number of video tokens that it holds.
        mask: (frames, 1, frame_tokens, L) for the frames that it holds, True or what is added to the logits; None: all
            attend to all. lonely: (frames, frame_tokens) bool, tokens that attend to nothing; None: there are none.
        kept: where keys and values are kept from step to step.
    """

    image_tokens: int
    expression: torch.Tensor | None = None
    scale: float = 1.0
    frame_tokens: int = 1
    start: int = 0
    count: int = 0
    mask: torch.Tensor | None = None
    lonely: torch.Tensor | None = None
    kept: KeptStates | None = field(default=None, repr=False)

    @property
    def frames(self) -> tuple[int, int]:
        """First latent frame of which this process holds tokens, and the first after them."""
        return self.start // self.frame_tokens, -(-(self.start + self.count) // self.frame_tokens)


class CurrentConditioning:
    """The conditioning of the forward pass that is going on; one object for all blocks of a network."""

    def __init__(self):
        self.now: Conditioning | None = None

    @contextmanager
    def use(self, conditioning: Conditioning) -> Iterator[None]:
        """In force inside; what was before is there again afterwards."""
        before, self.now = self.now, conditioning
        try:
            yield
        finally:
            self.now = before


class ExpressionAttnProcessor:
    """Cross-attention of a Wan block to text, image and expression: their sum, the last one scaled, then `to_out`.

    The attention needs `to_k_expression` and `to_v_expression`. Queries are shared; the expression's keys have no norm.
    Flash and sage attention know no masks: where there is one, this third attention, a small part of the work, goes
    through "native" instead.
    """

    _attention_backend = None
    _parallel_config = None  # video tokens are split among processes, contexts are whole everywhere

    def __init__(self, current: CurrentConditioning):
        self.current = current

    def __call__(
        self,
        attn: WanAttention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        rotary_emb: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        now = self.current.now
        query = attn.norm_q(attn.to_q(hidden_states)).unflatten(2, (attn.heads, -1))  # (B, S, heads, D)

        # 1. Image and text
        image_states = None
        if attn.add_k_proj is not None:
            images = max(encoder_hidden_states.shape[1] - WAN_TEXT_TOKENS, 0) if now is None else now.image_tokens
            if images:
                image_states = self._image(attn, query, encoder_hidden_states[:, :images])
            encoder_hidden_states = encoder_hidden_states[:, images:]
        if attn.fused_projections:
            key, value = attn.to_kv(encoder_hidden_states).chunk(2, dim=-1)
        else:
            key, value = attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states)
        hidden_states = self._attend(attn, query, attn.norm_k(key), value, attention_mask)
        if image_states is not None:
            hidden_states = hidden_states + image_states

        # 2. Expression
        if now is not None and now.expression is not None:
            hidden_states = hidden_states + now.scale * self._expression(attn, query, now)
        return attn.to_out[1](attn.to_out[0](hidden_states))

    def _image(self, attn: WanAttention, query: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        if attn.fused_projections:
            key, value = attn.to_added_kv(states).chunk(2, dim=-1)
        else:
            key, value = attn.add_k_proj(states), attn.add_v_proj(states)
        return self._attend(attn, query, attn.norm_added_k(key), value)

    def _expression(self, attn: WanAttention, query: torch.Tensor, now: Conditioning) -> torch.Tensor:
        """Attention of each latent frame's video tokens to its expression tokens: (B, S, heads, D) -> (B, S, dim)."""
        batch, count = query.shape[:2]
        first, last = now.frames

        def keys_values(expression: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            own = expression[:, first:last].to(query.device, query.dtype)  # blocks may lie on several devices
            return attn.to_k_expression(own), attn.to_v_expression(own)  # (B, frames, L, dim)

        # a graph that is compiled makes them anew: it costs less than a break in it
        kept = None if torch.compiler.is_compiling() else now.kept
        key, value = keep(kept, (attn, first, last), keys_values, now.expression)
        key, value = (x.expand(batch, -1, -1, -1).flatten(0, 1) for x in (key, value))  # (B*frames, L, dim)

        # a process may hold parts of frames at both ends: whole frames are computed, what is not its own is cut off
        before = now.start - first * now.frame_tokens
        after = last * now.frame_tokens - now.start - count
        if before or after:
            query = F.pad(query, (0, 0, 0, 0, before, after))
        query = query.unflatten(1, (-1, now.frame_tokens)).flatten(0, 1)  # (B*frames, hw, heads, D)

        mask = now.mask
        if mask is not None:
            mask = mask.to(query.device, mask.dtype if mask.dtype == torch.bool else query.dtype)
            mask = mask.repeat(batch, 1, 1, 1) if batch > 1 else mask
        attended = self._attend(attn, query, key, value, mask).unflatten(0, (batch, -1))  # (B, frames, hw, dim)
        if now.lonely is not None:
            attended = attended.masked_fill(now.lonely[None, ..., None].to(query.device), 0)
        return attended.flatten(1, 2)[:, before : before + count]

    def _attend(
        self,
        attn: WanAttention,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(N, S, heads, D), keys and values (N, L, dim) -> (N, S, dim)."""
        backend = self._attention_backend
        if mask is not None and backend is not None and getattr(backend, "value", backend) not in MASKING:
            backend = "native"
        attended = dispatch_attention_fn(
            query,
            key.unflatten(2, (attn.heads, -1)),
            value.unflatten(2, (attn.heads, -1)),
            attn_mask=mask,
            backend=backend,
            parallel_config=None,
        )
        return attended.flatten(2, 3).type_as(query)
