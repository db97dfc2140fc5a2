"""`mien animate`: what a person gets for good input; bad input is in test_cli_bad_input.py."""

import json
import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from weights.registry import get

FPS, FRAMES = Fraction(30000, 1001), 10  # of the clip in conftest.py

needs_model = pytest.mark.skipif(not get("mini").available, reason="the embedded model is not built yet")


def read(path):
    from animate.media import VideoReader

    with VideoReader(path) as reader:
        return reader.info, np.stack(list(reader))


def test_version_is_the_installed_one(mien):
    from ui.report import mien_version

    code, out, _ = mien("--version")
    assert code == 0 and out == f"mien {mien_version()}\n"


@pytest.mark.parametrize("words", [(), ("motion",), ("bench",)])
def test_a_command_without_words_shows_its_help_alone(mien, words):
    _, out, err = mien(*words)
    assert "Usage: mien" in out + err and "mien: ." not in err


def test_a_page_on_a_device_that_is_not_there_is_one_sentence(mien):
    code, _, err = mien("ui", "--device", "cuda:99", "--no-browser", "--port", "7999")
    assert code == 2 and "cannot be used here" in err and err.count("\n") == 1


def test_help_names_every_command(mien):
    code, out, _ = mien("--help")
    assert code == 0
    assert all(command in out for command in ("animate", "talk", "dub", "check", "models", "motion"))


def test_video_has_the_drivers_rate_length_and_sound_and_the_report_says_so(mien, files, tmp_path):
    output, report = tmp_path / "out.mp4", tmp_path / "report.json"
    code, _, err = mien(
        *("animate", "-s", files / "portrait.png", "-d", files / "clip.mp4", "-o", output),
        *("--method", "prior", "--report", report),
    )
    assert code == 0, err
    info, frames = read(output)
    assert (info.fps, len(frames), info.has_audio) == (FPS, FRAMES, True)
    assert (info.width, info.height) == (256, 256)
    facts = json.loads(report.read_text())
    assert facts["frames"] == FRAMES and facts["fps"] == str(FPS) and facts["bridged_frames"] == [4, 5]
    assert {"loading", "tracking", "animation", "encoding"} <= facts["seconds"].keys()
    assert facts["sound"] != "none" and facts["peak_memory_mb"] > 10
    assert "10 frames" in err and "2 frames without a face (4-5) were bridged" in err
    assert sorted(os.listdir(tmp_path)) == ["out.mp4", "report.json"]


def test_quiet_says_nothing_and_side_by_side_shows_three_pictures(mien, files, tmp_path):
    output = tmp_path / "out.mp4"
    code, out, err = mien(
        *("animate", "-s", files / "portrait.png", "-d", files / "clip.mp4", "-o", output),
        *("--method", "still", "--side-by-side", "-q", "--trim-start", "0.1", "--trim-end", "0.2"),
    )
    assert (code, out, err) == (0, "", "")
    info, frames = read(output)
    assert (info.width, info.height, len(frames)) == (3 * 256, 256, 3)
    # the driver's panel shows the clip from the trimmed frame on
    _, clip = read(files / "clip.mp4")
    assert np.abs(frames[0, :, 256:512].astype(int) - clip[3]).mean() < 6


def test_motion_file_drives_at_its_own_rate_and_regions_hold_still(mien, files, motion_file, tmp_path):
    output = tmp_path / "out.mp4"
    common = (
        "animate",
        "-s",
        files / "portrait.png",
        "-m",
        motion_file,
        "--method",
        "warp",
        "--crf",
        "5",
        "-q",
    )
    assert mien(*common, "-o", output, "--region", "lips", "--strength", "lips=0,jaw=0")[0] == 0
    info, frames = read(output)
    assert (info.fps, len(frames), info.has_audio) == (FPS, FRAMES, False)
    assert np.abs(np.diff(frames.astype(int), axis=0)).max() < 12, "nothing may move at strength 0"
    assert mien(*common, "-o", output, "--absolute", "--strength", "1.5")[0] == 0
    assert np.abs(np.diff(read(output)[1].astype(int), axis=0)).max() > 40


