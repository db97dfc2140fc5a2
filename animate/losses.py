"""Facial fine-grained loss: where a diffusion loss has to be exact.

Follow-Your-Emoji (Ma et al. 2024, sec. 3.4) weights its loss with an expression mask round the landmarks and a
facial mask; its weights were never published. Ours: every pixel 1, the face `FACIAL_WEIGHT` more, the expression mask
`EXPRESSION_WEIGHT` more. For `mini`, whose gate keeps the residual out of all else, the gate is the expression mask.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

FACIAL_WEIGHT = 1.0
EXPRESSION_WEIGHT = 3.0
GRADIENT_WEIGHT = 0.5
TEXTURE_WEIGHT = 2.0
TEXTURE_CELL = 8


def facial_weights(expression_mask: torch.Tensor, facial_mask: torch.Tensor | None = None) -> torch.Tensor:
    """Loss weights of pixels, masks (..., H, W) in [0, 1]."""
    weights = 1.0 + EXPRESSION_WEIGHT * expression_mask
    return weights if facial_mask is None else weights + FACIAL_WEIGHT * facial_mask


def facial_loss(
    prediction: torch.Tensor,
    clean: torch.Tensor,
    weights: torch.Tensor,
    gradient_weight: float = GRADIENT_WEIGHT,
    texture_weight: float = TEXTURE_WEIGHT,
) -> torch.Tensor:
    """Weighted absolute error of pictures, of their gradients and of their texture, one number.

    Args:
        prediction, clean: (B, C, H, W) in [-1, 1]; weights: (B, 1, H, W) >= 0.
        gradient_weight: share of the error of horizontal and vertical differences; it keeps teeth and lid edges from
            melting into the mean that an absolute error alone prefers.
        texture_weight: share of the error of the local strength of gradients (root mean square over cells of
            TEXTURE_CELL pixels): where the exact place of a tooth's edge cannot be known, there shall still be edges.
    """
    error = prediction - clean
    total = weights.sum() * error.shape[1] + 1e-6
    loss = (weights * error.abs()).sum() / total
    if gradient_weight:
        dx, dy = error[..., :, 1:] - error[..., :, :-1], error[..., 1:, :] - error[..., :-1, :]
        loss = loss + gradient_weight * (weights[..., :, 1:] * dx.abs()).sum() / total
        loss = loss + gradient_weight * (weights[..., 1:, :] * dy.abs()).sum() / total
    if texture_weight:
        shares = F.avg_pool2d(weights, TEXTURE_CELL)
        difference = (local_texture(prediction) - local_texture(clean)).abs()
        loss = loss + texture_weight * (shares * difference).sum() / (shares.sum() + 1e-6)
    return loss


def local_texture(picture: torch.Tensor) -> torch.Tensor:
    """(B, 1, H / 8, W / 8): root mean square of the luminance's gradients in each cell of a picture (B, C, H, W)."""
    grey = picture.mean(1, keepdim=True)
    dx = F.pad(grey[..., :, 1:] - grey[..., :, :-1], (0, 1, 0, 0))
    dy = F.pad(grey[..., 1:, :] - grey[..., :-1, :], (0, 0, 0, 1))
    return (F.avg_pool2d(dx * dx + dy * dy, TEXTURE_CELL) + 1e-5).sqrt()
