"""Intervals, paired tests and gaps: against scipy, against closed forms, and for what they promise."""

import numpy as np
import pytest
from scipy.stats import bootstrap, t

from bench.report.stats import LEAST, estimate, gap, holm, jackknife, paired, resample_weights


class TestEstimate:
    def test_agrees_with_scipys_bca_interval(self):
        values = np.random.default_rng(3).gamma(2.0, size=40)
        ours = estimate(values)
        theirs = bootstrap((values,), np.mean, n_resamples=20000, method="BCa", random_state=1).confidence_interval
        width = theirs.high - theirs.low
        assert ours.mean == pytest.approx(values.mean())
        assert (ours.low, ours.high) == pytest.approx(tuple(theirs), abs=0.06 * width)

    def test_covers_the_true_mean_nearly_as_often_as_it_says(self):
        rng = np.random.default_rng(0)
        samples = rng.normal(5, 2, (400, 30))
        hit = [found.low <= 5 <= found.high for found in map(estimate, samples)]
        assert 0.90 <= np.mean(hit) <= 0.98

    def test_shrinks_with_the_number_of_videos(self):
        values = np.random.default_rng(1).normal(size=400)
        few, many = estimate(values[:25]), estimate(values)
        assert (many.high - many.low) < 0.5 * (few.high - few.low)

    def test_the_same_values_give_the_same_interval(self):
        resample_weights.cache_clear()
        first = estimate([1.0, 2.0, 4.0, 8.0])
        resample_weights.cache_clear()
        assert estimate([1.0, 2.0, 4.0, 8.0]) == first

    def test_equal_values_are_certain(self):
        found = estimate([0.1] * 7)
        assert found.low == found.high == found.mean

    def test_too_few_values_have_no_interval(self):
        found = estimate([1.0] * (LEAST - 1))
        assert found.mean == 1 and found.low is None and found.high is None
        assert estimate([]) is None

    def test_is_not_moved_by_a_large_offset(self):
        values = np.random.default_rng(2).normal(size=20)
        near, far = estimate(values), estimate(values + 1e6)
        assert far.high - far.low == pytest.approx(near.high - near.low, rel=1e-6)


def test_jackknife_of_a_mean_is_its_t_interval():
    values = np.random.default_rng(0).normal(3, 2, 15)
    without = [np.delete(values, i).mean() for i in range(len(values))]
    expected = t.interval(0.95, 14, values.mean(), values.std(ddof=1) / np.sqrt(15))
    assert jackknife(values.mean(), without) == pytest.approx(expected)


class TestPaired:
    def test_a_small_steady_gain_is_seen_where_means_hardly_differ(self):
        base = np.random.default_rng(0).normal(10, 5, 20)
        found = paired(base, base - 0.1 - 0.01 * np.arange(20))
        assert found.wins == 20 and found.losses == 0
        assert found.gain.low > 0 and found.p == pytest.approx(2 / 2**20)

    def test_no_difference_is_no_evidence(self):
        found = paired([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0])
        assert found.p == 1.0 and found.gain.mean == 0 and found.wins == found.losses == 0

    def test_exchanging_the_two_turns_the_sign_and_keeps_p(self):
        rng = np.random.default_rng(4)
        a, b = rng.normal(size=12), rng.normal(size=12)
        one, other = paired(a, b), paired(b, a)
        assert one.p == other.p and one.gain.mean == -other.gain.mean and one.wins == other.losses

    def test_false_alarms_are_as_rare_as_said(self):
        rng = np.random.default_rng(5)
        alarms = [paired(rng.normal(size=15), rng.normal(size=15)).p < 0.05 for _ in range(300)]
        assert np.mean(alarms) < 0.09

    def test_two_videos_are_not_tested(self):
        assert paired([1.0, 2.0], [0.0, 0.0]).p is None
        assert paired([], []) is None


class TestHolm:
    def test_known_example(self):
        assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == pytest.approx(
            {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}
        )

    def test_never_above_one_and_alone_unchanged(self):
        assert holm({"a": 0.7, "b": 0.9}) == {"a": 1.0, "b": 1.0}
        assert holm({"a": 0.02}) == {"a": 0.02}
        assert holm({}) == {}


class TestGap:
    def test_names_best_and_worst_and_is_sure_of_a_real_difference(self):
        rng = np.random.default_rng(0)
        found = gap(
            {"young": rng.normal(1, 0.1, 12), "old": rng.normal(2, 0.1, 12), "middle": rng.normal(1.5, 0.1, 12)}
        )
        assert (found.best, found.worst) == ("young", "old")
        assert found.gap.mean == pytest.approx(1, abs=0.1) and 0.8 < found.gap.low < found.gap.high < 1.2
        assert found.p < 0.002

    def test_many_groups_of_one_kind_do_not_make_a_gap(self):
        rng = np.random.default_rng(1)
        chances = [gap({str(k): rng.normal(size=5) for k in range(8)}).p for _ in range(60)]
        assert np.mean(np.array(chances) < 0.05) < 0.15 and 0.3 < np.mean(chances) < 0.7

    def test_small_groups_are_left_out(self):
        assert gap({"a": [1.0, 1.0, 1.0], "b": [9.0, 9.0]}) is None
        found = gap({"a": [1.0, 1.1, 0.9], "b": [9.0, 9.0], "c": [2.0, 2.1, 1.9]})
        assert {found.best, found.worst} == {"a", "c"}

    def test_equal_groups(self):
        found = gap({"a": [1.0] * 4, "b": [1.0] * 4})
        assert found.gap.mean == 0 and found.p == 1.0 and found.best != found.worst
