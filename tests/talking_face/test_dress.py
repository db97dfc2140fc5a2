"""From curves to a Motion: local, exact, closed where the sound says so."""

import time
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from animate import measures
from animate.errors import OptionError
from talking_face.curves import RATE
from talking_face.dress import LOOK_AHEAD, PAST, dress, idle
from talking_face.emotion import EMOTIONS
from talking_face.talker import TalkOptions

RATES = [Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(30)]
SPEECH = ((0.4, 3.0), (3.2, 6.5), (7.5, 11.0), (12.5, 15.0))


@pytest.fixture(scope="module")
def said(make_curves):
    """Sixteen seconds of speech with pauses and a closure of one row every half second."""
    return make_curves(16, *SPEECH, closed=tuple(range(30, 700, 25)))


def cut_for(curves, fps, first, count):
    """The least that `dress` says it needs for those frames."""
    begin = int(np.floor((first / float(fps) - PAST) * RATE))
    end = int(np.ceil(((first + count - 1) / float(fps) + LOOK_AHEAD) * RATE))
    return curves.take(begin, end + 1)


class TestLocality:
    @given(fps=st.sampled_from(RATES), cuts=st.sets(st.integers(1, 379), max_size=4), seed=st.integers(0, 99))
    @settings(deadline=None, max_examples=12)
    def test_any_split_gives_the_same_frames(self, said, small_basis, fps, cuts, seed):
        options = TalkOptions(seed=seed, emotion="happy", head_motion=1.0)
        whole = dress(said, small_basis, fps, 0, 380, options)
        edges = [0, *sorted(cuts), 380]
        parts = [
            dress(cut_for(said, fps, a, b - a), small_basis, fps, a, b - a, options)
            for a, b in zip(edges, edges[1:], strict=False)
        ]
        for name in ("rotation", "translation", "expression", "gaze"):
            joined = np.concatenate([getattr(part, name) for part in parts])
            assert np.abs(joined - getattr(whole, name)).max() < 1e-5, name

    def test_frames_one_by_one_as_a_stream_gives_them(self, said, small_basis):
        whole = dress(said, small_basis, Fraction(25), 250, 40, TalkOptions())
        for n in range(40):
            part = dress(cut_for(said, 25, 250 + n, 1), small_basis, Fraction(25), 250 + n, 1, TalkOptions())
            assert np.abs(part.expression[0] - whole.expression[n]).max() < 1e-5
            assert np.abs(part.rotation[0] - whole.rotation[n]).max() < 1e-6

    def test_the_future_beyond_the_look_ahead_does_not_matter(self, said, small_basis):
        row = round((10.0 + LOOK_AHEAD) * RATE) + 1
        other = replace(said, coefficients=said.coefficients.copy(), features=said.features.copy())
        other.coefficients[row:] = 3.0
        other.features[row:] = 0.0
        a, b = (dress(c, small_basis, Fraction(25), 200, 51, TalkOptions()) for c in (said, other))
        assert np.abs(a.expression - b.expression).max() < 1e-6

    def test_another_seed_is_another_head(self, said, small_basis):
        a, b = (dress(said, small_basis, Fraction(25), 0, 300, TalkOptions(seed=s)) for s in (0, 1))
        assert np.abs(a.rotation - b.rotation).max() > 0.01


