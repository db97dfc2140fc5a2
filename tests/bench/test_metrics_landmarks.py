"""Metrics of landmarks over time: known shifts, known angles, known events; frozen, late and other faces."""

import cv2
import numpy as np
import pytest

from animate import pose
from bench.metrics import METRICS, Reference, Sample
from bench.metrics.aed import rotation_distance
from bench.metrics.blink import closures, matched
from bench.metrics.face_quality import quality_marks, sharpness
from bench.metrics.gaze import angles_between, gaze_vectors

FRAMES = 60
TIME = np.arange(FRAMES) / 25


def wave(height, hertz=1.0, phase=0.0):
    return height * (0.5 - 0.5 * np.cos(2 * np.pi * hertz * TIME + phase))


def blinks(at, length=4):
    closed = np.zeros(FRAMES)
    for start in at:
        closed[start : start + length] = 1.0
    return closed


@pytest.fixture(scope="module")
def driver(perform):
    """Talks, turns, looks about and blinks twice; begins at rest."""
    return perform(wave(0.3), blinks((15, 45)), 0.3 * np.sin(2 * np.pi * TIME / 2), wave(0.1, 0.7))


class TestDistances:
    def test_akd_of_a_known_shift(self, face, follow):
        moved = [face[1] + np.array([3, 4, 9], np.float32)]
        assert follow("akd", moved, [face[1]]) == pytest.approx(5 * 256 / 320, rel=1e-4)

    def test_lmd_of_a_known_shift(self, face, follow):
        moved = [face[1] + np.array([3.2, 0, 9], np.float32)]
        assert follow("lmd", moved, [face[1]]) == pytest.approx(1000 * 3.2 / 320, rel=1e-4)

    @pytest.mark.parametrize("name", ["akd", "lmd", "landmark"])
    def test_a_lost_face_counts_as_the_worst_frame(self, face, follow, name):
        near, far = (face[1] + np.array([d, 0, 0], np.float32) for d in (2, 8))
        few = follow(name, [near, far], [face[1]] * 2)
        lost = follow(name, [near, far, None, None], [face[1]] * 4)
        assert lost == pytest.approx(few * (2 + 8 * 3) / (2 + 8) / 2)
        assert follow(name, [None], [face[1]]) is None
        between = follow(name, [near, far, None], [face[1], face[1], None])
        assert between == few

    @pytest.mark.parametrize("name", ["akd", "lmd", "aed_mesh", "apd_mesh", "movement_mesh", "gaze_mesh"])
    def test_more_trembling_is_worse(self, driver, follow, name):
        rng = np.random.default_rng(0)
        shake = rng.normal(size=driver.shape).astype(np.float32)
        found = [follow(name, driver + s * shake, driver) for s in (0, 0.3, 1, 2.5)]
        assert found[0] == pytest.approx(0, abs=1e-5)
        assert found == sorted(found) and len(set(found)) == 4


