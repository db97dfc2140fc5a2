"""Where networks compute: a name of torch's, checked before anything is loaded."""

from __future__ import annotations

import torch

from animate.errors import OptionError


def check_device(name: str) -> torch.device:
    """The device, if this machine can compute on it.

    Args:
        name: torch's: "cpu", "cuda", "cuda:1", "mps".

    Raises:
        OptionError: unknown, not there, or not supported by the installed PyTorch.
    """
    try:
        torch.zeros(1, device=name).item()
    except (AssertionError, RuntimeError) as error:
        raise OptionError(
            f"The device {str(name)!r} cannot be used here: choose cpu, or install a PyTorch that supports it."
        ) from error
    return torch.device(name)
