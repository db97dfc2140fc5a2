"""The cache benchmark: samplers on a case with a known answer, methods on a tiny network, the report."""

import copy
import json
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from animate.errors import MienError
from animate.media import VideoWriter
from animate.models.unet import LandmarkUNet
from animate.pipelines.scheduler import mini_scheduler
from bench.cache import run as bench_cache
from bench.cache.methods import FAMILIES, NONE, methods
from bench.cache.overhead import measure_overhead, overhead_markdown, overhead_table, unet, wan
from bench.cache.painting import Attachment, BatchPainter, Costs, DiffusersAttachment, TaylorAttachment, kept_tensors
from bench.cache.report import draw, markdown, table
from bench.cache.sampling import SAMPLERS, make_sampler
from bench.cache.scores import Tally, point
from bench.cache.verdict import bars, covers, front, uncovered
from bench.cache.windows import Batch, clip_windows, liveliest, load_painter
from bench.clips import find_clips
from bench.reenact.scoring import prepare
from cache import TaylorCacheConfig

torch.set_num_threads(1)


def alpha_bar(timestep: float) -> float:
    kept = mini_scheduler().alphas_cumprod.double().numpy()
    return float(np.interp(timestep, np.arange(len(kept)), kept))


class TestSamplers:
    @pytest.mark.parametrize("name", SAMPLERS)
    def test_all_follow_the_known_way_of_gaussian_data(self, name):
        """Data of standard deviation 0.5: the best guess at the clean sample is linear, and the way from noise n that
        solves the equation ends at 0.5 n. A wrong level, scale or timestep ends elsewhere."""
        noise = torch.randn(200, generator=torch.Generator().manual_seed(0))
        sampler = make_sampler(name, mini_scheduler(), 200)
        sample = sampler.start(noise)
        for step in range(sampler.steps):
            shown, timestep = sampler.network_input(sample, step)
            kept = alpha_bar(float(timestep))
            clean = kept**0.5 * 0.25 / (kept * 0.25 + 1 - kept) * shown
            sample = sampler.advance(clean, step, sample)
        assert torch.allclose(sample, 0.5 * noise, rtol=0.04, atol=1e-3)

    def test_flow_tells_the_timestep_of_the_same_signal_to_noise_ratio(self):
        sampler = make_sampler("flow", mini_scheduler())
        for sigma in (0.9, 0.5, 0.2):
            kept = alpha_bar(sampler.timestep(sigma))
            assert kept / (1 - kept) == pytest.approx(((1 - sigma) / sigma) ** 2, rel=1e-2)
        assert sampler.timestep(1.0) == 999 and sampler.timestep(1e-4) == 0

    def test_each_batch_gets_a_solver_without_memory(self):
        scheduler = mini_scheduler()
        assert make_sampler("ddim", scheduler).scheduler is not scheduler
        assert make_sampler("dpm++", scheduler).steps == SAMPLERS["dpm++"]


