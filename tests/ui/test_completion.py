"""Shell completion: commands, options, and the values that Mien knows."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ui.cli import main

BASH = """
eval "$("$0" --show-completion bash)"
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_mien_completion "$0"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def offered(*words: str) -> list[str]:
    """What Tab offers behind these words, the last of which may be unfinished."""
    line = {"COMP_WORDS": "\n".join(("mien", *words)), "COMP_CWORD": str(len(words))}
    done = subprocess.run(
        [sys.executable, "-c", "from ui.cli import run; import sys; sys.argv[0] = 'mien'; run()"],
        env=os.environ | {"_MIEN_COMPLETE": "complete_bash"} | line,
        capture_output=True,
        text=True,
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ver"], ["verify"]),
        (["weights", "ver"], ["verify"]),
        (["bench", "c"], ["compare"]),
        (["animate", "--stre"], ["--strength"]),
        (["animate", "-m", "smi"], ["smile"]),
        (["motion", "info", "win"], ["wink"]),
        (["bench", "run", "reenact"], ["reenact-self", "reenact-cross"]),
        (["bench", "prepare", "folder", "--protocol", "ta"], ["talk"]),
        (["weights", "pull", "pd"], ["pd-fgc"]),
        (["talk", "--emotion", "s"], ["sad", "surprised"]),
        (["train", "config", "f"], ["fsdp"]),
    ],
    ids=" ".join,
)
def test_what_is_offered(words, expected):
    assert offered(*words) == expected


def test_of_a_file_the_shell_offers_files_itself():
    assert offered("animate", "--source", "por") == offered("animate", "-m", "./my") == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_itself_completes(tmp_path):
    command = tmp_path / "mien"
    root = Path(__file__).resolve().parents[2]
    command.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(root)!r})\nfrom ui.cli import run\nrun()\n"
    )
    command.chmod(0o755)
    done = subprocess.run(
        ["bash", "-c", BASH, str(command), "mien", "bench", "run", "reenact-"],
        env=os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["reenact-self", "reenact-cross"], done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_is_printed(capfd, monkeypatch, shell):
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")  # the shell is named, not looked for
    with pytest.raises(SystemExit) as ended:
        main(["--show-completion", shell])
    assert ended.value.code == 0 and f"_MIEN_COMPLETE=complete_{shell}" in capfd.readouterr().out


def test_offered_words_are_those_that_the_commands_take():
    import typer

    from animate import caching, ensemble, faces, full_size_options, outputs, train_prepare, train_stages
    from animate.landmark_map import STYLES as MAPS
    from talking_face import emotion, playback
    from ui import cast_options, weights_job
    from ui.cli import app

    known = {
        ("animate", "--codec"): outputs.CODECS,
        ("animate", "--tracker"): faces.TRACKERS,
        ("animate", "--ends"): ensemble.ENDS,
        ("animate", "--sound"): cast_options.SOUNDS,
        ("animate", "--cache"): caching.CACHES,
        ("animate", "--long"): full_size_options.LONG,
        ("animate", "--dtype"): full_size_options.DTYPES,
        ("animate", "--scheduler"): full_size_options.SCHEDULERS,
        ("animate", "--offload"): full_size_options.OFFLOADS,
        ("animate", "--attention"): full_size_options.ATTENTIONS,
        ("talk", "--emotion"): tuple(emotion.EMOTIONS),
        ("dub", "--longer"): playback.LONGER,
        ("dub", "--shorter"): playback.SHORTER,
        ("weights convert", "--dtype"): weights_job.DTYPES,
        ("train prepare", "--picture"): tuple(train_prepare.PICTURE_SUFFIXES),
        ("train image", "--precision"): train_stages.PRECISIONS,
        ("train image", "--map-style"): tuple(MAPS),
    }
    for (command, option), taken in known.items():
        node = typer.main.get_command(app)
        for word in command.split():
            node = node.commands[word]
        (param,) = (param for param in node.params if option in param.opts)
        context = node.make_context(command, ["--help"], resilient_parsing=True)
        assert tuple(item.value for item in param.shell_complete(context, "")) == taken, (command, option)
