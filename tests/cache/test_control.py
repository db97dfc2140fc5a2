"""Which steps are computed: error control on known errors."""

import pytest
import torch

from cache import TaylorCacheConfig
from cache.control import StepController, distances
from cache.predictor import newton_weights


def simulate(config: TaylorCacheConfig, function, places, influence=None):
    """Run a controller on a scalar function; (full steps, {forecast step: (expected error, true error, order)})."""
    controller = StepController(config, len(places), influence)
    values, full, forecasts = [], [], {}
    orders = config.order + 1

    def forecast(x, order, nodes):
        return sum(w * function(node) for w, node in zip(newton_weights(nodes[: order + 1], x), nodes, strict=False))

    for step, x in enumerate(places):
        decision = controller.decide(step, x)
        if decision.compute:
            errors = [
                abs(forecast(x, order, values) - function(x)) for order in range(min(len(values), config.order + 1))
            ]
            controller.observe(step, x, values, torch.tensor(errors) if errors else None)
            values = [x, *values][:orders]
            full.append(step)
        else:
            true = abs(forecast(x, decision.order, values) - function(x))
            forecasts[step] = (decision.expected, true, decision.order)
    return full, forecasts


def even(count):
    return [0.5 * i for i in range(count)]


def test_a_smaller_tolerance_computes_more_steps():
    counts = [
        len(simulate(TaylorCacheConfig(order=1, tolerance=t), lambda x: x**2 / 100, even(40))[0])
        for t in (0.001, 0.01, 0.1)
    ]
    assert counts[0] > counts[1] > counts[2]


def test_forecasts_keep_the_tolerance_where_the_law_of_errors_holds():
    for order, function in ((0, lambda x: x / 10), (1, lambda x: x**2 / 100)):
        config = TaylorCacheConfig(order=order, tolerance=0.11, warmup=3)
        forecasts = [f for f in simulate(config, function, even(40))[1].values() if f[2] == order]
        assert len(forecasts) > 10 and all(true <= 0.11 * 1.001 for _, true, _ in forecasts)
        assert all(expected == pytest.approx(true, rel=1e-3) for expected, true, _ in forecasts)


def test_uneven_nodes_are_measured_by_their_distance():
    uneven = [0.5 * i for i in range(20)] + [10 + 2.0 * i for i in range(20)]
    full, _ = simulate(TaylorCacheConfig(order=0, tolerance=0.3, last_steps=0), lambda x: x / 10, uneven)
    gaps = [b - a for a, b in zip(full, full[1:], strict=False)]
    assert max(gaps[:4]) > 2 * max(gaps[-4:])


def test_the_order_is_the_one_that_forecasts_best():
    line = TaylorCacheConfig(order=2, tolerance=0.05)
    controller = StepController(line, 40)
    for step, x in enumerate((0.0, 1.0, 2.0, 3.0)):
        controller.decide(step, x)
        known = [float(node) for node in range(step - 1, -1, -1)][:3]
        errors = [0.1, 0.001, 0.02][: len(known)]
        controller.observe(step, x, known, torch.tensor(errors) if errors else None)
    controller.decide(4, 4.0)
    assert controller.best_order(4.0)[0] == 1


def test_first_and_last_steps_are_always_computed():
    config = TaylorCacheConfig(order=0, tolerance=10.0, warmup=3, last_steps=2, max_interval=50)
    full, _ = simulate(config, lambda x: 1.0, even(20))
    assert full == [0, 1, 2, 18, 19]


def test_no_interval_is_longer_than_the_longest_allowed():
    full, _ = simulate(TaylorCacheConfig(order=0, tolerance=10.0, max_interval=4), lambda x: 1.0, even(20))
    assert max(b - a for a, b in zip(full, full[1:], strict=False)) == 4


def test_a_fixed_interval_does_not_look_at_errors():
    config = TaylorCacheConfig(order=0, tolerance=1e-9, interval=3, warmup=1, last_steps=0)
    full, _ = simulate(config, lambda x: x**3, even(12))
    assert full == [0, 3, 6, 9]


def test_tolerance_zero_forecasts_nothing():
    assert len(simulate(TaylorCacheConfig(tolerance=0, interval=3), lambda x: 1.0, even(12))[0]) == 12
    controller = StepController(TaylorCacheConfig(tolerance=0), 12)
    assert controller.decide(5, 1.0, mode="forecast").compute


def test_steps_that_count_little_may_be_forecast_worse():
    config = TaylorCacheConfig(order=0, tolerance=0.1, influence=1.0, last_steps=0, max_interval=20)
    influence = [0.25] * 20 + [4.0] * 20
    full, forecasts = simulate(config, lambda x: x / 10, even(40), influence)
    assert max(true for step, (_, true, _) in forecasts.items() if step < 20) > 0.1
    assert all(true <= 0.025 * 1.001 for step, (_, true, _) in forecasts.items() if step >= 20)


def test_one_answer_a_step_and_the_worse_context_counts():
    controller = StepController(TaylorCacheConfig(order=0, tolerance=0.05), 20)
    for step in (0, 1):
        for error in (0.001, 0.2):  # two halves of guidance
            decision = controller.decide(step, float(step))
            assert decision.compute
            controller.observe(step, float(step), [0.0], torch.tensor([error]) if step else None)
    assert controller.decide(2, 2.0).compute and controller.last_errors == [pytest.approx(0.2)]


def test_a_second_evaluation_at_the_same_place_needs_a_measured_repeat():
    config = TaylorCacheConfig(order=1, tolerance=0.1, warmup=1)
    controller = StepController(config, 20)
    for step, (x, error) in enumerate([(0.0, None), (1.0, 0.3), (1.0, 0.01)]):
        assert controller.decide(step, x).compute
        nodes = [0.0, 1.0, 1.0][:step][::-1][:1]
        controller.observe(step, x, nodes, None if error is None else torch.tensor([error]))
    controller.settle()
    assert controller.repeat_error == pytest.approx(0.01)
    assert controller.best_order(1.0) == (0, pytest.approx(0.01))


def test_the_next_full_step_is_known_ahead():
    config = TaylorCacheConfig(order=0, interval=4, tolerance=1.0)
    controller = StepController(config, 20)
    for step in (0, 1):
        controller.decide(step, float(step))
        controller.observe(step, float(step), [], None)
    assert controller.next_key(2, float) == 5
    assert controller.next_key(18, float) == 18


def test_look_ahead_reaches_further_than_forecasting():
    def after_ten(lookahead):
        config = TaylorCacheConfig(order=1, tolerance=0.03, lookahead=lookahead, max_interval=12)
        controller = StepController(config, 60)
        for step in range(10):
            x = 0.5 * step
            controller.decide(step, x)
            nodes = [0.5 * k for k in range(step - 1, -1, -1)][:2]
            errors = [0.02 * distances(x, nodes, order) for order in range(len(nodes))]
            controller.observe(step, x, nodes, torch.tensor(errors) if errors else None)
        return controller.next_key(10, lambda step: 0.5 * step)

    assert after_ten(True) > after_ten(False) > 10
