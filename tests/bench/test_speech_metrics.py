"""The speech metrics on curves whose figures are known."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from animate import pose, topology
from animate.motion import Motion
from bench.metrics import SPEECH_METRICS
from bench.metrics.closures_met import own_lag
from bench.metrics.speech import Figure, MouthCurves, SpeechTruth
from bench.metrics.speech_correlation import MAX_LAG
from talking_face.phones import Phone

FPS = Fraction(25)
COUNT = 200


def wobble(seed=0, count=COUNT):
    """A smooth random curve in about [0, 0.2], (count,)."""
    noise = np.random.default_rng(seed).normal(size=count + 20)
    smooth = np.convolve(noise, np.hanning(7) / np.hanning(7).sum(), "same")[10:-10]
    return 0.1 + 0.06 * smooth / smooth.std()


def mouth(opening, width=None, closed=0.0, fps=FPS):
    opening = np.asarray(opening, float)
    return MouthCurves(fps, opening, wobble(99, len(opening)) if width is None else np.asarray(width, float), closed)


def truth_of(curves, phones=None, counted=None):
    return SpeechTruth(curves, np.ones(len(curves), bool) if counted is None else counted, phones)


def value(name, truth, predicted):
    figure = SPEECH_METRICS[name].measure(truth, predicted)
    return None if figure is None else figure.value


@pytest.fixture
def real():
    return mouth(wobble(1), 0.8 + wobble(2))


def motion(offsets, gap=0.0):
    """A motion whose lower lip's pairs are lowered by (T,) offsets from a neutral face that is open by `gap`."""
    upper, lower = np.array(topology.LIP_PAIRS).T
    neutral = pose.canonical_face().astype(np.float64)
    neutral[lower, 1] = neutral[upper, 1] + gap
    expression = np.zeros((len(offsets), topology.POINTS, 3))
    expression[:, lower, 1] = np.asarray(offsets)[:, None]
    count = len(offsets)
    return Motion(
        fps=FPS,
        rotation=np.zeros((count, 3)),
        translation=np.zeros((count, 3)),
        scale=np.ones(count),
        expression=expression,
        gaze=np.zeros((count, 2, 2)),
        valid=np.ones(count, bool),
        neutral=neutral,
    )


class TestCurves:
    def test_opening_and_width_of_a_motion(self):
        curves = MouthCurves.of_talker(motion([0.0, 0.1, 0.25], gap=0.01))
        assert curves.opening == pytest.approx([0.01, 0.11, 0.26], abs=1e-5)
        assert curves.gap == pytest.approx([0.0, 0.1, 0.25], abs=1e-5)
        assert np.ptp(curves.width) < 1e-6 and 0.4 < curves.width[0] < 1.2

    def test_closure_falls_with_the_gap_and_pressed_lips_are_no_more_than_closed(self):
        curves = mouth([-0.01, 0.01, 0.03, 0.07], closed=0.01)
        assert curves.closure == pytest.approx([1, 1, np.exp(-1), np.exp(-3)])

    def test_closed_lips_of_a_track_are_its_lowest_openings(self):
        offsets = np.r_[np.full(10, 0.02), np.full(90, 0.2)]
        assert MouthCurves.of_track(motion(offsets)).closed == pytest.approx(0.02, abs=1e-5)

    def test_frames_without_a_face_do_not_set_the_closed_level(self):
        offsets = np.r_[np.full(10, -0.1), np.full(10, 0.02), np.full(90, 0.2)]
        track = replace(motion(offsets), valid=np.arange(110) >= 10)
        assert MouthCurves.of_track(track).closed == pytest.approx(0.02, abs=1e-5)

    def test_lips_that_never_meet_have_no_closed_level_of_their_own(self):
        assert MouthCurves.of_track(motion(np.full(20, 0.15))).closed == pytest.approx(0.03)

    def test_a_method_that_never_closes_is_not_credited_with_closed_lips(self):
        curves = MouthCurves.of_talker(motion(np.full(20, 0.02)))
        assert curves.closed == pytest.approx(0, abs=1e-6) and curves.gap.min() > 0.019

    def test_resampling_keeps_the_seconds(self):
        curves = mouth(np.linspace(0, 1, 51), fps=Fraction(25)).resample(Fraction(50))
        assert len(curves) == 102 and curves.fps == 50
        assert curves.opening[[0, 40, 100]] == pytest.approx([0, 0.4, 1])


