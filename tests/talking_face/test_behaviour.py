"""Blinks, head, brows, gaze and emotion: people's statistics, smooth, the same in any stretch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from animate import measures, pose
from animate import topology as mesh
from animate.errors import OptionError
from talking_face import behaviour, emotion
from talking_face.blinks import LONGEST, PEAK, WAIT, _schedule, blinks
from talking_face.curves import RATE
from talking_face.gaze import gaze
from talking_face.head_motion import brows, head
from talking_face.prosody import Prosody

FPS = 25.0
SEEDS = st.integers(0, 2**31)


def seconds(count, first=0):
    return (first + np.arange(count)) / FPS


@pytest.fixture(scope="module")
def prosody(make_features) -> Prosody:
    """Twenty seconds of speech with two pauses."""
    return Prosody.of(make_features(20, (0.5, 6.0), (7.0, 12.0), (13.5, 19.5)), 0)


class TestBlinks:
    def test_seventeen_a_minute(self):
        shut = np.stack([blinks(seconds(15000), seed) for seed in range(6)])
        begun = ((shut[:, 1:] > 0.5 * PEAK) & (shut[:, :-1] <= 0.5 * PEAK)).sum()
        assert begun / 60 == pytest.approx(17, abs=1.5)

    def test_intervals_are_log_normal(self):
        intervals = np.diff(_schedule(0, 17.0, 64))
        inner = np.log(intervals[(intervals > 1.0) & (intervals < LONGEST * 3.5)])
        skew = ((inner - inner.mean()) ** 3).mean() / inner.std() ** 3
        assert abs(skew) < 0.25 and 0.45 < inner.std() < 0.65
        assert np.mean(intervals) > 1.1 * np.median(intervals)

    @pytest.mark.parametrize("fps", [24000 / 1001, 25.0, 30.0, 60.0])
    def test_a_frame_shows_the_lids_shut_in_every_blink(self, fps):
        times = np.arange(int(120 * fps)) / fps
        shut = blinks(times, 1)
        edges = np.flatnonzero(np.diff((shut > 0).astype(int)))
        peaks = [shut[a : b + 1].max() for a, b in zip(edges[::2], edges[1::2], strict=False)]
        assert len(peaks) > 20 and min(peaks) > 0.9 * PEAK

    def test_lids_fall_faster_than_they_rise(self):
        shut = blinks(np.arange(0, 60, 0.005), 0)
        steps = np.diff(shut)
        assert (steps < 0).sum() > 1.5 * (steps > 0).sum()
        assert np.abs(steps).max() < 0.1

    @given(seed=SEEDS, cut=st.integers(1, 399))
    @settings(deadline=None, max_examples=30)
    def test_a_stretch_gives_what_the_whole_gives(self, seed, cut):
        whole = blinks(seconds(400), seed)
        assert np.array_equal(
            whole, np.concatenate([blinks(seconds(cut), seed), blinks(seconds(400 - cut, cut), seed)])
        )

    def test_a_blink_waits_for_a_pause(self, make_features):
        speech = np.ones(60 * RATE)
        due = _schedule(3, 17.0, 1)
        speech[int(due[2] * RATE) + 10 : int(due[2] * RATE) + 30] = 0  # 0.2 s after it is due
        shut = blinks(np.arange(0, 50, 0.01), 3, prosody=Prosody(speech, speech * 0, 0))
        begun = np.flatnonzero((shut[1:] > 0) & (shut[:-1] == 0)) / 100
        assert np.abs(begun - due[2] - 0.2).min() < 0.05
        assert np.abs(begun - due[3] - WAIT).min() < 0.05

    def test_lids_really_meet(self, small_basis):
        shapes = np.repeat(small_basis.neutral[None].astype(np.float64), 3, axis=0)
        behaviour.shut_lids(shapes, np.array([0.0, 0.5, 1.0]))
        assert np.array_equal(shapes[0], small_basis.neutral)
        assert np.abs(measures.lid_gaps(shapes[2])).max() < 1e-9
        rest = measures.eye_openings(shapes[0])
        assert measures.eye_openings(shapes[1]) == pytest.approx(0.5 * rest, rel=0.05)
        brow_points = list(mesh.RIGHT_BROW + mesh.LEFT_BROW)
        assert np.abs(shapes[2, brow_points] - shapes[0, brow_points]).max() < 0.005


class TestHead:
    def test_amount_0_is_exactly_still(self, prosody):
        rotation, translation = head(seconds(500), 0, 0.0, prosody)
        assert not rotation.any() and not translation.any()

    def test_it_starts_at_rest(self, prosody):
        rotation, translation = head(seconds(500), 0, 1.0, prosody)
        assert not rotation[0].any() and not translation[0].any()
        assert np.abs(np.degrees(rotation[:3])).max() < 0.1

    @given(seed=SEEDS)
    @settings(deadline=None, max_examples=20)
    def test_lively_stays_within_bounds_and_slow(self, prosody, seed):
        rotation, translation = head(seconds(500), seed, 1.0, prosody)
        angles = np.degrees(pose.head_angles(rotation))
        assert (np.abs(angles).max(axis=0) < [7.5, 5.1, 3.1]).all()
        assert np.abs(translation).max() < 0.25
        assert np.abs(np.diff(angles, axis=0)).max() * FPS < 60  # degrees a second
        power = np.abs(np.fft.rfft((angles - angles.mean(axis=0)) * np.hanning(500)[:, None], axis=0)) ** 2
        assert (power[np.fft.rfftfreq(500, 1 / FPS) > 2].sum(axis=0) < 0.05 * power.sum(axis=0)).all()

    def test_it_never_drifts_off(self):
        angles = np.degrees(pose.head_angles(head(seconds(500, 25 * 3600), 0, 1.0)[0]))
        assert np.abs(angles).max() < 5.1

    def test_it_nods_on_stressed_syllables_and_is_calmer_in_silence(self, prosody):
        moved = np.stack([head(seconds(500), s, 1.0, prosody)[0] for s in range(8)])
        idle = np.stack([head(seconds(500), s, 1.0)[0] for s in range(8)])
        assert np.abs(np.diff(idle, axis=1)).mean() < 0.6 * np.abs(np.diff(moved, axis=1)).mean()
        pitch = np.stack([pose.head_angles(rotation)[:, 0] for rotation in moved]).mean(axis=0)
        stressed = np.flatnonzero(prosody.accents > 0.3) / RATE
        after = np.interp(stressed + 0.2, seconds(500), pitch) - np.interp(stressed - 0.1, seconds(500), pitch)
        assert (after > 0).mean() > 0.8  # down is positive

    @given(seed=SEEDS, cut=st.integers(1, 399))
    @settings(deadline=None, max_examples=20)
    def test_a_stretch_gives_what_the_whole_gives(self, prosody, seed, cut):
        for move in (lambda t: head(t, seed, 0.7, prosody)[0], lambda t: brows(t, seed, 0.7, prosody)[:, None]):
            whole = move(seconds(400))
            assert np.allclose(whole, np.concatenate([move(seconds(cut)), move(seconds(400 - cut, cut))]), atol=1e-12)


class TestBrowsAndGaze:
    def test_brows_rise_with_some_accents_and_come_down(self, prosody):
        raised = np.stack([brows(seconds(500), s, 0.5, prosody) for s in range(10)])
        assert 0 <= raised.min() and 0.3 < raised.max() <= 1
        assert 0.05 < (raised > 0.1).mean() < 0.7
        assert not brows(seconds(500), 0, 0.5).any() and not brows(seconds(500), 0, 0.0, prosody).any()

    def test_raised_brows_are_higher(self, small_basis):
        shapes = np.repeat(small_basis.neutral[None].astype(np.float64), 2, axis=0)
        behaviour.raise_brows(shapes, np.array([0.0, 1.0]))
        assert (np.diff(measures.brow_heights(shapes), axis=0) > 0.03).all()

    def test_eyes_rest_jump_and_stay_near_the_viewer(self):
        look = np.stack([gaze(seconds(1500), s, 0.5)[:, 0] for s in range(10)])
        assert np.abs(look).max() < 0.12 and 0.004 < look.std() < 0.04
        still = np.abs(np.diff(look, axis=1)).max(axis=-1) < 1e-6
        assert 0.8 < still[:, 40:].mean() < 0.99
        assert not gaze(seconds(10), 0, 0.0).any() and not gaze(seconds(1), 0, 1.0).any()

    def test_eyes_turn_back_against_the_head(self):
        turned = pose.rotation_from_angles(np.radians([[0.0, 8.0, 0.0]]))
        late = seconds(1, 2000)
        change = gaze(late, 0, 1.0, turned) - gaze(late, 0, 1.0)
        assert (change[..., 0] < -0.02).all() and np.abs(change[..., 1]).max() < 1e-6

    @given(seed=SEEDS, cut=st.integers(1, 199))
    @settings(deadline=None, max_examples=20)
    def test_a_stretch_gives_what_the_whole_gives(self, seed, cut):
        whole = gaze(seconds(200), seed, 0.5)
        parts = [gaze(seconds(cut), seed, 0.5), gaze(seconds(200 - cut, cut), seed, 0.5)]
        assert np.array_equal(whole, np.concatenate(parts))


class TestEmotion:
    def measured(self, basis, name):
        face = emotion.EMOTIONS[name]
        shapes = (basis.neutral.astype(np.float64) + emotion.offsets(face.curves))[None]
        if face.lids:
            behaviour.open_lids(shapes, np.array([face.lids]))
        return {
            "corners": measures.corner_heights(shapes)[0].mean(),
            "width": measures.mouth_width(shapes)[0],
            "brows": measures.brow_heights(shapes)[0].mean(),
            "eyes": measures.eye_openings(shapes)[0].mean(),
            "inner brows": -shapes[0, [55, 285], 1].mean(),
        }

    def test_each_emotion_moves_what_it_should(self, small_basis):
        neutral, happy, sad, angry, surprised = (self.measured(small_basis, name) for name in emotion.EMOTIONS)
        assert happy["corners"] > neutral["corners"] + 0.04 and happy["width"] > neutral["width"] + 0.08
        assert happy["eyes"] < neutral["eyes"]
        assert sad["corners"] < neutral["corners"] - 0.03 and sad["inner brows"] > neutral["inner brows"] + 0.04
        assert angry["inner brows"] < neutral["inner brows"] - 0.03
        assert surprised["eyes"] > neutral["eyes"] + 0.02 and surprised["brows"] > neutral["brows"] + 0.05

    def test_it_fades_in_and_stays(self):
        level = emotion.levels(seconds(500), 0)
        assert level[0] == 0 and level[13:].min() > 0.85 and level.max() < 1.12
        assert np.abs(np.diff(level)).max() < 0.15

    def test_only_known_emotions(self):
        with pytest.raises(OptionError, match="happy"):
            emotion.emotion_of("hungry")

    def test_every_curve_that_is_used_does_something(self):
        for face in emotion.EMOTIONS.values():
            for name in face.curves:
                assert np.abs(emotion.offsets({name: 1.0})).max() > 0.015, name
