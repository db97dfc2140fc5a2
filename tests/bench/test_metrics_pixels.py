"""Whole-frame pixel metrics and those over neighbouring frames, against closed forms and torchmetrics."""

import cv2
import numpy as np
import pytest
import torch

from bench.metrics import METRICS, Reference, Sample
from bench.metrics import lpips as lpips_metric
from bench.metrics.lpips import head_file
from bench.metrics.psnr import CAP
from bench.metrics.ssim import ms_ssim, ssim
from bench.metrics.warping_error import optical_flow, seen_in_both, small, warping_error

FRAME_METRICS = ("l1", "psnr", "ssim", "ms_ssim")


def value(name, outputs, truths, start=0):
    metric = METRICS[name].create(Reference(None, None))
    for t, (output, truth) in enumerate(zip(outputs, truths, strict=True)):
        metric.update(Sample(start + t, output, truth))
    return metric.value()


@pytest.fixture(scope="module")
def pair(face):
    """A picture of 240 x 300 and a damaged copy, floats in [0, 1]."""
    picture = cv2.resize(face[0], (300, 240)).astype(np.float32) / 255
    rng = np.random.default_rng(0)
    return picture, np.clip(cv2.GaussianBlur(picture, (0, 0), 1.5) + rng.normal(0, 0.03, picture.shape), 0, 1).astype(
        np.float32
    )


class TestFrames:
    def test_identical_is_perfect(self, face):
        found = {name: value(name, [face[0]], [face[0]]) for name in FRAME_METRICS}
        assert found["l1"] == 0 and found["psnr"] == CAP
        assert found["ssim"] == pytest.approx(1) and found["ms_ssim"] == pytest.approx(1)

    def test_l1_and_psnr_of_a_known_step(self):
        grey = np.full((20, 20, 3), 100, np.uint8)
        assert value("l1", [grey + 51], [grey]) == pytest.approx(0.2)
        assert value("psnr", [grey + 51], [grey]) == pytest.approx(20 * np.log10(5), abs=1e-4)

    def test_ssim_is_scikit_images(self, pair):
        from skimage.metrics import structural_similarity

        theirs = structural_similarity(
            *pair, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0, channel_axis=2
        )
        assert ssim(pair[1], pair[0]) == pytest.approx(theirs, abs=1e-4)

    def test_ssim_is_torchmetrics_away_from_the_border(self, pair):
        metrics = pytest.importorskip("torchmetrics.functional.image", reason="needs the extra bench")
        truth, output = (torch.from_numpy(p[:96, :96].copy()).permute(2, 0, 1)[None] for p in pair)
        _, full = metrics.structural_similarity_index_measure(output, truth, data_range=1.0, return_full_image=True)
        assert ssim(pair[1][:96, :96], pair[0][:96, :96]) == pytest.approx(
            float(full[..., 5:-5, 5:-5].mean()), abs=1e-4
        )

    def test_ms_ssim_is_torchmetrics(self, pair):
        metrics = pytest.importorskip("torchmetrics.functional.image", reason="needs the extra bench")
        truth, output = (torch.from_numpy(p).permute(2, 0, 1)[None] for p in pair)
        theirs = float(metrics.multiscale_structural_similarity_index_measure(output, truth, data_range=1.0))
        assert ms_ssim(pair[1], pair[0]) == pytest.approx(theirs, abs=2e-3)

    def test_ms_ssim_needs_five_scales(self, face):
        assert value("ms_ssim", [face[0][:170]], [face[0][:170]]) is None

    @pytest.mark.parametrize("damage", ["noise", "blur", "shift"])
    @pytest.mark.parametrize("name", FRAME_METRICS)
    def test_more_damage_is_worse(self, face, noise, damage, name):
        truth = [face[0]]
        made = {
            "noise": lambda s: noise(truth, 4 * s),
            "blur": lambda s: [cv2.GaussianBlur(face[0], (0, 0), s)],
            "shift": lambda s: [np.roll(face[0], s, axis=0)],
        }[damage]
        badness = [METRICS[name].badness(value(name, outputs, truth)) for outputs in (truth, made(1), made(3), made(6))]
        assert badness == sorted(badness) and len(set(badness)) == 4


