"""Distances of distributions: closed forms, other people's code, and features through the metric classes."""

import cv2
import numpy as np
import pytest
import torch

from bench.metrics import METRICS, Reference, Sample, SetMetric
from bench.metrics import fid as fid_metric
from bench.metrics import fvd as fvd_metric
from bench.metrics.frechet import frechet_distance, kernel_distance


class TestFrechet:
    def test_of_the_same_set_is_zero(self):
        a = np.random.default_rng(0).normal(size=(50, 8))
        assert frechet_distance(a, a) == pytest.approx(0, abs=1e-8)

    def test_a_shift_is_its_square(self):
        a = np.random.default_rng(0).normal(size=(50, 8))
        assert frechet_distance(a, a + 0.5) == pytest.approx(8 * 0.25)

    def test_one_dimension_in_closed_form(self):
        a, b = np.array([[-1.0], [1.0]]), np.array([[0.0], [6.0]])
        assert frechet_distance(a, b) == pytest.approx(3**2 + (np.sqrt(2) - np.sqrt(18)) ** 2)

    @pytest.mark.parametrize(("n", "m"), [(200, 150), (200, 5), (6, 9)])
    def test_is_the_matrix_root(self, n, m):
        from scipy.linalg import sqrtm

        rng = np.random.default_rng(1)
        a, b = rng.normal(size=(n, 6)) @ rng.normal(size=(6, 6)), rng.normal(size=(m, 6)) + 1
        ca, cb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
        if m < 7:  # the root of a singular matrix needs a little ridge
            ca, cb = ca + 1e-9 * np.eye(6), cb + 1e-9 * np.eye(6)
        direct = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca + cb - 2 * sqrtm(ca @ cb).real)
        assert frechet_distance(a, b) == pytest.approx(direct, rel=1e-3)

    def test_more_damage_is_farther(self):
        rng = np.random.default_rng(2)
        a, noise = rng.normal(size=(40, 100)), rng.normal(size=(40, 100))
        found = [frechet_distance(a + s * noise, a) for s in (0, 0.3, 1, 3)]
        assert found == sorted(found) and found[1] > 0.1


class TestKernel:
    def test_is_torchmetrics(self):
        kid = pytest.importorskip("torchmetrics.image.kid", reason="needs the extra bench")
        rng = np.random.default_rng(0)
        a, b = rng.normal(size=(30, 16)), rng.normal(size=(30, 16)) * 1.5
        theirs = float(kid.poly_mmd(torch.from_numpy(a), torch.from_numpy(b)))
        assert kernel_distance(a, b) == pytest.approx(theirs, rel=1e-6)

    def test_one_distribution_is_about_zero_on_average(self):
        rng = np.random.default_rng(0)
        found = [kernel_distance(rng.normal(size=(20, 4)), rng.normal(size=(30, 4))) for _ in range(200)]
        assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(200)

    def test_more_damage_is_farther(self):
        rng = np.random.default_rng(2)
        a, noise = rng.normal(size=(40, 20)), rng.normal(size=(40, 20))
        found = [kernel_distance(a + s * noise, a) for s in (0.3, 1, 3)]
        assert found == sorted(found)


def clip_features(name, outputs, truths, start=0, **fields):
    metric = METRICS[name].create(Reference(None, None))
    for t, (output, truth) in enumerate(zip(outputs, truths, strict=True)):
        metric.update(Sample(start + t, output, truth, **fields))
    assert metric.value() is None
    return metric.features()


class TestFID:
    @pytest.fixture
    def colours(self, monkeypatch):
        """In place of Inception: the mean colour and its square, so that the distance is known."""
        from bench.metrics import inception

        monkeypatch.setattr(inception, "features", lambda image: image.reshape(-1, 3).mean(0) / 255)

    def frames(self, shift=0, count=40, seed=0):
        rng = np.random.default_rng(seed)
        return [np.full((8, 8, 3), v, np.uint8) + np.uint8(shift) for v in rng.integers(20, 200, (count, 1, 1, 3))]

    def test_all_clips_together_and_not_a_mean_of_clips(self, colours):
        clips = [clip_features("fid", self.frames(51, seed=s), self.frames(seed=s)) for s in (0, 1)]
        assert clips[0]["output"].shape == (8, 3)
        together = METRICS["fid"].combine(clips)
        assert together == pytest.approx(3 * 0.04, rel=1e-3)
        swapped = [{"output": clips[0]["truth"], "truth": clips[1]["truth"]}]
        swapped += [{"output": clips[1]["truth"], "truth": clips[0]["truth"]}]
        assert METRICS["fid"].combine(swapped) == pytest.approx(0, abs=1e-8)
        assert METRICS["fid"].combine(swapped[:1]) > 1e-3

    def test_kid_uses_the_same_features(self, colours):
        clips = [clip_features("kid", self.frames(51), self.frames())]
        assert METRICS["kid"].combine(clips) == pytest.approx(kernel_distance(clips[0]["output"], clips[0]["truth"]))

    def test_few_frames_are_no_distribution(self, colours):
        few = clip_features("fid", self.frames(count=9), self.frames(count=9))
        assert len(few["output"]) == 2
        assert METRICS["fid"].combine([few]) is None and METRICS["fid"].combine([]) is None
        empty = METRICS["fid"]().features()
        assert METRICS["fid"].combine([empty]) is None

    def test_the_network_has_the_published_size(self):
        from bench.metrics.inception import InceptionFeatures

        with torch.device("meta"):
            network = InceptionFeatures()
        # Inception v3 with 1000 classes and no auxiliary head has 23,834,568 parameters, its last layer 2,049,000.
        assert sum(p.numel() for p in network.parameters()) == 23_834_568 - 2_049_000
        assert {"Mixed_6b.branch7x7dbl_5.conv.weight", "Mixed_7c.branch3x3_2b.bn.running_var"} <= set(
            network.state_dict()
        )

    def test_a_random_network_runs(self):
        from bench.metrics.inception import FEATURES, InceptionFeatures

        torch.manual_seed(0)
        network = InceptionFeatures().eval()
        a = torch.rand(1, 3, 40, 60)
        assert network(a).shape == (1, FEATURES)
        assert torch.isfinite(network(a)).all()


