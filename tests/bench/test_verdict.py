"""The bars of self-reenactment."""

from bench.metrics import REENACT_METRICS as METRICS
from bench.verdict import verdict

STILL = dict.fromkeys(METRICS, 0.1) | {"flicker": 0.0, "inner_detail": 0.2, "face_l1": 0.5, "mouth_l1": 0.5}
STILL |= {"inner_l1": 0.5, "eyes_l1": 0.5, "landmark": 0.5}
WARP = dict.fromkeys(METRICS, 0.5) | {"inner_l1": 0.20, "face_l1": 0.1, "mouth_l1": 0.1, "eyes_l1": 0.1}
WARP |= {"landmark": 0.1, "flicker": 0.8, "inner_detail": 0.3}
PRIOR = WARP | {"inner_l1": 0.17, "inner_detail": 0.6}
MINI = PRIOR | {"inner_l1": 0.172, "inner_detail": 1.3, "landmark": 0.05, "mouth_corr": 0.9, "eye_corr": 0.9}


def failed(means, failures=None):
    return [
        bar.text.split(":")[0] + ":" + bar.text.split(":")[1] for bar in verdict(means, failures) if bar.passed is False
    ]


def test_good_figures_pass_every_bar():
    means = {"still": STILL, "warp": WARP, "prior": PRIOR, "mini": MINI}
    bars = verdict(means)
    assert [bar.text for bar in bars if not bar.passed] == []
    assert len(bars) == 4 + 6 + 8 + 33


def test_inner_l1_shares():
    means = {"warp": WARP, "prior": PRIOR | {"inner_l1": 0.181}, "mini": MINI | {"inner_l1": 0.190}}
    assert failed(means)[:3] == [
        "inner_l1: prior <= 0.90 x warp",
        "inner_l1: mini <= 0.88 x warp",
        "inner_l1: mini <= 1.02 x prior",
    ]


def test_detail_is_judged_by_its_distance_from_one():
    assert "inner_detail: mini better than prior" in failed({"prior": PRIOR, "mini": MINI | {"inner_detail": 1.5}})
    assert failed({"prior": PRIOR, "mini": MINI | {"inner_detail": 1.39}}) == []


def test_no_worse_allows_a_tie_and_better_does_not():
    assert "identity: mini no worse than warp" not in failed({"warp": WARP, "mini": MINI})
    assert "landmark: mini better than warp" in failed({"warp": WARP, "mini": MINI | {"landmark": 0.1}})
    assert "identity: mini no worse than warp" in failed({"warp": WARP, "mini": MINI | {"identity": 0.49}})


def test_a_figure_that_was_not_computed_is_neither_pass_nor_fail():
    bars = verdict({"warp": WARP, "mini": MINI | {"identity": None}})
    (bar,) = (bar for bar in bars if bar.text.startswith("identity"))
    assert bar.passed is None and "not computed" in str(bar)


def test_a_method_that_failed_on_a_clip_fails():
    assert failed({"warp": WARP}, {"warp": 2})[0].startswith("warp: failed on 2 clips")
