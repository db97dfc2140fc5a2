"""ExpressionTokens: a face's motion vector as a few tokens for cross-attention, in the place of CLIP's."""

from collections.abc import Sequence

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn


class ExpressionTokens(ModelMixin, ConfigMixin):
    """A small perceptron and a norm: (B, T, F) -> (B, T, num_tokens, token_dim), frame by frame.

    Args:
        feature_dim: length F of a face's motion vector.
        num_tokens: tokens of a face in a frame.
        token_dim: channels of a token, the denoiser's `cross_attention_dim`.
        hidden_dim: width of the perceptron.
    """

    _skip_layerwise_casting_patterns = ["norm"]

    @register_to_config
    def __init__(self, feature_dim: int = 64, num_tokens: int = 4, token_dim: int = 128, hidden_dim: int = 256):
        super().__init__()
        self.linear_1 = nn.Linear(feature_dim, hidden_dim)
        self.linear_2 = nn.Linear(hidden_dim, hidden_dim)
        self.linear_3 = nn.Linear(hidden_dim, num_tokens * token_dim)
        self.act = nn.SiLU()
        self.norm = nn.LayerNorm(token_dim)

    def forward(self, motion: torch.Tensor) -> torch.Tensor:
        """Tokens of one face or of several side by side.

        Args:
            motion: (B, T, F) for one face or (B, N, T, F) for N faces.

        Returns:
            (B, T, num_tokens, token_dim), or (B, T, N * num_tokens, token_dim): the tokens of face 0 first.
            Flatten the first two axes for the denoiser's `encoder_hidden_states`; `face_ids` says whose each
            token is.
        """
        if motion.ndim not in (3, 4) or motion.shape[-1] != self.config.feature_dim:
            raise ValueError(
                f"`motion` must be (B, T, {self.config.feature_dim}) or (B, N, T, {self.config.feature_dim}) "
                f"but has shape {tuple(motion.shape)}"
            )
        hidden_states = self.act(self.linear_1(motion))
        hidden_states = self.act(self.linear_2(hidden_states))
        tokens = self.linear_3(hidden_states).unflatten(-1, (self.config.num_tokens, self.config.token_dim))
        tokens = self.norm(tokens)
        if motion.ndim == 4:
            tokens = tokens.transpose(1, 2).flatten(2, 3)  # (B, N, T, n, D) -> (B, T, N*n, D)
        return tokens

    def face_ids(self, batch: int, faces: Sequence[int] = (1,)) -> torch.Tensor:
        """(B, N * num_tokens) integers, the id of the face that each token speaks of, for `token_faces`."""
        ids = torch.as_tensor(list(faces), dtype=torch.long, device=self.device)
        return ids.repeat_interleave(self.config.num_tokens).expand(batch, -1)
