"""How wrong forecasts would have been, measured on a sample of the numbers so that it costs next to nothing."""

from collections.abc import Sequence

import torch
from torch.nn import functional

from cache.predictor import newton_weights

SAMPLES = 32768  # numbers looked at of each sample of the batch; the norm of so many is good to about a percent


class ErrorMeter:
    """Relative L2 errors of forecasts of one tensor; which numbers it looks at is drawn once and stays."""

    def __init__(self):
        self._key = self._mask = None
        self._index: torch.Tensor | None = None
        self._weight: torch.Tensor | None = None

    def errors(
        self,
        truth: torch.Tensor,
        values: Sequence[torch.Tensor],
        nodes: Sequence[float],
        x: float,
        batch: int,
        mask: torch.Tensor | None = None,
        patch: Sequence[int] | None = None,
        floor: float = 0.0,
    ) -> torch.Tensor:
        """(len(values),) errors of order 0, 1, ..., each the largest among the samples of the batch.

        Args:
            truth: what was computed at `x`; its first axis is the batch or the batch times the frames.
            values, nodes: what was known before, newest first.
            batch: how many samples there are.
            mask, patch: see `fit_weight`: where errors count more. None, or what does not fit: all alike.
            floor: RMS that errors are relative to at least.
        """
        rows = truth.reshape(batch, -1) if truth.shape[0] % batch == 0 else truth.reshape(1, -1)
        index = self._sample(rows, truth, mask, patch)
        seen = [_take(rows, index)] + [_take(value.reshape(rows.shape), index) for value in values]
        real, known = seen[0], seen[1:]
        scale = 1.0 if self._weight is None else self._weight
        size = (real.square() * scale).sum(1)
        if floor:
            total = scale.sum(1) if self._weight is not None else float(real.shape[1])
            size = torch.maximum(size, floor**2 * torch.as_tensor(total, dtype=size.dtype, device=size.device))
        errors = []
        for order in range(len(known)):
            forecast = torch.zeros_like(real)
            for value, factor in zip(known, newton_weights(list(nodes)[: order + 1], x), strict=False):
                forecast.add_(value, alpha=factor)
            wrong = ((forecast - real).square() * scale).sum(1)
            errors.append((wrong / size.clamp_min(torch.finfo(size.dtype).tiny)).sqrt().max())
        return torch.stack(errors)

    def _sample(self, rows: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor | None, patch) -> torch.Tensor | None:
        key = (tuple(truth.shape), rows.shape[0], truth.device)
        if key != self._key or mask is not self._mask:
            self._key, self._mask = key, mask
            self._index = None
            if rows.shape[1] > SAMPLES:
                generator = torch.Generator().manual_seed(0)
                index = torch.randint(rows.shape[1], (SAMPLES,), generator=generator).sort().values
                self._index = index.to(truth.device)
            self._weight = None
            weight = fit_weight(mask, truth, rows.shape[0], patch) if mask is not None else None
            if weight is not None:
                self._weight = _take(weight.expand(truth.shape).reshape(rows.shape), self._index)
        return self._index


def _take(rows: torch.Tensor, index: torch.Tensor | None) -> torch.Tensor:
    return (rows if index is None else rows.index_select(1, index)).float()


def fit_weight(
    mask: torch.Tensor, features: torch.Tensor, batch: int, patch: Sequence[int] | None
) -> torch.Tensor | None:
    """A spatial weight as one that fits features; None where there is no telling which feature lies where.

    Args:
        mask: (B or 1, 1, T, H, W), at any resolution; 0 and more.
        features: (B*T, C, h, w) of a UNet, (B, C, T, h, w), or (B, L, D) tokens of patches in the order T, h, w.
        batch: B of the features (twice the mask's with guidance in one batch).
        patch: a transformer's patch size (t, h, w), else None.
    """
    mask = mask.to(device=features.device, dtype=torch.float32)
    frames, height, width = mask.shape[-3:]
    if features.ndim == 5:
        size = tuple(features.shape[-3:])
    elif features.ndim == 4 and features.shape[0] % batch == 0:
        size = (features.shape[0] // batch, *features.shape[-2:])
    elif features.ndim == 3 and patch is not None:
        size = _token_grid(features.shape[1], frames, height / width)
    else:
        return None
    if size is None:
        return None
    mask = functional.interpolate(mask, size=size, mode="area")
    if batch % mask.shape[0]:
        return None
    mask = mask.repeat(batch // mask.shape[0], 1, 1, 1, 1)  # (B, 1, t, h, w)
    if features.ndim == 5:
        return mask
    if features.ndim == 4:
        return mask.transpose(1, 2).flatten(0, 1)  # (B*T, 1, h, w)
    return mask.flatten(2).transpose(1, 2)  # (B, L, 1)


def _token_grid(tokens: int, frames: int, aspect: float) -> tuple[int, int, int] | None:
    """(t, h, w) with t * h * w tokens: at most `frames` frames of about this aspect, height over width."""
    for t in range(frames, 0, -1):
        if tokens % t:
            continue
        width = round((tokens / t / aspect) ** 0.5)
        if width and tokens % (t * width) == 0 and abs(tokens / t / width**2 / aspect - 1) < 0.05:
            return t, tokens // t // width, width
    return None
