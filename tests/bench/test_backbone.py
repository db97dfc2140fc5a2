"""The backbone's benchmark, on networks a few channels wide; operation counts also at full size."""

import json
from dataclasses import replace

import pytest
import torch

from bench.backbone import forward as backbone_forward
from bench.backbone import run as backbone
from bench.backbone.forward import Turns, bars, format_turns, measure, run_in_child, run_job
from bench.backbone.networks import (
    BARE,
    BRANCH,
    DIFFUSERS,
    FORWARDS,
    GUIDED,
    OURS,
    Size,
    build_network,
    count_operations,
    forwards,
    reference_shapes,
)

torch.set_num_threads(1)

SMALL = Size(channels=(32, 32, 64, 64), frames=2, side=16, tokens=5)


def turns(ours=1.0, branch=1.05, guided=2.1, diffusers=1.0, operations=200) -> list[Turns]:
    return [
        Turns(OURS, BARE, 95, [ours + 1, ours], [2.0, 2.0], 5000),
        Turns(OURS, BRANCH, 100, [branch, branch + 1], [2.0, 2.0], 5100),
        Turns(OURS, GUIDED, operations, [guided], [4.0], 5200),
        Turns(DIFFUSERS, BARE, 100, [diffusers], [2.0], 5000),
    ]


class TestNetworks:
    def test_both_have_the_published_size(self):
        sizes = {name: sum(p.numel() for p in build_network(name, Size(), "meta").parameters()) for name in FORWARDS}
        # ours has CLIP's projection more: 1024 x 768 weights and 768 biases
        assert sizes[OURS] - sizes[DIFFUSERS] == 1024 * 768 + 768
        assert sizes[DIFFUSERS] == pytest.approx(1.3127e9, rel=1e-4)

    @pytest.mark.parametrize("name", FORWARDS)
    @torch.inference_mode()
    def test_random_weights_give_finite_clips_of_a_known_size(self, name):
        for which, forward in forwards(name, build_network(name, SMALL), SMALL).items():
            result = forward()
            assert result.shape == (2 if which == GUIDED else 1, 4, 2, 16, 16)
            assert result.isfinite().all() and result.std() > 0.01

    def test_weights_are_written_and_differ(self):
        values = [p for p in build_network(OURS, SMALL).parameters() if p.ndim > 1]
        assert all(p.count_nonzero() > 0.9 * p.numel() for p in values)

    def test_feature_maps_are_those_of_the_reference_network(self):
        from animate.models.reference_network import ReferenceNetwork

        with torch.device("meta"), torch.no_grad():
            features = ReferenceNetwork()(torch.zeros(1, 4, 32, 32), torch.zeros(1, 257, 1024))
        shapes = reference_shapes(build_network(OURS, Size(), "meta"), 32)
        assert [tuple(feature.shape[1:]) for feature in features] == shapes

    @torch.inference_mode()
    def test_guidance_gives_what_its_branches_give(self):
        passes = forwards(OURS, build_network(OURS, SMALL), SMALL)
        guided = passes[GUIDED]()
        torch.testing.assert_close(guided[1:], passes[BRANCH](), atol=1e-4, rtol=1e-4)


@pytest.fixture(scope="module")
def ours():
    """Operations of our forward passes at full size."""
    return count_operations(OURS, Size())


class TestOperations:
    def test_guidance_costs_two_branches_at_full_size(self, ours):
        # the unconditional half reads no portrait: exactly one pass without and one with
        one_without = ours[GUIDED] - ours[BRANCH]
        assert one_without == pytest.approx(ours[BARE], rel=1e-4)
        assert 0.93 < one_without / ours[BRANCH] < 1
        assert ours[BRANCH] == pytest.approx(1.069e12, rel=1e-3)

    def test_ours_does_no_more_than_diffusers(self, ours):
        assert ours[BARE] <= count_operations(DIFFUSERS, Size())[BARE]

    def test_attention_is_counted(self):
        few, many = (count_operations(OURS, replace(SMALL, tokens=tokens))[BARE] for tokens in (1, 1001))
        # in the finest level's first layer: keys, values, and both products of two frames with 256 pixels
        keys_and_values, products = 2 * 2 * 1000 * 768 * 32, 2 * 2 * 2 * 256 * 1000 * 32
        assert many - few > 5 * (keys_and_values + products)


