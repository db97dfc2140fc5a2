import numpy as np
import pytest

from talking_face.augment import augment
from talking_face.features import ENERGY, FEATURES, LEVEL, MELS, PITCH, VOICING, audio_features


@pytest.fixture(scope="module")
def features():
    time = np.arange(3 * 16000) / 16000
    loud = (np.sin(2 * np.pi * 1.5 * time) > 0) * 0.3
    return audio_features(
        (loud * np.sin(2 * np.pi * 180 * time) * (1 + np.sin(2 * np.pi * 900 * time))).astype(np.float32)
    )


def test_nothing_changes_at_strength_zero_but_masks(features):
    rng = np.random.default_rng(3)
    changed = augment(features, rng, strength=0.0)
    heard = features[:, : 2 * MELS] > -2  # what is quieter comes out at the floor
    assert np.median(np.abs(changed[:, : 2 * MELS] - features[:, : 2 * MELS])[heard]) < 0.05


@pytest.mark.parametrize("seed", range(8))
def test_finite_and_in_the_features_ranges(features, seed):
    changed = augment(features, np.random.default_rng(seed), features[::-1])
    assert changed.shape == (len(features), FEATURES) and np.isfinite(changed).all()
    assert changed[:, : 2 * MELS].min() >= -4 and changed[:, : 2 * MELS].max() <= 2
    assert changed[:, LEVEL].min() >= -1.5 - 1e-6


def test_the_original_stays(features):
    before = features.copy()
    augment(features, np.random.default_rng(0), features[::-1])
    np.testing.assert_array_equal(features, before)


def test_pitch_moves_only_where_there_is_a_voice(features):
    changed = augment(features, np.random.default_rng(1))
    silent = features[:, VOICING] == 0
    assert (changed[silent, PITCH] == 0).all()


def test_the_syllables_are_still_heard(features):
    kept = []
    for seed in range(20):
        changed = augment(features, np.random.default_rng(seed))
        kept.append(np.corrcoef(changed[:, ENERGY], features[:, ENERGY])[0, 1])
    assert np.median(kept) > 0.7
