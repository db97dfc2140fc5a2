"""Down, middle and up blocks of the denoiser and of the reference network.

Time is folded into the batch, (B*T, C, H, W): every norm is a norm of one frame. A layer is a residual block,
then (where the level attends) a spatial transformer, then (where wanted) a motion module.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import nn

from animate.models.attention import FaceMask, SpatialTransformer
from animate.models.kept_states import KeptStates
from animate.models.motion_module import MotionModule


@dataclass(frozen=True)
class BlockSettings:
    """What the blocks of one network have in common."""

    temb_channels: int
    norm_num_groups: int
    norm_eps: float
    context_dim: int | None  # None: no cross-attention
    motion: dict | None  # arguments of MotionModule; None: no motion modules


@dataclass
class Conditioning:
    """What every block of one forward pass sees beside the features themselves."""

    temb: torch.Tensor  # (B*T, temb_channels)
    num_frames: int = 1
    tokens: torch.Tensor | None = None  # (B or B*T, L, context_dim)
    face_mask: FaceMask | None = None
    unconditional_rows: int = 0  # leading rows of B*T that must not see the reference
    references: list[torch.Tensor] | None = None  # norm1 features, one for each spatial transformer of the network
    captured: list[torch.Tensor] | None = None  # norm1 features collected here when not None
    kept: KeptStates | None = None  # what no step changes


class _Block(nn.Module):
    """A stack of layers that down, middle and up blocks share.

    `first_reference` is the number in the whole network of its first spatial transformer. Reference features are found
    by number, not by counting calls: a cache may leave blocks out.
    """

    def __init__(self):
        super().__init__()
        self.gradient_checkpointing = False
        self.first_reference = 0

    def _run(
        self, layer, index: int, hidden_states: torch.Tensor, conditioning: Conditioning, attends: bool
    ) -> torch.Tensor:
        """Run layer `index`, `layer(hidden_states, reference, conditioning) -> (hidden_states, norm1 | None)`."""
        reference = None
        if attends and conditioning.references is not None:
            reference = conditioning.references[self.first_reference + index]
        # stored out here: a checkpointed layer runs twice
        if torch.is_grad_enabled() and self.gradient_checkpointing:
            hidden_states, normed = self._gradient_checkpointing_func(layer, hidden_states, reference, conditioning)
        else:
            hidden_states, normed = layer(hidden_states, reference, conditioning)
        if attends and conditioning.captured is not None:
            conditioning.captured.append(normed)
        return hidden_states


def _attend(
    attention: SpatialTransformer,
    hidden_states: torch.Tensor,
    reference: torch.Tensor | None,
    conditioning: Conditioning,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The spatial transformer's output, and its norm1 features where somebody collects them."""
    arguments = (conditioning.tokens, conditioning.face_mask, reference, conditioning.unconditional_rows)
    if conditioning.captured is not None:
        return attention(hidden_states, *arguments, return_norm1=True)
    return attention(hidden_states, *arguments, kept=conditioning.kept), None


def _resnet(in_channels: int, out_channels: int, settings: BlockSettings) -> ResnetBlock2D:
    return ResnetBlock2D(
        in_channels=in_channels,
        out_channels=out_channels,
        temb_channels=settings.temb_channels,
        groups=settings.norm_num_groups,
        eps=settings.norm_eps,
    )


class _LayeredBlock(_Block):
    """Layers of resnet, spatial transformer and motion module at one resolution."""

    def __init__(
        self,
        resnet_channels: Sequence[int],
        out_channels: int,
        settings: BlockSettings,
        heads: int | None,
        motion: bool,
        truncate_last: bool = False,
    ):
        super().__init__()
        count = len(resnet_channels)
        self.resnets = nn.ModuleList([_resnet(channels, out_channels, settings) for channels in resnet_channels])
        self.attentions = None
        if heads is not None:
            self.attentions = nn.ModuleList(
                [
                    SpatialTransformer(
                        out_channels,
                        heads,
                        settings.context_dim,
                        settings.norm_num_groups,
                        truncated=truncate_last and index == count - 1,
                    )
                    for index in range(count)
                ]
            )
        self.motion_modules = None
        if motion and settings.motion is not None:
            self.motion_modules = nn.ModuleList([MotionModule(out_channels, **settings.motion) for _ in range(count)])

    def _layer(self, index: int, hidden_states: torch.Tensor, conditioning: Conditioning) -> torch.Tensor:
        def layer(hidden_states, reference, conditioning):
            normed = None
            hidden_states = self.resnets[index](hidden_states, conditioning.temb)
            if self.attentions is not None:
                hidden_states, normed = _attend(self.attentions[index], hidden_states, reference, conditioning)
            if self.motion_modules is not None:
                hidden_states = self.motion_modules[index](hidden_states, conditioning.num_frames)
            return hidden_states, normed

        return self._run(layer, index, hidden_states, conditioning, attends=self.attentions is not None)