class TestMouth:
    @pytest.mark.parametrize("fps", RATES, ids=str)
    @pytest.mark.parametrize("mouth", [0.0, 0.5, 1.0, 2.0])
    def test_every_quick_closure_is_seen_at_any_frame_rate(self, said, small_basis, fps, mouth):
        shapes = dress(said, small_basis, fps, 0, int(14 * fps), TalkOptions(mouth=mouth, blinks=False)).shapes
        gaps = measures.lip_gaps(shapes)
        times = np.arange(len(gaps)) / float(fps)
        for row in range(30, 700, 25):
            near = np.abs(times - row / RATE) <= 0.031
            assert np.abs(gaps[near]).max(axis=1).min() < 1e-4, row

    @pytest.mark.parametrize("name", EMOTIONS)
    def test_lips_meet_and_never_cross_under_any_emotion(self, said, small_basis, name):
        curves = replace(said, closure=np.ones(len(said), np.float32))
        closed = measures.lip_gaps(dress(curves, small_basis, Fraction(25), 40, 30, TalkOptions(emotion=name)).shapes)
        assert np.abs(closed).max() < 1e-5
        assert (
            measures.lip_gaps(dress(said, small_basis, Fraction(25), 0, 300, TalkOptions(emotion=name)).shapes).min()
            > -1e-5
        )

    def test_silence_is_closed_and_still(self, said, small_basis):
        shapes = dress(said, small_basis, Fraction(25), 0, 380, TalkOptions(blinks=False, head_motion=0)).shapes
        pause = shapes[round(11.88 * 25) : round(12.3 * 25)]
        assert np.abs(measures.lip_gaps(pause)).max() < 1e-5
        assert np.abs(np.diff(pause, axis=0)).max() < 1e-6

    def test_mouth_0_keeps_the_lips_still_and_2_opens_further(self, make_curves, small_basis):
        curves = make_curves(6, (0.5, 5.5))
        openings = [
            measures.mouth_opening(dress(curves, small_basis, Fraction(25), 20, 100, TalkOptions(mouth=m)).shapes)
            for m in (0.0, 1.0, 2.0)
        ]
        assert openings[0].max() < 1e-5
        assert openings[2].mean() > 1.5 * openings[1].mean() and openings[2].max() < 0.6


class TestFace:
    def test_the_motion_is_told_against_the_basis_neutral_face(self, said, small_basis):
        motion = dress(said, small_basis, Fraction(30000, 1001), 10, 20, TalkOptions())
        assert len(motion) == 20 and motion.fps == Fraction(30000, 1001) and motion.neutral_index == -1
        assert np.array_equal(motion.neutral, small_basis.neutral) and motion.valid.all()
        assert not motion.neutral_rotation.any() and not motion.neutral_translation.any() and (motion.scale == 1).all()

    def test_the_portrait_starts_in_its_own_pose(self, said, small_basis):
        motion = dress(said, small_basis, Fraction(25), 0, 2, TalkOptions(emotion="happy", head_motion=1.0))
        assert not motion.rotation[0].any() and not motion.translation[0].any()
        assert np.allclose(motion.gaze[0], measures.gaze_of(small_basis.neutral.astype(np.float64)), atol=1e-6)
        upper = [105, 334, 159, 386]
        assert np.abs(motion.expression[0][upper]).max() < 1e-6

    def test_irises_lie_where_the_gaze_says(self, said, small_basis):
        motion = dress(said, small_basis, Fraction(25), 100, 50, TalkOptions(blinks=False))
        assert np.abs(measures.gaze_of(motion.shapes) - motion.gaze).max() < 1e-4

    def test_blinks_can_be_switched_off(self, said, small_basis):
        shut, open_ = (
            measures.eye_openings(dress(said, small_basis, Fraction(25), 0, 380, TalkOptions(blinks=b)).shapes).min()
            for b in (True, False)
        )
        assert shut < 0.012 and open_ > 0.15

    def test_idle_says_nothing_but_lives(self, small_basis):
        motion = idle(small_basis, Fraction(25), 0, 500, TalkOptions())
        assert np.abs(measures.lip_gaps(motion.shapes)).max() < 1e-5
        assert measures.eye_openings(motion.shapes).min() < 0.012
        assert 0.002 < np.abs(motion.rotation).max() < 0.05

    def test_an_impossible_frame_rate_is_an_error(self, said, small_basis):
        with pytest.raises(OptionError, match="frames a second"):
            dress(said, small_basis, Fraction(0), 0, 10, TalkOptions())

    def test_dressing_takes_next_to_no_time(self, said, small_basis):
        curves = replace(said)
        bare = replace(small_basis, database=np.zeros((0, len(small_basis)), np.float32))
        spent = []
        for _ in range(5):
            began = time.process_time()
            dress(curves, bare, Fraction(25), 0, 400, TalkOptions())
            spent.append(time.process_time() - began)
        assert min(spent) / 16 < 0.005  # a second of sound: 1 ms on an idle core
