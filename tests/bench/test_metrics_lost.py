"""Faces that the output lost: no metric that reads faces is the better for it."""

import numpy as np
import pytest

from bench.metrics import METRICS, Reference, Sample
from bench.metrics.lost import FaceTally
from bench.runner.measure import Measured, collect

FRAMES = 60
TIME = np.arange(FRAMES) / 25


@pytest.fixture(scope="module")
def driver(perform):
    blinks = np.isin(np.arange(FRAMES), [15, 16, 17, 18, 45, 46, 47, 48]).astype(float)
    return perform(0.15 - 0.15 * np.cos(2 * np.pi * TIME), blinks, 0.3 * np.sin(np.pi * TIME))


@pytest.fixture
def watch(face):
    """Function: name of a metric, meshes of output and target -> tally and metric."""

    def run(name, outputs, targets, **fields):
        tally, metric = FaceTally(), METRICS[name].create(Reference(*face))
        for t, (output, target) in enumerate(zip(outputs, targets, strict=True)):
            sample = Sample(t, face[0], face[0], output_landmarks=output, truth_landmarks=target, **fields)
            tally.update(sample)
            metric.update(sample)
        return tally, metric

    return run


def without(meshes, lost):
    return [None if t in lost else mesh for t, mesh in enumerate(meshes)]


class TestTally:
    def test_counts_what_should_be_there(self, driver, watch):
        tally, _ = watch("akd", without(driver, {3, 4, 5}), without(driver, {5, 6}))
        assert (tally.looked, tally.lost) == (58, 2)

    def test_frames_between_two_looks_are_not_lost(self, driver, watch):
        tally, _ = watch("akd", [None] * FRAMES, [None] * FRAMES, redetected=False)
        assert (tally.looked, tally.lost) == (0, 0)

    @pytest.mark.parametrize(("lost", "spoilt"), [(6, False), (7, True)])
    def test_a_tenth_may_be_lost(self, driver, watch, lost, spoilt):
        tally, metric = watch("mouth_corr", without(driver, set(range(lost))), driver)
        assert np.isnan(tally.value(metric)) == spoilt
        if spoilt:
            assert tally.why(metric) == "the output shows no face on 7 of the 60 frames that should show one"

    def test_metrics_that_read_no_face_keep_their_value(self, driver, watch):
        tally, metric = watch("l1", [None] * FRAMES, driver)
        assert tally.too_many and tally.value(metric) == 0

    def test_a_sitter_without_a_driver_is_expected(self, face):
        tally = FaceTally()
        tally.update(Sample(0, face[0]))
        assert (tally.looked, tally.lost) == (1, 1)


@pytest.mark.parametrize(
    "name",
    ["akd", "lmd", "landmark", "mouth_corr", "eye_corr", "aed_mesh", "apd_mesh", "movement_mesh", "gaze_mesh"]
    + ["blink_f1", "au_mesh", "talk_open_corr", "sync_corr", "sharpness_drift", "identity", "identity_drift"],
)
def test_reads_the_face(name):
    assert METRICS[name].reads_face


class TestBlinks:
    def test_blinks_of_lost_frames_are_still_asked_for(self, driver, watch):
        _, metric = watch("blink_f1", without(driver, {15, 16, 17, 18}), driver)
        assert metric.value() == pytest.approx(2 / 3)

    def test_all_blinks_lost(self, driver, watch):
        _, metric = watch("blink_f1", without(driver, {15, 16, 17, 18, 45, 46, 47, 48}), driver)
        assert metric.value() == 0


class TestSeveralFaces:
    def value(self, name, *faces):
        result = Measured()
        collect(result, [name], [(tally, [metric]) for tally, metric in faces])
        return result

    def test_mean_over_faces(self, face, driver, watch):
        shifted = [driver + np.array([d, 0, 0], np.float32) for d in (1, 4)]
        result = self.value("akd", *(watch("akd", moved, driver) for moved in shifted))
        assert result.values["akd"] == pytest.approx(2.5 * 256 / 320, rel=1e-3)

    def test_a_destroyed_face_takes_the_value_away(self, driver, watch):
        gone = watch("akd", [None] * FRAMES, driver)
        result = self.value("akd", watch("akd", driver, driver), gone)
        assert result.values["akd"] is None
        assert "no face on 60 of the 60 frames" in result.not_computed["akd"]

    def test_a_face_with_nothing_to_follow_does_not_count(self, face, driver, watch):
        still = watch("mouth_corr", driver, [face[1]] * FRAMES)
        result = self.value("mouth_corr", watch("mouth_corr", driver, driver), still)
        assert result.values["mouth_corr"] == pytest.approx(1)

    def test_no_face_is_fit(self, face, watch):
        still = watch("mouth_corr", [face[1]] * FRAMES, [face[1]] * FRAMES)
        result = self.value("mouth_corr", still, still)
        assert result.values["mouth_corr"] is None
        assert result.not_computed["mouth_corr"].startswith("the driver's lips hardly move")
