"""Every metric against values that are known beforehand, and worse for more damage."""

import cv2
import numpy as np
import pytest

from animate.recognition import FIVE_POINTS, descriptor
from bench.metrics import METRICS, REENACT_METRICS, Metric, missing_metrics
from bench.metrics.base import luminance
from bench.metrics.detail import gradient_energy
from bench.metrics.flicker import second_difference
from bench.metrics.l1 import l1
from bench.metrics.landmark import landmark_distance
from bench.metrics.opening import correlation, eye_opening, mouth_opening
from bench.metrics.psnr import CAP, psnr
from bench.metrics.regions import LEAST_PIXELS, face_box, face_regions
from bench.metrics.ssim import ssim_map

WHOLE = np.ones((32, 32), dtype=bool)


def blurred(frames, sigma):
    return [cv2.GaussianBlur(f, (0, 0), sigma) for f in frames]


def moving(picture, count=6, step=2):
    """The picture sliding to the right."""
    return [np.roll(picture, step * t, axis=1) for t in range(count)]


def with_motion(landmarks, count=6, step=2):
    return [landmarks + np.array([step * t, 0, 0], np.float32) for t in range(count)]


class TestDescriptions:
    @pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
    def test_each_says_what_it_is(self, metric):
        assert issubclass(metric, Metric)
        assert metric.direction in ("lower", "higher", "one", "zero")
        assert metric.unit and metric.source and metric.__doc__

    def test_columns_are_those_of_the_report(self):
        assert list(REENACT_METRICS) == [
            "face_l1", "face_psnr", "face_ssim", "mouth_l1", "inner_l1", "inner_detail",
            "eyes_l1", "landmark", "mouth_corr", "eye_corr", "identity", "flicker",
        ]  # fmt: skip

    def test_missing_weights_are_named_and_never_become_a_number(self, monkeypatch, face):
        from animate import recognition
        from bench.metrics import Reference, create_metrics

        monkeypatch.setattr(recognition, "_weights", lambda: None)
        assert "face-recognition-models" in missing_metrics()["identity"]
        assert "identity" not in [m.name for m in create_metrics(Reference(*face))]


class TestIdenticalVideo:
    def test_every_metric_is_perfect(self, face, measure):
        truth = moving(face[0])
        values = measure(truth, truth, truth_meshes=with_motion(face[1]))
        for name in ("face_l1", "mouth_l1", "inner_l1", "eyes_l1", "landmark"):
            assert values[name] == 0, name
        assert values["face_psnr"] == CAP
        assert values["face_ssim"] == pytest.approx(1, abs=1e-6)
        assert values["inner_detail"] == pytest.approx(1, abs=1e-9)
        assert values["flicker"] == pytest.approx(1, abs=1e-9)

    def test_six_frames_are_too_few_for_a_correlation(self, face, measure):
        values = measure([face[0]] * 6, [face[0]] * 6)
        assert values["mouth_corr"] is None and values["eye_corr"] is None


class TestPixels:
    def test_l1_of_a_known_offset(self):
        grey = np.full((32, 32, 3), 0.25, np.float32)
        assert l1(grey + 0.125, grey, WHOLE) == pytest.approx(0.125)

    def test_l1_sees_the_mask_only(self):
        a, b = np.zeros((32, 32, 3), np.float32), np.zeros((32, 32, 3), np.float32)
        b[:16] = 1
        mask = np.zeros((32, 32), bool)
        mask[8:24] = True
        assert l1(a, b, mask) == pytest.approx(0.5)

    def test_psnr_of_a_known_error(self):
        grey = np.full((32, 32, 3), 0.5, np.float32)
        assert psnr(grey + 0.1, grey, WHOLE) == pytest.approx(20, abs=1e-4)

    def test_ssim_is_scikit_images(self, face):
        from skimage.metrics import structural_similarity

        grey = luminance(face[0].astype(np.float32) / 255)
        other = cv2.GaussianBlur(grey, (0, 0), 2)
        ours = ssim_map(other, grey)[12:-12, 12:-12].mean()
        _, theirs = structural_similarity(
            other,
            grey,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1.0,
            full=True,
        )
        assert ours == pytest.approx(theirs[12:-12, 12:-12].mean(), abs=1e-4)

    @pytest.mark.parametrize("damage", ["noise", "blur", "shift"])
    @pytest.mark.parametrize("name", ["face_l1", "face_psnr", "face_ssim", "mouth_l1", "inner_l1", "eyes_l1"])
    def test_more_damage_is_worse(self, face, measure, noise, damage, name):
        truth = [face[0]]
        made = {
            "noise": lambda s: noise(truth, 4 * s),
            "blur": lambda s: blurred(truth, s),
            "shift": lambda s: [np.roll(face[0], s, axis=0)],
        }[damage]
        badness = [
            METRICS[name].badness(measure(outputs, truth, only=name)[name])
            for outputs in (truth, made(1), made(3), made(6))
        ]
        assert badness == sorted(badness) and len(set(badness)) == 4

    def test_inner_metrics_need_an_open_mouth(self, face, measure):
        values = measure([face[0]], [face[0]], mouth_open=False)
        assert values["inner_l1"] is None and values["inner_detail"] is None
        assert values["mouth_l1"] == 0


