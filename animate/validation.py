"""How well `mini` does on people it was not trained on: figures and a strip to look at."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from animate.dataset import Pack
from animate.recipe import LATENT, PATCH, denoise, split


@torch.no_grad()
def validate(networks, pack: Pack, alphas, count: int = 192, steps: int = 1, strip: Path | None = None) -> dict:
    """Error inside the gate on a fixed choice of windows: {"mouth", "eyes"} of the network and of its base."""
    rows = np.linspace(0, len(pack) - 1, min(count, len(pack))).astype(int)
    figures, sheets = {}, []
    for name in ("mouth", "right_eye"):
        windows = torch.from_numpy(np.array(pack.windows[name][rows]))
        features = torch.from_numpy(np.array(pack.features[rows]))
        outputs = []
        for start in range(0, len(rows), 32):
            parts = split(windows[start : start + 32])
            shape = (1, LATENT, 1, parts["base"].shape[2] // PATCH, parts["base"].shape[3] // PATCH)
            noise = torch.randn(shape, generator=torch.Generator().manual_seed(0)).expand(
                len(parts["base"]), *shape[1:]
            )
            sample = noise
            for i in range(steps):
                t = round(999 * (1 - i / steps))
                clean = denoise(networks, parts, features[start : start + 32], sample, torch.full((len(sample),), t))
                clean = clean.float()
                following = round(999 * (1 - (i + 1) / steps))
                if i + 1 < steps:
                    a, b = alphas[t], alphas[following]
                    eps = (sample - a.sqrt() * clean) / (1 - a).sqrt()
                    sample = b.sqrt() * clean + (1 - b).sqrt() * eps
            outputs.append(F.pixel_shuffle(clean.squeeze(2), PATCH))
        parts = split(windows)
        output, gate = torch.cat(outputs), parts["gate"]
        weight = gate.sum() * 3

        def error(picture, gate=gate, weight=weight, parts=parts):
            return float((gate * (picture - parts["target"]).abs()).sum() / weight / 2)

        figures[name], figures[name + "_base"] = error(output), error(parts["base"])
        if strip is not None:
            chosen = torch.arange(0, len(rows), max(1, len(rows) // 14))[:14]
            grid = [torch.cat(list(x[chosen]), dim=2) for x in (parts["base"], output, parts["target"])]
            sheet = ((torch.cat(grid, dim=1) * 0.5 + 0.5).clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()
            sheets.append(sheet)
    if strip is not None:
        width = max(s.shape[1] for s in sheets)
        sheets = [np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0))) for s in sheets]
        cv2.imwrite(str(strip), np.vstack(sheets)[..., ::-1])
    return figures