class TestFrechetDlib:
    def test_another_person_is_farther_than_a_darker_picture(self, face, shared, redetector):
        pytest.importorskip("dlib", reason="descriptors need the extra bench")
        from animate.media import read_image

        picture, mesh = face
        path = sorted((shared / "data/examples/portraits").glob("assets-person-*female*"))[0]
        stranger = cv2.resize(read_image(path)[..., :3], (320, 320), interpolation=cv2.INTER_AREA)
        other = redetector.tracker.detect(stranger)[0].landmarks
        values = []
        for image, landmarks in ((picture, mesh), ((picture * 0.8).astype(np.uint8), mesh), (stranger, other)):
            clip = [np.roll(image, t, 1) for t in range(40)]
            metric = METRICS["frechet_dlib"]()
            for t, frame in enumerate(clip):
                shift = np.array([t, 0, 0], np.float32)
                metric.update(Sample(t, frame, np.roll(picture, t, 1), None, False, landmarks + shift, mesh + shift))
            values.append(METRICS["frechet_dlib"].combine([metric.features()]))
        assert values[0] == pytest.approx(0, abs=1e-9) and values[0] < values[1] < values[2]

    def test_a_lost_face_is_no_row(self, face):
        pytest.importorskip("dlib", reason="descriptors need the extra bench")
        found = clip_features("frechet_dlib", [face[0]], [face[0]], truth_landmarks=face[1])
        assert found["output"].shape == (0, 0) and found["truth"].shape == (1, 128)


class TinyVideoNetwork(torch.nn.Module):
    """Colour means and how much they change: (B, 3, T, h, w) -> (B, 6), with I3D's call."""

    def forward(self, x: torch.Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False):
        means = x.mean((3, 4))
        change = (x[:, :, 1:] - x[:, :, :-1]).abs().mean((2, 3, 4))
        return torch.cat([means.mean(2), change], 1)


class TestFVD:
    @pytest.fixture
    def video_network(self, tmp_path, monkeypatch):
        folder = tmp_path / "fvd-i3d"
        folder.mkdir()
        torch.jit.script(TinyVideoNetwork()).save(folder / "i3d_torchscript.pt")
        monkeypatch.setenv("MIEN_WEIGHTS", str(tmp_path))
        fvd_metric.network.cache_clear()
        yield
        fvd_metric.network.cache_clear()

    def video(self, face, count=70):
        return [np.ascontiguousarray(np.roll(face[0], t, 1)) for t in range(count)]

    def test_windows_of_sixteen_frames(self, video_network, face):
        truth = self.video(face)
        found = clip_features("fvd", truth, truth)
        assert found["output"].shape == (4, 6) and (found["output"] == found["truth"]).all()
        assert METRICS["fvd"].combine([found]) == pytest.approx(0, abs=1e-9)

    def test_worse_for_more_noise_and_for_a_frozen_video(self, video_network, face, noise):
        truth = self.video(face)
        values = []
        for outputs in (truth, noise(truth, 6), noise(truth, 25), [face[0]] * len(truth)):
            values.append(METRICS["fvd"].combine([clip_features("fvd", outputs, truth)]))
        assert values[0] < values[1] < values[2] and values[0] < values[3]

    def test_a_gap_begins_a_new_window(self, video_network, face):
        metric = METRICS["fvd"]()
        for t in (*range(10), *range(11, 27)):
            metric.update(Sample(t, face[0], face[0]))
        assert len(metric.features()["output"]) == 1
        assert METRICS["fvd"].combine([metric.features()]) is None


def test_set_metrics_say_so():
    names = [name for name, metric in METRICS.items() if issubclass(metric, SetMetric)]
    assert names == ["fid", "kid", "fvd", "frechet_dlib"]
    assert fid_metric.LEAST > 2 and fvd_metric.LEAST > 2
