"""Where somebody speaks and which syllables are stressed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from animate.layers import smoothstep
from talking_face.curves import RATE
from talking_face.prosody import AHEAD, MEMORY, accents, smootherstep, speech_gate, window_max


def test_the_gate_opens_before_the_sound_and_shuts_after_it(make_features):
    gate = speech_gate(make_features(5, (1.5, 3.0)))
    onset, end = round(1.5 * RATE), round(3.0 * RATE)
    assert gate[round(0.9 * RATE) : onset - 4].max() == 0 and gate[onset - 1] > 0.1
    assert gate[onset + 2 : end].min() == pytest.approx(1)
    assert gate[end + round(0.35 * RATE)] > 0.9 and gate[end + round(0.85 * RATE) :].max() == 0


def test_at_the_beginning_silence_has_to_last_as_anywhere(make_features):
    gate = speech_gate(make_features(3))
    assert gate[0] == pytest.approx(1) and gate[round(0.85 * RATE) :].max() == 0


def test_short_gaps_are_no_pause(make_features):
    gate = speech_gate(make_features(4, (0.5, 1.5), (1.64, 3.0)))
    assert gate[round(0.6 * RATE) : round(2.9 * RATE)].min() == pytest.approx(1)


def test_the_gate_moves_smoothly(make_features):
    gate = speech_gate(make_features(6, (0.5, 1.5), (1.9, 3.0), (4.0, 5.0)))
    assert np.diff(gate).max() < 0.6 and np.diff(gate).min() > -0.25


def test_silence_and_faint_noise_are_no_speech(make_features):
    for noise in (-85, -62):
        assert speech_gate(make_features(3, noise_db=noise))[RATE:].max() == 0


def test_steady_noise_under_the_speech_is_no_speech(make_features):
    gate = speech_gate(make_features(5, (1.0, 2.5), noise_db=-55))
    assert gate[round(3.4 * RATE) : round(4.9 * RATE)].max() == 0
    assert gate[round(1.2 * RATE) : round(2.4 * RATE)].min() == pytest.approx(1)


def test_stressed_syllables_are_found_apart_from_each_other(make_features):
    table = make_features(8, (0.5, 7.5))
    rows = np.flatnonzero(accents(table))
    assert 4 <= len(rows) <= 14
    assert np.diff(rows).min() >= 4
    assert not accents(make_features(4)).any()


@given(first=st.integers(0, 150), seed=st.integers(0, 5))
@settings(deadline=None, max_examples=25)
def test_a_row_needs_only_its_memory_and_what_is_ahead(make_features, first, seed):
    table = make_features(12, (0.4, 3.0), (3.3, 6.5), (7.5, 11.0), noise_db=-60, seed=seed)
    back, ahead = round(MEMORY * RATE), round(AHEAD * RATE)
    row = back + first
    part = table[row - back : row + 20 + ahead]
    for measure in (speech_gate, accents):
        assert np.allclose(measure(table)[row : row + 20], measure(part)[back : back + 20], atol=1e-9)


@given(before=st.integers(0, 40), after=st.integers(0, 40))
def test_window_max_is_the_largest_of_the_window(before, after):
    values = np.random.default_rng(0).normal(size=50)
    wanted = [values[max(0, k - before) : k + after + 1].max() for k in range(50)]
    assert np.array_equal(window_max(values, before, after), wanted)


@pytest.mark.parametrize("step", [smoothstep, smootherstep])
def test_steps_run_from_0_to_1(step):
    values = step(np.linspace(-1, 2, 301))
    assert values[0] == 0 and values[-1] == 1 and (np.diff(values) >= 0).all()