@pytest.fixture(scope="module")
def pipeline():
    """What a `BatchPainter` needs of a pipeline, with a denoiser a few channels wide."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = LandmarkUNet(
            in_channels=4,
            out_channels=4,
            down_block_types=("DownBlock3D", "CrossAttnDownBlock3D"),
            up_block_types=("CrossAttnUpBlock3D", "UpBlock3D"),
            block_out_channels=(8, 16),
            layers_per_block=1,
            num_attention_heads=2,
            cross_attention_dim=8,
            image_embedding_dim=None,
            norm_num_groups=4,
            use_motion_module=False,
        ).eval()
    return SimpleNamespace(
        unet=network,
        scheduler=mini_scheduler(),
        decode_clip=lambda latents: latents,
        video_processor=SimpleNamespace(postprocess_video=lambda clip, _: (clip / 2 + 0.5).clamp(0, 1)),
    )


@pytest.fixture(scope="module")
def batch():
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(shape, generator=generator)

    return Batch(
        name="clip:0:0",
        noise=draw(2, 4, 1, 8, 8),
        base=0.3 * draw(2, 4, 1, 8, 8),
        gate=torch.ones(2, 4, 1, 8, 8),
        condition=None,
        inputs={"encoder_hidden_states": draw(2, 3, 8)},
        painted=torch.ones(2, 4, 1, 8, 8, dtype=torch.bool),
        error_weight=torch.ones(2, 1, 1, 8, 8),
    )


@pytest.fixture
def painter(pipeline):
    return BatchPainter(pipeline, "ddim")


def taylor(**settings) -> TaylorAttachment:
    return TaylorAttachment(TaylorCacheConfig(**settings))


def hooks(network) -> list:
    return [h for m in network.modules() if hasattr(m, "_diffusers_hook") for h in m._diffusers_hook.hooks]


def of_family(family: str) -> dict[str, object]:
    return {method.name: method for method in methods("ddim", [family])}


class TestPainting:
    def test_without_a_cache_everything_is_computed(self, painter, batch):
        painted = painter(batch, Attachment(), 6)
        assert (painted.computed, painted.forecast, painted.memory) == (6, 0, 0)
        assert painted.seconds > 0 and painted.frames.isfinite().all()

    def test_tolerance_zero_is_the_same_bit_for_bit(self, painter, batch):
        plain, exact = painter(batch, Attachment(), 6), painter(batch, taylor(tolerance=0.0), 6)
        assert torch.equal(plain.frames, exact.frames) and exact.forecast == 0

    def test_a_fixed_interval_forecasts_the_steps_between(self, painter, batch):
        config = {"placement": "output", "interval": 3, "warmup": 1, "last_steps": 0}
        painted = painter(batch, taylor(**config), 7)
        assert (painted.computed, painted.forecast) == (3, 4) and painted.memory > 0
        assert not torch.equal(painted.frames, painter(batch, Attachment(), 7).frames)
        assert not hooks(painter.pipeline.unet)

    def test_look_ahead_computes_as_often(self, painter, batch):
        config = {"placement": "output", "interval": 3, "warmup": 1}
        plain, ahead = painter(batch, taylor(**config), 7), painter(batch, taylor(lookahead=True, **config), 7)
        assert ahead.computed == plain.computed and ahead.forecast > plain.forecast

    def test_a_cache_that_breaks_off_leaves_nothing_behind(self, painter, batch):
        before = painter(batch, Attachment(), 3).frames
        with pytest.raises(IndexError):
            painter(batch, of_family("diffusers")["FirstBlockCache"].attachment, 3)
        assert not hooks(painter.pipeline.unet)
        assert torch.equal(painter(batch, Attachment(), 3).frames, before)

    def test_diffusers_caches_start_anew_with_each_run(self, painter, batch):
        seer = of_family("diffusers")["TaylorSeer 2 order 1"].attachment
        first, second = painter(batch, seer, 6), painter(batch, seer, 6)
        assert torch.equal(first.frames, second.frames) and first.memory > 0

    def test_kept_tensors_are_counted_once(self, painter):
        network = painter.pipeline.unet
        seer = of_family("diffusers")["TaylorSeer 2 order 1"].attachment
        seer.put_on(network, lambda: 0)
        assert kept_tensors(network) == []
        seer.take_off(network)


class TestCosts:
    def test_steps_without_a_cache_cost_the_same_each(self, painter, batch):
        costs = Costs(painter)
        ten, five = (
            costs.of(NONE, batch, painter(batch, Attachment(), n), Attachment(), n) - costs.first(batch)
            for n in (11, 6)
        )
        assert ten == pytest.approx(2 * five)

    def test_what_is_forecast_is_cheap_and_the_output_nearly_free(self, painter, batch):
        costs, full = Costs(painter), Costs(painter).further(batch)
        branch = costs.forecast(batch, TaylorCacheConfig(placement="branch"))
        deeper = costs.forecast(batch, TaylorCacheConfig(placement="branch", branch_depth=2))
        assert 0 < branch < deeper < full
        assert costs.forecast(batch, TaylorCacheConfig(placement="output")) == 0

    def test_counted_from_parts_as_over_a_whole_run(self, painter, batch):
        attachment, costs = taylor(placement="branch", interval=2), Costs(painter)
        parts = costs.of("taylor", batch, painter(batch, attachment, 8), attachment, 8)
        assert parts == costs._count(batch, attachment, 8)

    def test_diffusers_caches_are_counted_over_a_whole_run(self, painter, batch):
        method = of_family("diffusers")["TaylorSeer 5 order 1"]
        painted, costs = painter(batch, method.attachment, 12), Costs(painter)
        cost = costs.of(method.name, batch, painted, method.attachment, 12)
        assert 0 < cost < costs.of(NONE, batch, painted, Attachment(), 12)


class TestMethods:
    def test_names_are_unique_and_ours_begin_with_taylor(self):
        for sampler in SAMPLERS:
            made = methods(sampler)
            assert len({method.name for method in made}) == len(made) and made[0].name == NONE
            assert all((method.family == "taylor") == method.name.startswith("taylor") for method in made)
            assert {method.family for method in made} == {NONE, *FAMILIES}

    def test_fewer_steps_are_fewer(self):
        assert all(method.steps < SAMPLERS["dpm++"] for method in methods("dpm++", ["fewer"])[1:])

    def test_only_diffusers_methods_may_be_told_by_nobody(self):
        for method in methods("ddim"):
            assert isinstance(method.attachment, DiffusersAttachment) == (method.family == "diffusers")

    def test_an_unknown_family(self):
        with pytest.raises(MienError, match="no family slower"):
            methods("ddim", ["slower"])


def made_point(method: str, speedup: float, psnr: float, change: float = 0.001, family: str = "taylor") -> dict:
    tally = Tally(seconds=1 / speedup, cpu_seconds=1 / speedup, operations=100 / speedup, computed=1, pixels=1)
    none = Tally(seconds=1.0, cpu_seconds=1.0, operations=100.0, computed=1, pixels=1)
    values = {"face_psnr": 50.0, "face_ssim": 1.0, "face_l1": 0.1, "mouth_l1": 0.1, "eyes_l1": 0.1, "flicker": 1.0}
    tally.add_values(values | {"landmark": 0.1 * (1 + change)})
    none.add_values(values | {"landmark": 0.1})
    return point(method, family, "ddim", 25, tally, none) | {"psnr": psnr}


class TestVerdict:
    def test_points_have_what_the_report_promises(self):
        made = made_point("taylor a", 3.0, 45.0)
        assert made["speedup"] == pytest.approx(3) == made["seconds_ratio"] and made["memory"] == 0
        assert made["landmark_change"] == pytest.approx(0.001)
        json.dumps(made, allow_nan=False)

    def test_the_front_is_what_no_other_point_covers(self):
        a, b, c = made_point("taylor a", 2, 60), made_point("taylor b", 3, 50), made_point("taylor c", 2.5, 40)
        assert front([c, a, b]) == [a, b]
        assert covers(b, c) and not covers(a, b)

    def test_a_point_above_ours_fails_and_is_named_with_its_distance(self):
        points = [made_point("taylor a", 3, 50), made_point("8 steps", 3, 52, family="fewer")]
        assert [(p["method"], below) for p, below in uncovered(points)] == [("8 steps", 2)]
        fidelity, best = bars(points)
        assert fidelity.passed and best.passed is False and "8 steps (3.00, 52.0 dB) by 2.0 dB" in best.text

    def test_ours_above_all_others_passes(self):
        points = [made_point("taylor a", 3, 50), made_point("8 steps", 2.9, 50, family="fewer")]
        assert [bar.passed for bar in bars(points)] == [True, True]

    @pytest.mark.parametrize(
        ("speedup", "psnr", "change", "passed"),
        [(2.6, 40, 0.0099, True), (2.6, 39.9, 0, False), (2.6, 50, 0.011, False), (2.5, 50, 0, None)],
    )
    def test_the_bar_of_fidelity(self, speedup, psnr, change, passed):
        assert bars([made_point("taylor a", speedup, psnr, change)])[0].passed is passed

    def test_a_landmark_error_that_was_not_measured_clears_no_bar(self):
        unseen = made_point("taylor a", 3.0, 60.0) | {"landmark_change": None}
        bar = bars([unseen])[0]
        assert bar.passed is None and "not shown: taylor a: 3.00, 60.0 dB, landmark error not measured" in bar.text
        shown = bars([unseen, made_point("taylor b", 2.7, 45.0)])[0]
        assert shown.passed and "taylor b: 2.70" in shown.text and "taylor a" not in shown.text

    def test_identical_frames_have_a_finite_psnr(self):
        assert Tally(pixels=10).psnr == 100
        assert Tally(squared=10 * 1e-4, pixels=10).psnr == pytest.approx(40)


class TestReport:
    points = [made_point(NONE, 1.0, 100.0, 0, NONE), made_point("taylor a", 3.0, 45.0)]

    def test_a_row_for_each_point(self):
        assert [line.split()[1] for line in table(self.points).splitlines()] == ["method", NONE, "taylor"]
        page = markdown(self.points, ["About."], "plot.png")
        assert "| ddim | taylor a | 3.00 |" in page and "![fidelity over speed](plot.png)" in page

    def test_what_was_not_computed_is_a_dash(self):
        assert " - " in table([made_point("taylor a", 3.0, 45.0) | {"landmark_change": None}])

    def test_the_plot_is_a_picture(self, tmp_path):
        pytest.importorskip("matplotlib")
        assert draw(self.points, tmp_path / "new" / "plot.png")
        assert (tmp_path / "new" / "plot.png").read_bytes()[:4] == b"\x89PNG"


class TestOverhead:
    def test_skipped_parts_do_not_run(self):
        networks = [unet(channels=(32, 32, 32, 32), side=8), wan(heads=1, layers=2, frames=1, side=8)]
        costs = measure_overhead(networks, rounds=1)
        assert [cost["network"] for cost in costs] == ["UNet2DConditionModel", "WanTransformer3DModel"]
        for cost in costs:
            assert 0 < cost["forecast_operations"] < 0.6 * cost["plain_operations"] and cost["memory"] > 0
        assert "forecast" in overhead_table(costs) and "UNet2DConditionModel" in overhead_markdown(costs)


@pytest.fixture(scope="module")
def clips(tmp_path_factory, face):
    """A folder with a face that slides: b.mp4 has no face."""
    folder = tmp_path_factory.mktemp("cache_clips")
    with VideoWriter(folder / "a.mp4", Fraction(25), crf=8) as writer:
        for t in range(5):
            writer.write(np.roll(face[0], (t, 2 * t), axis=(0, 1)))
    with VideoWriter(folder / "b.mp4", Fraction(25)) as writer:
        for t in range(4):
            writer.write(np.full((96, 96, 3), 40 + t, np.uint8))
    return folder


class TestWindows:
    def test_the_liveliest_frames_are_those_with_the_mouth_farthest_from_the_first(self, face):
        landmarks = np.repeat(face[1][None], 9, axis=0).copy()
        landmarks[5:7, [13, 14], 1] += np.array([-9, 9])
        assert liveliest(landmarks, 2) == range(5, 7)
        assert liveliest(landmarks, 50) == range(1, 9)

    def test_what_the_pipeline_would_paint_comes_out(self, clips, redetector):
        """Handing back what the pipeline itself paints of the recorded windows gives the animator's own frames."""
        from animate.animator import PortraitAnimator
        from animate.motion import Motion

        painter = load_painter()
        truth = prepare(find_clips(clips, 10)[0], redetector)
        windows = clip_windows(copy.copy(painter), truth, redetector, 2)
        sampler = BatchPainter(painter.pipeline, "ddim")
        painted = {batch.name: sampler(batch, Attachment(), 1).frames for batch in windows.batches}
        frames = dict(zip(windows.numbers, windows.frames(painted), strict=True))

        motion = Motion.from_track(truth.track)
        animator = PortraitAnimator.from_pretrained("mini", steps=1)
        expected = list(animator.animate(truth.portrait, motion, mode="absolute"))
        for number, frame in frames.items():
            assert np.abs(frame.astype(int) - expected[number]).max() <= 2
            assert np.abs(frame.astype(int) - truth.portrait.image).max() > 20