class TestExpressionAndPose:
    def test_a_known_turn(self):
        a = np.array([[0.0, 0.1, 0], [0, 0, 0.2]])
        assert rotation_distance(a, np.zeros((2, 3))) == pytest.approx(np.degrees(0.15), rel=1e-6)

    def test_a_head_turned_by_ten_degrees(self, perform, follow):
        yaw = np.full(20, np.radians(10))
        assert follow("apd_mesh", perform(yaw=yaw), perform(yaw=0 * yaw)) == pytest.approx(10, abs=0.1)

    def test_a_constant_turn_is_no_movement(self, perform, follow):
        swing = 0.2 * np.sin(2 * np.pi * TIME)
        assert follow("movement_mesh", perform(yaw=swing + 0.15), perform(yaw=swing)) < 0.2
        frozen, half = (follow("movement_mesh", perform(yaw=s * swing), perform(yaw=swing)) for s in (0, 0.5))
        assert frozen == pytest.approx(np.degrees(np.abs(swing).mean()), rel=0.02)
        assert half == pytest.approx(frozen / 2, rel=0.03)

    def test_pose_leaves_the_expression_alone_and_the_reverse(self, perform, driver, follow):
        turned = perform(wave(0.3), blinks((15, 45)), 0.3 + 0 * TIME, wave(0.1, 0.7))
        assert follow("aed_mesh", turned, driver) < 0.002
        still_head = perform(0 * TIME, yaw=0.3 * np.sin(2 * np.pi * TIME / 2))
        assert follow("apd_mesh", still_head, driver) < 0.1

    def test_frozen_late_and_half_as_strong(self, perform, driver, face, follow):
        frozen = follow("aed_mesh", [face[1]] * FRAMES, driver)
        half = follow("aed_mesh", perform(wave(0.15), blinks((15, 45)), gaze=wave(0.1, 0.7)), driver)
        right = follow("aed_mesh", driver, driver)
        assert right == pytest.approx(0, abs=1e-6)
        assert 0.005 < half < frozen

    def test_another_face_may_follow_perfectly(self, perform, driver, follow):
        """What makes two people differ cancels out."""
        places, shapes = pose.decompose_long(driver)
        other = pose.compose(shapes + 0.02 * np.sin(np.arange(478))[:, None], places).astype(np.float32)
        assert follow("aed_mesh", other, driver) < 0.003
        assert follow("landmark", other, driver) > 0.01

    def test_without_a_truth_the_driver_counts(self, face, driver):
        metric = METRICS["aed_mesh"].create(Reference(*face))
        for t, mesh in enumerate(driver):
            metric.update(Sample(t, face[0], output_landmarks=mesh, driver=face[0], driver_landmarks=mesh))
        assert metric.value() == pytest.approx(0, abs=1e-6)

    def test_action_units_frozen_and_followed(self, perform, driver, face, follow):
        followed = follow("au_mesh", driver, driver)
        halved = follow("au_mesh", perform(wave(0.15), gaze=wave(0.05, 0.7)), driver)
        frozen = follow("au_mesh", [face[1]] * FRAMES, driver)
        assert followed == pytest.approx(1) and frozen == 0 and frozen < halved < 1
        assert follow("au_mesh", driver[:3], driver[:3]) is None

    def test_trembling_along_with_the_driver_is_no_movement(self, driver, face, follow):
        along = face[1] + 0.01 * (driver - face[1])
        assert follow("au_mesh", along.astype(np.float32), driver) == 0


class TestBlinks:
    def test_closures_of_a_known_curve(self):
        opening = np.full(20, 0.3)
        opening[5:8] = 0.05
        opening[19] = 0.1
        assert closures(opening, np.arange(20.0)) == [(5, 7), (19, 19)]

    @pytest.mark.parametrize(
        ("output", "target", "count"),
        [
            ([(1, 1.1)], [(1.2, 1.3)], 1),
            ([(1, 1.1)], [(1.4, 1.5)], 0),
            ([(1, 1.1), (1.15, 1.2)], [(1, 1.2)], 1),
            ([(0, 0.1), (2, 2.1)], [(2, 2.1), (4, 4.1)], 1),
            ([], [(0, 1)], 0),
        ],
    )
    def test_each_closure_has_one_partner(self, output, target, count):
        assert matched(output, target) == count == matched(target, output)

    def test_f1_of_known_blinks(self, perform, follow):
        driver = perform(lids=blinks((10, 40)))

        def value(at):
            return follow("blink_f1", perform(lids=blinks(at)), driver)

        assert value((10, 40)) == 1 and value((12, 38)) == 1
        assert value((10,)) == pytest.approx(2 / 3)
        assert value((10, 25, 40)) == pytest.approx(0.8)
        assert value(()) == 0 == value((25,))

    def test_nobody_blinks(self, perform, follow):
        for own in ((), (25,)):
            assert follow("blink_f1", perform(lids=blinks(own)), perform(0 * TIME)) is None

    def test_another_frame_rate(self, face, perform, follow):
        from fractions import Fraction

        early = perform(lids=blinks((10,), 2)), perform(lids=blinks((18,), 2))
        values = [follow("blink_f1", *early, Reference(*face, fps=Fraction(fps))) for fps in (10, 50)]
        assert values == [0, 1]


class TestGaze:
    def test_vectors_of_known_positions(self):
        ahead, right = gaze_vectors(np.array([[0.0, 0], [0.42 * np.sin(0.5), 0]]))
        assert ahead == pytest.approx([0, 0, -1])
        assert angles_between(ahead, right) == pytest.approx(np.degrees(0.5))
        assert np.linalg.norm(gaze_vectors(np.array([9.0, 9]))) == pytest.approx(1)

    def test_a_known_look_aside(self, perform, follow):
        aside = np.full(8, 0.42 * np.sin(np.radians(12)))
        found = follow("gaze_mesh", perform(gaze=aside), perform(gaze=0 * aside))
        assert found == pytest.approx(12, abs=1.5)

    def test_closed_eyes_do_not_look(self, perform, follow):
        closed = perform(lids=np.ones(5), gaze=np.full(5, 0.2))
        assert np.isnan(follow("gaze_mesh", closed, perform(np.zeros(5))))
        assert follow("gaze_mesh", perform(np.zeros(5)), closed) is None

    def test_a_head_turn_is_no_gaze(self, perform, follow):
        yaw = np.full(8, 0.2)
        assert follow("gaze_mesh", perform(yaw=yaw), perform(yaw=0 * yaw)) < 1


