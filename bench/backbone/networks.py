"""The denoiser beside diffusers' ``UNetMotionModel`` of the same size: weights, inputs, operation counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

OURS, DIFFUSERS = "ours", "diffusers"
TOKEN_CHANNELS = 768
IMAGE_CHANNELS = 1024
BANK = 2**20
"""So many random numbers are drawn, and repeated over all weights."""

BARE, BRANCH, GUIDED = "bare", "branch", "guided"
"""Forward passes. ``bare``: sample and tokens, which both networks take. ``branch``: also landmarks and the portrait's
features, which only ours takes: guidance's conditional branch. ``guided``: both branches in one batch."""

FORWARDS = {OURS: (BARE, BRANCH, GUIDED), DIFFUSERS: (BARE,)}


@dataclass(frozen=True)
class Size:
    """What is measured: a network and a clip.

    Attributes:
        channels: of the network's levels.
        frames, side: of the clip, in latents.
        tokens: CLIP tokens.
        dtype: name of torch's.
    """

    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    frames: int = 4
    side: int = 32
    tokens: int = 257
    dtype: str = "float32"

    @property
    def torch_dtype(self) -> torch.dtype:
        return getattr(torch, self.dtype)


def build_network(name: str, size: Size, device: str = "cpu") -> nn.Module:
    """`OURS` or `DIFFUSERS` with random weights that were never initialised, or on "meta" without any."""
    with torch.device("meta"):
        if name == OURS:
            from animate.models.unet import LandmarkUNet

            network = LandmarkUNet(block_out_channels=size.channels)
        else:
            from diffusers.models.unets.unet_motion_model import UNetMotionModel

            network = UNetMotionModel(
                block_out_channels=size.channels, cross_attention_dim=TOKEN_CHANNELS, num_attention_heads=8
            )
    return materialise(network, size.torch_dtype, device)


def materialise(network: nn.Module, dtype: torch.dtype, device: str | torch.device) -> nn.Module:
    """Move a network from "meta" to a device, with random weights (`fill_randomly`)."""
    # diffusers' own `to` warns of layers to keep in float32, also where there are none
    network = nn.Module.to(network, dtype).eval().requires_grad_(False)
    if torch.device(device).type == "meta":
        return network
    network.to_empty(device=device)
    fill_randomly(network)
    return network


@torch.no_grad()
def fill_randomly(network: nn.Module, seed: int = 0) -> None:
    """Write normal noise into every floating-point value, scaled so that what flows through stays near one.

    Pages that nobody wrote do not count as memory, and reading them is too fast: weights have to be written. Drawing
    1.3 billion numbers would take longer than the forward passes, so that one bank of them is repeated.
    """
    bank = torch.randn(BANK, generator=torch.Generator().manual_seed(seed))
    for name, value in (*network.named_parameters(), *network.named_buffers()):
        if not value.is_floating_point():
            continue
        scale = value[0].numel() ** -0.5 if value.ndim > 1 else 0.1
        noise = (bank * scale + float(value.ndim == 1 and name.endswith("weight"))).to(value)
        for part in value.view(-1).split(BANK):
            part.copy_(noise[: len(part)])


def reference_shapes(unet: nn.Module, side: int) -> list[tuple[int, int]]:
    """(tokens, channels) of each feature map that a denoiser takes of a square portrait, in its order."""
    shapes = []
    blocks = [*unet.down_blocks, unet.mid_block, *unet.up_blocks]
    levels = len(unet.down_blocks)
    down = [2**level for level in range(levels)]
    for block, factor in zip(blocks, [*down, down[-1], *reversed(down)], strict=True):
        for attention in block.attentions or ():
            shapes.append(((side // factor) ** 2, attention.proj_in.out_channels))
    return shapes


def forwards(name: str, network: nn.Module, size: Size) -> dict[str, Callable[[], torch.Tensor]]:
    """The network's forward passes (`FORWARDS`) on random inputs, each ready to be called.

    The device is the network's. ``side`` must be a multiple of what the levels divide by.
    """
    device = next(network.parameters()).device
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(device, size.torch_dtype)

    sample = draw(1, 4, size.frames, size.side, size.side)
    if name == DIFFUSERS:
        # a row for every frame, whatever its docstring says
        tokens = draw(1, size.tokens, TOKEN_CHANNELS).repeat_interleave(size.frames, dim=0)
        return {BARE: lambda: network(sample, 500, tokens).sample}
    tokens = draw(1, size.tokens, IMAGE_CHANNELS)
    landmarks = draw(1, size.channels[0], size.frames, size.side, size.side)
    features = [draw(1, *shape) for shape in reference_shapes(network, size.side)]
    two_samples, two_landmarks = (torch.cat([x] * 2) for x in (sample, landmarks))
    two_tokens = torch.cat([torch.zeros_like(tokens), tokens])

    def branch() -> torch.Tensor:
        return network(sample, 500, tokens, landmark_features=landmarks, reference_features=features).sample

    def guided() -> torch.Tensor:
        return network(
            two_samples,
            500,
            two_tokens,
            landmark_features=two_landmarks,
            reference_features=features,
            unconditional_batch=1,
        ).sample

    return {BARE: lambda: network(sample, 500, tokens).sample, BRANCH: branch, GUIDED: guided}


def count_operations(name: str, size: Size) -> dict[str, int]:
    """Forward pass -> floating-point operations, two for each multiplication with addition, attention included.

    Counted on the device "meta", where nothing is computed: exact, and the same on every machine.
    """
    network = build_network(name, size, "meta")
    counts = {}
    with torch.no_grad():
        for which, forward in forwards(name, network, size).items():
            with FlopCounterMode(display=False) as counter:
                forward()
            counts[which] = counter.get_total_flops()
    return counts
