"""The settings: what cannot be is refused in one sentence."""

import subprocess
import sys
from dataclasses import FrozenInstanceError, fields

import pytest

import cache
from cache import PRESETS, TaylorCacheConfig


@pytest.mark.parametrize(
    "wrong",
    [
        {"placement": "everywhere"},
        {"coordinate": "time"},
        {"order": 4},
        {"order": True},
        {"tolerance": -0.1},
        {"tolerance": float("nan")},
        {"floor": -1},
        {"influence": -1},
        {"interval": 0},
        {"interval": 2.0},
        {"max_interval": 0},
        {"warmup": 0},
        {"last_steps": -1},
        {"branch_depth": 0},
        {"temporal_interval": 0},
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TaylorCacheConfig(**wrong)


def test_it_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        TaylorCacheConfig().order = 1


def test_every_field_is_documented_with_its_default():
    for field in fields(TaylorCacheConfig):
        default = f'"{field.default}"' if isinstance(field.default, str) else field.default
        assert f"{field.name} (default {default})" in TaylorCacheConfig.__doc__


def test_presets_are_known_by_name_and_exact_forecasts_nothing():
    assert list(PRESETS) == ["fast", "balanced", "exact"]
    assert TaylorCacheConfig.preset("exact").tolerance == 0
    assert TaylorCacheConfig.preset("fast").tolerance > TaylorCacheConfig.preset("balanced").tolerance > 0
    assert TaylorCacheConfig.preset("fast", order=1).order == 1
    with pytest.raises(ValueError, match="fast, balanced, exact"):
        TaylorCacheConfig.preset("quick")


def test_settings_are_read_without_torch():
    code = "import sys, cache; cache.PRESETS, cache.TaylorCacheConfig; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_public_names_are_loaded_on_first_use():
    assert all(getattr(cache, name) is not None for name in cache.__all__)
    with pytest.raises(AttributeError, match="taylor"):
        _ = cache.taylor
