"""Accelerates diffusion models, ours and others'; knows no portrait.

apply_taylor_cache(model, TaylorCacheConfig())
begin_run(model, scheduler)                      # after scheduler.set_timesteps
for i, t in enumerate(scheduler.timesteps):
    with cache_context(model, "cond", step_index=i, timestep=t):
        ...  # the model's forward pass
print(cache_report(model))
remove_taylor_cache(model)
"""

import importlib

_HOME = {
    "TaylorCacheConfig": "cache.config",
    "PRESETS": "cache.config",
    "apply_taylor_cache": "cache.hook",
    "remove_taylor_cache": "cache.hook",
    "begin_run": "cache.run",
    "end_run": "cache.run",
    "cache_context": "cache.run",
    "cache_report": "cache.run",
    "next_key_step": "cache.run",
    "set_weight": "cache.run",
    "CacheReport": "cache.report",
    "TaylorCacheMixin": "cache.mixin",
    "NewtonPredictor": "cache.predictor",
    "Nodes": "cache.coordinates",
    "schedule_nodes": "cache.coordinates",
    "LookAheadRun": "cache.lookahead",
}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    # on first use: the command line's help must not wait for torch
    if name not in _HOME:
        raise AttributeError(f"module 'cache' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
