"""Polynomials through past values at the places where they were really computed.

Newton's interpolating polynomial on non-uniform nodes (Abramowitz and Stegun, 25.1 and 25.2), written with one scalar
weight for each value: the weights are the divided differences' factors gathered by value, so that nothing but the
values is stored and no difference of two close tensors is ever rounded to half precision.
"""

from collections.abc import Sequence

import torch


def newton_weights(nodes: Sequence[float], x: float) -> list[float]:
    """One weight for each node, in float64, which sum to 1: the polynomial's value at `x` is the weighted sum.

    At a node the weight of its value is exactly 1 and the others are exactly 0. `nodes` must differ from each other.
    """
    weights = []
    for k, own in enumerate(nodes):
        weight = 1.0
        for other in [*nodes[:k], *nodes[k + 1 :]]:
            weight *= (x - other) / (own - other)
        weights.append(weight)
    return weights


def weighted_sum(values: Sequence[torch.Tensor], weights: Sequence[float]) -> torch.Tensor:
    """The sum of the values times their weights, in float32 where they are of half precision; values without weight
    are not read."""
    used = [(value, weight) for value, weight in zip(values, weights, strict=True) if weight != 0.0]
    if len(used) == 1 and used[0][1] == 1.0:
        return used[0][0].clone()
    exact = torch.promote_types(values[0].dtype, torch.float32)
    total = None
    for value, weight in used:
        if total is None:
            total = value.to(exact, copy=True).mul_(weight)
        else:
            total.add_(value, alpha=weight)
    return total.to(values[0].dtype)


class NewtonPredictor:
    """Keeps the last `order` + 1 values of one tensor and predicts it elsewhere.

    Args:
        order: the highest order of a prediction.
        dtype: what the values are kept in; None for their own.
    """

    def __init__(self, order: int, dtype: torch.dtype | None = None):
        self.order = order
        self.dtype = dtype
        self.nodes: list[float] = []  # newest first
        self.values: list[torch.Tensor] = []
        self._own_dtype: torch.dtype | None = None

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def highest_order(self) -> int:
        """What can be predicted with so far; -1 before the first value."""
        return len(self.nodes) - 1

    @property
    def memory(self) -> int:
        """Bytes of the tensors that are kept."""
        return sum(value.numel() * value.element_size() for value in self.values)

    def add(self, x: float, value: torch.Tensor) -> None:
        """Keep a copy of the value at `x`; one at the same `x` is replaced, the oldest goes when there are too many.

        ValueError where the shape differs from that of the values before: call `reset` first.
        """
        if self.values and self.values[0].shape != value.shape:
            raise ValueError(
                f"a value of shape {tuple(value.shape)} cannot follow values of shape {tuple(self.values[0].shape)}"
            )
        x = float(x)
        keep = [i for i, node in enumerate(self.nodes) if node != x][: self.order]
        self._own_dtype = value.dtype
        copy = value.detach().to(self.dtype or value.dtype, copy=True)
        self.nodes = [x, *(self.nodes[i] for i in keep)]
        self.values = [copy, *(self.values[i] for i in keep)]

    def weights(self, x: float, order: int | None = None) -> list[float]:
        """The weights of the newest values, one more than the order that is used."""
        if not self.nodes:
            raise ValueError("nothing can be predicted before the first value")
        order = self.order if order is None else order
        return newton_weights(self.nodes[: min(order, self.highest_order) + 1], float(x))

    def predict(self, x: float, order: int | None = None) -> torch.Tensor:
        """A new tensor: the value at `x` of the polynomial of this order (at most what there are values for)."""
        weights = self.weights(x, order)
        return weighted_sum(self.values[: len(weights)], weights).to(self._own_dtype)

    def reset(self) -> None:
        self.nodes, self.values, self._own_dtype = [], [], None
