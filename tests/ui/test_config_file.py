"""`--config`: options from a file, and a report that is replayed."""

import json
import os
import shlex
import typing
from pathlib import Path

import numpy as np
import pytest
import typer

from animate.cast_file import read_cast
from ui import cli_talk
from ui.animate_job import AnimateOptions
from ui.cast_options import animate_cast
from ui.cli import animate, app, main
from ui.command_line import PATHS, WORDS_OR_PATHS, command_of, options_of
from ui.config_file import read_config


def frames_of(path):
    from animate.media import VideoReader

    with VideoReader(path) as reader:
        return np.stack(list(reader))


@pytest.fixture
def params():
    return typer.main.get_command(app).commands["animate"].params


@pytest.fixture
def job(tmp_path, files):
    """A folder with a configuration of a short run, portrait and clip beside it."""
    for name in ("portrait.png", "clip.mp4"):
        (tmp_path / name).write_bytes((files / name).read_bytes())
    (tmp_path / "run.yaml").write_text(
        "source: portrait.png\noutput: out.mp4\nmotion: smile\nmethod: prior\ntrim-end: 0.2\nquiet: true\n"
        "strength: {lips: 1.2, jaw: 0.8}\nregion: [lips, eyes]\nabsolute: true\ncache: off\nsign: false\n"
    )
    return tmp_path


def test_file_gives_the_options_and_its_paths_are_relative_to_it(mien, job, monkeypatch):
    monkeypatch.chdir("/")
    code, _, err = mien("animate", "--config", job / "run.yaml", "--report", job / "r.json")
    assert code == 0, err
    options = json.loads((job / "r.json").read_text())["options"]
    assert len(frames_of(job / "out.mp4")) == 5
    assert (options["strength"], options["region"]) == ("lips=1.2,jaw=0.8", "lips,eyes")
    assert (options["relative"], options["cache"], options["sign"]) == (False, "off", False)


def test_command_line_wins_also_over_the_other_way_to_drive(mien, job):
    report = job / "r.json"
    code, _, err = mien(
        *("animate", "--config", job / "run.yaml", "-d", job / "clip.mp4", "--report", report),
        *("--region", "all", "--relative", "-o", job / "other.mp4"),
    )
    assert code == 0, err
    options = json.loads(report.read_text())["options"]
    assert "motion" not in options and options["driving"] == ["clip.mp4"]
    assert (options["region"], options["relative"], options["trim-end"]) == ("all", True, 0.2)
    assert not (job / "out.mp4").exists()


def test_report_replays_the_same_frames_from_anywhere(mien, job, monkeypatch):
    """Also after the whole folder has moved: its paths are relative."""
    code, _, err = mien(
        *("animate", "-s", job / "portrait.png", "-d", job / "clip.mp4", "-o", job / "out.mp4", "-q"),
        *("--report", job / "r.json", "--seed", 7, "--strength", "all=1.3", "--trim-start", 0.1, "--steps", 1),
    )
    assert code == 0, err
    first = frames_of(job / "out.mp4")
    moved = job.with_name(job.name + "-moved")
    job.rename(moved)
    monkeypatch.chdir(moved.parent)
    (moved / "out.mp4").unlink()
    code, _, err = mien("animate", "--config", f"{moved.name}/r.json", "-q")
    assert code == 0, err
    assert (frames_of(moved / "out.mp4") == first).all()


def test_printed_report_replays_as_well(mien, job):
    arguments = ("-s", job / "portrait.png", "-m", "smile", "--method", "prior", "--trim-end", 0.1)
    code, out, _ = mien("animate", *arguments, "-o", job / "a.mp4", "--json")
    assert code == 0 and json.loads(out)["frames"] == len(frames_of(job / "a.mp4"))
    (job / "printed.json").write_text(out)
    assert main(["animate", "--config", str(job / "printed.json"), "-o", str(job / "b.mp4"), "-q"]) == 0
    assert (frames_of(job / "a.mp4") == frames_of(job / "b.mp4")).all()


