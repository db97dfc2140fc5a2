"""Inception v3 as FID uses it: TensorFlow's network of 2015, whose pooling differs from torchvision's.

Szegedy et al. 2015, "Rethinking the Inception architecture", figures 5 to 7. Keys are those of the file
``pt_inception-2015-12-05-6726825d.pth``. A block is a table of its branches; a branch is a list of convolutions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from bench.metrics.local_weights import load_into, weight_file

WEIGHTS = "fid-inception"
FEATURES = 2048
SIDE = 299
"""Side in px of the square that pictures are resized to."""

Conv = tuple[str, int, int | tuple[int, int]]
"""Name, channels out and kernel of a convolution."""


class ConvNorm(nn.Module):
    """A convolution without bias, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int | tuple[int, int], stride: int = 1, pad: bool = True):
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = tuple(side // 2 for side in sides) if pad else 0
        self.conv = nn.Conv2d(inputs, outputs, sides, stride=stride, padding=padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.bn(self.conv(x)))


class Mixed(nn.Module):
    """Branches side by side, their outputs joined.

    Args:
        inputs: channels in.
        branches: each a chain of convolutions; a list inside a chain is a fork, which ends it.
        pool: "average", "max" or None: the last branch, a 3 x 3 pooling before ``branch_pool``.
        pooled: channels of ``branch_pool``.
        reduce: halve the picture: the last convolution of every branch and the max pooling have stride 2.
    """

    def __init__(
        self,
        inputs: int,
        branches: Sequence[Sequence[Conv | list[Conv]]],
        pool: str = "average",
        pooled: int = 0,
        reduce: bool = False,
    ) -> None:
        super().__init__()
        self.chains: list[list[str | list[str]]] = []
        for branch in branches:
            channels, chain = inputs, []
            for number, step in enumerate(branch):
                last = reduce and number == len(branch) - 1
                for name, outputs, kernel in step if isinstance(step, list) else [step]:
                    self.add_module(name, ConvNorm(channels, outputs, kernel, 2 if last else 1, not last))
                if isinstance(step, list):
                    chain.append([name for name, _, _ in step])
                else:
                    chain.append(step[0])
                    channels = step[1]
            self.chains.append(chain)
        if pooled:
            self.branch_pool = ConvNorm(inputs, pooled, 1)
        self.pool, self.reduce = pool, reduce

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = []
        for chain in self.chains:
            y = x
            for step in chain:
                if isinstance(step, list):
                    y = torch.cat([self.get_submodule(name)(y) for name in step], 1)
                else:
                    y = self.get_submodule(step)(y)
            found.append(y)
        return torch.cat([*found, self._pooled(x)], 1)

    def _pooled(self, x: torch.Tensor) -> torch.Tensor:
        if self.reduce:
            return functional.max_pool2d(x, 3, stride=2)
        if self.pool == "max":
            x = functional.max_pool2d(x, 3, stride=1, padding=1)
        else:
            # TensorFlow's mean leaves the padding out.
            x = functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
        return self.branch_pool(x)


def _block_a(inputs: int, pooled: int) -> Mixed:
    triple = [("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3)]
    return Mixed(
        inputs, [[("branch1x1", 64, 1)], [("branch5x5_1", 48, 1), ("branch5x5_2", 64, 5)], triple], "average", pooled
    )


def _block_b(inputs: int) -> Mixed:
    triple = [("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3)]
    return Mixed(inputs, [[("branch3x3", 384, 3)], triple], reduce=True)


def _block_c(inputs: int, inner: int) -> Mixed:
    wide, high = (1, 7), (7, 1)
    single = [("branch7x7_1", inner, 1), ("branch7x7_2", inner, wide), ("branch7x7_3", 192, high)]
    double = [("branch7x7dbl_1", inner, 1), ("branch7x7dbl_2", inner, high), ("branch7x7dbl_3", inner, wide)]
    double += [("branch7x7dbl_4", inner, high), ("branch7x7dbl_5", 192, wide)]
    return Mixed(inputs, [[("branch1x1", 192, 1)], single, double], "average", 192)


def _block_d(inputs: int) -> Mixed:
    long = [("branch7x7x3_1", 192, 1), ("branch7x7x3_2", 192, (1, 7)), ("branch7x7x3_3", 192, (7, 1))]
    return Mixed(
        inputs, [[("branch3x3_1", 192, 1), ("branch3x3_2", 320, 3)], [*long, ("branch7x7x3_4", 192, 3)]], reduce=True
    )


def _block_e(inputs: int, pool: str) -> Mixed:
    single = [("branch3x3_1", 384, 1), [("branch3x3_2a", 384, (1, 3)), ("branch3x3_2b", 384, (3, 1))]]
    double = [("branch3x3dbl_1", 448, 1), ("branch3x3dbl_2", 384, 3)]
    double += [[("branch3x3dbl_3a", 384, (1, 3)), ("branch3x3dbl_3b", 384, (3, 1))]]
    return Mixed(inputs, [[("branch1x1", 320, 1)], single, double], pool, 192)


class InceptionFeatures(nn.Module):
    """The network up to its last pooling: 2048 features a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvNorm(3, 32, 3, stride=2, pad=False)
        self.Conv2d_2a_3x3 = ConvNorm(32, 32, 3, pad=False)
        self.Conv2d_2b_3x3 = ConvNorm(32, 64, 3)
        self.Conv2d_3b_1x1 = ConvNorm(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvNorm(80, 192, 3, pad=False)
        self.Mixed_5b = _block_a(192, 32)
        self.Mixed_5c = _block_a(256, 64)
        self.Mixed_5d = _block_a(288, 64)
        self.Mixed_6a = _block_b(288)
        self.Mixed_6b = _block_c(768, 128)
        self.Mixed_6c = _block_c(768, 160)
        self.Mixed_6d = _block_c(768, 160)
        self.Mixed_6e = _block_c(768, 192)
        self.Mixed_7a = _block_d(768)
        self.Mixed_7b = _block_e(1280, "average")
        # The last block's pooling is a max in TensorFlow's file of 2015.
        self.Mixed_7c = _block_e(2048, "max")

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, h, w) RGB in [0, 1] -> (B, 2048)."""
        x = functional.interpolate(x, (SIDE, SIDE), mode="bilinear", align_corners=False) * 2 - 1
        for name, block in self.named_children():
            x = block(x)
            if name in ("Conv2d_2b_3x3", "Conv2d_4a_3x3"):
                x = functional.max_pool2d(x, 3, stride=2)
        return x.mean((2, 3))


@lru_cache(maxsize=1)
def network() -> InceptionFeatures:
    """The network with FID's weights, loaded once a process."""
    return load_into(
        InceptionFeatures(), weight_file(WEIGHTS), "the Inception network of FID", drop=("fc.", "AuxLogits.")
    )


def features(image: np.ndarray) -> np.ndarray:
    """(2048,) float32 features of a picture (h, w, 3) uint8."""
    pixels = torch.from_numpy(np.ascontiguousarray(image[..., :3])).permute(2, 0, 1)[None].float() / 255
    return network()(pixels)[0].numpy()
