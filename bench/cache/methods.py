"""The methods that caches are compared with: no cache, fewer steps, reuse, diffusers' own caches, and ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from animate.errors import OptionError
from bench.cache.painting import Attachment, DiffusersAttachment, TaylorAttachment
from bench.cache.sampling import SAMPLERS
from cache import PRESETS, TaylorCacheConfig

NONE = "none"
FAMILIES = ("fewer", "reuse", "diffusers", "taylor")

TOLERANCES = {"branch": (0.015, 0.02, 0.03, 0.05, 0.1), "output": (0.002, 0.005, 0.01, 0.02, 0.04)}
"""Placement -> tolerances under which the errors decide what is computed."""

AHEAD = ((0.002, 6), (0.005, 6), (0.01, 6), (0.02, 6), (0.04, 6), (0.04, 8), (0.1, 8), (0.2, 12))
"""Tolerances with look-ahead, and the longest interval with each."""

INTERVALS = ((4, True), (5, True), (6, True), (7, True), (9, True), (13, True), (5, False))
"""Fixed intervals, for more speed than the errors would allow, and whether with look-ahead."""

SHARES = ((0.48, 1), (0.65, 1), (0.8, 0))
"""For two or three full steps in all: the share of the run that the second comes after, and how many last ones."""


@dataclass(frozen=True)
class Method:
    """One point of the plot.

    Attributes:
        name: in tables; ours begin with "taylor".
        family: `NONE` or one of `FAMILIES`.
        attachment: what is put on the network.
        steps: of the sampler; None for its own number.
    """

    name: str
    family: str
    attachment: Attachment
    steps: int | None = None


def methods(sampler: str, families: Sequence[str] = FAMILIES) -> list[Method]:
    """`NONE` and all methods of these families, for a sampler of `bench.cache.sampling.SAMPLERS`.

    Raises:
        OptionError: an unknown family.
    """
    if unknown := sorted(set(families) - set(FAMILIES)):
        raise OptionError(f"There is no family {', '.join(unknown)}: choose from {', '.join(FAMILIES)}.")
    makers = {"fewer": _fewer, "reuse": _reuse, "diffusers": _diffusers, "taylor": _taylor}
    made = [Method(NONE, NONE, Attachment())]
    for family in families:
        made += makers[family](SAMPLERS[sampler])
    return made


def _fewer(steps: int) -> list[Method]:
    counts = [count for count in (2, 3, 4, 5, 6, 8, 10, 14, 20) if count < steps]
    return [Method(f"{count} steps", "fewer", Attachment(), count) for count in counts]


def _reuse(steps: int) -> list[Method]:
    """DeepCache (Ma et al., arXiv 2312.00858): the deep branch is computed every N steps and reused as it is."""
    plain = TaylorCacheConfig(placement="branch", order=0, warmup=1, last_steps=0)
    made = []
    for depth, intervals in ((1, (2, 3, 5, 8)), (2, (3, 5))):
        for interval in intervals:
            config = replace(plain, interval=interval, max_interval=interval, branch_depth=depth)
            name = f"DeepCache {interval}" + (f" depth {depth}" if depth > 1 else "")
            made.append(Method(name, "reuse", TaylorAttachment(config)))
    return made


def _diffusers(steps: int) -> list[Method]:
    from diffusers import (
        FasterCacheConfig,
        FirstBlockCacheConfig,
        PyramidAttentionBroadcastConfig,
        TaylorSeerCacheConfig,
    )

    def seer(interval: int, order: int) -> Callable:
        # its default names match no module of a UNet; only these parts can be hooked
        parts = [r".*resnets\.\d+", r".*transformer_blocks\.\d+"]
        return lambda timestep: TaylorSeerCacheConfig(
            cache_interval=interval, max_order=order, taylor_factors_dtype=torch.float32, cache_identifiers=parts
        )

    def broadcast(interval: int) -> Callable:
        return lambda timestep: PyramidAttentionBroadcastConfig(
            spatial_attention_block_skip_range=interval,
            cross_attention_block_skip_range=interval,
            spatial_attention_timestep_skip_range=(-1, 1000),
            cross_attention_timestep_skip_range=(-1, 1000),
            current_timestep_callback=timestep,
        )

    def faster(timestep: Callable[[], int]) -> FasterCacheConfig:
        return FasterCacheConfig(
            spatial_attention_block_skip_range=2,
            spatial_attention_timestep_skip_range=(-1, 1000),
            attention_weight_callback=lambda module: 0.5,
            current_timestep_callback=timestep,
            is_guidance_distilled=True,
        )

    makes: dict[str, Callable] = {"TaylorSeer default": lambda timestep: TaylorSeerCacheConfig()}
    makes |= {f"TaylorSeer {n} order {order}": seer(n, order) for n, order in ((2, 1), (2, 2), (3, 1), (5, 1), (5, 2))}
    makes["FirstBlockCache"] = lambda timestep: FirstBlockCacheConfig(threshold=0.05)
    makes["FasterCache"] = faster
    makes["PAB 2"] = broadcast(2)
    return [Method(name, "diffusers", DiffusersAttachment(make)) for name, make in makes.items()]


def _taylor(steps: int) -> list[Method]:
    configs = dict(PRESETS)
    for placement, tolerances in TOLERANCES.items():
        for tolerance in tolerances:
            configs[f"{placement} {tolerance:g}"] = TaylorCacheConfig(placement=placement, tolerance=tolerance)
    for tolerance, most in AHEAD:
        config = TaylorCacheConfig(placement="output", tolerance=tolerance, lookahead=True, max_interval=most)
        configs[f"output {tolerance:g} look-ahead" + (f" within {most}" if most > 6 else "")] = config
    fixed = TaylorCacheConfig(placement="output", order=1, warmup=1, last_steps=0)
    for interval, ahead in INTERVALS:
        name = f"output every {interval}" + (" look-ahead" if ahead else "")
        configs[name] = replace(fixed, interval=interval, max_interval=interval, lookahead=ahead)
    for share, last in SHARES:
        interval = round(share * steps)
        name = f"output first, {interval + 1}th" + (" and last" if last else "")
        configs[name] = replace(fixed, interval=interval, max_interval=interval, last_steps=last)
    # a preset that is one of the others goes by its own name
    own = {config: name for name, config in reversed(configs.items())}
    return [Method(f"taylor {name}", "taylor", TaylorAttachment(config)) for config, name in reversed(own.items())]