def test_talk_and_dub_take_files_too(mien, job, files):
    (job / "talk.yaml").write_text(
        f"source: portrait.png\naudio: {files / 'tone.wav'}\noutput: t.mp4\nfps: 5\n"
        "speech-method: mean\nmethod: still\n"
    )
    code, _, err = mien("talk", "--config", job / "talk.yaml", "--report", job / "talk.json", "-q")
    assert code == 0, err
    code, _, err = mien("talk", "--config", job / "talk.json", "-o", job / "u.mp4", "-q")
    assert code == 0, err
    assert (frames_of(job / "t.mp4") == frames_of(job / "u.mp4")).all()
    code, _, err = mien("animate", "--config", job / "talk.json")
    assert code == 2 and "is for `mien talk`" in err
    speech = f"video: clip.mp4\naudio: {files / 'tone.wav'}\noutput: d.mp4\n"
    (job / "dub.yaml").write_text(speech + "longer: trim\nmethod: prior\nspeech-method: mean\n")
    code, _, err = mien("dub", "--config", job / "dub.yaml", "--report", job / "dub.json", "-q")
    assert code == 0, err
    assert mien("dub", "--config", job / "dub.json", "-o", job / "e.mp4", "-q")[0] == 0
    assert (frames_of(job / "d.mp4") == frames_of(job / "e.mp4")).all()
    (job / "dub.yaml").write_text(speech + "faces: all\n")
    code, _, err = mien("dub", "--config", job / "dub.yaml")
    assert code == 2 and "unknown option 'faces': did you mean face" in err


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("stength: all=1", "unknown option 'stength': did you mean strength"),
        ("xyzzy: 1", "unknown option 'xyzzy': `mien animate --help` lists"),
        ("config: other.yaml", "unknown option 'config'"),
        ("- a\n- b", "no configuration"),
        ("", "no configuration"),
        ("source: [", "no YAML that can be read (line 1"),
        ("seed: 1\nseed: 2", "'seed' stands there twice"),
        ("side-by-side: maybe", "run.yaml: side-by-side must be true or false, not the text 'maybe'"),
        ("quiet: 'true'", "quiet must be true or false, not the text 'true'"),
        ("crf: {low: 3}", "run.yaml: crf takes one value, not a mapping"),
        ("source: {left: a.png}", "source takes one file, not a mapping"),
        ("face: [0, 1]", "face takes one value, not 2"),
        ("steps: [1, 2]", "steps takes one value, not 2"),
        ("sign-with: cert.pem", "sign-with takes 2 files, not 1"),
        ("region: [lips, null]", "region has a value that is neither a word nor a number: null"),
        ("trim-end: 1:30", "run.yaml: trim-end is '1:30': "),
        ("smooth: 2026-01-01", "smooth is '2026-01-01': "),
        ("motion: smile\nregion: ears", "run.yaml: Unknown region 'ears' in --region"),
        ("report: ''", "report is empty"),
        ("s: portrait.png", "unknown option 's': did you mean source"),
        ("Seed: 1", "unknown option 'Seed': did you mean seed"),
        ("strength:\n\tlips: 1", "run.yaml is no YAML that can be read (line 2: indent with spaces instead of tabs)"),
        ('{"seed": 1, "seed": 2}', "gives 'seed' twice"),
        ("crf: true", "crf must be a word or a number"),
        ("strength: {a: {b: 1}}", "neither a word nor a number: a mapping"),
        ("source: [a.png, b.png]", "source takes one file, not 2"),
        ("relative: true\nabsolute: true", "gives absolute twice"),
        ("crf: 99", "run.yaml: crf is '99': "),
        ("seed: abc", "run.yaml: seed is 'abc': "),
        ("command: talk", "is for `mien talk`"),
    ],
)
def test_mistakes_are_one_sentence(mien, job, text, sentence):
    (job / "run.yaml").write_text(text)
    code, out, err = mien("animate", "--config", job / "run.yaml", "-s", job / "portrait.png", "-o", job / "o.mp4")
    assert (code, out) == (2, "") and sentence in err and err.count("\n") == 1


def test_an_option_of_the_command_line_is_not_blamed_on_the_file(mien, job):
    code, _, err = mien("animate", "--config", job / "run.yaml", "--region", "ears")
    assert code == 2 and err.startswith("mien: Unknown region 'ears'")


def test_other_encodings(mien, job, params):
    (job / "c.yaml").write_text("seed: 3\n", encoding="utf-8-sig")
    assert read_config(job / "c.yaml", "animate", params) == {"seed": "3"}
    (job / "c.yaml").write_text("source: Zoë.png\n", encoding="latin-1")
    assert "save it as UTF-8" in mien("animate", "--config", job / "c.yaml")[2]


def test_names_stay_as_they_are_written(tmp_path, params):
    (tmp_path / "c.yaml").write_text("output: 2026-01-01\nface: 010\nfps: 29.970\nseed: null\n")
    found = read_config(tmp_path / "c.yaml", "animate", params)
    assert found == {"output": f"{tmp_path}/2026-01-01", "face": "010", "fps": "29.970"}