class TestDetail:
    def test_gradient_energy_of_a_ramp(self):
        ramp = np.repeat(np.tile(np.arange(32, dtype=np.float32) / 64, (32, 1))[..., None], 3, axis=2)
        inside = np.zeros((32, 32), bool)
        inside[4:-4, 4:-4] = True
        assert gradient_energy(ramp, inside) == pytest.approx((1 / 64) ** 2, rel=1e-4)

    def test_blur_is_below_one_and_noise_above(self, face, measure, noise):
        truth = [face[0]]
        blur = [measure(blurred(truth, s), truth, only="inner_detail")["inner_detail"] for s in (1, 2, 4)]
        rough = [measure(noise(truth, s), truth, only="inner_detail")["inner_detail"] for s in (8, 16, 32)]
        assert 1 > blur[0] > blur[1] > blur[2] > 0
        assert 1 < rough[0] < rough[1] < rough[2]

    def test_too_much_and_too_little_are_equally_bad(self):
        assert METRICS["inner_detail"].badness(1.25) == METRICS["inner_detail"].badness(0.75)


class TestFlicker:
    def test_even_change_has_no_second_difference(self):
        frames = [np.full((32, 32, 3), 0.1 * t, np.float32) for t in (1, 2, 3)]
        assert second_difference(*frames, WHOLE) == pytest.approx(0, abs=1e-6)

    def test_second_difference_of_a_flash(self):
        dark, bright = np.zeros((32, 32, 3), np.float32), np.full((32, 32, 3), 0.5, np.float32)
        assert second_difference(dark, bright, dark, WHOLE) == pytest.approx(1.0)

    def test_noise_raises_it(self, face, measure, noise):
        truth, meshes = moving(face[0]), with_motion(face[1])
        values = [measure(noise(truth, s), truth, truth_meshes=meshes, only="flicker")["flicker"] for s in (2, 8, 24)]
        assert 1 < values[0] < values[1] < values[2]

    def test_a_frozen_video_has_none(self, face, measure):
        truth = moving(face[0])
        frozen = measure([face[0]] * 6, truth, truth_meshes=with_motion(face[1]), only="flicker")["flicker"]
        assert frozen == 0 and METRICS["flicker"].badness(frozen) == 1

    def test_a_gap_between_frames_is_not_taken_for_motion(self, face):
        from bench.metrics import Sample

        picture, mesh = face
        regions = face_regions(mesh, picture.shape[1::-1], 100.0)
        metric = METRICS["flicker"]()
        for t in (0, 1, 5, 6):
            metric.update(Sample(t, picture, np.roll(picture, t, axis=1), regions))
        assert metric.value() is None


class TestLandmarks:
    def test_a_known_shift_over_the_inter_ocular_distance(self, face):
        from animate import pose

        mesh = face[1]
        unit = float(pose.inter_ocular(mesh))
        moved = mesh + np.array([0.3 * unit, 0.4 * unit, 7], np.float32)
        assert landmark_distance(moved, mesh) == pytest.approx(0.5, rel=1e-4)

    def test_redetection_follows_a_face_that_sits_elsewhere(self, face, redetector):
        picture, mesh = face
        moved = np.roll(picture, 12, axis=1)
        found = redetector(moved, mesh)
        here = redetector(picture, mesh)
        assert np.abs((found - here)[:, 0].mean() - 12) < 1
        assert np.abs((found - here)[:, 1].mean()) < 1

    def test_redetection_sees_no_face_in_grey(self, face, redetector):
        assert redetector(np.full_like(face[0], 127), face[1]) is None

    def test_a_frame_without_a_face_is_no_number(self, face, measure):
        assert measure([face[0]], [face[0]], output_meshes=[None])["landmark"] is None


