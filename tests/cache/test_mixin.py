"""`enable_cache` on models of our own."""

import pytest
import torch
from diffusers import FirstBlockCacheConfig, WanTransformer3DModel

from cache import TaylorCacheConfig, TaylorCacheMixin, cache_report


class OurTransformer(TaylorCacheMixin, WanTransformer3DModel):
    pass


@pytest.fixture
def model(build_wan):
    return build_wan(OurTransformer, blocks=2)


def test_our_cache_goes_on_and_off(model, loop):
    plain = loop(model, shape=(4, 2, 8, 8)).run()
    model.enable_cache(TaylorCacheConfig(interval=3, tolerance=1.0))
    assert model.is_cache_enabled
    assert not torch.equal(loop(model, shape=(4, 2, 8, 8)).run(), plain)
    assert cache_report(model).forecast > 4
    model.disable_cache()
    assert not model.is_cache_enabled
    assert torch.equal(loop(model, shape=(4, 2, 8, 8)).run(), plain)


def test_one_cache_at_a_time(model):
    model.enable_cache(TaylorCacheConfig())
    for config in (TaylorCacheConfig(), FirstBlockCacheConfig()):
        with pytest.raises(ValueError, match="already been enabled"):
            model.enable_cache(config)


def test_caches_of_diffusers_go_on_as_ever(model):
    model.enable_cache(FirstBlockCacheConfig())
    with model.cache_context("cond"), torch.no_grad():
        model(torch.ones(1, 4, 2, 8, 8), torch.tensor([10]), torch.ones(1, 3, 8))
    model.disable_cache()
    assert not model.is_cache_enabled


def test_contexts_may_be_nested(model, loop):
    model.enable_cache(TaylorCacheConfig(interval=2, tolerance=1.0, coordinate="step"))
    with model.cache_context("outer", step_index=0), torch.no_grad():
        with model.cache_context("inner", step_index=3):
            model(torch.ones(1, 4, 2, 8, 8), torch.tensor([10]), torch.ones(1, 3, 8))
        model(torch.ones(1, 4, 2, 8, 8), torch.tensor([10]), torch.ones(1, 3, 8))
    contexts = cache_report(model).contexts
    assert contexts["inner"].computed == [3] and contexts["outer"].computed == [0]


def test_a_pipelines_reset_frees_the_tensors_and_keeps_the_report(model, loop):
    model.enable_cache(TaylorCacheConfig(interval=2, tolerance=1.0))
    run = loop(model, shape=(4, 2, 8, 8))
    for _ in range(4):
        run.advance()
    model._reset_stateful_cache()
    assert not model._diffusers_hook.get_hook("mien_taylor_cache").states._state_cache
    assert cache_report(model).computed == 3
