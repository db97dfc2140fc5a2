"""Which steps are computed, which are forecast and with which order: step-size control by embedded errors.

At a full step the forecasts that each order would have made are compared with the truth. The error of order p grows
with the product of the distances from the forecast to its p + 1 nodes (the remainder of Newton's polynomial), so one
measured error gives the constant of that law, and the law the error of a forecast anywhere else. On even nodes it is
the rule of ODE solvers, h_new = h (tolerance / error)^(1 / (p + 1)) (Hairer, Norsett, Wanner, "Solving Ordinary
Differential Equations I", II.4), but it holds on uneven nodes as well.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from cache.config import TaylorCacheConfig
from cache.report import ContextReport

# how much of the worst constant of before is still believed after a full step with a better one
MEMORY = 0.5
# tolerances of single steps differ from that of the configuration by so much at most
RANGE = 10.0
# a forecast that only leads to the next full step of the look-ahead may be so many times worse than what is kept
LOOK_AHEAD_SLACK = 4.0


@dataclass(frozen=True)
class Decision:
    """What a step does: `compute` it, or forecast it with this `order`; `expected` is the error expected of that."""

    compute: bool
    order: int = 0
    expected: float = 0.0


class StepController:
    """Decides for one denoising run; all contexts of the run (both halves of guidance) share its decisions.

    Args:
        config: tolerance, intervals and order.
        length: how many steps the run has; None where that is unknown (no last step is then protected).
        influence: of each step, see `Nodes`; None: all alike.
    """

    def __init__(self, config: TaylorCacheConfig, length: int | None = None, influence: Sequence[float] | None = None):
        self.config = config
        self.length = length
        self.influence = influence
        self.full: list[tuple[int, float]] = []  # (step, coordinate) of full steps, newest first
        self.constants: list[float | None] = [None] * (config.order + 1)
        self.repeat_error: float | None = None  # of a forecast at the very place of its node
        self.last_errors: list[float] = []
        self._decided: tuple[int, Decision] | None = None
        self._pending: list[tuple] = []

    @property
    def last_decided(self) -> int:
        """The last step that was decided; -1 before the first."""
        return self._decided[0] if self._decided else -1

    def decide(self, step: int, x: float, mode: str | None = None) -> Decision:
        """What step `step` at coordinate `x` does; asked again for the same step, the answer is the same.

        `mode` "compute" or "forecast" decides whatever the errors say; `tolerance` 0 forecasts nothing all the same.
        """
        if self._pending and self._pending[0][0] != step:
            self.settle()  # all contexts of that step have been heard
        if mode == "compute" or (mode == "forecast" and self.config.tolerance == 0):
            return Decision(True)
        if mode == "forecast":
            return Decision(False, *self.best_order(x))
        if self._decided is None or self._decided[0] != step:
            self._decided = (step, self._judge(step, x))
        return self._decided[1]

    def _judge(self, step: int, x: float) -> Decision:
        if self._must_compute(step):
            return Decision(compute=True)
        order, expected = self.best_order(x)
        if self.config.interval is None and not expected <= self.tolerance(step):
            return Decision(compute=True)
        return Decision(False, order, expected)

    def tolerance(self, step: int) -> float:
        """The error allowed at a step: more where it does little to the result."""
        if self.influence is None or step >= len(self.influence):
            return self.config.tolerance
        factor = float(self.influence[step]) ** -self.config.influence
        return self.config.tolerance * min(max(factor, 1 / RANGE), RANGE)

    def is_protected(self, step: int) -> bool:
        """Whether it is one of the first or last steps, which are always computed."""
        if step < self.config.warmup:
            return True
        return self.length is not None and step >= self.length - self.config.last_steps

    def _must_compute(self, step: int) -> bool:
        if not self.full or self.config.tolerance == 0 or self.is_protected(step):
            return True
        return step - self.full[0][0] >= (self.config.interval or self.config.max_interval)

    def best_order(self, x: float, nodes: Sequence[float] | None = None) -> tuple[int, float]:
        """The order whose forecast at `x` is expected to be best, and its expected relative error.

        Where no error has been measured yet the error is infinite and the order the highest that there are nodes for.
        """
        nodes = [place for _, place in self.full] if nodes is None else list(nodes)
        best, least = min(self.config.order, len(nodes) - 1), float("inf")
        for order in range(min(self.config.order, len(nodes) - 1) + 1):
            expected = self._expected(order, x, nodes)
            if expected < least:
                best, least = order, expected
        return best, least

    def _expected(self, order: int, x: float, nodes: Sequence[float]) -> float:
        reach = distances(x, nodes, order)
        if reach == 0:
            return float("inf") if self.repeat_error is None else self.repeat_error
        constant = self.constants[order]
        return float("inf") if constant is None else constant * reach

    def observe(
        self,
        step: int,
        x: float,
        nodes: Sequence[float],
        errors: torch.Tensor | None,
        report: ContextReport | None = None,
    ) -> None:
        """Note a full step.

        Args:
            step, x: where it was.
            nodes: coordinates that its forecasts were made from, newest first.
            errors: (orders,) relative errors of those forecasts, order 0 first, still on their device; None where
                there was nothing to forecast from.
            report: gets the error of the order that would have been used, once it is read.
        """
        if errors is not None:
            self._pending.append((step, x, list(nodes), errors, report))
        if not self.full or self.full[0][0] != step:
            self.full = [(step, x), *(node for node in self.full if node[1] != x)][: self.config.order + 2]

    def settle(self) -> None:
        """Read the errors that were noted since the last decision (waits for the device) and learn from them."""
        if not self._pending:
            return
        _, x, nodes, _, _ = self._pending[0]
        used, _ = self.best_order(x, nodes)
        rows = []
        for step, _, _, errors, report in self._pending:
            rows.append(errors.tolist())
            if report is not None:
                report.errors.append((step, rows[-1][min(used, len(rows[-1]) - 1)]))
        self._pending = []
        # contexts of one step: the worst counts, as it does among the samples of one batch
        shortest = min(len(row) for row in rows)
        worst = [max(row[order] for row in rows) for order in range(shortest)]
        self.last_errors = worst
        for order, error in enumerate(worst):
            reach = distances(x, nodes, order)
            if reach == 0:
                self.repeat_error = error
                break  # higher orders forecast the same there
            constant = error / reach
            before = self.constants[order]
            self.constants[order] = constant if before is None else max(constant, MEMORY * before)

    def next_key(self, step: int, place: Callable[[int], float]) -> int:
        """The first step from `step` on that will be computed, as far as is known now.

        `place` gives the coordinate of a step. With `config.lookahead` the steps before it count as interpolated
        between it and the full steps there are.
        """
        self.settle()
        if self.config.lookahead and self.config.interval is None:
            return self._next_bracket(step, place)
        while not self._judge(step, place(step)).compute:
            step += 1
            if self.length is not None and step >= self.length:
                return self.length - 1
        return step

    def _next_bracket(self, step: int, place: Callable[[int], float]) -> int:
        known = [x for _, x in self.full]
        key = step
        while not self._must_compute(key):
            candidate = key + 1
            if self.length is not None and candidate >= self.length:
                break
            towards = self.best_order(place(candidate))[1]
            bracket = [place(candidate), *known]
            between = max(self.best_order(place(k), bracket)[1] / self.tolerance(k) for k in range(step, candidate))
            if towards > LOOK_AHEAD_SLACK * self.tolerance(candidate) or between > 1:
                break
            key = candidate
        return key


def distances(x: float, nodes: Sequence[float], order: int) -> float:
    """Product of the distances from `x` to the newest `order` + 1 nodes."""
    product = 1.0
    for node in list(nodes)[: order + 1]:
        product *= abs(x - node)
    return product
