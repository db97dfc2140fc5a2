"""Folders of media as people have them: manifests that spreadsheets wrote, odd names, and what runs left there."""

import json
import os

import pytest

from bench.runner.run import run_suite
from bench.suites.manifest import SuiteError
from bench.suites.media import find_media
from bench.suites.prepare import fill


@pytest.fixture
def folder(tmp_path):
    """A folder two below a fresh one, with a.png and b.png."""
    folder = tmp_path / "x" / "media"
    folder.mkdir(parents=True)
    for name in ("a.png", "b.png"):
        (folder / name).touch()
    return folder


def files(folder):
    return [medium.file for medium in find_media(folder)[0]]


def licences(folder):
    return {medium.file: medium.licence for medium in find_media(folder)[0]}


class TestManifest:
    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    def test_columns_may_be_in_capitals_and_split_as_spreadsheets_do(self, folder, delimiter):
        rows = [("File", " LICENCE "), ("a.png", "CC0"), ("b.png", "MIT")]
        (folder / "manifest.csv").write_text("\r\n".join(map(delimiter.join, rows)), encoding="utf-8-sig")
        assert licences(folder) == {"a.png": "CC0", "b.png": "MIT"}

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ("file,subject\na.png,Änne".encode("latin-1"), "is not in UTF-8: save it as CSV in UTF-8"),
            (b'file,licence\na.png,"' + b"x" * 140_000 + b'"', "cannot be read as a table"),
            (b"file\na\0.png\n", "holds characters of code 0"),
            (b"Name;Licence\na.png;CC0\n", "has no column 'file': its columns are Name, Licence."),
            (b"\n", "has no column 'file': it is empty"),
        ],
    )
    def test_one_that_cannot_be_read_is_told(self, folder, content, said):
        (folder / "manifest.csv").write_bytes(content)
        with pytest.raises(SuiteError) as caught:
            find_media(folder)
        assert str(caught.value).startswith(f"{folder / 'manifest.csv'} {said}")

    def test_files_that_are_not_there_are_noted(self, folder):
        (folder / "manifest.csv").write_text(f"file\na.png\ngone.png\n{'x' * 300}.png\n")
        (note,) = find_media(folder)[1]
        assert note.startswith("manifest.csv names files that are not there: gone.png, xxx")

    def test_files_elsewhere_that_are_not_there_are_not(self, folder):
        (folder.parent / "manifest.csv").write_text("file,licence\nmedia/a.png,CC0\nother/gone.png,CC0\n")
        assert licences(folder) == {"a.png": "CC0", "b.png": ""} and not find_media(folder)[1]

    def test_one_of_something_else_above_the_folder_is_noted(self, folder):
        (folder.parent / "manifest.csv").write_text("package,version\na,1\n")
        media, notes = find_media(folder)
        assert len(media) == 2 and notes == ("../manifest.csv is not used: it is no manifest of media.",)

    def test_the_nearest_to_the_root_holds(self, folder):
        (folder / "sub").mkdir()
        (folder / "sub" / "c.png").touch()
        (folder / "sub" / "manifest.csv").write_text("file,licence\nc.png,below\n")
        assert licences(folder)["sub/c.png"] == "below"
        (folder.parent / "manifest.csv").write_text("file,licence\nmedia/sub/c.png,above\n")
        assert licences(folder)["sub/c.png"] == "above"
        (folder / "manifest.csv").write_text("file,licence\nsub/c.png,own\nsub/c.png,again\n")
        assert licences(folder)["sub/c.png"] == "own"

    def test_an_impossible_age_is_no_group(self, folder):
        (folder / "manifest.csv").write_text("file,age\na.png,-1\nb.png,30\n")
        ages = [medium.groups.get("age") for medium in find_media(folder)[0]]
        assert ages == [None, "30-44"]


class TestNames:
    def test_a_backslash_leaves_a_file_out_with_a_note(self, folder):
        (folder / "c\\d.png").touch()
        media, (note,) = find_media(folder)
        assert len(media) == 2 and "backslash" in note and "c\\d.png" in note

    def test_a_name_that_is_not_utf8_leaves_a_file_out_with_a_note(self, folder):
        try:
            (folder / os.fsdecode(b"caf\xe9.png")).touch()
        except OSError:
            pytest.skip("this disk has UTF-8 names alone")
        media, (note,) = find_media(folder)
        assert len(media) == 2 and "caf?.png" in note and note.encode()

    def test_hidden_files_and_folders_are_not_media(self, folder):
        (folder / ".trash").mkdir()
        for name in (".trash/c.png", ".d.png"):
            (folder / name).touch()
        assert files(folder) == ["a.png", "b.png"]


class TestRuns:
    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("out/still/run.json", "{}"),
            ("out/run-suite.yaml", "schema: 1"),
            ("out/inputs.json", "{}"),
            ("out/run.json", "{}"),
        ],
    )
    def test_what_they_wrote_is_no_media(self, folder, name, content):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(content)
        (folder / "out" / "deep").mkdir()
        for place in ("out", "out/deep"):
            (folder / place / "c.png").touch()
        assert files(folder) == ["a.png", "b.png"]
        assert find_media(folder)[1] == ("What runs of the benchmark wrote is left out: out.",)

    def test_of_an_older_version_are_known_by_their_tracks(self, folder):
        (folder / "out" / "tracks").mkdir(parents=True)
        (folder / "out" / "c.png").touch()
        assert "out/c.png" in files(folder)
        (folder / "out" / "suite.yaml").touch()
        assert files(folder) == ["a.png", "b.png"]

    def test_a_suite_that_was_prepared_is_none(self, folder):
        (folder / "sub").mkdir()
        for name in ("c.png", "suite.yaml"):
            (folder / "sub" / name).touch()
        assert "sub/c.png" in files(folder)

    def test_into_the_folder_of_the_media_leave_these(self, folder):
        for name in ("still/run.json", "still/videos/c.png", "tracks/c.png", "case/portrait.png", "mine/d.png"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
        (folder / "inputs.json").write_text(json.dumps({"cases": {"case": {}}}))
        assert files(folder) == ["a.png", "b.png", "mine/d.png"]

    def test_a_run_beside_its_media_is_not_fed_back(self, media, quick, tmp_path):
        (tmp_path / "nod.mp4").write_bytes((media / "video" / "nod.mp4").read_bytes())
        first = fill("reenact-self", tmp_path)
        run_suite(quick(first, "l1"), ["still"], tmp_path / "runs" / "bench" / "x", baselines=False)
        second = fill("reenact-self", tmp_path)
        assert second.cases == first.cases and second.digest == first.digest
