"""The cache on a model: put on, taken off, and what it does round each forward pass.

One hook on the model decides before the pass and learns after it; hooks on its parts (`cache.cut_hooks`) carry that
out. All have one name, none holds what belongs to another, and every state is kept by the name of its context.
"""

import functools
import inspect
from dataclasses import fields, is_dataclass

import torch
from diffusers.hooks.hooks import HookRegistry, ModelHook, StateManager
from diffusers.utils import logging
from diffusers.utils.torch_utils import unwrap_module
from torch import nn

from cache.config import TaylorCacheConfig
from cache.cut_hooks import BlockHook, PartHook, Pass, Stack, stream_order
from cache.placements import Cut, find_cut
from cache.registry import remove_hook, restore_broken_hooks
from cache.report import CacheReport
from cache.state import CallState, ContextState, RunState, TaylorContext

logger = logging.get_logger(__name__)

HOOK_NAME = "mien_taylor_cache"
RESIDUALS = (
    "down_block_additional_residuals",
    "mid_block_additional_residual",
    "down_intrablock_additional_residuals",
)


class TaylorCacheHook(ModelHook):
    """On the model itself."""

    _is_stateful = True

    def __init__(self, model: nn.Module, config: TaylorCacheConfig, cut: Cut, current: Pass, scheduler=None):
        super().__init__()
        self.config = config
        self.cut = cut
        self.current = current
        self.run = RunState(config, scheduler, weighs=cut.placement == "output")
        self.states = StateManager(ContextState, init_args=(config,))
        self.report = CacheReport(enabled=True, placement=cut.placement, tolerance=config.tolerance)
        self.masks: dict[str | None, torch.Tensor] = {}  # by context; None: of the others
        self.patch = getattr(getattr(model, "config", None), "patch_size", None)
        self._names = list(inspect.signature(model.forward).parameters)
        self._warned: set[str] = set()

    # the frame itself stays out of torch.compile's graphs: that is the one graph break of a compiled model
    @functools.partial(torch.compiler.disable, recursive=False)
    def new_forward(self, module: nn.Module, *args, **kwargs):
        state = self._begin(args, kwargs)
        try:
            if state is not None and state.forecast and self.cut.placement == "output":
                output = _with_sample(state.template, self.current.forecasts[0])
            else:
                output = self.fn_ref.original_forward(*args, **kwargs)
            if state is not None:
                self._finish(state, output)
            return output
        finally:
            self.current.clear()

    @torch.compiler.disable
    def _begin(self, args: tuple, kwargs: dict) -> CallState | None:
        """Decide what this pass does; None where the cache leaves it alone."""
        context = self.states._context
        sample = _first_tensor(args, kwargs)
        if sample is None or not self._is_active(context):
            self.report.inactive += 1
            return None
        state = self.states.get_state().call(context)
        step = self.run.step_index(context, state.last_step, self._timestep(args, kwargs))
        x = self.run.coordinate(context, step, self._timestep(args, kwargs)) if step is not None else None
        if x is None:
            self._warn(
                "the cache does nothing: the step is unknown; call cache.begin_run(model, scheduler) before the loop "
                "and open cache.cache_context(model, name, step_index=i) round each call"
            )
            self.report.inactive += 1
            return None
        if state.enter(step, x, sample, forced=forced_mode(context) is not None):
            self.report.restarts += 1
        controller = self.run.controller(context, step, forced=forced_mode(context) is not None)
        decision = controller.decide(step, x, forced_mode(context))
        state.forecast = not decision.compute and state.is_ready
        state.batch = sample.shape[0]
        state.decision = decision
        current = self.current
        current.full_shapes = any(kwargs.get(name) is not None for name in RESIDUALS)
        if state.forecast:
            current.forecasts = state.predict(x, decision.order)
            current.forecasting = True
        else:
            current.recording = self.cut.placement != "output"
        if self.cut.motion and not (state.forecast and self.cut.placement == "output"):
            state.begin_motion(current, x, controller)
        return state

    def _is_active(self, context) -> bool:
        if torch.is_grad_enabled():
            self._warn("the cache does nothing while gradients are on: run the model under torch.no_grad()")
            return False
        if context is None:
            self._warn("the cache does nothing outside of cache.cache_context(model, name, step_index=i)")
            return False
        return True

    @torch.compiler.disable
    def _finish(self, state: CallState, output) -> None:
        """Keep what was computed and measure the forecasts that it replaced."""
        context = self.states.context
        report = self.report.context(state.report_name(context.name))
        if state.forecast:
            report.forecast.append(state.step)
            report.orders.append(state.order)
        else:
            if self.cut.placement == "output":
                state.template, value = _split_sample(output)
                recorded = [value]
            else:
                recorded = self.current.recorded
            mask = self.masks.get(context.name, self.masks.get(None))
            floor = self.config.floor if self.cut.placement == "output" else 0.0
            errors, nodes = state.learn(recorded, mask, self.patch, floor)
            self.run.controller_of(context.name).observe(state.step, state.x, nodes, errors, report)
            report.computed.append(state.step)
        if self.current.motion_forecasting or self.current.motion_recording:
            state.finish_motion(self.current, report)
        report.memory = max(report.memory, state.memory)
        if self.run.is_last(context, state.step) and forced_mode(context) is None:
            state.free()

    def _timestep(self, args: tuple, kwargs: dict):
        """The network's own `timestep` argument, for loops that tell no step index."""
        if "timestep" in kwargs:
            return kwargs["timestep"]
        if "timestep" in self._names and self._names.index("timestep") < len(args):
            return args[self._names.index("timestep")]
        return None

    def _warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            logger.warning(text)

    def free(self, names=None) -> None:
        """Drop the cached tensors of these contexts, or of all; the report stays."""
        if names is None:
            context = self.states._context
            self.states.reset()
            self.states.set_context(context)
            self.run.reset()
        else:
            for name in names:
                self.states._state_cache.pop(name, None)
                self.run.forget(name)
                self.masks.pop(name, None)
        self.current.clear()

    def reset_state(self, module: nn.Module) -> nn.Module:
        self.free()
        return module


