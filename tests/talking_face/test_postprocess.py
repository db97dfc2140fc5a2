"""Curves: still in silence, smooth, closures kept at any frame rate, frames at exactly n / fps."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from animate.errors import OptionError
from talking_face.curves import RATE, FaceCurves
from talking_face.postprocess import (
    CLOSURE_REACH,
    REST_CLOSURE,
    WIDEST,
    frame_times,
    sample,
    scale_mouth,
    smooth_curves,
    still_in_silence,
)

RATES = [
    Fraction(24),
    Fraction(24000, 1001),
    Fraction(25),
    Fraction(30000, 1001),
    Fraction(30),
    Fraction(50),
    Fraction(60),
]


def plain(count: int, start: int = 0, seed: int = 0) -> FaceCurves:
    """Noise for coefficients, an open mouth, no closure."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, 3)).astype(np.float32)
    return FaceCurves(rows, np.zeros(count, np.float32), np.full(count, 0.1, np.float32), np.zeros((count, 85)), start)


class TestSilence:
    def test_the_mouth_is_closed_and_still(self, make_curves):
        curves = still_in_silence(make_curves(4, (0.5, 2.0)))
        quiet = slice(round(2.9 * RATE), None)
        assert not curves.coefficients[quiet].any() and not curves.jaw[quiet].any()
        assert curves.closure[quiet] == pytest.approx(REST_CLOSURE)

    def test_speech_is_left_alone(self, make_curves):
        said = make_curves(4, (0.5, 2.0))
        inside = slice(round(0.6 * RATE), round(1.9 * RATE))
        assert np.allclose(still_in_silence(said).coefficients[inside], said.coefficients[inside], atol=1e-6)

    def test_the_mouth_does_not_pump_in_the_gap_of_a_stop(self, make_curves):
        said = make_curves(4, (0.5, 1.5), (1.64, 3.0))
        gap = slice(round(1.4 * RATE), round(1.8 * RATE))
        assert np.allclose(still_in_silence(said).coefficients[gap], said.coefficients[gap], atol=1e-6)


class TestSmoothing:
    def test_strength_0_changes_nothing(self):
        curves = plain(50)
        assert np.array_equal(smooth_curves(curves, 0).coefficients, curves.coefficients)

    def test_jitter_goes_syllables_stay_and_nothing_lags(self):
        times = np.arange(200) / RATE
        slow, jitter = np.sin(2 * np.pi * 4 * times), np.sin(2 * np.pi * 24 * times)
        curves = replace(plain(200), coefficients=np.stack([slow, jitter, slow], axis=1).astype(np.float32))
        out = smooth_curves(curves).coefficients[10:-10]
        assert np.abs(out[:, 1]).max() < 0.1
        assert np.allclose(out[:, 0], slow[10:-10], atol=0.05)  # also no shift: a row of lag would be 0.5 off

    @given(rows=st.sets(st.integers(0, 99), max_size=12), level=st.floats(0.3, 1.0))
    @settings(deadline=None, max_examples=50)
    def test_closures_survive(self, rows, level):
        rows = sorted(rows)
        curves = plain(100)
        curves.closure[rows] = level
        curves.jaw[rows] = 0.0
        out = smooth_curves(curves)
        assert (out.closure >= curves.closure - 1e-7).all() and out.closure.max(initial=0) <= 1
        if level == 1.0:
            assert np.array_equal(out.coefficients[rows], curves.coefficients[rows]) and not out.jaw[rows].any()

    def test_constant_curves_stay(self):
        curves = replace(plain(20), coefficients=np.full((20, 3), 2.5, np.float32))
        assert smooth_curves(curves).coefficients == pytest.approx(2.5)

    @pytest.mark.parametrize("strength", [-0.1, 1.5, float("nan")])
    def test_an_impossible_strength_is_an_error(self, strength):
        with pytest.raises(OptionError, match="between 0 and 1"):
            smooth_curves(plain(5), strength)


