"""Look-ahead: the next step that is computed comes first, then the steps before it are interpolated, not extrapolated.

    step    k ── k+1 ── k+2 ── k+3        k and k+3 are computed in full
    first   ●  ┄ ┄ ┄ ┄ ┄ ┄ ┄ ►  ●          a cheap way to k+3: the last predictions go on in a straight line
    then    ●  ── between ──►  (●)         the steps themselves, between two true nodes; k+3 is not computed again

A forecast from the nodes before it has an error that grows with the (order + 1)th power of the distance; between two
nodes it is several times smaller. The way there costs no call of the network: what is computed at its end is kept by
the cache as a feature, which the layers round it then meet on the right sample. So a run costs as many full steps as
plain forecasting, and one forecast step more for each of them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import torch

from cache.config import TaylorCacheConfig
from cache.coordinates import schedule_nodes
from cache.predictor import NewtonPredictor

Mode = Literal["compute", "forecast"]
Evaluate = Callable[[torch.Tensor, int, Mode | None], torch.Tensor]
Advance = Callable[[torch.Tensor, int, torch.Tensor], torch.Tensor]


class LookAheadRun:
    """The denoising loop of one run, with or without look-ahead.

        run = LookAheadRun(scheduler, evaluate, config)
        for step in run(noise):
            run.sample  # after this step; what is assigned to it is what the next step begins with

    Args:
        scheduler: a diffusers scheduler with its timesteps set. It is put back to where it was before it goes over
            steps again, so that its own memory of steps stays right. It must not add noise, unless `advance` takes
            care that a step which is repeated adds the same.
        evaluate: (sample, step, mode) -> the prediction that the scheduler wants. "compute": in full; "forecast": from
            what is kept; None: as the cache decides.
        config: with `lookahead` False the loop is the plain one.
        advance: (prediction, step, sample) -> the sample after the step; None is the scheduler's own `step`.
        next_full: step -> which step is computed after this one; None takes it from the fixed `interval` of `config`.

    Attributes:
        sample: after the step that was finished last.
        interpolated: how many steps were forecast between two nodes.

    Raises:
        ValueError: look-ahead without a fixed interval and without `next_full`, or with a scheduler whose noise levels
            cannot be read (the coordinates "timestep" and "step" need none).
    """

    def __init__(
        self,
        scheduler,
        evaluate: Evaluate,
        config: TaylorCacheConfig,
        advance: Advance | None = None,
        next_full: Callable[[int], int] | None = None,
    ):
        if config.lookahead and next_full is None and config.interval is None:
            raise ValueError("look-ahead needs to know the next full step: give `next_full`, or a fixed `interval`")
        self.scheduler, self.evaluate, self.config = scheduler, evaluate, config
        self.advance = self._step if advance is None else advance
        self.next_full = self._after_interval if next_full is None else next_full
        self.steps = len(scheduler.timesteps)
        self.interpolated = 0

    def __call__(self, sample: torch.Tensor) -> Iterator[int]:
        """The numbers of the steps, in order, each when it is finished."""
        self.sample = sample
        return self._ahead() if self.config.lookahead else self._plain()

    def _plain(self) -> Iterator[int]:
        for step in range(self.steps):
            yield self._finish(step, None)

    def _ahead(self) -> Iterator[int]:
        self._places = _places(self.scheduler, self.config.coordinate)
        # order 1 was nearest on mini with DDIM and DPM++ at intervals of 3 and more; memory: two predictions
        self._line = NewtonPredictor(order=1)
        step, mode = 0, "compute"
        while step < self.steps:
            yield self._finish(step, mode)
            following, mode = self._following(step), "compute"
            if following > step + 1:
                between = range(step + 1, following)
                self._look_ahead(between)
                for index in between:
                    yield self._finish(index, "forecast")
                mode = "forecast"  # a node is there: its feature, with the layers round it on the right sample
                self.interpolated += len(between)
            step = following

    def _finish(self, step: int, mode: Mode | None) -> int:
        prediction = self.evaluate(self.sample, step, mode)
        if self.config.lookahead:
            self._line.add(self._places[step], prediction)
        self.sample = self.advance(prediction, step, self.sample)
        return step

    def _look_ahead(self, between: range) -> None:
        """Computes the step after `between`, on the sample to which the predictions' line leads."""
        before = copy.deepcopy(vars(self.scheduler))
        sample = self.sample
        for index in between:
            sample = self.advance(self._line.predict(self._places[index]), index, sample)
        self.evaluate(sample, between.stop, "compute")
        vars(self.scheduler).clear()
        vars(self.scheduler).update(before)

    def _following(self, step: int) -> int:
        """The next step to compute: never one of the first or last without those between it."""
        last = self.steps - max(1, self.config.last_steps)
        if step + 1 < self.config.warmup or step >= last or self.config.tolerance == 0:
            return step + 1
        return max(step + 1, min(self.next_full(step), last))

    def _after_interval(self, step: int) -> int:
        return step + self.config.interval

    def _step(self, prediction: torch.Tensor, step: int, sample: torch.Tensor) -> torch.Tensor:
        return self.scheduler.step(prediction, self.scheduler.timesteps[step], sample, return_dict=False)[0]


def _places(scheduler, coordinate: str) -> Sequence[float]:
    """Where each step stands on the axis of the polynomials."""
    if coordinate == "step":
        return range(len(scheduler.timesteps))
    if coordinate == "timestep":
        return [float(timestep) for timestep in scheduler.timesteps]
    return getattr(schedule_nodes(scheduler), coordinate)
