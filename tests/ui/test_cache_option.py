"""`mien animate --cache`: what it says at its end, and what it refuses."""

import json

import pytest

SMALL = ("--size", "64", "--window", "4", "--trim-end", "0.2")


@pytest.fixture
def animate(mien, files, motion_file, tiny_pipeline_folder, tmp_path):
    """Runs `mien animate` of the tiny model; returns (exit code, standard error, the report's facts)."""

    def run(*arguments):
        report = tmp_path / "report.json"
        model = ("--model", tiny_pipeline_folder, *SMALL) if "--method" not in arguments else ()
        common = ("-s", files / "portrait.png", "-m", motion_file, "-o", tmp_path / "out.mp4", "--report", report)
        code, _, err = mien("animate", *common, *model, *arguments)
        return code, err, json.loads(report.read_text()) if report.exists() else None

    return run


def test_the_report_says_what_was_computed_and_what_forecast(animate):
    code, err, facts = animate("--cache", "fast", "--steps", "8")
    assert code == 0, err
    cache = facts["cache"]
    assert cache["name"] == "fast" and cache["forecast"] > 0
    assert (cache["computed"] + cache["forecast"]) % 8 == 0
    assert sum(cache["computed_by_step"].values()) == cache["computed"] and cache["memory_bytes"] > 0
    steps = f"{cache['forecast']} of {cache['computed'] + cache['forecast']} denoising steps"
    assert f"The cache (fast) forecast {steps}" in " ".join(err.split())


def test_without_the_option_there_is_no_cache_and_nothing_is_said(animate):
    code, err, facts = animate("--steps", "8")
    assert code == 0 and facts["cache"] == {} and "cache" not in err


@pytest.mark.parametrize("arguments", [("--steps", "2"), ("--method", "warp")])
def test_where_nothing_can_be_forecast_it_says_so(animate, arguments):
    code, err, facts = animate("--cache", "fast", *arguments)
    assert code == 0 and facts["cache"] == {"name": "fast"}
    assert "The cache (fast) found nothing to forecast" in " ".join(err.split())


def test_an_unknown_name_is_refused_in_one_sentence(animate):
    code, err, facts = animate("--cache", "quick")
    assert code == 2 and facts is None
    assert err == "mien: Unknown --cache 'quick': choose one of off, fast, balanced, exact.\n"
