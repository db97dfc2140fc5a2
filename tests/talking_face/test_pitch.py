"""Pitch: the contour of a voice, unvoiced where there is none."""

import numpy as np
import pytest

from talking_face import pitch


def glide(seconds: float, seed: int) -> np.ndarray:
    """A voice that glides and breaks off, over noise; (N,) float32 at 16 kHz."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * 16000)) / 16000
    phase = 2 * np.pi * np.cumsum(90 + 400 * (0.5 + 0.5 * np.sin(1.3 * t + seed))) / 16000
    voice = sum(np.sin(k * phase) / k for k in range(1, 9)) * (np.sin(5 * t) > -0.3)
    return (0.1 * voice + rng.normal(0, 0.02, len(t))).astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_the_contour_of_a_gliding_voice(seed):
    sound = glide(4, seed)
    rows, voicing = pitch.pitch_rows(sound)
    times = (pitch.PAST_SAMPLES + np.arange(len(rows)) * 320) / 16000
    wanted = np.log2((90 + 400 * (0.5 + 0.5 * np.sin(1.3 * times + seed))) / 200)
    spoken = (np.sin(5 * times) > 0) & (voicing > 0)  # away from where the voice breaks off
    assert spoken.mean() > 0.2
    assert np.median(np.abs(rows - wanted)[spoken]) < 1 / 24
    assert (voicing > 0)[np.sin(5 * times) < -0.6].mean() < 0.3


@pytest.mark.parametrize("value", [0.0, 1e-20, 1.0, -1.0])
def test_constant_sound_has_no_voice(value):
    rows, voicing = pitch.pitch_rows(np.full(pitch.PAST_SAMPLES + pitch.FUTURE + 3200, value, np.float32))
    assert np.isfinite(rows).all() and (voicing <= 0.05).all()


def test_the_copy_at_8_khz_lies_on_even_samples():
    t = np.arange(4000) / 16000
    tone = np.sin(2 * np.pi * 300 * t).astype(np.float32)
    np.testing.assert_allclose(pitch.at_8_khz(tone), tone[24:-24:2], atol=5e-3)


def test_the_copy_at_8_khz_has_no_aliases():
    t = np.arange(4000) / 16000
    assert np.abs(pitch.at_8_khz(np.sin(2 * np.pi * 5500 * t).astype(np.float32))).max() < 0.01
