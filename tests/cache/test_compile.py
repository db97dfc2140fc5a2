"""torch.compile: the decision is outside of the graph, one graph each for computed and for forecast steps."""

import pytest
import torch
import torch._dynamo as dynamo

from cache import TaylorCacheConfig, apply_taylor_cache, cache_report


@pytest.fixture(autouse=True)
def fresh():
    dynamo.reset()
    dynamo.utils.counters.clear()
    yield
    dynamo.reset()


def compile_(model):
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    model.compile(backend=backend)
    return graphs


@pytest.mark.parametrize("placement", ["branch", "output"])
def test_one_graph_break_and_no_recompiles(unet, loop, placement):
    config = TaylorCacheConfig(placement=placement, interval=3, tolerance=1.0)
    apply_taylor_cache(unet, config)
    expected = loop(unet).run()
    graphs = compile_(unet)
    assert torch.allclose(loop(unet).run(), expected, atol=1e-5)
    first = len(graphs)
    breaks = sum(dynamo.utils.counters["graph_break"].values())
    assert cache_report(unet).forecast > 4
    assert first == (2 if placement == "branch" else 1) and breaks <= 1
    with dynamo.config.patch(error_on_recompile=True):
        loop(unet, seed=2).run()
    assert len(graphs) == first


def test_the_blocks_of_a_transformer(wan, loop):
    apply_taylor_cache(wan, TaylorCacheConfig(interval=3, tolerance=1.0))
    expected = loop(wan, shape=(4, 2, 8, 8)).run()
    graphs = compile_(wan)
    assert torch.allclose(loop(wan, shape=(4, 2, 8, 8)).run(), expected, atol=1e-5)
    first = len(graphs)
    with dynamo.config.patch(error_on_recompile=True):
        loop(wan, shape=(4, 2, 8, 8), seed=2).run()
    assert len(graphs) == first == 2


def test_a_compiled_wrapper_is_looked_through(unet, loop):
    compiled = torch.compile(unet, backend="eager")
    apply_taylor_cache(compiled, TaylorCacheConfig(interval=3, tolerance=1.0))
    loop(compiled).run()
    assert cache_report(unet).forecast == cache_report(compiled).forecast > 4