class TestCommand:
    def test_a_report_of_a_folder(self, clips, tmp_path, monkeypatch, capsys):
        monkeypatch.setitem(SAMPLERS, "ddim", 4)
        options = ["--data", str(clips), "--frames", "2", "--samplers", "ddim", "--families", "fewer,reuse"]
        options += ["--json", str(tmp_path / "a.json"), "--results", str(tmp_path / "results")]
        assert bench_cache.main(options) == 0
        report = json.loads((tmp_path / "a.json").read_text())
        by_name = {p["method"]: p for p in report["points"]}
        assert by_name["2 steps"]["speedup"] == pytest.approx(2, rel=0.01)
        assert by_name[NONE]["psnr"] == 100 and by_name["2 steps"]["psnr"] < 60
        keys = {
            "method",
            "scheduler",
            "steps",
            "speedup",
            "seconds_ratio",
            "psnr",
            "landmark_change",
            "mouth_l1",
            "memory",
        }
        assert all(keys <= p.keys() for p in report["points"])
        assert any(note.startswith("b.mp4 is left out") for note in report["notes"])
        assert {"cache.md", "cache.json"} <= {path.name for path in (tmp_path / "results").iterdir()}
        assert "2 steps" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            (["--samplers", "euler"], "There is no sampler euler"),
            (["--families", "magic"], "There is no family magic"),
            (["--data", "nowhere"], "There is no folder nowhere"),
        ],
    )
    def test_bad_options_are_one_sentence(self, options, sentence, clips, capsys):
        data = [] if "--data" in options else ["--data", str(clips)]
        assert bench_cache.main([*data, *options]) == 1
        assert capsys.readouterr().err.startswith(sentence)

    def test_without_a_data_folder(self, monkeypatch, tmp_path, capsys):
        monkeypatch.setattr(bench_cache, "DATA", tmp_path)
        assert bench_cache.main([]) == 1
        assert "--data" in capsys.readouterr().err
