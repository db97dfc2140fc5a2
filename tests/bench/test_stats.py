"""Intervals, paired tests and gaps: against scipy, against closed forms, and for what they promise."""

import numpy as np
import pytest
from scipy.stats import bootstrap, norm, studentized_range, t, ttest_ind

from bench.report.stats import LEAST, MANY, estimate, gap, holm, jackknife, paired, range_quantile


class TestEstimate:
    @pytest.mark.parametrize("count", [MANY, 40, 400])
    def test_of_many_values_is_scipys_bca_interval_at_an_expanded_level(self, count):
        values = np.random.default_rng(3).gamma(0.5, size=count)
        ours = estimate(values)
        level = 1 - 2 * norm.cdf(-np.sqrt(count / (count - 1)) * t.ppf(0.975, count - 1))
        theirs = bootstrap(
            (values,), np.mean, n_resamples=20000, batch=2000, method="BCa", confidence_level=level, random_state=1
        ).confidence_interval
        width = theirs.high - theirs.low
        assert ours.mean == pytest.approx(values.mean())
        assert (ours.low, ours.high) == pytest.approx(tuple(theirs), abs=0.03 * width)
        assert (ours.high - ours.mean) / (ours.mean - ours.low) > 1.1

    def test_ends_where_there_are_no_values(self):
        values = [1.0, 0.99, 0.5, 1.0]
        free, bounded = estimate(values), estimate(values, (0.4, 1.0))
        assert free.low < 0.4 and free.high > 1 and (bounded.low, bounded.high) == (0.4, 1.0)

    def test_without_skewness_is_the_t_interval(self):
        values = np.array([1.0, 2.0, 4.0, 6.0, 7.0])
        found = estimate(values)
        expected = t.interval(0.95, 4, 4.0, values.std(ddof=1) / 5**0.5)
        assert (found.low, found.high) == pytest.approx(expected)

    def test_is_the_inverse_of_halls_transformation(self):
        values = np.random.default_rng(1).lognormal(size=9)
        found = estimate(values)
        skew = ((values - values.mean()) ** 3).mean() / values.std() ** 3 / 3
        for end, quantile in ((found.low, 0.975), (found.high, 0.025)):
            x = (values.mean() - end) / values.std(ddof=1) * 3
            transformed = x + skew * x**2 / 3 + skew**2 * x**3 / 27 + skew / 6
            assert transformed == pytest.approx(t.ppf(quantile, 8))

    @pytest.mark.parametrize(
        ("count", "sigma", "least"),
        [(3, 0.0, 0.93), (5, 0.0, 0.93), (10, 0.0, 0.93), (30, 0.0, 0.925), (9, 1.0, 0.89), (10, 1.0, 0.88)],
        # plain BCa: .69, .84, .91, .92, .82, .84; t: .84 in the last but one
    )
    def test_covers_the_true_mean_nearly_as_often_as_it_says(self, count, sigma, least):
        samples = np.random.default_rng(0).normal(size=(1000, count))
        samples, mean = (np.exp(samples), np.exp(0.5)) if sigma else (samples, 0.0)
        hit = [found.low <= mean <= found.high for found in map(estimate, samples)]
        assert least <= np.mean(hit) <= 0.98

    def test_is_never_absurdly_wide(self):
        for count in (3, MANY - 1, MANY, 100):
            values = np.zeros(count)
            values[0] = 1.0
            found, usual = estimate(values), t.interval(0.95, count - 1, 1 / count, values.std(ddof=1) / count**0.5)
            assert found.low < found.mean < found.high
            assert found.high - found.low < 2.1 * (usual[1] - usual[0])

    def test_shrinks_with_the_number_of_videos(self):
        values = np.random.default_rng(1).normal(size=400)
        few, many = estimate(values[:25]), estimate(values)
        assert (many.high - many.low) < 0.5 * (few.high - few.low)

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

    def test_of_two_groups_the_interval_is_welchs(self):
        rng = np.random.default_rng(2)
        a, b = rng.normal(0, 1, 4), rng.normal(3, 5, 9)
        expected = ttest_ind(b, a, equal_var=False).confidence_interval()
        found = gap({"a": a, "b": b}).gap
        assert (found.low, found.high) == pytest.approx(tuple(expected))

    def test_of_several_groups_the_interval_is_games_and_howells(self):
        rng = np.random.default_rng(3)
        groups = {str(k): rng.normal(k, 1 + k, 4 + k) for k in range(4)}
        found = gap(groups)
        a, b = groups[found.best], groups[found.worst]
        errors = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
        freedom = sum(errors) ** 2 / (errors[0] ** 2 / (len(a) - 1) + errors[1] ** 2 / (len(b) - 1))
        reach = studentized_range.ppf(0.95, 4, freedom) * np.sqrt(sum(errors) / 2)
        assert (found.gap.low, found.gap.high) == pytest.approx((found.gap.mean - reach, found.gap.mean + reach), 1e-3)

    @pytest.mark.parametrize("freedom", [2.0, 3.3, 17.0, 1000.0])
    def test_quantiles_are_scipys(self, freedom):
        assert range_quantile(4, freedom) == pytest.approx(studentized_range.ppf(0.95, 4, freedom), rel=1e-3)

    @pytest.mark.parametrize("count", [2, 4])
    def test_equal_groups_seldom_exclude_zero(self, count):
        rng = np.random.default_rng(4)
        found = [gap({str(k): rng.normal(size=5) for k in range(count)}).gap.low > 0 for _ in range(200)]
        assert np.mean(found) < 0.08

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
