"""Bad input gets one clear sentence that names the file or option, exit code 2, and no output file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ui.cli import EXIT_ERROR


@pytest.fixture(scope="module")
def bad(files, motion_file, tmp_path_factory) -> Path:
    """A folder of files that cannot be used, each named after its fault."""
    from imageio_ffmpeg import get_ffmpeg_exe
    from PIL import Image

    folder = tmp_path_factory.mktemp("bad")
    (folder / "empty.png").touch()
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("This is a letter, not a film.\n" * 50)
    (folder / "random.png").write_bytes(np.random.default_rng(1).bytes(5000))
    for name in ("portrait.png", "clip.mp4"):
        whole = (files / name).read_bytes()
        (folder / f"truncated{Path(name).suffix}").write_bytes(whole[: len(whole) // 3])
    Image.new("1", (20000, 20)).save(folder / "wide.png")
    subprocess.run(
        [get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", "color=size=64x64", "-frames:v", "0", "-y"]
        + [str(folder / "no_frames.avi")],
        check=True,
    )
    rewrite_motion(motion_file, folder / "version.safetensors", header={"schema": 99})
    rewrite_motion(motion_file, folder / "nan.safetensors", tensors={"rotation": np.nan})
    (folder / "pickle.safetensors").write_bytes(b"\x80\x04\x95" + b"x" * 100)
    (folder / "link.mp4").symlink_to(files / "clip.mp4")
    os.link(files / "portrait.png", folder / "same.png")
    return folder


def rewrite_motion(source: Path, target: Path, header=None, tensors=None) -> None:
    """Copies a motion file with some header entries or tensors changed."""
    from safetensors import safe_open
    from safetensors.numpy import save_file

    with safe_open(source, framework="numpy") as file:
        arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        facts = json.loads(file.metadata()["mien"])
    for key, value in (tensors or {}).items():
        arrays[key][0] = value
    save_file(arrays, target, {"mien": json.dumps({**facts, **(header or {})})})


# (what the command is told differently, words that the sentence must hold); {bad} and {files} are the folders
CASES = {
    "no face in the portrait": (["-s", "{files}/noise.png"], ["noise.png", "face"]),
    "a picture as a driver": (["-d", "{files}/portrait.png"], ["portrait.png", "single frame", "--absolute"]),
    "no face in the clip": (["-d", "{files}/faceless.mp4"], ["faceless.mp4", "face"]),
    "no such portrait": (["-s", "{bad}/nowhere.png"], ["nowhere.png", "does not exist"]),
    "no such clip": (["-d", "{bad}/nowhere.mp4"], ["nowhere.mp4", "does not exist"]),
    "portrait is a folder": (["-s", "{bad}"], ["folder"]),
    "empty portrait": (["-s", "{bad}/empty.png"], ["empty.png", "empty"]),
    "empty clip": (["-d", "{bad}/empty.mp4"], ["empty.mp4", "empty"]),
    "truncated portrait": (["-s", "{bad}/truncated.png"], ["truncated.png"]),
    "truncated clip": (["-d", "{bad}/truncated.mp4"], ["truncated.mp4"]),
    "portrait is no picture": (["-s", "{bad}/random.png"], ["random.png", "picture"]),
    "portrait is a video": (["-s", "{files}/clip.mp4"], ["clip.mp4", "video"]),
    "clip is a text": (["-d", "{bad}/text.mp4"], ["text.mp4"]),
    "clip without frames": (["-d", "{bad}/no_frames.avi"], ["no_frames.avi"]),
    "20,000 px": (["-s", "{bad}/wide.png"], ["wide.png", "20000", "smaller"]),
    "motion of another version": (["-m", "{bad}/version.safetensors"], ["version.safetensors", "99"]),
    "motion with NaN": (["-m", "{bad}/nan.safetensors"], ["nan.safetensors", "NaN"]),
    "no such built-in motion": (["-m", "smiel"], ["smiel", "smile"]),
    "time that is no number": (["-m", "smile", "--trim-start", "nan"], ["--trim-start", "nan"]),
    "time without end": (["-m", "smile", "--trim-end", "inf"], ["--trim-end", "inf"]),
    "time after the end of a motion": (["-m", "smile", "--trim-start", "99"], ["99 s on"]),
    "seed too large": (["--seed", "99999999999999999999999"], ["--seed"]),
    "no name of a portrait": (["-s", ""], ["-s is empty"]),
    "motion that is a pickle": (["-m", "{bad}/pickle.safetensors"], ["pickle.safetensors", "motion file"]),
    "unknown built-in motion": (["-m", "yodel"], ["yodel", "built-in"]),
    "motion given as driving": (["-d", "{bad}/nan.safetensors"], ["--motion"]),
    "unknown region": (["--region", "ears"], ["ears", "lips"]),
    "empty region": (["--region", ","], ["--region"]),
    "unknown strength": (["--strength", "ears=1"], ["ears", "brows"]),
    "strength that is no number": (["--strength", "jaw=much"], ["jaw", "much"]),
    "negative strength": (["--strength", "jaw=-1"], ["jaw", "-1"]),
    "endless strength": (["--strength", "jaw=inf"], ["jaw", "finite"]),
    "face index that is not there": (["--face", "7"], ["7", "1 face"]),
    "face order that is not known": (["--face", "prettiest"], ["prettiest", "largest"]),
    "face reference that is not there": (["--face", "{bad}/nobody.jpg"], ["nobody.jpg", "does not exist"]),
    "trim backwards": (["--trim-start", "2", "--trim-end", "1"], ["--trim-end"]),
    "trim past the end": (["--trim-start", "90"], ["90"]),
    "frame rate of nothing": (["--fps", "0"], ["--fps"]),
    "face number that is none": (["--face", "²"], ["²", "largest"]),
    "unknown tracker": (["--tracker", "magic"], ["magic", "mediapipe"]),
    "unknown method": (["--method", "magic"], ["magic", "prior"]),
    "unknown model": (["--method", "mini", "--model", "{bad}/nothing"], ["nothing"]),
    "unknown codec": (["--codec", "av2"], ["av2", "h264"]),
    "steps out of range": (["--steps", "0"], ["--steps"]),
    "crf that the codec does not have": (["--crf", "60"], ["60", "51"]),
    "unknown option": (["--loud"], ["--loud"]),
}


@pytest.mark.parametrize("case", CASES)
def test_one_sentence_and_no_output(mien, files, bad, tmp_path, case):
    words, expected = CASES[case]
    words = [word.format(bad=bad, files=files) for word in words]
    output = tmp_path / "out.mp4"
    arguments = {"-s": files / "portrait.png", "-d": files / "clip.mp4", "-o": output, "--method": "still"}
    if "-m" in words:
        del arguments["-d"]
    for name, value in zip(words[::2], words[1::2], strict=False):
        arguments[name] = value
    flat = [part for pair in arguments.items() for part in pair] + words[len(words) // 2 * 2 :]
    code, _, err = mien("animate", *flat)
    assert code == EXIT_ERROR, err
    assert err.startswith("mien: ") and err.count("\n") == 1 and err.endswith(".\n"), err
    assert all(word in err for word in expected), err
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("words", [[], ["-d", "{files}/clip.mp4", "-m", "smile"]], ids=["none", "both"])
def test_the_movement_is_given_exactly_once(mien, files, tmp_path, words):
    words = [word.format(files=files) for word in words]
    code, _, err = mien("animate", "-s", files / "portrait.png", "-o", tmp_path / "out.mp4", *words)
    assert code == EXIT_ERROR and "--driving" in err and "--motion" in err


@pytest.mark.parametrize(
    ("source", "driving", "output"),
    [
        ("{files}/portrait.png", "{files}/clip.mp4", "{files}/clip.mp4"),
        ("{files}/portrait.png", "{files}/clip.mp4", "{bad}/link.mp4"),
        ("{files}/portrait.png", "{bad}/link.mp4", "{files}/../{name}/clip.mp4"),
    ],
    ids=["same name", "through a link", "another spelling"],
)
def test_output_never_overwrites_an_input(mien, files, bad, source, driving, output):
    before = (files / "clip.mp4").read_bytes()
    names = [text.format(files=files, bad=bad, name=files.name) for text in (source, driving, output)]
    code, _, err = mien("animate", "-s", names[0], "-d", names[1], "-o", names[2], "--method", "still")
    assert code == EXIT_ERROR and "input" in err
    assert (files / "clip.mp4").read_bytes() == before


def test_report_and_motion_outputs_never_overwrite_an_input(mien, files, bad, motion_file):
    before = [path.read_bytes() for path in (files / "portrait.png", motion_file)]
    common = (
        "animate",
        "-s",
        files / "portrait.png",
        "-m",
        motion_file,
        "-o",
        files / "new.mp4",
        "--method",
        "still",
    )
    for report, why in (("portrait.png", "input"), ("new.mp4", "two outputs")):
        code, _, err = mien(*common, "--report", files / report)
        assert code == EXIT_ERROR and why in err
    code, _, err = mien(*common, "--report", bad / "same.png")
    assert code == EXIT_ERROR and "input" in err
    assert mien("motion", "trim", motion_file, "-o", motion_file)[0] == EXIT_ERROR
    assert mien("motion", "join", motion_file, motion_file, "-o", motion_file)[0] == EXIT_ERROR
    assert [path.read_bytes() for path in (files / "portrait.png", motion_file)] == before
    assert not (files / "new.mp4").exists()


@pytest.mark.parametrize(
    "folder",
    ["missing", pytest.param("/proc", marks=pytest.mark.skipif(sys.platform != "linux", reason="Linux"))],
)
def test_folder_that_cannot_be_written_is_told_before_any_work(mien, files, tmp_path, folder):
    output = tmp_path / folder / "out.mp4"
    code, _, err = mien("animate", "-s", files / "portrait.png", "-d", files / "clip.mp4", "-o", output)
    assert code == EXIT_ERROR and folder in err and err.count("\n") == 1
    assert "torch" not in err and not output.exists()


def test_read_only_folder(mien, files, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("the superuser may write anywhere")
    tmp_path.chmod(0o500)
    code, _, err = mien("animate", "-s", files / "portrait.png", "-d", files / "clip.mp4", "-o", tmp_path / "o.mp4")
    tmp_path.chmod(0o700)
    assert code == EXIT_ERROR and "writ" in err


def test_the_installed_command_behaves_the_same(files, tmp_path):
    output = tmp_path / "out.mp4"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "ui.cli",
            "animate",
            "-s",
            str(files / "noise.png"),
            "-m",
            "x",
            "-o",
            str(output),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == EXIT_ERROR and done.stdout == "" and not output.exists()
    assert done.stderr.startswith("mien: ") and done.stderr.count("\n") == 1


def test_an_empty_output_is_not_this_folder(mien, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (("-o", ""), ("--output=",)):
        code, _, err = mien("animate", "-s", files / "portrait.png", "-m", "smile", "--method", "still", *words)
        assert code == EXIT_ERROR and "is empty" in err
    assert list(tmp_path.iterdir()) == []


# (words of a command, what the sentence must hold); {out} is an empty folder, {bad} and {files} as above
OTHERS = {
    "motion by a video's name": ("motion trim smile -o {out}/a.mp4", ["a.mp4", ".safetensors"]),
    "curves by a video's name": ("motion to-arkit smile -o {out}/a.mp4", ["a.mp4", ".csv"]),
    "motion cut at no time": ("motion trim smile -o {out}/a.safetensors --trim-end inf", ["--trim-end"]),
    "motion cut in a million years": ("motion trim smile -o {out}/a.safetensors --trim-start 1e308", ["--trim-start"]),
    "motion of the speech by a video's name": (
        "talk -s {files}/portrait.png -a {files}/tone.wav -o {out}/a.mp4 --save-motion {out}/m.mp4",
        ["m.mp4", ".safetensors"],
    ),
    "authorities that are a film": ("verify {files}/clip.mp4 --trust {bad}/text.mp4", ["text.mp4", "certificate"]),
    "weights in no folder": ("weights verify mini --folder {bad}/nowhere", ["nowhere"]),
    "dataset that is a file": ("train prepare {files} -o {files}/clip.mp4", ["clip.mp4", "folder"]),
    "dataset in a file": ("train prepare {files} -o {files}/clip.mp4/data", ["clip.mp4", "folder"]),
    "model that is a file": (
        "train start -o {files}/clip.mp4 --unet {out} --image-encoder {out} --vae {out}",
        ["clip.mp4", "folder"],
    ),
    "suite that is a file": ("bench prepare {files} --protocol reenact-self -o {files}/clip.mp4", ["clip.mp4"]),
    "inputs that are a file": ("bench inputs reenact-self --data {files} -o {files}/clip.mp4", ["clip.mp4", "folder"]),
    "run that is a file": ("bench run reenact-self --data {files} -o {files}/clip.mp4", ["clip.mp4", "folder"]),
    "no time for a case": ("bench run reenact-self --data {files} -o {out}/run --timeout nan", ["--timeout"]),
    "suite without cases": ("bench run {bad}/suite.yaml -o {out}/run", ["suite.yaml", "no case"]),
    "suite of another version": ("bench inputs {bad}/suite99.yaml -o {out}/run", ["suite99.yaml", "99"]),
    "report of another version": ("animate -o {out}/a.mp4 --config {bad}/report99.json", ["report99.json", "99"]),
    "port that no machine has": ("ui --port 70000", ["--port"]),
    "host that is none": ("ui --host nowhere.invalid --no-browser", ["nowhere.invalid"]),
    "command misspelt": ("animte", ["animate'?"]),
}


@pytest.fixture(scope="module")
def more_bad(bad) -> Path:
    suite = "schema: {}\nname: x\nprotocol: talk\ncases: []\nmetrics: []\n"
    (bad / "suite.yaml").write_text(suite.format(1))
    (bad / "suite99.yaml").write_text(suite.format(99))
    (bad / "report99.json").write_text(json.dumps({"schema": 99, "options": {"source": "portrait.png"}}))
    return bad


@pytest.mark.parametrize("case", OTHERS)
def test_other_commands_say_one_sentence_too(mien, files, more_bad, tmp_path, case):
    words, expected = OTHERS[case]
    before = {path: path.stat().st_mtime_ns for path in files.iterdir()}
    code, out, err = mien(*(word.format(files=files, bad=more_bad, out=tmp_path) for word in words.split()))
    assert code == EXIT_ERROR and out == "", err
    assert err.startswith("mien: ") and err.count("\n") == 1 and err.endswith((".\n", "?\n")), err
    assert all(word in err for word in expected), err
    assert list(tmp_path.iterdir()) == []
    assert {path: path.stat().st_mtime_ns for path in files.iterdir()} == before


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize(
    "words",
    ["train prepare {files}", "bench prepare {files} --protocol reenact-self", "bench run reenact-self --data {files}"],
)
def test_a_folder_that_cannot_be_made(mien, files, words):
    code, _, err = mien(*words.format(files=files).split(), "-o", "/proc/new")
    assert code == EXIT_ERROR and "/proc" in err and err.count("\n") == 1
