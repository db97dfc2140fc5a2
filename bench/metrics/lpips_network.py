"""LPIPS's network: AlexNet's features under five learned heads.

The heads' weights are in torchmetrics' wheel; the AlexNet under them is torchvision's file, which is a download.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bench.metrics.local_weights import load_state, weight_file
from bench.metrics.lpips import WEIGHTS, head_file

TAPS = (1, 4, 7, 9, 11)
"""Layers of AlexNet's ``features`` (each a ReLU) whose outputs are compared."""

MEAN, DEVIATION = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Of ImageNet's colours for pictures in [-1, 1], as LPIPS's authors use them."""


class AlexNetFeatures(nn.Module):
    """The convolutions of AlexNet (Krizhevsky 2014, "One weird trick"), keys as in torchvision's file."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """(B, 3, h, w) normalised colours -> the five tapped features."""
        found = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in TAPS:
                found.append(x)
        return found


class LPIPSDistance(nn.Module):
    """Zhang et al. 2018, "The unreasonable effectiveness of deep features as a perceptual metric", equation 1.

    Args:
        backbone: pictures (B, 3, h, w) to a list of features (B, c, h', w').
        heads: for each of the features (c,) weights that are not negative.
    """

    def __init__(self, backbone: nn.Module, heads: list[torch.Tensor]) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = nn.ParameterList(nn.Parameter(head, requires_grad=False) for head in heads)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(1, 3, 1, 1))

    @torch.no_grad()
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """(B, 3, h, w) RGB in [0, 1], twice -> (B,) distances."""
        both = torch.cat([a, b]) * 2 - 1
        total = torch.zeros(len(a))
        for feature, head in zip(self.backbone((both - self.mean) / self.deviation), self.heads, strict=True):
            unit = feature / (feature.norm(dim=1, keepdim=True) + 1e-10)
            first, second = unit.chunk(2)
            total = total + ((first - second) ** 2 * head.view(1, -1, 1, 1)).sum(1).mean((1, 2))
        return total


def load_heads(path: Path) -> list[torch.Tensor]:
    """The weights of the five heads, (64,), (192,), (384,), (256,), (256,)."""
    state = load_state(path)
    return [state[f"lin{number}.model.1.weight"].flatten() for number in range(len(TAPS))]


@lru_cache(maxsize=1)
def network() -> LPIPSDistance:
    """LPIPS with AlexNet, loaded once a process."""
    backbone = AlexNetFeatures()
    state = {key: value for key, value in load_state(weight_file(WEIGHTS)).items() if key.startswith("features.")}
    backbone.load_state_dict(state)
    return LPIPSDistance(backbone, load_heads(head_file())).eval().requires_grad_(False)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """LPIPS of two pictures (h, w, 3) uint8."""
    first, second = (torch.from_numpy(np.ascontiguousarray(image[..., :3])).permute(2, 0, 1)[None] for image in (a, b))
    return float(network()(first.float() / 255, second.float() / 255)[0])
