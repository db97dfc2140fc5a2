"""What the cache costs and saves on networks that are not ours, with random weights: time, operations, memory."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median

import torch
from diffusers import DDIMScheduler
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bench.backbone.networks import fill_randomly
from bench.tables import align
from bench.verdict import Bar
from cache import TaylorCacheConfig, apply_taylor_cache, begin_run, cache_context, cache_report

OVERHEAD = 0.03
"""Share of a step's time that a computed step may cost more with the cache on."""

STEPS = 6
"""Of a run; the first ones are not timed, since a cache measures nothing before it has something to compare."""


@dataclass(frozen=True)
class Network:
    """A network to measure.

    Attributes:
        name: in the table.
        build: makes it.
        inputs: its arguments but the timestep.
        placement: of the cache.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[], dict]
    placement: str


@dataclass
class Cost:
    """What was measured of one network.

    Attributes:
        network: its name.
        parameters: of it.
        placement: of the cache.
        plain, computed, forecast: seconds of the processor for a step without the cache, for one that the cache
            computes and for one that it forecasts: medians.
        overhead: computed over plain, less 1.
        plain_operations, forecast_operations: floating-point operations of the network.
        memory: bytes of cached tensors.
    """

    network: str
    parameters: int
    placement: str
    plain: float
    computed: float
    forecast: float
    overhead: float
    plain_operations: int
    forecast_operations: int
    memory: int


def unet(channels: Sequence[int] = (128, 256, 512, 512), side: int = 32) -> Network:
    """diffusers' UNet of Stable Diffusion 1.5 with fewer channels, on square latents of two samples (guidance)."""

    def build() -> nn.Module:
        from diffusers import UNet2DConditionModel

        return UNet2DConditionModel(block_out_channels=tuple(channels), cross_attention_dim=768, attention_head_dim=8)

    def inputs() -> dict:
        return {"sample": _draw(2, 4, side, side), "encoder_hidden_states": _draw(2, 77, 768)}

    return Network("UNet2DConditionModel", build, inputs, "branch")


def wan(heads: int = 6, layers: int = 8, frames: int = 3, side: int = 32) -> Network:
    """diffusers' Wan transformer with fewer layers, heads and channels."""

    def build() -> nn.Module:
        from diffusers import WanTransformer3DModel

        return WanTransformer3DModel(
            num_attention_heads=heads,
            attention_head_dim=64,
            ffn_dim=heads * 64 * 4,
            num_layers=layers,
            text_dim=512,
            rope_max_seq_len=64,
        )

    def inputs() -> dict:
        return {"hidden_states": _draw(1, 16, frames, side, side), "encoder_hidden_states": _draw(1, 64, 512)}

    return Network("WanTransformer3DModel", build, inputs, "blocks")


def _draw(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def measure_network(network: Network, rounds: int = 5) -> Cost:
    """Time steps of a network without a cache and with one by turns, so that what else the machine does hits both."""
    torch.manual_seed(0)
    plain = network.build().eval()
    fill_randomly(plain)
    # the same weights, and hooks of its own
    cached = copy.deepcopy(plain, {id(tensor): tensor for tensor in (*plain.parameters(), *plain.buffers())})
    arguments = network.inputs()
    config = TaylorCacheConfig(placement=network.placement, tolerance=1e-9, max_interval=STEPS)
    scheduler = DDIMScheduler()
    scheduler.set_timesteps(STEPS)
    apply_taylor_cache(cached, config)

    def step(model: nn.Module, index: int, mode: str | None) -> float:
        began = time.process_time()
        timestep = scheduler.timesteps[index]
        with cache_context(model, "cond", step_index=index, timestep=timestep, mode=mode):
            model(timestep=timestep.reshape(1).expand(_batch(arguments)), **arguments)
        return time.process_time() - began

    seconds: dict[str | None, list[float]] = {None: [], "compute": [], "forecast": []}
    for _ in range(rounds):
        for mode in ("compute", "forecast"):
            begin_run(cached, scheduler)
            for index in range(STEPS):
                warm = index < config.warmup
                times = {None: step(plain, index, None), mode: step(cached, index, "compute" if warm else mode)}
                for key, taken in () if warm else times.items():
                    seconds[key].append(taken)
    plain_time, computed, forecast = (median(taken) for taken in seconds.values())
    begin_run(cached, scheduler)
    operations = [_operations(lambda: step(plain, 0, None)), _operations(lambda: step(cached, 0, "compute"))]
    operations.append(_operations(lambda: step(cached, 1, "forecast")))
    for index in range(2, STEPS):
        step(cached, index, "compute")
    return Cost(
        network.name,
        sum(parameter.numel() for parameter in plain.parameters()),
        network.placement,
        plain_time,
        computed,
        forecast,
        median(seconds["compute"]) / median(seconds[None]) - 1,
        operations[0],
        operations[2],
        cache_report(cached).memory,
    )


def measure_overhead(networks: Sequence[Network] | None = None, rounds: int = 4) -> list[dict]:
    """The costs of `unet()` and `wan()`, or of others, as plain data."""
    return [asdict(measure_network(network, rounds)) for network in networks or (unet(), wan())]


def overhead_bars(costs: Sequence[dict]) -> list[Bar]:
    """Whether a computed step costs little more with the cache on."""
    return [
        Bar(
            f"{cost['network']}: a computed step costs at most {OVERHEAD:.0%} more: {cost['overhead']:+.1%}",
            cost["overhead"] <= OVERHEAD,
        )
        for cost in costs
    ]


def overhead_rows(costs: Sequence[dict]) -> list[list[str]]:
    """The table's cells, a header first."""
    head = ["network", "M values", "placement", "ms a step", "overhead", "forecast", "operations", "MB"]
    return [head] + [
        [
            cost["network"],
            f"{cost['parameters'] / 1e6:.0f}",
            cost["placement"],
            f"{1000 * cost['plain']:.0f}",
            f"{cost['overhead']:+.1%}",
            f"{cost['forecast'] / cost['plain']:.1%}",
            f"{cost['forecast_operations'] / cost['plain_operations']:.1%}",
            f"{cost['memory'] / 1e6:.1f}",
        ]
        for cost in costs
    ]


ABOUT = (
    "Networks with random weights. ms: processor time of a step without the cache; overhead: how much more a computed "
    "step takes with it; forecast, operations: a forecast step's time and operations as a share of a full one's; "
    "MB: cached tensors, order 2."
)


def overhead_table(costs: Sequence[dict]) -> str:
    """For a terminal."""
    return "\n".join([ABOUT, align(overhead_rows(costs)), *map(str, overhead_bars(costs))])


def overhead_markdown(costs: Sequence[dict]) -> str:
    """A section of the report's page."""
    head, *body = overhead_rows(costs)
    lines = ["| " + " | ".join(head) + " |", "|---|---:|---|" + "---:|" * (len(head) - 3)]
    lines += ["| " + " | ".join(row) + " |" for row in body]
    verdict = [f"- {bar}" for bar in overhead_bars(costs)]
    return "\n".join(["## Networks that are not ours", "", ABOUT, "", *lines, "", *verdict, ""])


def _batch(arguments: dict) -> int:
    return next(iter(arguments.values())).shape[0]


def _operations(action: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        action()
    return counter.get_total_flops()
