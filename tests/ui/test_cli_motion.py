"""`mien motion …`: extract, info, trim, join, list, ARKit curves."""

import json
from fractions import Fraction

import pytest

from ui.cli import EXIT_ERROR
from ui.cli_motion import parse_fps

FPS, FRAMES = "30000/1001", 10  # of the clip in conftest.py


def info(mien, path) -> dict:
    code, out, err = mien("motion", "info", path, "--json")
    assert code == 0, err
    return json.loads(out)


def test_extract_keeps_rate_length_licence_and_counts_bridged_frames(mien, motion_file):
    facts = info(mien, motion_file)
    assert (facts["frames"], facts["fps"], facts["bridged"]) == (FRAMES, FPS, 2)
    assert (facts["licence"], facts["source"]) == ("CC0", "clip.mp4")
    assert "bridged" in mien("motion", "info", motion_file)[1]


def test_trim_and_join_keep_the_exact_rate(mien, motion_file, tmp_path):
    part, whole = tmp_path / "part.safetensors", tmp_path / "whole.safetensors"
    assert mien("motion", "trim", motion_file, "-o", part, "--start", "0.1", "--end", "0.3")[0] == 0
    assert mien("motion", "join", part, motion_file, "-o", whole)[0] == 0
    assert (info(mien, part)["frames"], info(mien, part)["fps"]) == (6, FPS)
    assert (info(mien, whole)["frames"], info(mien, whole)["fps"]) == (6 + FRAMES, FPS)


def test_list_shows_every_built_in_motion_with_its_licence(mien):
    from animate.motion import MOTIONS_FOLDER

    code, out, _ = mien("motion", "list", "--json")
    rows = json.loads(out)
    assert code == 0 and set(rows) == {path.stem for path in MOTIONS_FOLDER.glob("*.safetensors")}
    assert all(row["licence"] and row["source"] for row in rows.values())


def test_arkit_curves_out_and_in_keep_length_and_rate(mien, motion_file, tmp_path):
    curves, back = tmp_path / "curves.csv", tmp_path / "back.safetensors"
    code, _, err = mien("motion", "to-arkit", motion_file, "-o", curves)
    assert code == 0, err
    code, _, err = mien("motion", "from-arkit", curves, "-o", back, "--fps", FPS)
    assert code == 0, err
    assert (info(mien, back)["frames"], info(mien, back)["fps"]) == (FRAMES, FPS)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["info", "{tmp}/nowhere.safetensors"], "nowhere.safetensors"),
        (["extract", "{files}/faceless.mp4", "-o", "{tmp}/x.safetensors"], "faceless.mp4"),
        (["extract", "{files}/clip.mp4", "-o", "{tmp}/x.safetensors", "--face", "5"], "5"),
        (["trim", "{files}/clip.safetensors", "-o", "{tmp}/x.safetensors", "--start", "9"], "9"),
        (["join", "{files}/clip.safetensors", "-o", "{tmp}/x.safetensors"], "two motions"),
        (["from-arkit", "{files}/tone.wav", "-o", "{tmp}/x.safetensors", "--fps", "many"], "many"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_bad_input_gets_one_sentence_and_no_file(mien, files, motion_file, tmp_path, words, expected):
    code, _, err = mien("motion", *[word.format(files=files, tmp=tmp_path) for word in words])
    assert code == EXIT_ERROR and expected in err and err.count("\n") == 1, err
    assert list(tmp_path.iterdir()) == []


def test_frame_rates_stay_exact():
    assert parse_fps("30000/1001") == Fraction(30000, 1001)
    assert parse_fps("29.97") == Fraction(2997, 100)