def test_missing_and_binary_files_are_one_sentence(mien, job):
    for name in ("missing.yaml", "portrait.png"):
        code, _, err = mien("animate", "--config", job / name)
        assert code == 2 and "The configuration" in err and err.count("\n") == 1


@pytest.mark.parametrize("option", ["-o", "--report"])
def test_configuration_is_never_overwritten(mien, job, option):
    before = (job / "run.yaml").read_text()
    code, _, err = mien("animate", "--config", job / "run.yaml", option, job / "run.yaml")
    assert code == 2 and "would be overwritten" in err
    assert (job / "run.yaml").read_text() == before


def test_words_of_a_file_are_not_truth_values(tmp_path, params):
    (tmp_path / "c.yaml").write_text("cache: off\nface: 0\nfps: 29.97\nsound: none\noverwrite: true\nsmooth: null\n")
    found = read_config(tmp_path / "c.yaml", "animate", params)
    assert found == {"cache": "off", "face": "0", "fps": "29.97", "sound": "none", "overwrite": True}


def test_drivers_by_face_may_be_a_mapping(tmp_path, params):
    (tmp_path / "c.yaml").write_text("driving: {left: a.mp4, right: sub/b@c.mp4@0}\nmotion: [1=smile]\n")
    found = read_config(tmp_path / "c.yaml", "animate", params)
    assert found["driving"] == [f"left={tmp_path}/a.mp4", f"right={tmp_path}/sub/b@c.mp4@0"]
    assert found["motion"] == ["1=smile"]


def test_cast_comes_back_from_its_options(tmp_path, params, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("duo.mp4", "a=b.mp4", "one@two.mp4"):
        (tmp_path / name).write_bytes(b"-")
    (tmp_path / "cast.yaml").write_text("order: left-to-right\nfaces:\n  anna: {face: left, driving: duo.mp4}\n")
    cast = animate_cast(["0=duo.mp4@right", "1=one@two.mp4"], ["2=smile"], None, tmp_path / "cast.yaml", "loop", "mix")
    options = options_of(
        AnimateOptions(source=tmp_path / "p.png", output=tmp_path / "o.mp4", cast=cast), base=tmp_path / "deep"
    )
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/r.json").write_text(json.dumps({"schema": 1, "command": "animate", "options": options}))
    monkeypatch.chdir("/")
    found = read_config(tmp_path / "deep/r.json", "animate", params)
    again = animate_cast(
        found["driving"], found["motion"], found["faces"], Path(found["cast"]), found["ends"], found["sound"]
    )
    told = [
        [(role.kind, os.path.basename(role.source), role.face, role.person) for role in made.roles]
        for made in (cast, again)
    ]
    assert told[0] == told[1] and len(told[0]) == 4
    assert (again.ends, again.sound, again.order) == ("loop", "mix", "left-to-right")
    assert again.labels == read_cast(tmp_path / "cast.yaml").labels


def test_command_of_a_job_gives_the_same_frames(mien, job, monkeypatch):
    """What the page shows under "copy as command"."""
    from ui.animate_job import run
    from ui.console import Progress

    options = AnimateOptions(
        source=job / "portrait.png",
        output=job / "first.mp4",
        motion="wink",
        method="prior",
        strength="eyes=1.5",
        relative=False,
        side_by_side=True,
        trim_end=0.2,
        sign=False,
    )
    run(options, Progress(quiet=True))
    line = shlex.join(command_of(options))
    assert line.startswith("mien animate ") and "--absolute" in line and "--crf" not in line
    words = shlex.split(line)
    words[words.index(str(job / "first.mp4"))] = str(job / "second.mp4")
    assert main([*words[1:], "-q"]) == 0
    assert (frames_of(job / "first.mp4") == frames_of(job / "second.mp4")).all()


def test_command_names_files_as_it_is_told(job):
    options = AnimateOptions(
        source=job / "portrait.png", output=job / "out.mp4", driving=job / "clip.mp4", sign=False, crf=20, seed=3
    )
    assert shlex.join(command_of(options, {str(job / "clip.mp4"): "my clip.mp4"})) == (
        "mien animate -s portrait.png -o out.mp4 -d 'my clip.mp4' --crf 20 --no-sign --seed 3"
    )


@pytest.mark.parametrize("command", [animate, cli_talk.talk, cli_talk.dub])
def test_every_option_that_takes_a_file_is_known_as_one(command):
    for name, hint in typing.get_type_hints(command).items():
        if name != "return" and "Path" in str(hint):
            assert name in PATHS
    assert not PATHS & WORDS_OR_PATHS