class TestFaceQuality:
    def quality(self, image, mesh):
        return quality_marks(image, mesh).quality

    def test_damage_lowers_its_own_mark(self, face):
        picture, mesh = face
        good = quality_marks(picture, mesh)
        assert quality_marks(cv2.GaussianBlur(picture, (0, 0), 4), mesh).sharpness < good.sharpness / 2
        assert quality_marks((picture * 0.1).astype(np.uint8), mesh).exposure < good.exposure / 2
        assert quality_marks(np.full_like(picture, 255), mesh).exposure == 0
        outside = mesh + np.array([200, 0, 0], np.float32)
        assert quality_marks(picture, outside).visible < 0.6 < good.visible

    @pytest.mark.parametrize("damage", ["blur", "dark", "turn", "lids", "smaller"])
    def test_more_damage_is_worse(self, face, perform, damage):
        picture, mesh = face

        def made(s):
            if damage == "blur":
                return cv2.GaussianBlur(picture, (0, 0), 0.1 + 2 * s), mesh
            if damage == "dark":
                return (picture * (0.45 - 0.13 * s)).astype(np.uint8), mesh
            if damage == "turn":
                return picture, perform(yaw=0.25 * s)[0]
            if damage == "lids":
                return picture, perform(lids=0.3 * s)[0]
            side = int(110 / (1 + s))
            return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), mesh * side / 320

        found = [self.quality(*made(s)) for s in (0, 1, 2, 3)]
        assert found == sorted(found, reverse=True) and found[0] > 1.05 * found[-1]

    def test_sharpness_is_the_same_at_another_size(self, face):
        picture, mesh = face
        twice = cv2.resize(picture, (640, 640), interpolation=cv2.INTER_CUBIC)
        assert sharpness(twice, mesh * 2 + 0.5) == pytest.approx(sharpness(picture, mesh), rel=0.25)

    def test_a_lost_face_has_no_quality(self, face, follow):
        whole = follow("face_quality_rule", [face[1], face[1]], [face[1]] * 2)
        assert follow("face_quality_rule", [face[1], None], [face[1]] * 2) == pytest.approx(whole / 2)
        assert follow("face_quality_rule", [None], [face[1]], redetected=False) is None


class TestDrift:
    def pictures(self, face, end):
        return [cv2.addWeighted(face[0], 1 - t / 109, end, t / 109, 0) for t in range(110)]

    def test_blurring_shows(self, face, follow):
        end = cv2.GaussianBlur(face[0], (0, 0), 4)
        meshes = [face[1]] * 110
        blurring = follow("sharpness_drift", meshes, meshes, pictures=self.pictures(face, end))
        even = follow("sharpness_drift", meshes, meshes)
        assert even == pytest.approx(1) and blurring < 0.5

    def test_identity_drifts_away(self, face, follow):
        pytest.importorskip("dlib", reason="identity needs the extra bench")
        meshes = [face[1]] * 110
        end = np.ascontiguousarray(face[0][:, ::-1, ::-1] // 2)
        assert follow("identity_drift", meshes, meshes) == pytest.approx(0, abs=1e-9)
        assert follow("identity_drift", meshes, meshes, pictures=self.pictures(face, end)) < -0.01

    def test_only_the_ends_count(self, face, follow):
        blurred = cv2.GaussianBlur(face[0], (0, 0), 4)
        pictures = [face[0]] * 110 + [blurred] * 110
        meshes = [face[1]] * 220
        half = follow("sharpness_drift", meshes, meshes, pictures=pictures)
        whole = follow("sharpness_drift", meshes, meshes, pictures=[face[0]] * 25 + [blurred] * 195)
        assert whole == pytest.approx(half) and half < 0.5

    def test_a_lost_end_is_no_even_clip(self, face, follow):
        meshes = [face[1]] * 220
        assert np.isnan(follow("sharpness_drift", [face[1]] * 200 + [None] * 20, meshes))
        middle = [None if 50 <= t < 150 else face[1] for t in range(220)]
        assert follow("sharpness_drift", middle, meshes) == pytest.approx(1)

    def test_a_likeness_that_rises_is_drift(self):
        assert METRICS["identity_drift"].badness(0.2) > METRICS["identity_drift"].badness(0.0)

    def test_short_clips_do_not_drift(self, face, follow):
        assert follow("sharpness_drift", [face[1]] * 90, [face[1]] * 90) is None
