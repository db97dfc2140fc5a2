"""Checks of what the expression pipeline is called with; errors name the argument, its type and its value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from animate.models.character_mask import CharacterMask
from animate.pipelines.expression_encoding import EncodedPicture


def as_characters(expression: torch.Tensor | np.ndarray, width: int) -> torch.Tensor:
    """(N, T, width) float32 of features (N, T, width) or (T, width)."""
    if isinstance(expression, np.ndarray):
        expression = torch.from_numpy(expression)
    if not isinstance(expression, torch.Tensor):
        raise TypeError(f"`expression` must be a torch.Tensor or an array but is a {type(expression).__name__}")
    shape = tuple(expression.shape)
    if expression.ndim == 2:
        expression = expression[None]
    if expression.ndim != 3 or expression.shape[-1] != width or 0 in shape:
        raise ValueError(f"`expression` must be (N, T, {width}) or (T, {width}) but has shape {shape}")
    return expression.float()


def check_expression(expression, expression_embeds, tokens_width: int) -> None:
    """Features or ready tokens, one of them."""
    if (expression is None) == (expression_embeds is None):
        raise ValueError("give `expression` or `expression_embeds`, one of them")
    if expression_embeds is not None:
        if not isinstance(expression_embeds, torch.Tensor):
            raise TypeError(f"`expression_embeds` must be a torch.Tensor but is a {type(expression_embeds).__name__}")
        shape = tuple(expression_embeds.shape)
        if len(shape) != 4 or shape[0] != 1 or shape[-1] != tokens_width:
            raise ValueError(f"`expression_embeds` must be (1, F, L, {tokens_width}) but has shape {shape}")


def check_frames(frames: int, per_latent: int) -> None:
    """A clip is one frame and a whole number of latent frames after it."""
    if (frames - 1) % per_latent:
        lower = (frames - 1) // per_latent * per_latent + 1
        raise ValueError(
            f"`expression` has {frames} frames, but a clip has 1 more than a multiple of {per_latent}: "
            f"take {lower} or {lower + per_latent}"
        )


def check_regions(masks, boxes, expression_mask, characters: int | None) -> None:
    """Where each character is, said in one way; needed for more than one."""
    given = [
        name
        for name, value in (("masks", masks), ("boxes", boxes), ("expression_mask", expression_mask))
        if value is not None
    ]
    if len(given) > 1:
        raise ValueError(f"give one of `masks`, `boxes` and `expression_mask`, not {' and '.join(given)}")
    if characters is not None and characters > 1 and not given:
        raise ValueError(f"`expression` holds {characters} characters: `masks` or `boxes` must say where each one is")
    if expression_mask is not None and not isinstance(expression_mask, CharacterMask):
        raise TypeError(f"`expression_mask` must be a CharacterMask but is a {type(expression_mask).__name__}")


def check_picture(image, picture, width, height, multiple: int) -> None:
    """A picture or what `encode_picture` made of one, at a size that can be drawn."""
    if (image is None) == (picture is None):
        raise ValueError("give `image` or `picture`, one of them")
    if picture is not None and not isinstance(picture, EncodedPicture):
        raise TypeError(f"`picture` must come from `encode_picture` but is a {type(picture).__name__}")
    if (width is None) != (height is None):
        raise ValueError("`width` and `height` belong together: give both or neither")
    if picture is not None and width is not None:
        raise ValueError("`picture` has a size already: leave out `width` and `height`")
    for name, side in (("width", width), ("height", height)):
        if side is not None and (side < multiple or side % multiple):
            raise ValueError(f"`{name}` must be a multiple of {multiple} but is {side}")


def check_scale(**scales: float) -> None:
    """Guidance scales are finite numbers of at least 1."""
    for name, scale in scales.items():
        if not 1 <= scale < float("inf"):
            raise ValueError(f"`{name}` must be 1 (none) or more but is {scale}")


def check_prompts(prompt, prompt_embeds, negative_prompt, negative_prompt_embeds) -> None:
    """A text or its states, not both."""
    pairs = (("prompt", prompt, prompt_embeds), ("negative_prompt", negative_prompt, negative_prompt_embeds))
    for name, text, embeds in pairs:
        if text is not None and embeds is not None:
            raise ValueError(f"give `{name}` or `{name}_embeds`, not both")
        if text is not None and not isinstance(text, str):
            raise TypeError(f"`{name}` must be a str but is a {type(text).__name__}")
        if embeds is not None and (embeds.ndim != 3 or embeds.shape[0] != 1):
            raise ValueError(f"`{name}_embeds` must be (1, L, D) but has shape {tuple(embeds.shape)}")


def check_first(first_expression, characters: int, width: int) -> torch.Tensor | None:
    """(N, width) float32, or None."""
    if first_expression is None:
        return None
    first = as_characters(first_expression, width) if first_expression.ndim == 2 else None
    if first is None or first.shape[1] != characters:
        raise ValueError(
            f"`first_expression` must be ({characters}, {width}) but has shape {tuple(first_expression.shape)}"
        )
    return first[0]


def check_callback(known: Sequence[str], wanted: Sequence[str]) -> None:
    """The tensors that a callback may ask for."""
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(f"`callback_on_step_end_tensor_inputs` may hold {list(known)} but holds {unknown}")