class TestCorrelation:
    def test_the_truth_itself_is_perfect(self, real):
        for name in ("open_corr", "open_corr_best", "width_corr", "closure_corr"):
            assert value(name, truth_of(real), real) == pytest.approx(1)
        assert value("lag", truth_of(real), real) == 0

    def test_gain_and_offset_do_not_matter_and_sign_does(self, real):
        assert value("open_corr", truth_of(real), mouth(3 * real.opening + 1)) == pytest.approx(1)
        assert value("open_corr", truth_of(real), mouth(-real.opening)) == pytest.approx(-1)

    def test_noise_of_equal_power_halves_the_shared_variance(self, real):
        long = mouth(wobble(5, 20000))
        noisy = mouth(long.opening + (wobble(6, 20000) - 0.1))
        assert value("open_corr", truth_of(long), noisy) == pytest.approx(np.sqrt(0.5), abs=0.03)

    def test_each_curve_is_judged_by_itself(self, real):
        other = mouth(wobble(3), real.width)
        assert value("width_corr", truth_of(real), other) == pytest.approx(1)
        assert abs(value("open_corr", truth_of(real), other)) < 0.5

    def test_a_constant_prediction_has_correlation_zero_and_no_lag(self, real):
        still = mouth(np.full(COUNT, 0.05), np.full(COUNT, 0.8))
        for name in ("open_corr", "open_corr_best", "width_corr", "closure_corr"):
            assert value(name, truth_of(real), still) == 0
        assert value("lag", truth_of(real), still) is None

    def test_lips_that_press_and_relax_a_little_do_not_talk(self, real):
        pressing = mouth(0.005 + 0.03 * (real.opening - 0.1), 0.8 + 0.03 * (real.width - 0.8))
        for name in ("open_corr", "open_corr_best", "width_corr"):
            assert value(name, truth_of(real), pressing) == 0
        assert value("lag", truth_of(real), pressing) is None

    def test_a_speaker_who_does_not_move_is_not_fit(self, real):
        still = truth_of(mouth(np.full(COUNT, 0.05), np.full(COUNT, 0.8)))
        for name in ("open_corr", "open_corr_best", "width_corr", "closure_corr", "lag"):
            assert value(name, still, real) is None

    def test_frames_that_do_not_count_change_nothing(self, real):
        counted = np.arange(COUNT) % 10 != 3
        spoilt = replace(real, opening=np.where(counted, real.opening, 5.0))
        assert value("open_corr", truth_of(real, counted=counted), spoilt) == pytest.approx(1)

    def test_closure_asks_only_whether_the_lips_meet(self):
        opening = np.where(np.arange(COUNT) % 10 < 3, 0.0, 0.2)
        higher = np.where(opening > 0, 0.2 + 0.1 * np.sin(np.arange(COUNT)), 0.0)
        assert value("closure_corr", truth_of(mouth(opening)), mouth(higher)) > 0.999
        assert value("open_corr", truth_of(mouth(opening)), mouth(higher)) < 0.95


class TestLag:
    @pytest.mark.parametrize("late", [-MAX_LAG, -1, 0, 3, MAX_LAG])
    def test_positive_when_the_prediction_is_late(self, late):
        long = wobble(4, COUNT + 40)
        truth = truth_of(mouth(long[20 : 20 + COUNT]))
        predicted = mouth(long[20 - late : 20 - late + COUNT])
        assert value("lag", truth, predicted) == late
        assert value("open_corr_best", truth, predicted) == pytest.approx(1)
        assert value("open_corr", truth, predicted) < (1.01 if late == 0 else 0.95)

    def test_clips_are_summarised_by_their_median(self):
        figures = [Figure(float(lag)) for lag in (0, 0, 1, 1, 8)]
        assert SPEECH_METRICS["lag"].summarise(figures) == 1
        assert SPEECH_METRICS["open_corr"].summarise(figures) == 2


PHONES = [
    Phone("SIL", 0.0, 1.0),
    Phone("M", 1.0, 1.08),
    Phone("AA", 1.08, 2.0),
    Phone("P", 2.0, 2.08),
    Phone("IY", 2.08, 3.0),
    Phone("SIL", 3.0, 3.2),
    Phone("T", 3.2, 3.28),
    Phone("B", 3.28, 3.36),
    Phone("SIL", 3.36, 8.0),
]


class TestClosuresMet:
    def share(self, opening, closed=0.0, counted=None):
        return SPEECH_METRICS["closures_met"].measure(
            truth_of(mouth(wobble(1)), PHONES, counted), mouth(opening, closed=closed)
        )

    def test_counts_the_bilabials_in_which_the_lips_meet(self):
        opening = np.full(COUNT, 0.2)
        assert self.share(opening) == Figure(0.0, 3)
        opening[[26, 51]] = 0.01  # in M and in P; 3.2 s is a T
        assert self.share(opening).value == pytest.approx(2 / 3)

    @pytest.mark.parametrize(("frame", "met"), [(23, 0), (24, 1), (27, 1), (28, 0)])
    def test_one_frame_beside_the_phone_counts_and_two_do_not(self, frame, met):
        opening = np.full(COUNT, 0.2)
        opening[frame] = 0
        assert self.share(opening).value == pytest.approx(met / 3)

    def test_lips_meet_relative_to_where_they_are_when_closed(self):
        opening = np.full(COUNT, 0.035)
        assert self.share(opening).value == 0 and self.share(opening, closed=0.025).value == 1

    def test_bilabials_without_a_counted_frame_are_left_out(self):
        counted = np.ones(COUNT, bool)
        counted[20:30] = False
        assert self.share(np.zeros(COUNT), counted=counted) == Figure(1.0, 2)

    def test_all_bilabials_of_all_clips_weigh_the_same(self):
        assert SPEECH_METRICS["closures_met"].summarise([Figure(1.0, 1), Figure(0.0, 3)]) == 0.25

    def test_without_bilabials_or_without_an_aligner_there_is_no_figure(self):
        metric, real = SPEECH_METRICS["closures_met"], mouth(wobble(1))
        assert metric.measure(truth_of(real, [Phone("T", 0, 1)]), real) is None
        assert metric.measure(truth_of(real, None), real) is None


