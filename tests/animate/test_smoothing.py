"""One-Euro smoothing takes jitter away and leaves blinks alone."""

from dataclasses import replace

import numpy as np
import pytest

from animate import measures
from animate.errors import OptionError
from animate.smoothing import OneEuro, OneEuroConfig, smooth


def with_blink(talk, frames: int = 60, at: int = 30):
    """A still face with jitter of 0.002 IOD that blinks for exactly three frames: half, shut, half."""
    rng = np.random.default_rng(0)
    still = talk.take(np.zeros(frames, int))
    expression = rng.normal(0, 0.002, (frames, 478, 3))
    gaps = measures.lid_gaps(still.neutral)
    for offset, share in ((-1, 0.5), (0, 1.0), (1, 0.5)):
        for eye, pairs in enumerate(measures._EYE_PAIRS):
            expression[at + offset, pairs[:, 0], 1] += share * gaps[eye]
    rotation = still.neutral_rotation + rng.normal(0, 0.003, (frames, 3))
    return replace(still, expression=expression, rotation=rotation)


@pytest.mark.parametrize("strength", [0.3, 0.5, 1.0])
def test_a_blink_of_three_frames_keeps_its_depth_and_its_moment(talk, strength):
    motion = with_blink(talk)
    depths = []
    for m in (motion, motion.smooth(strength)):
        openings = measures.lid_gaps(m.shapes).mean(axis=(1, 2))
        assert np.argmin(openings) == 30
        depths.append(np.median(openings) - openings.min())
    assert depths[1] >= 0.95 * depths[0]


def test_jitter_at_rest_shrinks_with_strength(talk):
    motion = with_blink(talk)
    jitter = [
        np.abs(np.diff(m.expression[:25, :468], 2, axis=0)).mean()
        for m in (motion, motion.smooth(0.3), motion.smooth(1.0))
    ]
    assert jitter[1] < 0.6 * jitter[0] and jitter[2] < 0.25 * jitter[0]
    calm = motion.smooth(1.0)
    assert calm.rotation.std(axis=0).max() < 0.6 * motion.rotation.std(axis=0).max()


def test_real_speech_keeps_its_closures_and_openings(talk):
    calm = talk.smooth(0.5)
    before, after = measures.mouth_opening(talk.shapes), measures.mouth_opening(calm.shapes)
    assert np.corrcoef(before, after)[0, 1] > 0.98 and after.max() > 0.93 * before.max()


def test_strength_zero_changes_nothing_and_others_are_refused(talk):
    assert talk.smooth(0) is talk
    for strength in (-0.1, 1.5, float("nan")):
        with pytest.raises(OptionError, match="between 0 and 1"):
            talk.smooth(strength)


def test_whole_clip_smoothing_does_not_lag():
    t = np.arange(200) / 50
    wave = np.sin(2 * np.pi * 1.0 * t)[:, None, None]
    calm = smooth(wave, 50, OneEuroConfig(min_cutoff=1.0, beta=0.0))[:, 0, 0]
    shifts = [np.dot(np.roll(calm, s), wave[:, 0, 0]) for s in range(-10, 11)]
    assert np.argmax(shifts) == 10


def test_the_causal_filter_follows_a_step_and_calms_noise():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.01, (300, 1, 1))
    step = np.concatenate([noise[:150], noise[150:] + 1])
    euro = OneEuro(50, OneEuroConfig(min_cutoff=1.0, beta=5.0, derivative_cutoff=5.0))
    out = np.stack([euro(frame) for frame in step])[:, 0, 0]
    assert out[100:150].std() < 0.6 * step[100:150].std()
    assert out[155] > 0.9 and out[0] == step[0, 0, 0]


def test_points_of_a_group_open_together():
    signal = np.zeros((40, 2, 1))
    signal[20:, 0] = 1.0
    signal[:, 1] = np.random.default_rng(0).normal(0, 0.01, (40, 1))
    config = OneEuroConfig(min_cutoff=0.5, beta=5.0)
    alone = smooth(signal, 25, config)[20, 1, 0] - signal[20, 1, 0]
    together = smooth(signal, 25, config, np.zeros(2, int))[20, 1, 0] - signal[20, 1, 0]
    assert abs(together) < abs(alone)


def test_impossible_configurations_are_refused():
    with pytest.raises(OptionError, match="min_cutoff"):
        OneEuroConfig(min_cutoff=0)
