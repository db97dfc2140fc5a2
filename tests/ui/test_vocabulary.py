"""One vocabulary over all commands, and JSON wherever a command reports."""

import json
import re
from collections import defaultdict

import pytest
import typer

from ui.cli import EXIT_ERROR, app

# What every explanation of an option must speak of, where commands explain it in words of their own.
MEANINGS = {
    "--audio": "Speech",
    "--base": "folder",
    "--device": "cpu",
    "--driving-face": "person of the clip|As in",
    "--dtype": "float16",
    "--face": "face|person|As in",
    "--folder": "files|first",
    "--fps": "Frame",
    "--image-encoder": "CLIP",
    "--output": "write|Folder (for|of)",
    "--overwrite": "Replace|replaced|again",
    "--seed": "Same seed",
    "--side-by-side": "in a row",
    "--size": "px|Pixels",
    "--smooth": "Steady .*0 to 1",
    "--steps": "[Ss]teps",
    "--strength": "How much .* 1 is unchanged",
    "--tracker": "finds faces|As in",
    "--trim-end": "End at this second",
    "--trim-start": "Begin at this second",
    "--vae": "sd-vae-ft-mse",
    "--workers": "at the same time|Processes",
}
# Words that other programs have for what is called otherwise here.
FOREIGN = {
    "--out": "--output",
    "--output-dir": "--output",
    "--force": "--overwrite",
    "--jobs": "--workers",
    "--threads": "--workers",
    "--silent": "--quiet",
    "--verbose": "--debug",
    "--start": "--trim-start",
    "--end": "--trim-end",
    "--input": "--source",
    "--portrait": "--source",
    "--license": "--licence",
    "--cfg": "--guidance",
    "--frame-rate": "--fps",
}


def commands(node=None, name=()):
    node = typer.main.get_command(app) if node is None else node
    if hasattr(node, "commands"):
        for key, child in node.commands.items():
            yield from commands(child, (*name, key))
    else:
        yield " ".join(name), node


def options():
    """(command, parameter, its long names, its letters) of every option."""
    for name, command in commands():
        for param in command.params:
            names = [*param.opts, *param.secondary_opts]
            if param.param_type_name == "option" and param.name != "help":
                yield name, param, [n for n in names if n.startswith("--")], [n for n in names if len(n) == 2]


def test_a_letter_means_one_thing():
    meanings = defaultdict(set)
    for _, _, longs, letters in options():
        for letter in letters:
            meanings[letter].add(longs[0])
    assert {letter: longs for letter, longs in meanings.items() if len(longs) > 1} == {}


def test_same_option_has_the_same_letter():
    letters = defaultdict(set)
    for name, _, longs, short in options():
        if name != "weights convert" or "--overwrite" not in longs:  # the folder may be tens of gigabytes
            if name != "weights pull" or "--overwrite" not in longs:  # fetches them again
                letters[longs[0]].add(tuple(short))
    assert {option: shorts for option, shorts in letters.items() if len(shorts) > 1} == {}


def test_an_option_has_one_name():
    """But for what turns it off: older names work (`ui.renamed`), unseen."""
    for name, param, longs, _ in options():
        assert len(longs) == 1 + bool(param.secondary_opts), f"{name} {longs}"
        assert not set(longs) & FOREIGN.keys(), f"{name} {longs}: say {FOREIGN.get(longs[0])}"


def test_an_option_means_the_same_everywhere():
    texts = defaultdict(set)
    for _, param, longs, _ in options():
        texts[longs[0]].add(param.help)
    for option, told in texts.items():
        meaning = MEANINGS.get(option)
        if meaning is None:
            assert len(told) == 1, f"{option}: {told}"
        else:
            assert all(re.search(meaning, text) for text in told), f"{option}: {told}"


def test_every_command_that_reports_speaks_json():
    silent = {name for name, command in commands() if not any("--json" in param.opts for param in command.params)}
    assert silent == {"ui", "train config"}  # it starts something; its whole output is one path


def test_every_option_explains_itself_in_sentences():
    for name, command in commands():
        assert (command.help or "").strip().splitlines()[0].endswith("."), name
        for param in command.params:
            if param.name != "help" and hasattr(param, "help"):
                assert param.help and param.help.endswith("."), f"{name} {param.name}"


@pytest.mark.parametrize(
    "words",
    [("motion", "list"), ("motion", "info", "smile"), ("models",), ("weights", "list"), ("bench", "list")],
    ids=" ".join,
)
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
    "words",
    [
        "motion extract {tmp}/nowhere.mp4 -o {tmp}/a.safetensors --source me",
        "motion from-arkit {tmp}/nowhere.csv -o {tmp}/a.safetensors --source=me",
        "weights pull nonsense --force",
        "train image {tmp}/nowhere -b {tmp}/base -o {tmp}/run --style aniportrait",
        "bench run {tmp}/nowhere.yaml --out {tmp}/run --jobs 2",
    ],
)
def test_older_words_are_taken(mien, tmp_path, words):
    code, _, err = mien(*words.format(tmp=tmp_path).split())
    assert code == EXIT_ERROR and "option" not in err and ("nowhere" in err or "nonsense" in err), err
