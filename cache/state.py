"""What the cache remembers: of one call in a context, of a context, of a run."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers.hooks.hooks import BaseState, CacheContext

from cache.config import TaylorCacheConfig
from cache.control import Decision, StepController
from cache.coordinates import Nodes, schedule_nodes
from cache.measure import ErrorMeter
from cache.predictor import NewtonPredictor

# names of the halves of guidance: contexts "cond/7" and "uncond/7" belong to one run and share its decisions
GUIDANCE = ("cond", "uncond", "cfg", "pred_cond", "pred_uncond")
MODES = (None, "compute", "forecast")


@dataclass(frozen=True)
class TaylorContext(CacheContext):
    """diffusers' context with one thing more: what is to be done with the step, whatever the errors say."""

    mode: str | None = None


class CallState:
    """One forward pass of each step: what it computed at past steps.

    Contexts usually hold one call a step; where both halves of guidance are called in one context, one each.
    """

    def __init__(self, config: TaylorCacheConfig, number: int):
        self.config = config
        self.number = number
        self.free()
        self.last_step = -1
        self.signature = None
        self.template = None
        self.forecast = False
        self.decision = Decision(True)

    def free(self) -> None:
        """Drop the tensors."""
        self.predictors: dict[int, NewtonPredictor] = {}
        self.meters: dict[int, ErrorMeter] = {}
        self.motion: dict[int, NewtonPredictor] = {}
        self.motion_step: int | None = None

    @property
    def is_ready(self) -> bool:
        return bool(self.predictors)

    @property
    def memory(self) -> int:
        return sum(predictor.memory for predictor in (*self.predictors.values(), *self.motion.values()))

    def report_name(self, context: str) -> str:
        return context if self.number == 0 else f"{context}#{self.number}"

    def enter(self, step: int, x: float, sample: torch.Tensor, forced: bool) -> bool:
        """Begin a step; True where what was kept is of another run and was dropped."""
        signature = (tuple(sample.shape), sample.dtype, sample.device)
        stale = self.is_ready and (signature != self.signature or (step < self.last_step and not forced))
        if stale:
            self.free()
        self.signature = signature
        self.step = self.last_step = step
        self.x = x
        return stale

    def predict(self, x: float, order: int) -> list[torch.Tensor | None]:
        """The forecasts of this step; `order` is what is used at most."""
        self.order = min(order, min(predictor.highest_order for predictor in self.predictors.values()))
        places = max(self.predictors) + 1
        places += places % 2 if places > 1 else 0
        return [self.predictors[i].predict(x, self.order) if i in self.predictors else None for i in range(places)]

    def learn(
        self, recorded: Sequence[torch.Tensor | None], mask: torch.Tensor | None, patch, floor: float
    ) -> tuple[torch.Tensor | None, list[float]]:
        """Keep what was computed; (errors of each order, nodes) of the forecasts that could have been made."""
        errors, nodes = [], []
        for place, value in enumerate(recorded):
            if value is None:
                continue
            if place not in self.predictors:
                self.predictors[place] = NewtonPredictor(self.config.order, self.config.dtype)
                self.meters[place] = ErrorMeter()
            predictor = self.predictors[place]
            if len(predictor) and predictor.values[0].shape != value.shape:
                predictor.reset()
            if len(predictor) and self.config.tolerance > 0:
                nodes = list(predictor.nodes)
                meter = self.meters[place]
                errors.append(meter.errors(value, predictor.values, nodes, self.x, self.batch, mask, patch, floor))
            predictor.add(self.x, value)
        if not errors:
            return None, nodes
        return torch.stack(errors).amax(0), nodes

    def begin_motion(self, current, x: float, controller: StepController) -> None:
        """Whether the motion modules that this step reaches are computed."""
        config = self.config
        due = (
            config.tolerance == 0
            or self.motion_step is None
            or controller.is_protected(self.step)
            or self.step - self.motion_step >= config.temporal_interval
        )
        if due:
            current.motion_recording = True
            return
        order = min(1, config.order)
        if len(self.motion) < current.motions and not self.forecast:
            current.motion_recording = True
            return
        current.motion_forecasting = True
        for number, predictor in self.motion.items():
            current.motion_forecasts[number] = predictor.predict(x, order)

    def finish_motion(self, current, report) -> None:
        if current.motion_forecasting:
            report.motion_forecast += 1
            return
        report.motion_computed += 1
        for number, value in enumerate(current.motion_recorded):
            if value is not None:
                if number not in self.motion:
                    self.motion[number] = NewtonPredictor(min(1, self.config.order), self.config.dtype)
                self.motion[number].add(self.x, value)
        if not self.forecast:
            self.motion_step = self.step