def forced_mode(context) -> str | None:
    """What `cache_context` was told to do with the step; contexts of diffusers say nothing."""
    return context.mode if isinstance(context, TaylorContext) else None


def find_hook(model: nn.Module) -> TaylorCacheHook | None:
    """The cache on this model, None where there is none."""
    registry = getattr(unwrap_module(model), "_diffusers_hook", None)
    return registry.get_hook(HOOK_NAME) if registry is not None else None


def apply_taylor_cache(model: nn.Module, config: TaylorCacheConfig | None = None, scheduler=None) -> None:
    """Put the cache on a model; nothing of it is changed but the `forward` of the parts that are skipped.

    Args:
        model: any diffusers network, or one built like them. Put offloading hooks on before the cache.
        config: the defaults when None.
        scheduler: read at the start of each run, for loops that do not call `begin_run` (diffusers' own pipelines).

    Raises:
        ValueError: there is a cache on the model already, or no module of it fits the placement; the model is then as
            it was.
    """
    config = TaylorCacheConfig() if config is None else config
    model = unwrap_module(model)
    if find_hook(model) is not None:
        raise ValueError("There is a Taylor cache on this model already: remove it with `remove_taylor_cache` first.")
    if getattr(model, "_cache_config", None) is not None:
        raise ValueError(
            f"Another cache ({type(model._cache_config).__name__}) is on this model: call `disable_cache` first."
        )
    cut = find_cut(model, config.placement, config.branch_depth, config.temporal_interval is not None)
    current = Pass(_count_sources(cut), len(cut.motion))
    done: list[nn.Module] = []
    try:
        for module, hook in _part_hooks(cut, current):
            HookRegistry.check_if_exists_or_initialize(module).register_hook(hook, HOOK_NAME)
            done.append(module)
        root = TaylorCacheHook(model, config, cut, current, scheduler)
        HookRegistry.check_if_exists_or_initialize(model).register_hook(root, HOOK_NAME)
        done.append(model)
    except BaseException:
        for module in reversed(done):
            remove_hook(module, HOOK_NAME)
        raise
    finally:
        model._diffusers_hook.invalidate_child_registries_cache() if hasattr(model, "_diffusers_hook") else None
    if hasattr(model, "_cache_config"):  # CacheMixin: `enable_cache` then refuses another cache
        model._cache_config = config


def remove_taylor_cache(model: nn.Module) -> None:
    """Take the cache off; hooks of others stay as they are. Nothing happens where there is none."""
    model = unwrap_module(model)
    if find_hook(model) is None:
        return
    for module in list(model.modules()):
        remove_hook(module, HOOK_NAME)
    if hasattr(model, "_diffusers_hook"):
        model._diffusers_hook.invalidate_child_registries_cache()
    if isinstance(getattr(model, "_cache_config", None), TaylorCacheConfig):
        model._cache_config = None


def check_hooks(model: nn.Module) -> None:
    """Put hooks right that another hook's removal has cut off (a defect of diffusers 0.42)."""
    for module in unwrap_module(model).modules():
        restore_broken_hooks(module, HOOK_NAME)


def _count_sources(cut: Cut) -> int:
    return 2 * len(cut.stacks) if cut.placement == "blocks" else 1


def _part_hooks(cut: Cut, current: Pass):
    """(module, hook) for each part that is skipped, forecast or has an interval of its own."""
    motion = {module: number for number, module in enumerate(cut.motion)}
    if cut.placement == "branch":
        for module in cut.skipped:
            yield module, PartHook(current, skip=True, motion=motion.pop(module, None))
        yield cut.source, PartHook(current, source=True, motion=motion.pop(cut.source, None))
    for number, blocks in enumerate(cut.stacks):
        stack = Stack(2 * number, stream_order(blocks[0]))
        for block in blocks:
            yield block, BlockHook(current, block, stack, first=block is blocks[0], last=block is blocks[-1])
    for module, number in motion.items():
        yield module, PartHook(current, motion=number)


def _first_tensor(args: tuple, kwargs: dict) -> torch.Tensor | None:
    return next((value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)), None)


def _split_sample(output) -> tuple[object, torch.Tensor]:
    """(what the output is made of, its one tensor); ValueError where there is more than one tensor."""
    if isinstance(output, torch.Tensor):
        return None, output
    if isinstance(output, tuple) and len(output) == 1 and isinstance(output[0], torch.Tensor):
        return tuple, output[0]
    if is_dataclass(output) and len(fields(output)) == 1:
        name = fields(output)[0].name
        return (type(output), name), getattr(output, name)
    raise ValueError(
        f"Placement 'output' knows models that return one tensor, but this one returned a {type(output).__name__}."
    )


def _with_sample(template, sample: torch.Tensor):
    if template is None:
        return sample
    if template is tuple:
        return (sample,)
    kind, name = template
    return kind(**{name: sample})
