"""The feature cache of a run: its name, its configuration, a denoiser of one's own for a thread, what it did."""

from __future__ import annotations

import copy
import threading
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING

from animate.errors import OptionError

if TYPE_CHECKING:
    from torch import nn

    from cache import CacheReport, TaylorCacheConfig

CACHES = ("off", "fast", "balanced", "exact")


def check_cache(name: str) -> None:
    """Raises OptionError for an unknown name."""
    if name not in CACHES:
        raise OptionError(f"Unknown --cache {name!r}: choose one of {', '.join(CACHES)}.")


def cache_config(name: str) -> TaylorCacheConfig | None:
    """The configuration of a name of `CACHES`; None is no cache. Raises OptionError for an unknown name."""
    check_cache(name)
    if name == "off":
        return None
    from cache import TaylorCacheConfig

    return TaylorCacheConfig.preset(name)


def has_work(config: TaylorCacheConfig | None, steps: int) -> bool:
    """Whether a run of so many steps leaves anything to forecast; otherwise the cache would only cost time."""
    return config is not None and config.tolerance > 0 and steps > config.warmup + config.last_steps


def with_own_hooks(network: nn.Module) -> nn.Module:
    """A copy of a network that shares its weights: a cache on the copy keeps states of its own."""
    shared = {id(tensor): tensor for tensor in chain(network.parameters(), network.buffers())}
    return copy.deepcopy(network, shared)


class CacheTally:
    """What the caches of a run did, all windows and threads together; as large for a long run as for a short one.

    Attributes:
        clips: how many times the denoiser went from noise to a clip; 0 where nothing was drawn with a cache.
        computed, forecast: in how many of them each step was, {step: clips}. A step counts once, also where guidance
            calls the denoiser two or three times for it, each with a cache of its own: as computed where one of the
            calls was.
        worst_error: the largest relative error of a forecast that was compared with the truth.
        memory: most bytes that one cache kept.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        self.clips = 0
        self.computed: Counter[int] = Counter()
        self.forecast: Counter[int] = Counter()
        self.worst_error = 0.0
        self.memory = 0

    def add(self, report: CacheReport | None) -> None:
        """Counts one clip's report; None, where there was no cache, counts nothing."""
        if report is None:
            return
        with self._lock:
            self.clips += 1
            contexts = report.contexts.values()
            computed = {step for context in contexts for step in context.computed}
            forecast = {step for context in contexts for step in context.forecast}
            self.computed.update(computed)
            self.forecast.update(forecast - computed)  # look-ahead goes over steps twice
            self.worst_error = max(self.worst_error, report.worst_error)
            self.memory = max(self.memory, report.memory)

    def to_dict(self) -> dict[str, object]:
        """Plain numbers for JSON; empty where nothing was drawn with a cache."""
        if not self.clips:
            return {}
        return {
            "computed": self.computed.total(),
            "forecast": self.forecast.total(),
            "computed_by_step": dict(sorted(self.computed.items())),
            "forecast_by_step": dict(sorted(self.forecast.items())),
            "worst_error": self.worst_error,
            "memory_bytes": self.memory,
        }
