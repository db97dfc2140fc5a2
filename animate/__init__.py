"""Portrait animation: a portrait and a motion in, an iterator of frames out.

The public names are loaded on first use, so that `import animate` costs nothing and the command line starts
at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .animator import PortraitAnimator
    from .motion import Motion
    from .portrait import Portrait

__all__ = ["Motion", "Portrait", "PortraitAnimator"]

_HOMES = {"PortraitAnimator": ".animator", "Portrait": ".portrait", "Motion": ".motion"}


def __getattr__(name: str) -> Any:
    """Import a public name where it lives (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
