"""Motions of several faces at one rate and of one length."""

from fractions import Fraction

import numpy as np
import pytest

from animate import pose
from animate.ensemble import BLEND, ENDS, fit_features, together
from animate.errors import OptionError
from animate.measures import gaze_of
from animate.motion import Motion

CHANNELS = ("rotation", "translation", "scale", "expression", "gaze")


@pytest.fixture(scope="module")
def smile() -> Motion:
    """40 frames, the last one in the middle of a smile."""
    return Motion.builtin("smile").take(slice(0, 40))


@pytest.fixture(scope="module")
def nod() -> Motion:
    return Motion.builtin("nod")


def largest_step(motion: Motion, name: str, frames: slice = slice(None)) -> float:
    return float(np.abs(np.diff(getattr(motion, name)[frames], axis=0)).max())


@pytest.mark.parametrize("ends", ENDS)
def test_all_have_one_length_and_the_fastest_rate(smile, nod, ends):
    slow = nod.resample(12)
    fitted = together([smile, slow], ends)
    assert {(len(each.motion), each.motion.fps) for each in fitted} == {(len(fitted[0].motion), Fraction(25))}
    lengths = [len(smile), round(len(slow) * Fraction(25, 12))]
    assert len(fitted[0].motion) == (min(lengths) if ends == "trim" else max(lengths))
    assert [each.frames for each in fitted] == lengths and fitted[1].rate == 12


@pytest.mark.parametrize("ends", ENDS)
def test_what_fits_already_is_not_touched(smile, ends):
    (alone,) = together([smile], ends)
    for name in (*CHANNELS, "valid"):
        assert np.array_equal(getattr(alone.motion, name), getattr(smile, name)), name


def test_hold_keeps_the_motion_bit_for_bit_then_eases_to_rest_without_a_jump(smile):
    held = together([smile], "hold", frames=120)[0].motion
    for name in CHANNELS:
        assert np.array_equal(getattr(held, name)[: len(smile)], getattr(smile, name)), name
        after = largest_step(held, name, slice(len(smile) - 1, None))
        assert after <= 1.5 * largest_step(smile, name) + 1e-6, name
    assert np.abs(smile.expression[-1]).max() > 0.05, "the smile is not over at its last frame"
    rest = held.take(slice(-1, None))
    assert np.abs(rest.expression).max() < 1e-6 and np.allclose(
        rest.gaze[0], gaze_of(smile.neutral[None])[0], atol=1e-6
    )
    turn = pose.rotation_matrices(rest.rotation)[0] @ pose.rotation_matrices(smile.neutral_rotation)[0].T
    assert np.allclose(turn, np.eye(3), atol=1e-5) and np.allclose(rest.scale, 1)


def test_loop_begins_again_without_a_jump(smile):
    looped = together([smile], "loop", frames=100)[0].motion
    middle = slice(10, 30)  # away from the seams it is the motion itself, again and again
    for name in CHANNELS:
        assert np.allclose(getattr(looped, name)[middle], getattr(smile, name)[middle], atol=1e-6), name
        assert np.allclose(getattr(looped, name)[50:70], getattr(smile, name)[middle], atol=1e-5), name
        assert largest_step(looped, name) <= 2 * largest_step(smile, name) + 1e-6, name
    plain = np.concatenate([smile.expression, smile.expression])
    assert np.abs(np.diff(plain, axis=0)).max() > 2 * largest_step(smile, "expression"), "bare repetition jumps"


@pytest.mark.parametrize("ends", ["hold", "loop"])
def test_a_single_frame_can_be_held_and_looped(smile, ends):
    still = together([smile.take(slice(20, 21))], ends, frames=9)[0].motion
    assert len(still) == 9 and np.isfinite(still.expression).all()
    assert np.allclose(still.expression[0], smile.expression[20])


def test_trim_and_a_given_length_cut(smile, nod):
    shortest = together([smile, nod], "trim")
    assert {len(each.motion) for each in shortest} == {40} and shortest[1].missing < 0
    assert len(together([nod], "hold", frames=5)[0].motion) == 5


def test_a_held_frame_counts_as_seen_and_a_bridged_one_stays_bridged(smile):
    bridged = smile.take(slice(None))
    bridged.valid = np.arange(len(smile)) < 38
    held = together([bridged], "hold", frames=60)[0].motion
    assert (~held.valid).nonzero()[0].tolist() == [38, 39]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(([], "hold"), "at least one"), ((None, "bounce"), "bounce"), ((None, "hold", None, 0), "1 frame or more")],
)
def test_one_sentence_for_what_cannot_be(smile, arguments, words):
    motions, *rest = arguments
    with pytest.raises(OptionError, match=words):
        together([smile] if motions is None else motions, *rest)


class TestFeatures:
    """Of an encoder: numbers of which nobody says what rest is."""

    @pytest.fixture
    def features(self) -> np.ndarray:
        return np.linspace([0, 5], [9, -4], 40, dtype=np.float32)

    @pytest.mark.parametrize("ends", ENDS)
    def test_what_is_long_enough_is_cut(self, features, ends):
        assert np.array_equal(fit_features(features, 40, ends), features)
        assert np.array_equal(fit_features(features, 7, ends), features[:7])

    def test_the_last_frame_is_held(self, features):
        held = fit_features(features, 60, "hold")
        assert np.array_equal(held[:40], features) and (held[40:] == features[-1]).all() and held.dtype == np.float32

    def test_a_loop_begins_again_without_a_jump(self, features):
        looped = fit_features(features, 100, "loop", 25)
        assert looped.shape == (100, 2) and np.abs(np.diff(looped, axis=0)).max() < 2
        reach = round(BLEND * 25)
        for first in (0, 40):
            inner = slice(first + (reach if first else 0), first + 40 - reach)
            wanted = features[reach if first else 0 : 40 - reach]
            assert np.allclose(looped[inner], wanted, atol=1e-6), "away from the seams it is the clip's own"

    def test_one_frame_is_looped(self, features):
        assert np.array_equal(fit_features(features[:1], 3, "loop"), features[[0, 0, 0]])

    def test_unknown_ends_and_no_frame_are_refused(self, features):
        for frames, ends in ((5, "bounce"), (0, "hold")):
            with pytest.raises(OptionError):
                fit_features(features, frames, ends)
