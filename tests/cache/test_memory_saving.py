"""Offloading and casting of diffusers beside the cache."""

import pytest
import torch
from diffusers.hooks import apply_group_offloading, apply_layerwise_casting

from cache import TaylorCacheConfig, apply_taylor_cache, cache_report, remove_taylor_cache

FIXED = TaylorCacheConfig(interval=3, tolerance=1.0)


@pytest.fixture
def expected(unet, loop):
    plain = loop(unet).run()
    apply_taylor_cache(unet, FIXED)
    cached = loop(unet).run()
    remove_taylor_cache(unet)
    return plain, cached


@pytest.mark.parametrize("kind", ["block_level", "leaf_level"])
@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
def test_group_offloading(unet, loop, expected, kind, first):
    def offload():
        groups = {"num_blocks_per_group": 1} if kind == "block_level" else {}
        apply_group_offloading(unet, torch.device("cpu"), offload_type=kind, **groups)

    plain, cached = expected
    if first:
        offload()
    apply_taylor_cache(unet, FIXED)
    if not first:
        offload()
    assert torch.equal(loop(unet).run(), cached) and cache_report(unet).forecast > 0
    remove_taylor_cache(unet)
    assert torch.equal(loop(unet).run(), plain)


def test_layerwise_casting(unet, loop, expected):
    apply_layerwise_casting(unet, torch.float16, torch.float32)
    plain = loop(unet).run()
    apply_taylor_cache(unet, FIXED)
    assert torch.allclose(loop(unet).run(), expected[1], atol=0.1)
    remove_taylor_cache(unet)
    assert torch.equal(loop(unet).run(), plain)
