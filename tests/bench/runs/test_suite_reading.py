"""A suite.yaml whose values are not of their kind: one sentence that names the file, the case and the key."""

import re

import pytest
import yaml

from bench.suites.manifest import Suite, SuiteError
from bench.suites.prepare import prepare

NAN = float("nan")


@pytest.fixture(scope="module")
def prepared(media, tmp_path_factory):
    """Content of a suite.yaml."""
    return yaml.safe_load(prepare(media, "reenact-self", tmp_path_factory.mktemp("suite")).read_text())


@pytest.fixture
def load(media, prepared, tmp_path):
    """Function: the suite with some of its keys, or of its first case's, in place of what they were."""

    def make(whole=None, case=None):
        content = prepared | (whole or {})
        if case is not None:
            content["cases"] = [content["cases"][0] | case, *content["cases"][1:]]
        (tmp_path / "suite.yaml").write_text(yaml.safe_dump(content, allow_unicode=True))
        return Suite.load(tmp_path, data=media)

    return make


def sentence(load, tmp_path, **changes):
    with pytest.raises(SuiteError) as caught:
        load(**changes)
    text = str(caught.value)
    assert text.startswith(str(tmp_path / "suite.yaml")) and "\n" not in text
    return text.removeprefix(str(tmp_path / "suite.yaml"))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("settings", "abc", ": settings must be a mapping"),
        ("settings", [1], ": settings must be a mapping"),
        ("settings", {5: 5}, "no setting '5'"),
        ("settings", {"fps": [25]}, ": the frame rate"),
        ("settings", {"max_frame": 5}, "did you mean 'max_frames'?"),
        ("metrics", "psnr", ": metrics must be a list of words but is 'psnr'"),
        ("metrics", ["identity", 5], ": metrics must be a list of words"),
        ("metrics", [["a"]], ": metrics must be a list of words"),
        ("metrics", ["psrn"], ", metrics: there is no metric 'psrn': did you mean 'psnr'?"),
        ("metrics", ["zzzzzz"], ", metrics: there is no metric 'zzzzzz': `mien bench list` shows all."),
        ("notes", "abc", ": notes must be a list of words"),
        ("title", ["a"], ": title must be text"),
        ("name", None, ": name must be text"),
        ("protocol", None, ": protocol must be text"),
        ("data", 5, ": data must be a path but is 5"),
        ("media", ["a"], ": media must be a mapping"),
        ("media", {"a.mp4": "b"}, ", medium a.mp4: its entry must be a mapping"),
        ("media", {"a.mp4": {"sha256": "zz"}}, ", medium a.mp4: sha256 must be 64 hexadecimal digits"),
        ("media", {"a.mp4": {"licence": ["a"]}}, ", medium a.mp4: licence must be text"),
        ("cases", None, ": cases must be a list"),
        ("cases", ["abc"], ", case 1 must be a mapping"),
        ("cases", [{"protocol": "talk"}], ", case 1: id must be text"),
        ("setting", {}, ": there is no key 'setting': did you mean 'settings'?"),
    ],
)
def test_a_key_of_the_wrong_kind(load, tmp_path, key, value, said):
    assert said in sentence(load, tmp_path, whole={key: value})


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ({"groups": "abc"}, "groups must be a mapping"),
        ({"groups": ["abc"]}, "groups must be a mapping"),
        ({"groups": {"a": NAN}}, "the group a must be a word but is nan"),
        ({"groups": {"part": ["a"]}}, "the group part must be a word"),
        ({"groups": {"a": None}}, "the group a must be a word but is None"),
        ({"protocol": ["a"]}, "protocol must be one of reenact-self, "),
        ({"protocol": "nonsense"}, "protocol must be one of reenact-self, "),
        ({"driver": ["a"]}, "driver must be a path"),
        ({"driver": ""}, "driver must be a path"),
        ({"drivr": "a"}, "there is no key 'drivr': did you mean 'driver'?"),
        ({"options": ["abc"]}, "options must be a mapping"),
        ({"options": {"drivers": "c1.mp4"}}, "the option drivers must be a list of files but is 'c1.mp4'"),
        ({"options": {"people": [5]}}, "the option people must be a list of files"),
        ({"options": {"driver": ["c1.mp4"]}}, "there is no option 'driver': did you mean 'drivers'?"),
        ({"options": {"loop": "abc"}}, "the option loop must be a number of seconds above 0"),
        ({"options": {"loop": -5}}, "the option loop must be a number of seconds above 0"),
        ({"options": {"loop": True}}, "the option loop must be a number of seconds above 0"),
        ({"options": {"loop": NAN}}, "the option loop must be a number of seconds above 0"),
        ({"options": {"loop": 1e9}}, "the option loop must be a number of seconds above 0 and up to 86400"),
        ({"options": {"prompt": 5}}, "the option prompt must be text"),
        ({"options": {"identifier": "a"}}, "the option identifier must be a list"),
        ({"options": {"faces": "two"}}, "the option faces must be yes or no"),
    ],
)
def test_a_case_of_the_wrong_kind(load, tmp_path, case, said):
    assert sentence(load, tmp_path, case=case).startswith(f", case self--nod: {said}")


def test_a_case_whose_id_is_a_number_is_told_by_its_place(load, tmp_path):
    assert sentence(load, tmp_path, case={"id": 5}).startswith(", case 1: id must be text (in quotes where")


@pytest.mark.parametrize("key", ["name", "protocol", "metrics", "cases", "schema"])
def test_a_key_that_is_missing(prepared, tmp_path, key):
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump({name: prepared[name] for name in prepared if name != key}))
    with pytest.raises(SuiteError, match=f"is no suite that can be read: it has no '{key}'"):
        Suite.load(tmp_path)


@pytest.mark.parametrize(
    ("plain", "text"), [("2024-01-01", "2024-01-01"), ("45", "45"), ("yes", "yes"), ("off", "no"), ("1.5", "1.5")]
)
def test_words_that_yaml_takes_for_something_else_are_groups(load, tmp_path, plain, text):
    load(case={"groups": {"a": "HERE"}})
    file = tmp_path / "suite.yaml"
    file.write_text(file.read_text().replace("HERE", plain))
    assert Suite.load(file).cases[0].groups == {"a": text}


def test_a_date_that_no_calendar_has_is_one_sentence(tmp_path):
    (tmp_path / "suite.yaml").write_text("name: 2024-13-45")
    with pytest.raises(SuiteError, match=re.escape("cannot be read as YAML (month must be in 1..12)")):
        Suite.load(tmp_path)


def test_options_of_every_kind_are_read(load):
    options = {
        "drivers": ["a.mp4"], "portraits": ["a.png"], "people": ["b.png"], "loop": 2.5, "prompt": "two friends",
        "identifier": [1], "faces": True, "record": "cache.json",
    }  # fmt: skip
    assert load(case={"options": options}).cases[0].options == options