class TestOpenings:
    def series(self, landmarks, opening, upper_indices):
        meshes = []
        for gap in opening:
            mesh = landmarks.copy()
            mesh[list(upper_indices), 1] -= gap
            meshes.append(mesh)
        return meshes

    def test_a_raised_upper_lip_opens_the_mouth(self, face):
        from animate import topology

        wide = self.series(face[1], [10], topology.INNER_LIPS_UPPER[1:-1])[0]
        assert mouth_opening(wide) > mouth_opening(face[1])
        assert eye_opening(wide) == pytest.approx(eye_opening(face[1]))

    def test_correlations_of_known_series(self):
        wave = np.sin(np.linspace(0, 6, 40))
        assert correlation(3 * wave + 1, wave) == pytest.approx(1)
        assert correlation(-wave, wave) == pytest.approx(-1)
        assert correlation(np.full(40, 0.2), wave) == 0

    @pytest.mark.parametrize("name", ["mouth_corr", "eye_corr"])
    def test_following_frozen_and_still_drivers(self, face, measure, name):
        from animate import topology

        moved = {
            "mouth_corr": topology.INNER_LIPS_UPPER[1:-1],
            "eye_corr": topology.LEFT_EYE_UPPER[1:-1] + topology.RIGHT_EYE_UPPER[1:-1],
        }[name]
        mesh, frames = face[1], [face[0]] * 20
        wave = 6 + 6 * np.sin(np.linspace(0, 12, 20))
        driver, frozen = self.series(mesh, wave, moved), [mesh] * 20
        late = self.series(mesh, np.roll(wave, 3), moved)

        def value(outputs, truths):
            return measure(frames, frames, output_meshes=outputs, truth_meshes=truths, only=name)[name]

        assert value(driver, driver) == pytest.approx(1)
        assert 0.0 == value(frozen, driver) < value(driver, driver)
        assert value(late, driver) < 0.9
        assert value(driver, frozen) is None


class TestIdentity:
    def test_same_face_turned_smaller_darker_stays_the_same_and_a_stranger_does_not(self, face, shared, redetector):
        pytest.importorskip("dlib", reason="identity needs the extra bench")
        from animate.media import read_image

        picture, mesh = face
        own = descriptor(picture, mesh)
        small = cv2.resize(picture, (160, 160), interpolation=cv2.INTER_AREA)
        turn = cv2.getRotationMatrix2D((160, 160), 12, 0.9)
        turned = cv2.warpAffine(picture, turn, (320, 320), borderMode=cv2.BORDER_REFLECT)
        dark = (picture * 0.7).astype(np.uint8)
        like = [descriptor(image, redetector.tracker.detect(image)[0].landmarks) for image in (small, turned, dark)]
        strangers = []
        for path in sorted((shared / "data/examples/portraits").glob("assets-person-*female*"))[:2]:
            image = read_image(path)[..., :3]
            strangers.append(descriptor(image, redetector.tracker.detect(image)[0].landmarks))
        distances = [np.linalg.norm(own - other) for other in like + strangers]
        assert max(distances[:3]) < 0.45 < 0.6 < min(distances[3:])

    def test_our_alignment_is_dlibs_own(self, face):
        """dlib's predictor of five points gives nearly the descriptor that the mesh's five points give."""
        dlib = pytest.importorskip("dlib", reason="identity needs the extra bench")
        from animate import recognition

        picture, mesh = face
        predictor = dlib.shape_predictor(str(recognition._weights().with_name("shape_predictor_5_face_landmarks.dat")))
        found = dlib.get_frontal_face_detector()(picture, 0)[0]
        shape = predictor(picture, found)
        points = np.array([(shape.part(i).x, shape.part(i).y) for i in range(5)])
        assert np.abs(points - mesh[list(FIVE_POINTS), :2]).max() < 12
        theirs = np.array(
            recognition._network().compute_face_descriptor(dlib.get_face_chip(picture, shape, size=150, padding=0.25))
        )
        assert np.linalg.norm(theirs - descriptor(picture, mesh)) < 0.25


class TestRegions:
    def test_parts_lie_inside_the_crop_and_where_they_belong(self, face):
        picture, mesh = face
        regions = face_regions(mesh, picture.shape[1::-1], 100.0)
        x0, y0, x1, y1 = regions.box
        assert regions.face.shape == (y1 - y0, x1 - x0)
        rows = {name: np.nonzero(getattr(regions, name))[0].mean() for name in ("eyes", "face", "mouth", "inner")}
        assert rows["eyes"] < rows["face"] < rows["inner"]
        assert regions.inner.sum() < regions.mouth.sum() < regions.face.sum()
        assert (regions.mouth & regions.inner).sum() == regions.inner.sum()

    def test_a_face_at_the_border_is_clipped(self, face):
        size = (200, 180)
        box = face_box(face[1] + np.array([120, 90, 0], np.float32), size)
        assert 0 <= box[0] < box[2] <= 200 and 0 <= box[1] < box[3] <= 180

    def test_a_face_outside_the_frame_has_no_region(self, face):
        regions = face_regions(face[1] + np.array([5000, 0, 0], np.float32), (320, 320), 100.0)
        assert regions.mask("face") is None and regions.mask("eyes") is None
        assert LEAST_PIXELS > 1