class TestMouthStrength:
    def test_it_scales_around_neutral(self):
        curves = plain(30)
        assert np.allclose(scale_mouth(curves, 0.5).coefficients, 0.5 * curves.coefficients)
        assert np.allclose(scale_mouth(curves, 2.0).jaw, 0.2)

    @given(mouth=st.floats(0, 3))
    def test_closed_lips_stay_closed(self, mouth):
        curves = plain(10)
        curves.closure[:] = 1.0
        assert (scale_mouth(curves, mouth).closure >= 1.0).all()

    @given(mouth=st.floats(1, 3), opening=st.floats(0, 0.44))
    def test_no_mouth_gapes(self, mouth, opening):
        curves = plain(1)
        curves.jaw[:] = opening
        jaw = scale_mouth(curves, mouth).jaw[0]
        assert opening - 1e-6 <= jaw <= WIDEST + 1e-6

    def test_at_0_the_mouth_rests(self):
        curves = scale_mouth(plain(10), 0.0)
        assert not curves.coefficients.any() and curves.closure == pytest.approx(REST_CLOSURE)


class TestSampling:
    @pytest.mark.parametrize("fps", RATES, ids=str)
    def test_a_frame_lies_at_exactly_n_over_fps_after_an_hour(self, fps):
        frame = int(3600 * fps) + 7
        start = 3600 * RATE - 10
        rows = np.arange(start, start + 60, dtype=np.float64)
        curves = replace(plain(60, start), coefficients=(rows[:, None] - start).astype(np.float32))
        got = sample(curves, fps, frame, 3).coefficients[:, 0]
        wanted = [float(Fraction(n) / fps * RATE - start) for n in range(frame, frame + 3)]
        assert got == pytest.approx(wanted, abs=1e-4)
        assert frame_times(fps, frame, 1)[0] == pytest.approx(float(Fraction(frame) / fps), abs=1e-9)

    @given(fps=st.sampled_from([r for r in RATES if r <= 30]), row=st.integers(5, 94), width=st.integers(1, 3))
    @settings(deadline=None, max_examples=200)
    def test_the_shortest_closure_is_seen(self, fps, row, width):
        curves = plain(100)
        curves.closure[row : row + width] = 1.0
        assert sample(curves, fps, 0, int(2 * fps)).closure.max() == pytest.approx(1.0)

    @given(fps=st.sampled_from(RATES), row=st.integers(10, 89))
    @settings(deadline=None, max_examples=100)
    def test_a_closure_is_not_seen_far_from_where_it_is(self, fps, row):
        curves = plain(100)
        curves.closure[row] = 1.0
        closed = np.flatnonzero(sample(curves, fps, 0, int(2 * fps)).closure > 0.6) / float(fps)
        assert np.abs(closed - row / RATE).max() <= CLOSURE_REACH + 1e-9

    def test_a_borrowed_closure_brings_its_mouth(self):
        curves = plain(100)
        curves.closure[49] = 1.0  # 0.98 s, between frames 23 and 24 of 24 a second
        curves.jaw[49] = 0.0
        shown = sample(curves, Fraction(24), 0, 48)
        frame = int(shown.closure.argmax())
        assert shown.jaw[frame] == pytest.approx(0, abs=1e-6)
        assert np.allclose(shown.coefficients[frame], curves.coefficients[49], atol=1e-5)

    @given(fps=st.sampled_from(RATES), cut=st.integers(1, 39), seed=st.integers(0, 9))
    @settings(deadline=None, max_examples=50)
    def test_a_stretch_gives_what_the_whole_gives(self, fps, cut, seed):
        curves = plain(200, seed=seed)
        curves.closure[:] = np.random.default_rng(seed).uniform(size=200)
        whole = sample(curves, fps, 0, 40)
        part = sample(curves.take(max(0, int((cut / fps - 1) * RATE)), 200), fps, cut, 40 - cut)
        for name in ("coefficients", "closure", "jaw"):
            assert np.array_equal(getattr(whole, name)[cut:], getattr(part, name))

    def test_the_ends_hold(self):
        curves = plain(10)
        assert np.array_equal(sample(curves, 25, 100, 1).coefficients[0], curves.coefficients[-1])

    @pytest.mark.parametrize("fps", [0, -25])
    def test_an_impossible_rate_is_an_error(self, fps):
        with pytest.raises(OptionError, match="frames a second"):
            sample(plain(10), fps, 0, 1)