class TestForward:
    def test_networks_take_turns_and_all_rounds_count(self, capsys, monkeypatch):
        # in this process: starting six Pythons takes longer than all that they would do
        monkeypatch.setattr(backbone_forward, "run_in_child", lambda *job: run_job(*job[:3]))
        whole = {(t.network, t.forward): t for t in measure(SMALL, rounds=2, repeats=1, threads=1)}
        assert whole.keys() == {(OURS, BARE), (OURS, BRANCH), (OURS, GUIDED), (DIFFUSERS, BARE)}
        assert all(len(t.seconds) == len(t.cpu) == 2 and t.best > 0 and t.operations > 1e8 for t in whole.values())
        assert all(50 < t.peak_mib < 3000 for t in whole.values())
        rounds = capsys.readouterr().err.splitlines()
        assert rounds == ["[1/2] ours", "[1/2] diffusers", "[2/2] ours", "[2/2] diffusers"]

    def test_a_child_measures_its_own_memory_weights_included(self):
        large = Size((64, 256, 512, 512), 1, 8, 5)
        weights = sum(p.numel() for p in build_network(DIFFUSERS, large, "meta").parameters()) * 4 / 2**20
        # libraries alone take some hundred MiB less than these weights
        assert weights > 700
        assert weights < run_in_child(DIFFUSERS, large, 1)[0].peak_mib < weights + 1000

    def test_half_precision_runs(self):
        assert run_job(OURS, Size(SMALL.channels, 1, 8, 5, "bfloat16"), 1)[0].best > 0

    def test_a_failed_child_is_one_sentence(self):
        with pytest.raises(RuntimeError, match="ours: not run: .*32"):
            run_in_child(OURS, Size(channels=(33, 32, 64, 64)), 1)


class TestReport:
    def test_a_row_a_pass_with_the_best_of_its_seconds(self):
        lines = format_turns(turns(ours=1.25)).splitlines()
        assert len(lines) == 5
        assert lines[1].split()[:3] == ["ours", "bare", "1.25"] and lines[1].split()[-1] == "5000"

    def test_all_bars_pass(self):
        assert [bar.passed for bar in bars(turns())] == [True] * 4

    @pytest.mark.parametrize(
        ("change", "failing", "words"),
        [
            ({"ours": 1.11}, 0, "1.110 <= 1.10"),
            ({"branch": 1.2, "guided": 2.4}, 1, "1.200 <= 1.10"),
            ({"operations": 225}, 2, "2.250 times the operations of one branch <= 2.0"),
            ({"guided": 2.25 * 1.05}, 3, "2.250 times the seconds"),
        ],
    )
    def test_each_bar_can_fail(self, change, failing, words):
        lines = bars(turns(**change))
        assert [bar.passed for bar in lines].index(False) == failing
        assert sum(not bar.passed for bar in lines) == 1 and words in str(lines[failing])


class TestPipeline:
    """What runs on a GPU at full size, here on the CPU with the tiny pipeline."""

    @pytest.fixture
    def clip(self):
        from bench.backbone.pipeline import Clip

        return Clip(side=32, steps=2, fps=10, seconds=3.0)

    def test_back_ends_are_compared_and_windows_drawn_with_the_fastest(self, tiny_pipeline, clip):
        from bench.backbone.pipeline import format_pipeline_runs, measure_pipeline

        runs = measure_pipeline(tiny_pipeline, clip, ("native", "_native_math", "xformers"))
        assert [run.frames for run in runs] == [16, 16, 0, 30]
        assert all(run.finite and run.seconds > 0 and run.peak_mib > 50 for run in runs if run.frames)
        assert runs[2].failure and runs[3].back_end.endswith(", windows")
        table = format_pipeline_runs(runs)
        assert len(table.splitlines()) == 5 and "xformers: not run: " in table

    def test_known_frames_are_handed_on(self, tiny_pipeline, clip, monkeypatch):
        from bench.backbone.pipeline import measure_windows

        seen = []
        call = type(tiny_pipeline).__call__
        monkeypatch.setattr(
            type(tiny_pipeline), "__call__", lambda self, **named: seen.append(named) or call(self, **named)
        )
        measure_windows(tiny_pipeline, "native", clip)
        assert seen[0]["known_frames"] is None
        assert [int(named["known_frames"].sum()) for named in seen[1:]] == [2, 12]  # the last one is filled up
        assert all(named["known_latents"][:, :, named["known_frames"]].any() for named in seen[1:])


class TestCommand:
    def test_without_a_gpu_it_says_so(self, capsys, tmp_path):
        if torch.cuda.is_available():
            pytest.skip("there is a GPU")
        assert backbone.main(["--parts", "pipeline", "--json", str(tmp_path / "out.json")]) == 0
        assert "There is no CUDA GPU here" in capsys.readouterr().out
        assert json.loads((tmp_path / "out.json").read_text())["pipeline"] is None

    def test_unknown_parts_and_odd_sizes_are_told(self, capsys):
        assert backbone.main(["--parts", "forward,dream"]) == 1
        assert "no part dream" in capsys.readouterr().err
        with pytest.raises(SystemExit):
            backbone.main(["--side", "12"])
        assert "12 is not a multiple of 8" in capsys.readouterr().err
