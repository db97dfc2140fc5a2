"""The gated residual of `mini`: what the network adds to the warped picture, in one place for training and
sampling.

The network predicts the clean sample as base + gate * residual (design.md, section 4). Where the gate is 0
the picture is the warp's, bit for bit; a network whose output is zero gives the base back everywhere.
"""

import torch


def predict_clean(unet_output: torch.Tensor, base: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    """The clean sample (x0) from the network's output.

    Args:
        unet_output: (B, C, T, H, W), the residual; any floating dtype.
        base: (B, C, T, H, W), the warped picture with its interior prior, encoded.
        gate: (B, Cg, T, H, W) in [0, 1], encoded; C must be a multiple of Cg. A gate of one pixel channel
            gives Cg = C / 3 on a space-to-depth grid, and every colour of a pixel gets that pixel's gate.

    Returns:
        (B, C, T, H, W) in the dtype of `base`.

    Raises:
        ValueError: the shapes do not belong together.
    """
    if unet_output.shape != base.shape:
        raise ValueError(
            f"`unet_output` and `base` must have one shape but have {tuple(unet_output.shape)} and {tuple(base.shape)}"
        )
    repeats, rest = divmod(base.shape[1], gate.shape[1])
    if rest or gate.shape[2:] != base.shape[2:]:
        raise ValueError(
            f"`gate` of shape {tuple(gate.shape)} does not fit a `base` of shape "
            f"{tuple(base.shape)}: its channels must "
            "divide the base's and its frames and size must be the same"
        )
    if repeats > 1:
        gate = gate.repeat(1, repeats, *[1] * (gate.ndim - 2))
    return base + gate.to(base.dtype) * unet_output.to(base.dtype)


def residual_condition(base: torch.Tensor, gate: torch.Tensor, reference: torch.Tensor | None = None) -> torch.Tensor:
    """What the network sees beside the noisy sample: (B, C + Cg [+ C], T, H, W).

    Args:
        base, gate: as in `predict_clean`.
        reference: (B, C, H, W) or (B, C, T, H, W), the portrait's own window, encoded; the same for every
            frame.
    """
    parts = [base, gate.to(base.dtype)]
    if reference is not None:
        if reference.ndim == 4:
            reference = reference.unsqueeze(2)
        parts.append(reference.to(base.dtype).expand(base.shape))
    return torch.cat(parts, dim=1)
