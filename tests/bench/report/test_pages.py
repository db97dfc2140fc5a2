"""The report's forms: Markdown, CSV, the page, its drawings and clips."""

import csv
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from animate.media import VideoReader, write_image
from bench.report.clips import CELL, MAX_FRAMES, view_of
from bench.report.files import as_csv, write_report
from bench.report.html import page
from bench.report.markdown import markdown, terminal
from bench.report.pareto import Point, chosen_metrics, drawing, front, points_of
from bench.report.runs import load_runs
from bench.report.summary import summarise
from bench.report.text import decimals, seconds, topics

from .conftest import CASES, write_run, write_video

VOID = {"meta", "img", "br", "input", "link"}


@pytest.fixture(scope="module")
def data(finished):
    return summarise(finished)


@pytest.fixture(scope="module")
def written(finished, tmp_path_factory):
    return write_report(finished, tmp_path_factory.mktemp("report"))[1]


def replaced(data, words):
    """A report's data with other words in place of its keys and texts."""
    if isinstance(data, dict):
        return {words.get(key, key): replaced(value, words) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return type(data)(replaced(value, words) for value in data)
    return words.get(data, data) if isinstance(data, str) else data


class Tags(HTMLParser):
    """Fails on tags that do not nest."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


class TestPage:
    def test_needs_nothing_else(self, written):
        text = written["html"].read_text(encoding="utf-8")
        assert not re.findall(r'(?:src|href)="(?!data:|#)', text) and "@import" not in text and "url(" not in text

    def test_tags_nest(self, written):
        checker = Tags()
        checker.feed(written["html"].read_text(encoding="utf-8"))
        assert checker.open == []

    def test_shows_truth_failures_needs_and_clips(self, written):
        text = written["html"].read_text(encoding="utf-8")
        assert '<tr class="truth"><th scope="row">truth</th>' in text
        assert "<b>lpips</b>: not computed: needs " in text
        assert text.count("data:video/mp4;base64,") == 3 and text.count("data:image/jpeg;base64,") == 3
        assert "3 of 8 cases are shown; of 5 there is no video here." in text
        assert "†1" in text and "8" in text

    def test_errors_are_text_and_tell_no_path(self, written):
        text = written["html"].read_text(encoding="utf-8")
        assert "weights.bin &lt;b&gt;is&lt;/b&gt; broken" in text and "/tmp/somewhere" not in text

    def test_looks_light_and_dark(self, written):
        assert "prefers-color-scheme: dark" in written["html"].read_text(encoding="utf-8")

    def test_a_budget_limits_it(self, finished, tmp_path):
        _, files = write_report(finished, tmp_path, budget=40_000)
        text = files["html"].read_text(encoding="utf-8")
        assert text.count("data:video/mp4") < 3 and "more would make the page too large" in text

    def test_without_clips(self, data):
        assert "<video" not in page(data)


class TestMarkdown:
    def test_has_every_system_and_metric(self, data):
        text = markdown(data)
        assert all(f"| {name} |" in text for name in data["systems"])
        assert all(name in text for name in data["metrics"])
        assert "* lpips: not computed: needs " in text and "* face2--nod, worse: ValueError" in text

    def test_figures_stand_with_their_intervals(self, data):
        assert re.search(r"\| mien:mini \| 0\.815 \[0\.\d{3}, 0\.\d{3}\] \|", markdown(data))

    def test_what_others_wrote_is_no_markup(self, data):
        odd = "<b>x</b> `y` | \x1b[31m"
        text = markdown(replaced(data, {"mien:mini": odd, "male": odd, str(data["suite"]["name"]): odd}))
        assert "<" not in text and "\x1b" not in text and not re.search(r"(?<!\\)`", text)
        assert text.count("&lt;b&gt;x&lt;/b&gt; \\`y\\` \\| [31m") > 4

    def test_tables_are_rectangular(self, data):
        blocks = re.findall(r"(?:^\|.*\|\n)+", markdown(data), re.MULTILINE)
        assert len(blocks) > 3
        assert all(len({line.count("|") for line in block.splitlines()}) == 1 for block in blocks)

    def test_a_metric_that_should_be_near_one_is_explained_where_it_stands(self, data):
        note = "flicker: nearest to 1 is best, case by case; a mean near 1 may hide cases on both sides."
        assert markdown(data).count(note) == 1 == page(data).count(note)
        assert "mean distance from the best value 0." in page(data)

    def test_terminal(self, data):
        assert "ground truth" in terminal(data) and "lpips: not computed" in terminal(data)


def test_csv_has_a_row_for_each_case_of_each_system(data):
    rows = list(csv.DictReader(io.StringIO(as_csv(data))))
    assert len(rows) == len(CASES) * len(data["systems"])
    row = next(row for row in rows if row["system"] == "mien:mini" and row["case"] == CASES[1])
    assert float(row["mouth_corr"]) == pytest.approx(0.79) and row["group:gender"] == "male" and row["lpips"] == ""


def test_files_of_one_folder_are_the_same_twice(finished, written, tmp_path):
    _, again = write_report(finished, tmp_path)
    for kind in ("json", "md", "csv"):
        assert again[kind].read_bytes() == written[kind].read_bytes()


def test_metrics_stand_under_what_they_compare_with(data):
    found = topics(data)
    assert found["Likeness, against the portrait"] == ["identity"] and "mouth_corr" in found[list(found)[1]]
    assert sum(map(len, found.values())) == len(data["metrics"])


@pytest.mark.parametrize(("values", "places"), [([0.0123], 4), ([0.5, 0.9], 3), ([12.0], 1), ([1500], 0), ([0.0], 3)])
def test_three_significant_digits(values, places):
    assert decimals(values) == places


def test_times_have_units():
    assert [seconds(value) for value in (None, 0.0042, 0.5, 12)] == ["–", "4.2 ms", "0.5 s", "12 s"]


class TestPareto:
    def test_front_holds_what_nobody_beats(self):
        values = (("a", 1, 1), ("b", 2, 3), ("c", 3, 2), ("d", 4, 4))
        higher, lower = ([Point(n, "system", t, v, None, None, sign * v) for n, t, v in values] for sign in (-1, 1))
        assert [point.name for point in front(higher)] == ["a", "b", "d"]
        assert [point.name for point in front(lower)] == ["a"]

    def test_front_against_brute_force(self):
        rng = np.random.default_rng(0)
        made = [Point(str(i), "system", t, v, None, None, -v) for i, (t, v) in enumerate(rng.uniform(0, 1, (40, 2)))]
        best = {p.name for p in made if not any(q.time <= p.time and q.value >= p.value and q is not p for q in made)}
        assert {point.name for point in front(made)} == best

    def test_the_best_value_is_a_line_where_it_lies_in_the_middle(self, data):
        assert 'class="target">best<' in drawing(data, "flicker") and "target" not in drawing(data, "identity")
        ranks = {point.name: point.rank for point in points_of(data, "flicker")}
        assert ranks["still"] == pytest.approx(data["table"]["still"]["flicker"]["badness"]) and ranks["still"] > 0

    def test_better_values_are_drawn_higher(self, data):
        def height(metric, name):
            shape = re.search(rf'cy="([\d.]+)" r="5" class="\w+"><title>{name}:', drawing(data, metric))
            return float(shape[1])

        assert height("identity", "still") < height("identity", "worse")
        assert height("face_l1", "mien:mini") < height("face_l1", "worse")

    def test_no_system_without_a_time_is_drawn(self, data):
        assert "identity" in chosen_metrics(data) and ">truth: " not in drawing(data, "identity")

    def test_one_value_for_all_can_be_drawn(self, data):
        flat = {
            **data,
            "table": {name: {"identity": {"mean": 1.0, "low": None, "high": None}} for name in data["table"]},
        }
        assert "<svg" in drawing(flat, "identity")


class TestClips:
    def test_all_systems_in_one_video_in_step(self, finished, tmp_path):
        view = view_of(CASES[0], load_runs(finished))
        path = tmp_path / "clip.mp4"
        path.write_bytes(view.video)
        reader = VideoReader(path)
        assert (reader.width, reader.height) == view.size and view.size[0] == 3 * CELL
        assert sum(1 for _ in reader) == 8 and view.missing == ()

    def test_a_system_without_a_video_is_named(self, finished):
        whole, lacking = (view_of(case, load_runs(finished)) for case in (CASES[0], CASES[2]))
        assert lacking.missing == ("worse",) and lacking.size == whole.size  # an empty cell stands for it
        assert view_of(CASES[5], load_runs(finished)) is None

    def test_a_truth_that_drives_itself_is_shown_once(self, tmp_path):
        for name in ("truth", "copy", "one"):
            write_video(write_run(tmp_path, name) / "videos" / f"{CASES[0]}.mp4", 200 if name == "one" else 80)
        view = view_of(CASES[0], load_runs(tmp_path))
        assert view.size[0] == 2 * CELL and view.missing == ()

    def test_long_and_short_ones_are_cut_and_held(self, tmp_path):
        for name, frames in (("truth", MAX_FRAMES + 20), ("one", 5)):
            write_video(write_run(tmp_path, name) / "videos" / f"{CASES[0]}.mp4", 80, frames)
        view = view_of(CASES[0], load_runs(tmp_path))
        (tmp_path / "clip.mp4").write_bytes(view.video)
        assert VideoReader(tmp_path / "clip.mp4").frames == MAX_FRAMES

    def test_pictures(self, tmp_path):
        for name in ("one", "two"):
            folder = write_run(tmp_path, name) / "videos"
            folder.mkdir()
            write_image(folder / f"{CASES[0]}.png", np.full((40, 60, 3), 90, np.uint8))
        view = view_of(CASES[0], load_runs(tmp_path))
        assert view.video is None and view.sheet.startswith(b"\xff\xd8") and view.size[0] == 2 * CELL

    def test_a_damaged_video_is_no_view(self, tmp_path):
        folder = write_run(tmp_path, "one") / "videos"
        folder.mkdir()
        (folder / f"{CASES[0]}.mp4").write_bytes(b"nothing")
        assert view_of(CASES[0], load_runs(tmp_path)) is None
