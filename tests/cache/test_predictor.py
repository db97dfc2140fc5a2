"""Prediction on real nodes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cache import NewtonPredictor
from cache.predictor import newton_weights

places = st.lists(st.integers(-40, 40), min_size=5, max_size=5, unique=True).map(lambda xs: [x / 4 for x in xs])


@settings(max_examples=60, deadline=None)
@given(places, st.lists(st.integers(-5, 5), min_size=4, max_size=4), st.integers(0, 3))
def test_polynomials_of_the_order_are_exact_on_uneven_nodes(xs, coefficients, order):
    polynomial = np.polynomial.Polynomial(coefficients[: order + 1])
    predictor = NewtonPredictor(order)
    for x in xs[:4]:
        predictor.add(x, torch.full((3,), polynomial(x), dtype=torch.float64))
    expected = torch.full((3,), polynomial(xs[4]), dtype=torch.float64)
    scale = max(abs(polynomial(x)) for x in xs) * max(map(abs, newton_weights(xs[3 - order : 4], xs[4])))
    assert torch.allclose(predictor.predict(xs[4]), expected, atol=1e-12 * (1 + scale), rtol=0)


@settings(max_examples=60, deadline=None)
@given(places)
def test_weights_sum_to_one_and_pick_a_node_exactly(xs):
    assert sum(newton_weights(xs[:4], xs[4])) == pytest.approx(1.0, abs=1e-6)
    assert newton_weights(xs[:4], xs[2]) == [0.0, 0.0, 1.0, 0.0]


def test_order_two_differs_from_a_taylor_sum_of_backward_differences():
    predictor = NewtonPredictor(2)
    for x in (0.0, 5.0, 10.0):
        predictor.add(x, torch.tensor([x**2]))
    assert predictor.predict(13.0).item() == pytest.approx(169.0, rel=1e-6)


def test_a_node_gives_its_value_bit_for_bit():
    predictor = NewtonPredictor(2)
    values = torch.randn(3, 7)
    for x, value in zip((0.1, 0.7, 2.0), values, strict=True):
        predictor.add(x, value)
    assert torch.equal(predictor.predict(0.7), values[1])


def test_a_value_at_the_same_place_replaces_the_old_one():
    predictor = NewtonPredictor(1)
    for x, value in ((0.0, 0.0), (1.0, 5.0), (1.0, 1.0)):
        predictor.add(x, torch.tensor([value]))
    assert predictor.nodes == [1.0, 0.0]
    assert predictor.predict(2.0).item() == pytest.approx(2.0)


def test_the_order_grows_with_the_values_and_may_be_less():
    predictor = NewtonPredictor(3)
    with pytest.raises(ValueError, match="before the first"):
        predictor.predict(0.0)
    for x in (0.0, 1.0, 3.0):
        predictor.add(x, torch.tensor([x**2]))
    assert predictor.highest_order == 2
    assert [predictor.predict(4.0, order).item() for order in (0, 1, 2, 3)] == pytest.approx([9.0, 13.0, 16.0, 16.0])


def test_so_many_tensors_are_kept_as_the_order_needs_whatever_comes():
    predictor = NewtonPredictor(2)
    for x in range(20):
        predictor.add(x, torch.zeros(10))
    assert len(predictor) == 3 and predictor.memory == 3 * 10 * 4


def test_what_is_kept_is_a_copy():
    predictor = NewtonPredictor(0)
    value = torch.ones(2)
    predictor.add(0.0, value)
    value.zero_()
    predictor.predict(1.0).zero_()
    assert torch.equal(predictor.predict(1.0), torch.ones(2))


def test_shapes_are_never_broadcast():
    predictor = NewtonPredictor(1)
    predictor.add(0.0, torch.zeros(1, 4))
    with pytest.raises(ValueError, match=r"\(2, 4\)"):
        predictor.add(1.0, torch.zeros(2, 4))


def test_half_precision_is_summed_in_single():
    predictor = NewtonPredictor(2)
    for x in (0.0, 1.0, 2.0):
        predictor.add(x, torch.tensor([256.0 + x], dtype=torch.bfloat16))
    forecast = predictor.predict(3.0)
    assert forecast.dtype == torch.bfloat16
    # values round to 256, 256, 258 and the parabola through these is at 262; sums in half precision miss it
    assert forecast.item() == 262.0


def test_values_may_be_kept_in_another_dtype():
    predictor = NewtonPredictor(0, torch.bfloat16)
    predictor.add(0.0, torch.ones(4))
    assert predictor.memory == 8 and predictor.predict(1.0).dtype == torch.float32
