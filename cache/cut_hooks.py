"""The hooks on the parts of a cut network, and the one forward pass that they share.

They read only `Pass`: the root hook decides before the pass and learns after it (`cache.hook`), both outside of what
`torch.compile` traces, so that a compiled network has one graph for computed steps and one for forecast steps.
"""

import inspect

import torch
from diffusers.hooks import ModelHook
from diffusers.hooks._helpers import TransformerBlockRegistry
from torch import nn


class Pass:
    """One forward pass: what the root hook wants of it and what the parts saw.

    `forecasting`: the parts that are skipped return placeholders, the sources `forecasts`. `recording`: the sources
    leave what they computed in `recorded`. The same for motion modules, which have their own interval.
    """

    def __init__(self, sources: int, motions: int):
        self.sources = sources
        self.motions = motions
        self.clear()

    def clear(self) -> None:
        self.forecasting = False
        self.recording = False
        self.full_shapes = False
        self.forecasts: list[torch.Tensor | None] = [None] * self.sources
        self.recorded: list[torch.Tensor | None] = [None] * self.sources
        self.motion_forecasting = False
        self.motion_recording = False
        self.motion_forecasts: list[torch.Tensor | None] = [None] * self.motions
        self.motion_recorded: list[torch.Tensor | None] = [None] * self.motions


class PartHook(ModelHook):
    """On a part of a UNet: skips it on forecast steps, and may stand for the branch or be a motion module.

    Args:
        current: the pass that all parts share.
        skip: the part does not run on a forecast step.
        source: its output is what is forecast.
        motion: its number among the motion modules with an interval of their own; None if it is none of them.
    """

    def __init__(self, current: Pass, skip: bool = False, source: bool = False, motion: int | None = None):
        super().__init__()
        self.current = current
        self.skip = skip
        self.source = source
        self.motion = motion
        self.shape: tuple[int, ...] | None = None

    def new_forward(self, module: nn.Module, *args, **kwargs):
        current = self.current
        if current.forecasting and self.source:
            return _like_output(current.forecasts[0], kwargs)
        if current.forecasting and self.skip:
            return _like_output(self._placeholder(_features(args, kwargs)), kwargs)
        if self.motion is not None and current.motion_forecasting:
            return _features(args, kwargs) + current.motion_forecasts[self.motion]
        output = self.fn_ref.original_forward(*args, **kwargs)
        features = output[0] if isinstance(output, tuple) else output
        if self.motion is not None and current.motion_recording:
            current.motion_recorded[self.motion] = features - _features(args, kwargs)
        if current.recording:
            if self.source:
                current.recorded[0] = features
            if current.full_shapes:
                self.shape = tuple(features.shape)
        return output

    def _placeholder(self, features: torch.Tensor) -> torch.Tensor:
        """What a skipped part hands on: skipped parts alone read it, so one number of each feature map will do, except
        where a ControlNet's residuals are added to it on the way."""
        if self.current.full_shapes:
            return features.new_zeros(self.shape)
        return features.new_zeros((1, 1, *[1] * (features.ndim - 2)))


def _features(args: tuple, kwargs: dict) -> torch.Tensor:
    """The feature maps that a part of a UNet is called with."""
    if args:
        return args[0]
    return kwargs["hidden_states"] if "hidden_states" in kwargs else kwargs["input_tensor"]


def _like_output(features: torch.Tensor, kwargs: dict):
    """As a part returns it: diffusers' attentions in UNets are called with `return_dict=False` and return tuples."""
    return (features,) if kwargs.get("return_dict") is False else features


class BlockHook(ModelHook):
    """On a block of a transformer's stack: the first one keeps what goes in, the last one forecasts what comes out.

    What is forecast is the sum of everything between the two, so that what a model does between its blocks (adapters,
    ControlNet residuals) is part of it. Streams are the hidden states and, where blocks hand both on, the
    encoder's hidden states.

    Args:
        current: the pass that all parts share.
        block: the module; its signature says where the streams are.
        stack: shared by the blocks of one stack.
        first, last: its place in the stack.
    """

    def __init__(self, current: Pass, block: nn.Module, stack: "Stack", first: bool, last: bool):
        super().__init__()
        self.current = current
        self.stack = stack
        self.first = first
        self.last = last
        self.names = [name for name in inspect.signature(block.forward).parameters]

    def new_forward(self, module: nn.Module, *args, **kwargs):
        current, stack = self.current, self.stack
        if not (current.recording or current.forecasting):
            return self.fn_ref.original_forward(*args, **kwargs)
        incoming = self._streams(args, kwargs)
        if self.first:
            stack.entered = incoming
        if current.forecasting:
            if not self.last:
                return stack.as_output(incoming)
            sums = current.forecasts[stack.start : stack.start + 2]
            outgoing = [
                into + added if added is not None else None for into, added in zip(stack.entered, sums, strict=False)
            ]
            stack.entered = []
            return stack.as_output(outgoing)
        output = self.fn_ref.original_forward(*args, **kwargs)
        if self.last:
            for index, value in enumerate(stack.from_output(output)):
                if value is not None:
                    current.recorded[stack.start + index] = _added(value, stack.entered[index])
            stack.entered = []
        return output

    def _streams(self, args: tuple, kwargs: dict) -> list[torch.Tensor]:
        named = dict(zip(self.names, args, strict=False)) | kwargs
        hidden = named["hidden_states"] if "hidden_states" in named else args[0]
        encoder = named.get("encoder_hidden_states")
        return [hidden] if encoder is None or not self.stack.both else [hidden, encoder]


class Stack:
    """What the blocks of one stack know together.

    Args:
        start: the first of its two places in `Pass.forecasts` (hidden states, then the encoder's).
        order: which element of a block's output the hidden states and the encoder's are, as diffusers notes it for its
            own blocks; None where blocks return one tensor.
    """

    def __init__(self, start: int, order: tuple[int, int] | None):
        self.start = start
        self.order = order
        self.entered: list[torch.Tensor] = []

    @property
    def both(self) -> bool:
        return self.order is not None

    def from_output(self, output) -> list[torch.Tensor | None]:
        if isinstance(output, torch.Tensor) != (self.order is None):
            raise ValueError(
                "Placement 'blocks' knows transformer blocks that return their hidden states, and those of which "
                "diffusers notes how they return the encoder's beside them; one returned a "
                f"{type(output).__name__}: use placement='output'."
            )
        return [output] if self.order is None else [output[index] for index in self.order]

    def as_output(self, streams: list[torch.Tensor | None]):
        if self.order is None:
            return streams[0]
        return tuple(streams[self.order.index(index)] for index in range(2))


def stream_order(block: nn.Module) -> tuple[int, int] | None:
    """Where a block's output holds the hidden states and the encoder's; None: it returns one tensor."""
    try:
        metadata = TransformerBlockRegistry.get(type(block))
    except ValueError:  # not a block of diffusers: one tensor, as in every network with a single stream
        return None
    if metadata.return_encoder_hidden_states_index is None:
        return None
    return metadata.return_hidden_states_index, metadata.return_encoder_hidden_states_index


def _added(outgoing: torch.Tensor, incoming: torch.Tensor) -> torch.Tensor:
    if outgoing.shape != incoming.shape:
        raise ValueError(
            f"Placement 'blocks' needs blocks that keep the shape of the hidden states, but {tuple(incoming.shape)} "
            f"became {tuple(outgoing.shape)}; use placement='output'."
        )
    return outgoing - incoming
