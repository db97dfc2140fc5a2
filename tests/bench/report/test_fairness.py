"""Groups: the portrait is the unit, small groups are not compared, real gaps are found."""

import numpy as np
import pytest

from bench.report.columns import columns
from bench.report.fairness import fairness, shown_gaps
from bench.report.runs import load_runs
from bench.report.summary import case_names, summarise
from bench.report.text import no_gap

from .conftest import CASES, write_case, write_run


def look(out):
    runs = load_runs(out)
    cases = case_names(runs)
    return fairness(runs, columns(runs, cases), cases)


def test_means_sizes_and_gap_by_group(finished):
    found = look(finished)["gender"]
    assert found["groups"]["female"] == {"portraits": 4, "cases": 4, "few": False}
    told = found["systems"]["mien:mini"]["metrics"]["mouth_corr"]
    assert told["groups"]["male"]["mean"] == pytest.approx(0.9 - 0.1 - 0.04)
    assert (told["gap"]["best"], told["gap"]["worst"]) == ("female", "male")
    assert told["gap"]["gap"] == pytest.approx(0.11) and 0 < told["gap"]["low"] < 0.11 < told["gap"]["high"]
    assert found["systems"]["still"]["metrics"]["mouth_corr"]["gap"]["gap"] == pytest.approx(0.01)


def test_small_groups_are_shown_and_not_compared(finished):
    found = look(finished)["style"]
    assert found["groups"]["cartoon"]["few"] and not found["groups"]["human"]["few"]
    told = found["systems"]["mien:mini"]["metrics"]["mouth_corr"]
    assert told["gap"] is None and told["groups"]["cartoon"]["n"] == 2


def test_failures_by_group(finished):
    shares = look(finished)["gender"]["systems"]["worse"]["failed"]
    assert shares == {"female": 0.25, "male": 0.0}


def test_one_portrait_in_many_cases_is_one_unit(tmp_path):
    folder = write_run(tmp_path, "one")
    for i, case in enumerate(CASES):
        write_case(folder, case, {"identity": 0.1 * i}, portrait="the same", groups={"gender": ("a", "b")[i % 2]})
    found = look(tmp_path)["gender"]
    assert found["groups"]["a"] == {"portraits": 1, "cases": 4, "few": True}
    assert found["systems"]["one"]["metrics"]["identity"]["groups"]["a"]["n"] == 1


def test_a_portrait_that_errs_on_both_sides_is_no_good_one(tmp_path):
    names = [f"face{i}-{k}" for i in range(8) for k in range(2)]
    folder = write_run(tmp_path, "one", suite={"name": "s", "metrics": ["flicker"], "cases": names})
    for name in names:
        i, k = int(name[4]), int(name[6])
        value = (0.5, 1.5)[k] if i % 2 else 1.1  # on average 1 and 1.1
        write_case(folder, name, {"flicker": value}, portrait=name[:5], groups={"tone": ("light", "dark")[i % 2]})
    gap = look(tmp_path)["tone"]["systems"]["one"]["metrics"]["flicker"]["gap"]
    assert (gap["best"], gap["worst"]) == ("light", "dark") and gap["gap"] == pytest.approx(0.4)


def test_a_sure_gap_is_shown_and_chance_is_not(tmp_path):
    rng = np.random.default_rng(0)
    names = [f"face{i}" for i in range(24)]
    folder = write_run(tmp_path, "one", suite={"name": "s", "metrics": ["identity", "flicker"], "cases": names})
    for i, name in enumerate(names):
        values = {"identity": 0.8 - 0.2 * (i % 2) + 0.02 * rng.normal(), "flicker": 1 + 0.1 * rng.normal()}
        write_case(folder, name, values, portrait=name, groups={"tone": ("light", "dark")[i % 2]})
    gaps = shown_gaps(look(tmp_path), "one")
    assert [(attribute, metric, gap["worst"]) for attribute, metric, gap in gaps] == [("tone", "identity", "dark")]
    assert gaps[0][2]["p_holm"] == pytest.approx(2 * gaps[0][2]["p"])


def test_no_groups_no_table(tmp_path):
    folder = write_run(tmp_path, "one")
    write_case(folder, CASES[0], {"identity": 0.5}, groups={"gender": "female"})
    write_case(folder, CASES[1], {"identity": 0.5}, groups={})
    assert look(tmp_path) == {}


@pytest.mark.parametrize(("each", "said"), [(3, "too few portraits in each group to show a gap"), (8, "no gap with")])
def test_what_could_never_be_shown_is_not_called_no_gap(tmp_path, each, said):
    names = [f"face{i}" for i in range(2 * each)]
    folder = write_run(tmp_path, "one", suite={"name": "s", "metrics": ["identity"], "cases": names})
    for i, name in enumerate(names):
        write_case(folder, name, {"identity": 0.5 + 0.01 * i}, portrait=name, groups={"tone": ("light", "dark")[i % 2]})
    assert no_gap(summarise(tmp_path), "one").startswith(said)
