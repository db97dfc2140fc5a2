"""Loading saved networks while other threads compute.

diffusers and transformers make a network of half precision by changing PyTorch's default dtype, which is one for all
threads: what another thread makes meanwhile gets half precision too. They also take out PyTorch's initialisers and
replace `Module.register_parameter`, so that two networks must not be built at once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_LOCK = threading.RLock()
_MAKERS = {
    getattr(torch, name)
    for name in "arange as_tensor empty eye full linspace logspace ones rand randn scalar_tensor tensor zeros".split()
}


class _OwnDefault(TorchFunctionMode):
    """The default dtype of one thread; that of the others stays."""

    def __init__(self, dtype: torch.dtype):
        super().__init__()
        self.common = self.dtype = dtype

    def __torch_function__(self, func, types, args=(), kwargs=None) -> Any:
        kwargs = kwargs or {}
        made = func(*args, **kwargs)
        if self.dtype == self.common or func not in _MAKERS or kwargs.get("dtype") is not None:
            return made
        given = args[0] if func in (torch.as_tensor, torch.tensor) else None
        if made.dtype != self.common or isinstance(given, torch.Tensor) or hasattr(given, "dtype"):
            return made
        return made.to(self.dtype)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Inside, this thread may set PyTorch's default dtype without any other thread noticing; it is reset at the end.

    One thread at a time is inside: others wait.
    """
    with _LOCK, _OwnDefault(torch.get_default_dtype()) as own:
        thread, setter, getter = threading.get_ident(), torch.set_default_dtype, torch.get_default_dtype

        def set_default_dtype(dtype: torch.dtype) -> None:
            if threading.get_ident() == thread:
                own.dtype = dtype
            else:
                setter(dtype)

        def get_default_dtype() -> torch.dtype:
            return own.dtype if threading.get_ident() == thread else getter()

        torch.set_default_dtype, torch.get_default_dtype = set_default_dtype, get_default_dtype
        try:
            yield
        finally:
            torch.set_default_dtype, torch.get_default_dtype = setter, getter
