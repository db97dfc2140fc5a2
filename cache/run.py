"""What a denoising loop calls; each of these does nothing on a model without the cache."""

from collections.abc import Sequence
from contextlib import contextmanager

import torch
from diffusers.hooks.hooks import HookRegistry, StateManager
from diffusers.utils.torch_utils import unwrap_module
from torch import nn

from cache.coordinates import schedule_nodes
from cache.hook import check_hooks, find_hook
from cache.report import CacheReport
from cache.state import MODES, TaylorContext, group


def begin_run(
    model: nn.Module,
    scheduler,
    num_inference_steps: int | None = None,
    contexts: Sequence[str] | None = None,
    prediction_type: str | None = None,
) -> None:
    """Start a run: forget what was kept before, and read from the scheduler where each step stands.

    Args:
        model: with or without the cache.
        scheduler: after its `set_timesteps`.
        num_inference_steps: not needed; the scheduler's own arrays are what counts (Heun's are longer).
        contexts: the names of this run's contexts, where another run on the same model is still going on; None: all,
            and the report begins anew.
        prediction_type: what the network predicts ("sample", "epsilon", ...), where the loop turns that into what the
            scheduler was made for.
    """
    hook = find_hook(model)
    if hook is None:
        return
    check_hooks(model)
    hook.free(contexts)
    if contexts is None:
        hook.report = CacheReport(True, hook.cut.placement, hook.config.tolerance)
    hook.report.runs += 1
    nodes = schedule_nodes(scheduler, prediction_type)
    for name in [None] if contexts is None else contexts:
        hook.run.nodes[name] = nodes


def end_run(model: nn.Module, contexts: Sequence[str] | None = None) -> CacheReport:
    """Drop the cached tensors, also of a run that was interrupted; returns what the run did.

    `contexts`: as the run was begun with; `cache_report` then knows them no longer. None: all, and the report stays.
    """
    hook, report = find_hook(model), cache_report(model)
    if hook is None:
        return report
    hook.free(contexts)
    if contexts is None:
        return report
    # a context's further calls in a step are counted as "name#1", ...
    own = [name for name in report.contexts if name.partition("#")[0] in contexts]
    done = {name: report.contexts.pop(name) for name in own}
    return CacheReport(True, report.placement, report.tolerance, runs=1, contexts=done)


@contextmanager
def cache_context(
    model: nn.Module,
    name: str,
    step_index: int | None = None,
    timestep: torch.Tensor | float | None = None,
    sigma: float | None = None,
    num_inference_steps: int | None = None,
    mode: str | None = None,
):
    """Say what the calls inside belong to; contexts may be nested, the outer one is there again afterwards.

    Reaches every cache of diffusers on the model as well, also on models without `CacheMixin`.

    Args:
        name: "cond", "uncond" or "cfg" (both in one batch), with the window or clip behind a slash where there are
            several ("cfg/3"): what is kept under one name is never seen under another. The halves of one run
            ("cond/3", "uncond/3") are computed at the same steps.
        step_index: the turn of the loop, from 0.
        timestep: what the network is told; it finds the step where `step_index` is None.
        sigma: the noise level, for caches that ask for it.
        num_inference_steps: likewise.
        mode: "compute" or "forecast" whatever the errors say (a loop with look-ahead); what cannot be forecast is
            computed. None: as the errors say.
    """
    if mode not in MODES:
        raise ValueError(f"`mode` must be None, 'compute' or 'forecast' but is {mode!r}.")
    context = TaylorContext(name, step_index, num_inference_steps, timestep, sigma, mode)
    before = [(manager, manager._context) for manager in _state_managers(unwrap_module(model))]
    for manager, _ in before:
        manager.set_context(context)
    try:
        yield
    finally:
        for manager, outer in before:
            manager.set_context(outer)


def _state_managers(model: nn.Module) -> list[StateManager]:
    registry = HookRegistry.check_if_exists_or_initialize(model)
    return [
        value
        for each in (registry, *registry._get_child_registries())
        for hook in each.hooks.values()
        if hook._is_stateful
        for value in vars(hook).values()
        if isinstance(value, StateManager)
    ]


def cache_report(model: nn.Module) -> CacheReport:
    """What the cache did since `begin_run`; a report with `enabled` False where there is no cache."""
    hook = find_hook(model)
    if hook is None:
        return CacheReport()
    for controller in hook.run.controllers.values():
        controller.settle()
    return hook.report


def next_key_step(model: nn.Module, name: str, step_index: int) -> int:
    """The first step after the computed step `step_index` that has to be computed, as far as is known now.

    For a loop with look-ahead; the run must have been begun with `begin_run`. The next step where nothing is known.
    """
    hook = find_hook(model)
    controller = hook.run.controllers.get(group(name)) if hook is not None else None
    nodes = hook.run.nodes_of(name) if hook is not None else None
    if controller is None or nodes is None or step_index + 1 >= len(nodes):
        return step_index + 1
    return controller.next_key(step_index + 1, lambda step: nodes.at(hook.config.coordinate, step))


def set_weight(model: nn.Module, mask: torch.Tensor | None, contexts: Sequence[str] | None = None) -> None:
    """Where errors count more, for models with the cache.

    Args:
        mask: (B or 1, 1, T, H, W) or (B or 1, 1, H, W), 0 and more, at any resolution: an error counts as much as the
            mask is large there. "1 + 4 * expression mask" makes errors in the face count five times. None: everywhere
            alike.
        contexts: of these contexts, until their run ends; None: of all that have no mask of their own.
    """
    hook = find_hook(model)
    if hook is None:
        return
    if mask is not None:
        mask = mask.unsqueeze(2) if mask.ndim == 4 else mask
        if mask.ndim != 5 or mask.shape[1] != 1 or bool((mask < 0).any()) or not bool(mask.any()):
            raise ValueError(
                f"`mask` must be (B, 1, T, H, W) of numbers of at least 0, not all 0, but is {tuple(mask.shape)}."
            )
    for name in [None] if contexts is None else contexts:
        hook.masks.pop(name, None)
        if mask is not None:
            hook.masks[name] = mask