class DownBlock(_LayeredBlock):
    """`num_layers` layers, then a strided convolution where `downsample`.

    `heads=None` leaves the spatial transformers out, `motion=False` the motion modules.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_layers: int,
        settings: BlockSettings,
        heads: int | None = None,
        motion: bool = True,
        downsample: bool = True,
    ):
        resnet_channels = [in_channels] + [out_channels] * (num_layers - 1)
        super().__init__(resnet_channels, out_channels, settings, heads, motion)
        self.downsamplers = None
        if downsample:
            self.downsamplers = nn.ModuleList([Downsample2D(out_channels, use_conv=True, name="op")])

    def forward(
        self, hidden_states: torch.Tensor, conditioning: Conditioning
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """(B*T, Cin, H, W) -> (B*T, Cout, H/2, W/2) and the skip connections it leaves."""
        skips = []
        for index in range(len(self.resnets)):
            hidden_states = self._layer(index, hidden_states, conditioning)
            skips.append(hidden_states)
        if self.downsamplers is not None:
            hidden_states = self.downsamplers[0](hidden_states)
            skips.append(hidden_states)
        return hidden_states, skips


class UpBlock(_LayeredBlock):
    """Layers that each take a skip connection, then nearest upsampling and a convolution where `upsample`.

    `truncate_last` makes the last spatial transformer hand out its norm1 and do nothing else (reference
    network).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        skip_channels: Sequence[int],
        settings: BlockSettings,
        heads: int | None = None,
        motion: bool = True,
        upsample: bool = True,
        truncate_last: bool = False,
    ):
        inputs = [in_channels] + [out_channels] * (len(skip_channels) - 1)
        resnet_channels = [own + skip for own, skip in zip(inputs, skip_channels, strict=True)]
        super().__init__(resnet_channels, out_channels, settings, heads, motion, truncate_last)
        self.upsamplers = nn.ModuleList([Upsample2D(out_channels, use_conv=True)]) if upsample else None

    def forward(
        self,
        hidden_states: torch.Tensor,
        skips: Sequence[torch.Tensor],
        conditioning: Conditioning,
        output_size: tuple[int, int] | None = None,
    ) -> torch.Tensor:
        """(B*T, Cin, H, W) -> (B*T, Cout, 2H, 2W) or `output_size`; `skips` holds one for each layer, in its order."""
        for index, skip in enumerate(skips):
            hidden_states = self._layer(index, torch.cat([hidden_states, skip], dim=1), conditioning)
        if self.upsamplers is not None:
            hidden_states = self.upsamplers[0](hidden_states, output_size)
        return hidden_states


def run_up_blocks(
    blocks: Sequence[UpBlock], hidden_states: torch.Tensor, skips: list[torch.Tensor], conditioning: Conditioning
) -> torch.Tensor:
    """The way up: each block takes its skip connections off the end of `skips`.

    They are counted out here, since hooks (offloading, sharding) hand a block copies of the lists it is called with.
    """
    for block in blocks:
        own = [skips.pop() for _ in block.resnets]
        # an odd size was rounded up on the way down: the next skip connection knows what it was
        output_size = tuple(skips[-1].shape[-2:]) if skips else None
        hidden_states = block(hidden_states, own, conditioning, output_size)
    return hidden_states


class MidBlock(_Block):
    """Resnet, spatial transformer, motion module, resnet."""

    def __init__(self, channels: int, settings: BlockSettings, heads: int | None = None, motion: bool = True):
        super().__init__()
        self.resnets = nn.ModuleList([_resnet(channels, channels, settings) for _ in range(2)])
        self.attentions = None
        if heads is not None:
            self.attentions = nn.ModuleList(
                [SpatialTransformer(channels, heads, settings.context_dim, settings.norm_num_groups)]
            )
        self.motion_modules = None
        if motion and settings.motion is not None:
            self.motion_modules = nn.ModuleList([MotionModule(channels, **settings.motion)])

    def forward(self, hidden_states: torch.Tensor, conditioning: Conditioning) -> torch.Tensor:
        """(B*T, C, H, W) -> the same."""

        def layer(hidden_states, reference, conditioning):
            normed = None
            hidden_states = self.resnets[0](hidden_states, conditioning.temb)
            if self.attentions is not None:
                hidden_states, normed = _attend(self.attentions[0], hidden_states, reference, conditioning)
            if self.motion_modules is not None:
                hidden_states = self.motion_modules[0](hidden_states, conditioning.num_frames)
            return self.resnets[1](hidden_states, conditioning.temb), normed

        return self._run(layer, 0, hidden_states, conditioning, attends=self.attentions is not None)


def number_references(blocks: Sequence[_Block]) -> int:
    """Gives each spatial transformer its number, in order of use; returns how many there are."""
    count = 0
    for block in blocks:
        block.first_reference = count
        count += len(block.attentions) if block.attentions is not None else 0
    return count


def up_block_channels(block_out_channels: Sequence[int], layers_per_block: int) -> list[tuple[int, int, list[int]]]:
    """(channels in, channels out, channels of each skip connection) of each up block, bottom to top."""
    # what the way down leaves behind: conv_in, then each level's layers and its down-sampler
    skips = [block_out_channels[0]]
    for level, channels in enumerate(block_out_channels):
        skips += [channels] * layers_per_block
        if level < len(block_out_channels) - 1:
            skips.append(channels)
    plan = []
    in_channels = block_out_channels[-1]
    for out_channels in reversed(block_out_channels):
        plan.append((in_channels, out_channels, [skips.pop() for _ in range(layers_per_block + 1)]))
        in_channels = out_channels
    return plan
