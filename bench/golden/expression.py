"""FantasyPortrait's golden vectors: token networks, tokens of each latent frame, the transformer with the adapter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from animate.errors import WeightsError
from animate.expression_checkpoints import TOKEN_NETWORKS, published_arguments, token_arguments
from animate.models.dit import ExpressionDiT
from animate.models.portrait_tokens import PortraitTokens, join_characters, per_latent_frame
from bench.golden.networks import named_values
from weights import convert
from weights.wan_keys import to_diffusers

INPUTS = ("clip", "condition", "features", "latent", "text", "timestep")
ADAPTER = "dit_ip"
"""Beginning of an output's name; the adapter's scale follows."""


@dataclass
class ExpressionNetworks:
    """The networks of one configuration, on the CPU in float32."""

    tokens: PortraitTokens
    transformer: ExpressionDiT
    text_length: int


def build_expression_networks(config: Mapping) -> ExpressionNetworks:
    """The networks of a published configuration with values that the published keys' names give.

    Args:
        config: ``dit``, the published arguments, and ``keys``, every published key and shape of each network.

    Raises:
        WeightsError: the configuration is of another kind of network, or its keys are not ours.
    """
    try:
        shapes = {part: {key: tuple(shape) for key, shape in keys.items()} for part, keys in config["keys"].items()}
        transformer = ExpressionDiT(**published_arguments(config["dit"], to_diffusers(shapes["dit"])))
        tokens = PortraitTokens(**token_arguments(shapes, "the configuration"))
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise WeightsError(f"the configuration cannot be built: {type(error).__name__} {error}") from error
    _fill(transformer, to_diffusers(named_values(shapes["dit"])), "dit")
    for part in TOKEN_NETWORKS:
        _fill(getattr(tokens, part), named_values(shapes[part]), part)
    return ExpressionNetworks(tokens.eval(), transformer.eval(), config["dit"].get("text_len", 512))


def check_inputs(stored: Mapping[str, torch.Tensor]) -> None:
    """Raises WeightsError where an input is missing, or an output that tells the adapter's scale."""
    lacking = [name for name in INPUTS if name not in stored]
    if not scales(stored):
        lacking.append(f"{ADAPTER}1")
    if lacking:
        raise WeightsError(f"it lacks {', '.join(lacking)}")


def scales(stored: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """The adapter's scale of each output of the transformer, by the output's name."""
    found = {}
    for name in sorted(stored):
        if name.startswith(ADAPTER):
            try:
                found[name] = float(name.removeprefix(ADAPTER))
            except ValueError:
                continue  # an output of another kind
    return found


def run_expression(networks: ExpressionNetworks, stored: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What our networks make of stored inputs, under the names of the stored outputs.

    Args:
        networks: of the configuration that the vectors belong to.
        stored: the inputs, and ``dit_ipS`` for each scale S of the adapter that is to be computed. The features' batch
            is the latent's, or the characters of one video.
    """
    latent, condition = stored["latent"], stored["condition"]
    condition = condition if condition.ndim == 5 else condition[None]
    batch = len(latent)
    tokens = networks.tokens(stored["features"])
    windows, _ = per_latent_frame(tokens, latent.shape[2])
    ours = {"adapter_tokens": tokens.flatten(1, 2), "adapter_tokens_per_latent_frame": windows}
    expression = windows if len(windows) in (1, batch) else join_characters(windows)
    text = stored["text"]
    if text.shape[1] < networks.text_length:  # as the published transformer does itself
        text = torch.nn.functional.pad(text, (0, 0, 0, networks.text_length - text.shape[1]))
    for name, scale in scales(stored).items():
        ours[name] = networks.transformer(
            torch.cat([latent, condition.expand(batch, -1, -1, -1, -1)], dim=1),
            stored["timestep"].reshape(-1).expand(batch),
            text.expand(batch, -1, -1),
            stored["clip"].expand(batch, -1, -1),
            expression=expression,
            expression_scale=scale,
        ).sample
    return ours


def _fill(network: nn.Module, state: dict[str, torch.Tensor], name: str) -> None:
    expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    network.load_state_dict(convert.fit(state, expected, name))
