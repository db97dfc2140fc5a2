"""One batch of windows painted by one method, with what that cost: evaluations, operations, seconds, memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from animate.models.kept_states import KeptStates
from animate.pipelines.residual import predict_clean
from bench.cache.sampling import Sampler, make_sampler
from bench.cache.windows import Batch
from cache import (
    LookAheadRun,
    TaylorCacheConfig,
    apply_taylor_cache,
    begin_run,
    cache_report,
    next_key_step,
    set_weight,
)
from cache import cache_context as open_context
from cache import remove_taylor_cache as remove_cache

CONTEXT = "cond"


class Attachment:
    """What a method puts on the network: nothing.

    Attributes:
        config: that the loop goes by.
    """

    config = TaylorCacheConfig(tolerance=0.0)

    def put_on(self, network: nn.Module, timestep: Callable[[], int]) -> None:
        """`timestep` tells the current training timestep, for caches that ask for it."""

    def take_off(self, network: nn.Module) -> None:
        pass

    def begin(self, network: nn.Module, scheduler, batch: Batch) -> None:
        """Called before each run, when the scheduler's timesteps are set."""

    def context(self, network: nn.Module, step: int, timestep, mode: str | None) -> AbstractContextManager:
        """Round each evaluation."""
        return network.cache_context(CONTEXT)

    def counts(self, network: nn.Module) -> tuple[int, int] | None:
        """(steps computed, steps forecast) of the last run; None where the method does not tell."""
        return None

    def memory(self, network: nn.Module) -> int:
        """Bytes of cached tensors."""
        return 0


@dataclass
class TaylorAttachment(Attachment):
    """Our cache."""

    config: TaylorCacheConfig

    def put_on(self, network, timestep) -> None:
        apply_taylor_cache(network, self.config)

    def take_off(self, network) -> None:
        remove_cache(network)

    def begin(self, network, scheduler, batch) -> None:
        begin_run(network, scheduler)
        set_weight(network, batch.error_weight)

    def context(self, network, step, timestep, mode) -> AbstractContextManager:
        return open_context(network, CONTEXT, step_index=step, timestep=timestep, mode=mode)

    def counts(self, network) -> tuple[int, int]:
        report = cache_report(network)
        return report.computed, report.forecast

    def memory(self, network) -> int:
        return cache_report(network).memory


@dataclass
class DiffusersAttachment(Attachment):
    """One of diffusers' caches; `make` gives its configuration from a function that tells the timestep."""

    make: Callable[[Callable[[], int]], object]

    def put_on(self, network, timestep) -> None:
        network.enable_cache(self.make(timestep))

    def take_off(self, network) -> None:
        from diffusers.hooks import HookRegistry

        network._cache_config = None
        # what `disable_cache` does, also after a run that broke off or for a cache that it forgets
        for module in network.modules():
            registry = getattr(module, "_diffusers_hook", None)
            if isinstance(registry, HookRegistry):
                for name in reversed(list(registry.hooks)):
                    registry.remove_hook(name, recurse=False)

    def begin(self, network, scheduler, batch) -> None:
        network._reset_stateful_cache()

    def memory(self, network) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in kept_tensors(network))


def kept_tensors(network: nn.Module) -> list[torch.Tensor]:
    """Every tensor in the states of a network's hooks, each once."""
    found: dict[int, torch.Tensor] = {}
    seen: set[int] = set()

    def visit(value, depth: int = 0) -> None:
        if isinstance(value, torch.Tensor):
            found[id(value)] = value
        elif isinstance(value, nn.Module) or id(value) in seen or depth > 6:
            return
        elif isinstance(value, dict):
            seen.add(id(value))
            for item in value.values():
                visit(item, depth + 1)
        elif isinstance(value, list | tuple):
            for item in value:
                visit(item, depth + 1)
        elif hasattr(value, "__dict__") and not callable(value):
            seen.add(id(value))
            visit(vars(value), depth + 1)

    for module in network.modules():
        registry = getattr(module, "_diffusers_hook", None)
        for hook in registry.hooks.values() if registry is not None else ():
            for name, value in vars(hook).items():
                if name not in ("fn_ref", "_forward", "config"):
                    visit(value)
    return list(found.values())


@dataclass
class Painted:
    """What a method made of a batch.

    Attributes:
        frames: (B, T, 3, H, W) float32 in [0, 1].
        seconds: of the loop, by the clock; `cpu_seconds`: of the processor, all threads.
        computed, forecast: evaluations.
        operations: of the network; 0 until known, see `Costs`.
        memory: bytes of cached tensors.
    """

    frames: torch.Tensor
    seconds: float
    cpu_seconds: float
    computed: int
    forecast: int
    operations: float = 0.0
    memory: int = 0


