"""Numbers by index: the same in any stretch, spread as they should be."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from talking_face import noise


@given(seed=st.integers(0, 2**40), first=st.integers(-1000, 10**9), cut=st.integers(1, 9))
def test_a_stretch_has_the_numbers_of_the_whole(seed, first, cut):
    index = np.arange(first, first + 10)
    whole = noise.uniform(seed, "a", index)
    assert np.array_equal(whole[cut:], noise.uniform(seed, "a", index[cut:]))
    assert ((whole >= 0) & (whole < 1)).all()


def test_seeds_and_streams_have_their_own_numbers():
    index = np.arange(1000)
    table = np.stack([noise.uniform(s, n, index) for s in (0, 1, 2) for n in ("a", "b")])
    assert np.abs(np.corrcoef(table) - np.eye(6)).max() < 0.15


def test_uniform_and_normal_are_spread_as_they_say():
    index = np.arange(20000)
    assert np.abs(np.histogram(noise.uniform(3, "x", index), 10, (0, 1))[0] - 2000).max() < 200
    values = noise.normal(3, "x", index)
    assert abs(values.mean()) < 0.03 and abs(values.std() - 1) < 0.03 and abs((values**3).mean()) < 0.1


def test_a_wave_is_bounded_smooth_and_slow():
    times = np.arange(0, 400, 0.02)
    wave = noise.wave(times, 0, "w", 1.0)
    assert np.abs(wave).max() < 1 and 0.3 < wave.std() < 0.5 and abs(wave.mean()) < 0.1
    power = np.abs(np.fft.rfft(wave * np.hanning(len(wave)))) ** 2
    assert power[np.fft.rfftfreq(len(wave), 0.02) > 1.0].sum() < 0.01 * power.sum()
    assert np.abs(np.diff(wave, 2)).max() < 6 * 0.02**2 * 2  # the second derivative has no jumps to infinity