def test_transparent_portrait_says_what_became_of_its_background(mien, files, motion_file, tmp_path):
    from animate.media import read_image, write_image

    image = read_image(files / "portrait.png")
    alpha = np.full((*image.shape[:2], 1), 255, np.uint8)
    alpha[:40] = 0
    write_image(tmp_path / "cut.png", np.concatenate([image, alpha], axis=2))
    common = ("animate", "-s", tmp_path / "cut.png", "-m", motion_file, "--method", "still")
    code, _, err = mien(*common, "-o", tmp_path / "flat.mp4")
    assert code == 0 and "transparency is laid on white" in err
    code, _, err = mien(*common, "-o", tmp_path / "frame-%03d.png")
    assert code == 0 and "laid on white" not in err
    assert read_image(tmp_path / "frame-001.png").shape == (256, 256, 4)


def test_a_name_with_a_slash_is_a_folder_of_frames(mien, files, motion_file, tmp_path):
    short = ("animate", "-s", files / "portrait.png", "-m", motion_file, "--method", "prior", "-q")
    code, _, err = mien(*short, "-o", tmp_path / "frames")
    assert code == 2 and "frames/ for PNG frames" in err and not list(tmp_path.iterdir())
    assert mien(*short, "-o", f"{tmp_path}/frames/")[0] == 0
    assert [path.name for path in sorted((tmp_path / "frames").iterdir())] == [f"{n:05d}.png" for n in range(1, 11)]
    (tmp_path / "run.yaml").write_text("output: more/\n")
    assert mien(*short, "--config", tmp_path / "run.yaml")[0] == 0
    assert len(list((tmp_path / "more").iterdir())) == 10


def test_older_output_is_replaced_unless_told_otherwise(mien, files, motion_file, tmp_path):
    output = tmp_path / "out.mp4"
    output.write_text("older")
    common = (
        "animate",
        "-s",
        files / "portrait.png",
        "-m",
        motion_file,
        "--method",
        "still",
        "-q",
        "-o",
        output,
    )
    code, _, err = mien(*common, "--no-overwrite")
    assert code == 2 and "exists already" in err and output.read_text() == "older"
    assert mien(*common)[0] == 0
    assert output.stat().st_size > 1000


@needs_model
def test_mini_gives_the_same_frames_for_the_same_seed(mien, files, motion_file, tmp_path):
    common = (
        "animate",
        "-s",
        files / "portrait.png",
        "-m",
        motion_file,
        "-q",
        "--trim-end",
        "0.2",
        "--crf",
        "0",
    )
    for name in ("a.mp4", "b.mp4"):
        code, _, err = mien(*common, "--seed", "3", "-o", tmp_path / name)
        assert code == 0, err
    first, second = read(tmp_path / "a.mp4")[1], read(tmp_path / "b.mp4")[1]
    assert np.array_equal(first, second)
    assert len(first) == round(Fraction(1, 5) * FPS)


@needs_model
def test_the_command_draws_with_mini_in_a_fresh_process(files, motion_file, tmp_path):
    """Other tests in this process may have imported what the model needs: a person's shell has not."""
    output = tmp_path / "out.mp4"
    command = [
        sys.executable,
        "-m",
        "ui.cli",
        "animate",
        "-s",
        str(files / "portrait.png"),
        "-m",
        str(motion_file),
    ]
    done = subprocess.run([*command, "-o", str(output), "--trim-end", "0.1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(read(output)[1]) == 3
    assert done.stderr.startswith(f"{output}: 3 frames"), "only the report, no library's chatter"


def test_models_lists_every_licence(mien):
    code, out, _ = mien("models", "--json")
    records = {record["name"]: record for record in json.loads(out)}
    assert code == 0 and all(record["licence"] for record in records.values())
    assert records["mediapipe"]["available"] and not records["insightface-buffalo_l"]["commercial_use"]
    assert "Apache-2.0" in mien("models")[1]


def test_every_embedded_file_has_a_record():
    from weights.registry import EMBEDDED, RECORDS

    known = {file.split("/")[0] for record in RECORDS if record.folder == EMBEDDED for file in record.files}
    assert {path.name for path in EMBEDDED.iterdir() if not path.name.startswith((".", "__"))} <= known
