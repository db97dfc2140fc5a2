"""Exact caching: what the denoiser makes of inputs that no step changes is made in the first step and used in all.

Those are the keys and values of tokens and of reference features, the projected CLIP states, and the face masks. The
values are the ones that would be made again, so that nothing changes in the result.
"""

from collections.abc import Callable, Hashable
from typing import TypeVar

import torch

Value = TypeVar("Value")


def keep(kept: "KeptStates | None", key: Hashable, make: Callable[..., Value], *sources: torch.Tensor) -> Value:
    """`make(*sources)`, from `kept` where there is such an object."""
    return make(*sources) if kept is None else kept.get(key, make, *sources)


class KeptStates:
    """The kept values of one run of the denoiser, for `LandmarkUNet.forward(kept=...)`.

    A value is used again only for the very tensors that it was made from, unchanged; else it is made anew. Nothing is
    kept while gradients are on.
    """

    def __init__(self):
        self._values: dict[Hashable, tuple[tuple, tuple[int, ...], object]] = {}

    def get(self, key: Hashable, make: Callable[..., Value], *sources: torch.Tensor) -> Value:
        """`make(*sources)`, kept under `key`."""
        if torch.is_grad_enabled():
            return make(*sources)
        versions = tuple(0 if source.is_inference() else source._version for source in sources)
        before, at, value = self._values.get(key, ((), (), None))
        same = len(before) == len(sources) and all(a is b for a, b in zip(before, sources, strict=True))
        if not same or at != versions:
            value = make(*sources)
            self._values[key] = sources, versions, value
        return value

    @property
    def memory(self) -> int:
        """Bytes of the kept tensors."""
        return sum(
            tensor.nbytes
            for _, _, value in self._values.values()
            for tensor in (value if isinstance(value, tuple) else (value,))
            if isinstance(tensor, torch.Tensor)
        )
