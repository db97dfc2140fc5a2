"""One vocabulary over all commands, shell completion, and JSON wherever a command reports."""

import json
import os
import subprocess
import sys
from collections import defaultdict

import pytest
import typer

from ui.cli import app, main

# `mien bench` measures other people's systems too: there -s is a system and -d the data.
BENCH = {"-s": "--system", "-d": "--data"}


def commands(node=None, name=()):
    node = typer.main.get_command(app) if node is None else node
    if hasattr(node, "commands"):
        for key, child in node.commands.items():
            yield from commands(child, (*name, key))
    else:
        yield " ".join(name), node


def test_a_letter_means_one_thing():
    meanings = defaultdict(set)
    for name, command in commands():
        for param in command.params:
            longs = [option for option in param.opts if option.startswith("--")]
            for option in param.opts:
                if option.startswith("-") and not option.startswith("--"):
                    if not (name.startswith("bench") and BENCH.get(option) in longs):
                        meanings[option].update(longs[:1] if "--output" not in longs else ["--output"])
    meanings["-o"].discard("--out")  # of `mien bench run`
    assert {option: longs for option, longs in meanings.items() if len(longs) > 1} == {}


def test_same_option_has_the_same_letter():
    letters = defaultdict(set)
    for name, command in commands():
        if name == "weights convert":  # replaces nothing unless told to: the folder may be tens of gigabytes
            continue
        for param in command.params:
            short = tuple(option for option in (*param.opts, *param.secondary_opts) if len(option) == 2)
            for option in param.opts:
                if option.startswith("--") and name.split()[0] in ("animate", "talk", "dub", "weights", "train"):
                    letters[option].add(short)
    assert {option: shorts for option, shorts in letters.items() if len(shorts) > 1} == {}


def test_every_command_that_reports_speaks_json():
    silent = {name for name, command in commands() if not any("--json" in param.opts for param in command.params)}
    # these start something, or their whole output is one path or the files of a report
    allowed = {"ui", "train start", "train config"} | {name for name in silent if name.startswith("bench")}
    assert silent <= allowed


def test_every_option_explains_itself():
    for name, command in commands():
        assert (command.help or "").strip(), name
        for param in command.params:
            if param.name != "help" and hasattr(param, "help"):
                assert param.help, f"{name} {param.name}"


@pytest.mark.parametrize("words", [("motion", "list"), ("motion", "info", "smile"), ("models",), ("weights", "list")])
def test_json_is_all_there_is_on_standard_output(mien, words):
    code, out, err = mien(*words, "--json")
    assert code == 0 and json.loads(out) and err == ""


def test_motion_commands_tell_what_they_wrote(mien, tmp_path):
    short, both, curves = tmp_path / "s.safetensors", tmp_path / "b.safetensors", tmp_path / "c.csv"
    told = [
        mien("motion", "trim", "smile", "-o", short, "--trim-end", 0.4, "--json"),
        mien("motion", "join", short, "wink", "-o", both, "--json", "-q"),
        mien("motion", "to-arkit", short, "-o", curves, "--json", "-q"),
        mien("motion", "from-arkit", curves, "-o", tmp_path / "a.safetensors", "--fps", 25, "--json", "-q"),
    ]
    facts = [json.loads(out) for _, out, _ in told]
    assert [code for code, _, _ in told] == [0] * 4
    assert [fact["frames"] for fact in facts][::2] == [10, 10] and facts[1]["frames"] > 10
    assert facts[0]["file"] == str(short) and "10 frames" in told[0][2] and told[1][2] == ""


def test_trim_still_knows_its_older_words(mien, tmp_path):
    old, new = tmp_path / "old.safetensors", tmp_path / "new.safetensors"
    assert mien("motion", "trim", "smile", "-o", old, "--start", 0.2, "--end", 0.4, "-q")[0] == 0
    assert mien("motion", "trim", "smile", "-o", new, "--trim-start", 0.2, "--trim-end", 0.4, "-q")[0] == 0
    assert old.read_bytes() == new.read_bytes()


@pytest.mark.parametrize(
    ("words", "expected"),
    [("mien ver", "verify"), ("mien animate --stre", "--strength"), ("mien weights ver", "verify")],
)
def test_shell_completion_knows_commands_and_options(words, expected):
    environment = os.environ | {
        "_MIEN_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", "from ui.cli import run; import sys; sys.argv[0] = 'mien'; run()"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert expected in done.stdout.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_is_printed(capfd, monkeypatch, shell):
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")  # the shell is named, not looked for
    with pytest.raises(SystemExit) as ended:
        main(["--show-completion", shell])
    assert ended.value.code == 0 and f"_MIEN_COMPLETE=complete_{shell}" in capfd.readouterr().out