class BatchPainter:
    """Paints batches with the network of a pipeline.

    Args:
        pipeline: of `mini`'s kind.
        sampler: one of `bench.cache.sampling.SAMPLERS`.
    """

    def __init__(self, pipeline, sampler: str):
        self.pipeline, self.sampler = pipeline, sampler
        self._timestep = 0

    @torch.no_grad()
    def __call__(self, batch: Batch, attachment: Attachment, steps: int | None = None) -> Painted:
        """Paint a batch; whatever happens, nothing stays on the network."""
        network, sampler = self.pipeline.unet, make_sampler(self.sampler, self.pipeline.scheduler, steps)
        with attached(attachment, network, lambda: self._timestep):
            attachment.begin(network, sampler.scheduler, batch)
            began, cpu_began = time.perf_counter(), time.process_time()
            loop = self._loop(network, batch, attachment, sampler)
            for _ in loop(sampler.start(batch.noise)):
                pass
            seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
            computed, forecast = attachment.counts(network) or (sampler.steps, 0)
            memory = attachment.memory(network)
        clip = self.pipeline.decode_clip(loop.sample)
        frames = self.pipeline.video_processor.postprocess_video(clip.float(), "pt")
        return Painted(frames, seconds, cpu_seconds, computed, forecast, memory=memory)

    def _loop(self, network, batch: Batch, attachment: Attachment, sampler: Sampler) -> LookAheadRun:
        kept, dtype = KeptStates(), network.dtype

        def evaluate(sample: torch.Tensor, step: int, mode: str | None = None) -> torch.Tensor:
            sample, timestep = sampler.network_input(sample, step)
            self._timestep = int(timestep)
            with attachment.context(network, step, sampler.scheduler.timesteps[step], mode):
                residual = network(
                    sample.to(dtype), timestep, condition=batch.condition, kept=kept, **batch.inputs
                ).sample
            return predict_clean(residual.float(), batch.base, batch.gate)

        return LookAheadRun(
            sampler.scheduler,
            evaluate,
            attachment.config,
            sampler.advance,
            lambda step: next_key_step(network, CONTEXT, step),
        )


@contextmanager
def attached(attachment: Attachment, network: nn.Module, timestep: Callable[[], int]):
    """The network with a method on it, and as it was afterwards."""
    try:
        attachment.put_on(network, timestep)
        yield
    finally:
        attachment.take_off(network)


class Costs:
    """Floating-point operations, two for each multiplication with addition, attention included.

    Our own methods tell how many steps they computed and how many they forecast; what one of each takes is counted once
    for each shape of batch. Methods that do not tell are counted over a whole run, once for each shape.
    """

    def __init__(self, painter: BatchPainter):
        self.painter = painter
        self._known: dict[tuple, float] = {}

    def first(self, batch: Batch) -> float:
        """Operations of a run's first evaluation."""
        return self._once(("first",), batch, lambda: self._count(batch, Attachment(), 1))

    def further(self, batch: Batch) -> float:
        """Operations of another full evaluation: what no step changes is there already."""
        return self._once(("further",), batch, lambda: self._count(batch, Attachment(), 2) - self.first(batch))

    def forecast(self, batch: Batch, config: TaylorCacheConfig) -> float:
        """Operations of a forecast evaluation: of a run of two steps, one computed and one forecast."""
        two = replace(config, interval=2, warmup=1, last_steps=0, order=0, tolerance=1.0, lookahead=False)
        key = ("forecast", config.placement, config.branch_depth, config.temporal_interval)
        return self._once(key, batch, lambda: self._count(batch, TaylorAttachment(two), 2) - self.first(batch))

    def of(self, name: str, batch: Batch, painted: Painted, attachment: Attachment, steps: int | None) -> float:
        """Operations of a run that gave `painted`."""
        if isinstance(attachment, DiffusersAttachment):
            return self._once((name,), batch, lambda: self._count(batch, attachment, steps))
        forecast = self.forecast(batch, attachment.config) if painted.forecast else 0.0
        computed = self.first(batch) + (painted.computed - 1) * self.further(batch)
        return computed + painted.forecast * forecast

    def _once(self, key: tuple, batch: Batch, count: Callable[[], float]) -> float:
        key = (*key, tuple(batch.noise.shape))
        if key not in self._known:
            self._known[key] = count()
        return self._known[key]

    def _count(self, batch: Batch, attachment: Attachment, steps: int | None) -> float:
        with FlopCounterMode(display=False) as counter:
            self.painter(batch, attachment, steps)
        return float(counter.get_total_flops())