class TestOwnLag:
    def clip(self, late, count=6):
        """Lips that are shut in `count` phones, and some frames late."""
        starts = 0.4 + 1.2 * np.arange(count) + 0.04 * np.arange(count) ** 2 / 3
        phones = [Phone("B", start, start + 0.08) for start in starts]
        opening = np.full(COUNT, 0.2)
        opening[np.round(starts * 25).astype(int) + 1 + late] = 0
        return truth_of(mouth(opening), phones)

    @pytest.mark.parametrize("late", [-6, 0, 4])
    def test_positive_where_the_picture_is_late(self, late):
        assert abs(own_lag(self.clip(late), MAX_LAG) - late) <= 1
        assert SPEECH_METRICS["closures_met"].measure(self.clip(late), self.clip(late).curves).value == (late == 0)

    def test_few_bilabials_do_not_tell(self):
        assert own_lag(self.clip(0, count=4), MAX_LAG) is None

    def test_bilabials_that_are_shifted_out_of_the_clip_are_no_gain(self):
        phones = [Phone("B", 0.04, 0.12), *(Phone("B", 1.0 + i, 1.08 + i) for i in range(4))]
        opening = np.full(COUNT, 0.2)
        opening[[26, 51, 76, 101]] = 0  # the first is not met, wherever it lies
        assert own_lag(truth_of(mouth(opening), phones), MAX_LAG) == 0


class TestSilenceMotion:
    def motion(self, opening, phones=PHONES, counted=None):
        return SPEECH_METRICS["silence_motion"].measure(truth_of(mouth(wobble(1)), phones, counted), mouth(opening))

    def test_speed_in_pauses_only(self):
        opening = np.zeros(COUNT)
        opening[25:75] = wobble(2)[25:75]  # all that is said before 3 s
        opening[80:84] = 0.3  # 3.2 to 3.36 s; the pause of 0.2 s before is too short to count
        assert self.motion(opening).value == 0

    def test_a_ramp_of_one_distance_a_second_has_that_speed(self):
        assert self.motion(np.arange(COUNT) / 25).value == pytest.approx(1)

    def test_weight_is_the_silent_time(self):
        figure = self.motion(np.zeros(COUNT), [Phone("SIL", 0.0, 1.04)])
        assert figure == Figure(0.0, 1.0)

    def test_a_gap_between_counted_frames_is_no_step(self):
        counted = np.ones(COUNT, bool)
        counted[10] = False
        opening = np.where(np.arange(COUNT) < 10, 0.0, 0.3)
        assert self.motion(opening, counted=counted).value == 0

    def test_no_pause_no_figure(self):
        assert self.motion(np.zeros(COUNT), [Phone("SIL", 0, 0.2), Phone("AA", 0.2, 8)]) is None


class TestJerk:
    def test_one_for_the_real_curve_and_its_gain_otherwise(self, real):
        assert value("jerk", truth_of(real), real) == pytest.approx(1)
        assert value("jerk", truth_of(real), mouth(2 * real.opening)) == pytest.approx(2)
        assert value("jerk", truth_of(real), mouth(np.zeros(COUNT))) == 0

    def test_a_tremble_is_worse_than_a_smooth_curve(self, real):
        trembling = mouth(real.opening + 0.05 * (-1.0) ** np.arange(COUNT))
        assert value("jerk", truth_of(real), trembling) > 2

    def test_steps_over_uncounted_frames_do_not_count(self, real):
        counted = np.ones(COUNT, bool)
        counted[100] = False
        spoilt = real.opening.copy()
        spoilt[100] = 9.0
        assert value("jerk", truth_of(real, counted=counted), mouth(spoilt)) == pytest.approx(1)

    def test_a_mouth_that_does_not_move_is_no_measure(self, real):
        assert value("jerk", truth_of(mouth(np.zeros(COUNT))), real) is None


def test_every_column_says_what_it_is():
    for name, metric in SPEECH_METRICS.items():
        assert metric.name == name and metric.direction in ("lower", "higher", "one", "zero")
        assert metric.unit and metric.source and metric.__doc__