class ContextState(BaseState):
    """The calls of one context; which of them a pass is, is counted from the entry of the context."""

    def __init__(self, config: TaylorCacheConfig):
        self.config = config
        self.calls: list[CallState] = []
        self._context = None
        self._count = 0

    def call(self, context: CacheContext) -> CallState:
        if context is not self._context:
            self._context, self._count = context, 0
        while len(self.calls) <= self._count:
            self.calls.append(CallState(self.config, len(self.calls)))
        self._count += 1
        return self.calls[self._count - 1]

    def reset(self, *args, **kwargs) -> None:
        self.calls = []


class RunState:
    """Nodes and step controllers of the runs that a model is in."""

    def __init__(self, config: TaylorCacheConfig, scheduler=None, weighs: bool = False):
        self.config = config
        self.scheduler = scheduler
        self.weighs = weighs  # whether tolerances follow the influence of the steps
        self.reset()

    def reset(self) -> None:
        self.nodes: dict[str | None, Nodes] = {}
        self.controllers: dict[str, StepController] = {}

    def forget(self, name: str) -> None:
        self.nodes.pop(name, None)
        self.controllers.pop(group(name), None)

    def nodes_of(self, name: str) -> Nodes | None:
        return self.nodes.get(name, self.nodes.get(None))

    def step_index(self, context: CacheContext, last: int, timestep) -> int | None:
        """The turn of the loop: as the context tells it, else found by the timestep."""
        if context.step_index is not None:
            return int(context.step_index)
        timestep = context.timestep if context.timestep is not None else timestep
        if timestep is None:
            return None
        value = _number(timestep)
        nodes = self.nodes_of(context.name)
        place = nodes.find(value, last) if nodes is not None else None
        if place is None and self.scheduler is not None:
            # a new run of a loop that does not call `begin_run`
            nodes = self.nodes[context.name] = schedule_nodes(self.scheduler)
            self.controllers.pop(group(context.name), None)
            place = nodes.find(value, -1)
        return place

    def coordinate(self, context: CacheContext, step: int, timestep) -> float | None:
        """Where the step lies on the polynomial's axis; None where that is not known."""
        kind = self.config.coordinate
        nodes = self.nodes_of(context.name)
        if nodes is None and self.scheduler is not None:
            nodes = self.nodes[context.name] = schedule_nodes(self.scheduler)
        if nodes is not None and 0 <= step < len(nodes):
            return nodes.at(kind, step)
        if kind == "step":
            return float(step)
        if kind == "sigma" and context.sigma is not None:
            return _number(context.sigma)
        timestep = context.timestep if context.timestep is not None else timestep
        if kind == "timestep" and timestep is not None:
            return _number(timestep)
        return None

    def length(self, context: CacheContext) -> int | None:
        nodes = self.nodes_of(context.name)
        return len(nodes) if nodes is not None else context.num_inference_steps

    def is_last(self, context: CacheContext, step: int) -> bool:
        length = self.length(context)
        return length is not None and step >= length - 1

    def controller(self, context: CacheContext, step: int, forced: bool = False) -> StepController:
        """The controller of the context's run; a new one where the run begins again."""
        name = group(context.name)
        known = self.controllers.get(name)
        if known is None or (step < known.last_decided and not forced):
            nodes = self.nodes_of(context.name)
            influence = nodes.influence if nodes is not None and self.weighs else None
            known = self.controllers[name] = StepController(self.config, self.length(context), influence)
        return known

    def controller_of(self, name: str) -> StepController:
        return self.controllers[group(name)]


def group(name: str) -> str:
    """The run that a context belongs to: its name without the half of guidance."""
    first, _, rest = name.partition("/")
    return rest if first in GUIDANCE else name


def _number(value) -> float:
    if isinstance(value, torch.Tensor):
        return float(value.flatten()[0])
    return float(value)
