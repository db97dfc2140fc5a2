"""ExpressionDiT: Wan's video transformer with FantasyPortrait's expression adapter in every block.

The transformer is diffusers' own, block class included, so that its caches, offloading, quantisation and parallelism
apply. Each block's cross-attention gets two projections and a processor (`animate.models.dit_attention`); what they
read besides a block's arguments reaches them through one `CurrentConditioning`. The default configuration is
Wan2.1-I2V-14B's with the published adapter (arXiv 2507.12956).
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.models._modeling_parallel import ContextParallelInput
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.models.modeling_utils import ModelMixin  # noqa: F401 (diffusers looks for it here to load a pipeline)
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from torch import nn

from animate.errors import OptionError
from animate.models.character_mask import CharacterMask
from animate.models.dit_attention import Conditioning, CurrentConditioning, ExpressionAttnProcessor
from animate.models.kept_states import KeptStates
from cache.mixin import TaylorCacheMixin


class TokenNumbers(nn.Module):
    """The video tokens' numbers, (1, S); a module, so that context parallelism can split them as it does the tokens."""

    def forward(self, count: int, device: torch.device) -> torch.Tensor:
        return torch.arange(count, device=device).unsqueeze(0)


class ExpressionDiT(TaylorCacheMixin, WanTransformer3DModel):
    """Wan's transformer whose video tokens also attend to expression tokens of their latent frame.

    Args:
        expression_dim: channels of an expression token. All others: as `WanTransformer3DModel`.
    """

    _cp_plan = {
        **WanTransformer3DModel._cp_plan,
        "token_numbers": {0: ContextParallelInput(split_dim=1, expected_dims=2, split_output=True)},
    }

    @register_to_config
    def __init__(
        self,
        patch_size: tuple[int, ...] = (1, 2, 2),
        num_attention_heads: int = 40,
        attention_head_dim: int = 128,
        in_channels: int = 36,
        out_channels: int = 16,
        text_dim: int = 4096,
        freq_dim: int = 256,
        ffn_dim: int = 13824,
        num_layers: int = 40,
        cross_attn_norm: bool = True,
        qk_norm: str | None = "rms_norm_across_heads",
        eps: float = 1e-6,
        image_dim: int | None = 1280,
        added_kv_proj_dim: int | None = 5120,
        rope_max_seq_len: int = 1024,
        pos_embed_seq_len: int | None = None,
        expression_dim: int = 2048,
    ) -> None:
        super().__init__(
            patch_size,
            num_attention_heads,
            attention_head_dim,
            in_channels,
            out_channels,
            text_dim,
            freq_dim,
            ffn_dim,
            num_layers,
            cross_attn_norm,
            qk_norm,
            eps,
            image_dim,
            added_kv_proj_dim,
            rope_max_seq_len,
            pos_embed_seq_len,
        )
        self.token_numbers = TokenNumbers()
        self.current = CurrentConditioning()
        dim = num_attention_heads * attention_head_dim
        for block in self.blocks:
            block.attn2.to_k_expression = nn.Linear(expression_dim, dim, bias=False)
            block.attn2.to_v_expression = nn.Linear(expression_dim, dim, bias=False)
            nn.init.zeros_(block.attn2.to_v_expression.weight)  # an untrained adapter changes nothing
            block.attn2.set_processor(ExpressionAttnProcessor(self.current))

    def forward(
        self,
        hidden_states: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        encoder_hidden_states_image: torch.Tensor | None = None,
        expression: torch.Tensor | None = None,
        expression_mask: CharacterMask | None = None,
        expression_scale: float = 1.0,
        kept: KeptStates | None = None,
        return_dict: bool = True,
        attention_kwargs: dict[str, Any] | None = None,
    ) -> Transformer2DModelOutput | tuple[torch.Tensor]:
        """One pass.

        Args:
            hidden_states: (B, in_channels, F, H, W): noisy latents, mask and latents of the picture.
            timestep: (B,).
            encoder_hidden_states: (B, L, text_dim), text of any length.
            encoder_hidden_states_image: (B, 257, image_dim) CLIP states.
            expression: (B or 1, F, N * n, expression_dim), the tokens of character 0 first
                (`portrait_tokens.join_characters`). None, or a scale of 0: bit for bit Wan.
            expression_mask: which video token attends to which characters; None: each to all.
            expression_scale: of the adapter.
            kept: where keys and values of the expression are kept from step to step; give the same `expression` at
                each step, and drop it after the run. Costs (F * N * n, 2 * dim) values a block.

        Returns:
            `sample`: (B, out_channels, F, H, W).

        Raises:
            OptionError: expression or mask do not fit the video. ValueError: the adapter's processors are gone.
        """
        inputs = (hidden_states, timestep, encoder_hidden_states, encoder_hidden_states_image, return_dict)
        images = encoder_hidden_states_image
        # a first and a last picture lie in one context: both stand in the batch's rows
        conditioning = Conditioning(0 if images is None else images.shape[0] * images.shape[1] // len(hidden_states))
        if expression is not None and expression_scale != 0:
            self._condition(conditioning, hidden_states, expression, expression_mask, expression_scale, kept)
        with self.current.use(conditioning), self._remembered(conditioning):
            return super().forward(*inputs, attention_kwargs=attention_kwargs)

    def _condition(
        self,
        conditioning: Conditioning,
        hidden_states: torch.Tensor,
        expression: torch.Tensor,
        mask: CharacterMask | None,
        scale: float,
        kept: KeptStates | None,
    ) -> None:
        """Check what the adapter is given, and add it to the conditioning."""
        grid = tuple(size // patch for size, patch in zip(hidden_states.shape[2:], self.config.patch_size, strict=True))
        if (
            expression.ndim != 4
            or expression.shape[0] not in (1, hidden_states.shape[0])
            or expression.shape[1] != grid[0]
            or expression.shape[-1] != self.config.expression_dim
        ):
            raise OptionError(
                f"The expression must be (1 or {hidden_states.shape[0]}, {grid[0]}, tokens, "
                f"{self.config.expression_dim}) for this video but is {tuple(expression.shape)}."
            )
        if not all(isinstance(block.attn2.processor, ExpressionAttnProcessor) for block in self.blocks):
            raise ValueError("an expression needs `ExpressionAttnProcessor` in each block, but there are others")
        conditioning.expression, conditioning.scale, conditioning.kept = expression, scale, kept
        conditioning.frame_tokens = grid[1] * grid[2]
        count = grid[0] * conditioning.frame_tokens
        numbers = self.token_numbers(count, hidden_states.device)
        conditioning.count = numbers.shape[1]
        conditioning.start = 0 if conditioning.count == count else int(numbers[0, 0])
        if mask is not None:
            mask.check(grid, expression.shape[2])
            rows = mask.at(*conditioning.frames, hidden_states.device, hidden_states.dtype)
            conditioning.mask, conditioning.lonely = rows.mask, rows.lonely

    @contextmanager
    def _remembered(self, conditioning: Conditioning) -> Iterator[None]:
        """A block that checkpointing runs again in the backward pass is conditioned as in the forward pass."""
        if not (torch.is_grad_enabled() and self.gradient_checkpointing):
            yield
            return
        checkpoint = self._gradient_checkpointing_func

        def run(block: nn.Module, *inputs: torch.Tensor) -> torch.Tensor:
            with self.current.use(conditioning):
                return block(*inputs)

        self._gradient_checkpointing_func = lambda block, *inputs: checkpoint(functools.partial(run, block), *inputs)
        try:
            yield
        finally:
            self._gradient_checkpointing_func = checkpoint