class TestWarpingError:
    def moving(self, picture, step=3, count=5):
        return [np.ascontiguousarray(picture[40:280, 20 + step * t : 260 + step * t]) for t in range(count)]

    def test_flow_finds_a_shift(self, face):
        a, b = (cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in self.moving(face[0], count=2))
        flow = optical_flow(a, b)[60:180, 60:180]
        assert np.median(flow[..., 0]) == pytest.approx(-3, abs=0.2)
        assert np.median(flow[..., 1]) == pytest.approx(0, abs=0.2)

    def test_uncovered_pixels_do_not_count(self):
        there, back = np.zeros((8, 8, 2), np.float32), np.zeros((8, 8, 2), np.float32)
        there[:, 4:, 0] = 2
        assert seen_in_both(there, back)[:, :4].all() and not seen_in_both(there, back)[:, 4:].any()

    def test_frozen_is_zero_and_even_motion_is_nearly(self, face):
        frozen = value("warping_error", [face[0]] * 4, [face[0]] * 4)
        moving = value("warping_error", self.moving(face[0]), self.moving(face[0]))
        assert frozen == 0 and moving < 2

    def test_trembling_is_worse(self, face, noise):
        frames = self.moving(face[0])
        found = [value("warping_error", noise(frames, deviation), frames) for deviation in (0.01, 4, 12, 30)]
        assert found == sorted(found) and found[-1] > 10 * found[0]

    def test_a_known_flash(self, face):
        frame = (face[0] * 0.5 + 60).astype(np.uint8)
        # DIS follows brightness; of flat grey frames the error is the flash itself.
        grey = np.full_like(frame, 100)
        assert warping_error(grey, grey + 51) == pytest.approx(3 * 0.04, rel=1e-3)

    def test_gaps_are_not_bridged(self, face):
        metric = METRICS["warping_error"]()
        for t in (0, 2, 4):
            metric.update(Sample(t, np.roll(face[0], t, 1)))
        assert metric.value() is None

    def test_pictures_are_shrunk(self, face):
        assert small(np.zeros((100, 512, 3), np.uint8)).shape == (50, 256, 3)
        assert small(face[0][:100, :100]).shape == (100, 100, 3)


class Taps(torch.nn.Module):
    """A backbone of two features: the picture itself, and its average over 4 x 4 px."""

    def forward(self, x):
        return [x, torch.nn.functional.avg_pool2d(x, 4)]


class TestLPIPS:
    def test_of_a_known_backbone(self):
        from bench.metrics.lpips_network import DEVIATION, MEAN, LPIPSDistance

        network = LPIPSDistance(Taps(), [torch.tensor([1.0, 2.0, 0.0]), torch.zeros(3)])
        colours = [np.array(c, np.float32) for c in ((0.2, 0.5, 0.8), (0.9, 0.1, 0.4))]
        units = [(c * 2 - 1 - MEAN) / np.array(DEVIATION) for c in colours]
        units = [u / np.linalg.norm(u) for u in units]
        expected = ((units[0] - units[1]) ** 2 * (1, 2, 0)).sum()
        pictures = [torch.from_numpy(c).view(1, 3, 1, 1).expand(1, 3, 8, 8) for c in colours]
        assert float(network(*pictures)[0]) == pytest.approx(expected, rel=1e-5)

    def test_identical_is_zero_and_pairs_are_separate(self):
        from bench.metrics.lpips_network import LPIPSDistance

        network = LPIPSDistance(Taps(), [torch.ones(3), torch.ones(3)])
        a, b = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
        assert network(a, a).abs().max() == 0
        assert torch.allclose(network(a, b), torch.cat([network(a[i : i + 1], b[i : i + 1]) for i in range(2)]))

    def test_heads_of_the_wheel(self):
        if head_file() is None:
            pytest.skip("torchmetrics, of the extra bench, is not installed")
        from bench.metrics.lpips_network import load_heads

        heads = load_heads(head_file())
        assert [len(head) for head in heads] == [64, 192, 384, 256, 256]
        assert all((head >= 0).all() for head in heads)

    @pytest.fixture
    def alexnet(self, tmp_path, monkeypatch):
        """Random weights under the published name, where users put them."""
        if head_file() is None:
            pytest.skip("torchmetrics, of the extra bench, is not installed")
        from bench.metrics import lpips_network

        torch.manual_seed(0)
        backbone = lpips_network.AlexNetFeatures()
        folder = tmp_path / "lpips-alexnet"
        folder.mkdir()
        extra = {"classifier.1.weight": torch.zeros(2, 2)}
        torch.save(backbone.state_dict() | extra, folder / "alexnet-owt-7be5be79.pth")
        monkeypatch.setenv("MIEN_WEIGHTS", str(tmp_path))
        lpips_network.network.cache_clear()
        yield
        lpips_network.network.cache_clear()

    def test_missing_weights_are_named(self, tmp_path, monkeypatch):
        monkeypatch.setenv("MIEN_WEIGHTS", str(tmp_path))
        monkeypatch.setenv("HOME", str(tmp_path))
        for name in ("lpips", "tlp"):
            assert METRICS[name].missing().startswith("needs ")
        monkeypatch.setattr(lpips_metric, "head_file", lambda: None)
        assert "torchmetrics" in METRICS["lpips"].missing()

    def test_from_a_folder_of_weights(self, alexnet, face, noise):
        assert METRICS["lpips"].missing() is None
        found = [value("lpips", noise([face[0]], deviation), [face[0]]) for deviation in (0, 8, 30)]
        assert found[0] == 0 and found == sorted(found) and found[1] > 1e-6

    def test_tlp_sees_motion_that_is_missing_or_too_much(self, alexnet, face):
        truth = [np.roll(face[0], 2 * t, 1) for t in range(4)]
        same, frozen = value("tlp", truth, truth), value("tlp", [face[0]] * 4, truth)
        jumping = value("tlp", [np.roll(face[0], 40 * t, 1) for t in range(4)], truth)
        assert same == 0 < min(frozen, jumping)
