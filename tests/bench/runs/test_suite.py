"""Suites as files: round trip, hashes, limits, and what a damaged one says."""

from dataclasses import replace

import pytest
import yaml

from bench.metrics import METRICS
from bench.suites.manifest import PROTOCOLS, Case, Suite, SuiteError, builtin_suites
from bench.suites.prepare import fill, prepare


def test_the_built_in_suites_name_metrics_that_exist():
    suites = builtin_suites()
    assert tuple(suites) == PROTOCOLS
    for name, template in suites.items():
        assert template["name"] == template["protocol"] == name
        assert not set(template["metrics"]) - METRICS.keys()
        assert template["metrics"] or name == "cache"


def test_a_prepared_suite_reads_back_as_it_was_made(media, tmp_path):
    path = prepare(media, "reenact-cross", tmp_path / "out")
    assert Suite.load(path).digest == fill("reenact-cross", media).digest
    assert Suite.load(path.parent).digest == Suite.load("reenact-cross", media).digest


def test_paths_hashes_and_licences_are_in_the_file(media, tmp_path):
    path = prepare(media, "reenact-self", tmp_path)
    content = yaml.safe_load(path.read_text())
    assert set(content["media"]) == {"video/nod.mp4", "video/slow.mp4"}
    assert len(content["media"]["video/nod.mp4"]["sha256"]) == 64
    assert content["media"]["video/nod.mp4"]["licence"] == "CC0-1.0"
    assert str(media) not in path.read_text()


def test_changed_and_missing_media_are_told(media, tmp_path):
    import shutil

    folder = tmp_path / "media"
    shutil.copytree(media, folder)
    suite = Suite.load(prepare(folder, "reenact-self", tmp_path))
    assert set(suite.check().values()) == {"ok"}
    with (folder / "video" / "nod.mp4").open("ab") as file:
        file.write(b"x")
    (folder / "video" / "slow.mp4").unlink()
    assert suite.check() == {"video/nod.mp4": "wrong", "video/slow.mp4": "missing"}


def test_a_limit_keeps_the_first_cases(media):
    suite = fill("reenact-cross", media)
    assert suite.take(2).cases == suite.cases[:2]
    with pytest.raises(ValueError, match="1 or more"):
        suite.take(0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"schema": 99}, "schema 99"),
        ({"protocol": "dance"}, "no protocol 'dance'"),
        ({"cases": [{"id": "../a", "protocol": "reenact-self"}]}, "needs an id"),
        ({"cases": [{"id": "a", "protocol": "reenact-self", "driver": "../secret"}]}, "below the suite's folder"),
        ({"cases": [{"id": "a", "protocol": "reenact-self", "driver": "/etc/passwd"}]}, "below the suite's folder"),
        ({"cases": [{"id": "a", "protocol": "talk"}, {"id": "A", "protocol": "talk"}]}, "two cases"),
        ({"cases": [{"id": "tracks", "protocol": "talk"}]}, "'tracks' has the name of a file that runs write"),
        ({"cases": [{"id": "Inputs.JSON", "protocol": "talk"}]}, "'Inputs.JSON' has the name of a file"),
        ({"name": "/tmp/x"}, "name '/tmp/x' is none that a folder can have"),
        ({"name": "../x"}, "name '../x' is none that a folder can have"),
        ({"name": ".x"}, "name '.x' is none that a folder can have"),
        ({"settings": {"max_frames": 1}}, "max_frames"),
        ({"settings": {"speed": 1}}, "no setting 'speed'"),
    ],
)
def test_a_damaged_suite_is_refused_in_one_sentence(media, tmp_path, change, sentence):
    path = prepare(media, "reenact-self", tmp_path)
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | change))
    with pytest.raises(SuiteError, match=sentence):
        Suite.load(path)


@pytest.mark.parametrize("key", ["seconds", "drivers_per_portrait"])
def test_what_cases_are_made_by_cannot_be_set_when_they_are_there(media, tmp_path, key):
    path = prepare(media, "long", tmp_path, settings={"seconds": 3})
    with pytest.raises(SuiteError, match=f"^{key} is fixed when the suite is prepared: give it to"):
        Suite.load(path, settings={key: 2})
    assert Suite.load(path, settings={"max_frames": 9}).setting("max_frames") == 9


def test_ids_may_have_letters_of_any_script(media):
    suite = fill("reenact-self", media)
    names = ("李华--андрей", "हिन्दी--zoë", "ñ" * 100)
    cases = tuple(replace(case, id=name) for case, name in zip(suite.cases * 2, names, strict=False))
    assert [case.id for case in replace(suite, cases=cases).cases] == list(names)


@pytest.mark.parametrize("name", ["a/b", "a b", ".a", "-a", "a\n", "e\u0301", "李" * 67, "a" * 122, "\udce9", ""])
def test_what_is_no_name_of_a_file_is_no_id(media, name):
    suite = fill("reenact-self", media)
    with pytest.raises(SuiteError, match="needs an id"):
        replace(suite, cases=(replace(suite.cases[0], id=name),))


def test_a_suite_is_not_prepared_under_a_name_that_leads_elsewhere(media, tmp_path):
    with pytest.raises(SuiteError, match="none that a folder can have"):
        prepare(media, "reenact-self", tmp_path, name="../evil")
    assert not list(tmp_path.iterdir())


def test_notes_do_not_make_another_suite(media):
    suite = fill("reenact-self", media)
    assert replace(suite, notes=("Something was left out.",)).digest == suite.digest


def test_yaml_that_runs_code_is_not_run(tmp_path):
    path = tmp_path / "suite.yaml"
    path.write_text("!!python/object/apply:os.system ['touch here']")
    with pytest.raises(SuiteError, match="cannot be read as YAML"):
        Suite.load(path)


def test_unknown_names_and_missing_data_are_told(media):
    with pytest.raises(SuiteError, match="reenact-self"):
        Suite.load("no-such-suite")
    with pytest.raises(SuiteError, match="--data"):
        Suite.load("reenact-self")
    with pytest.raises(SuiteError, match="no folder"):
        Suite.load("reenact-self", media / "nowhere")


def test_a_case_names_every_medium_once():
    options = {"portraits": ["p", "q"], "drivers": ["d", "e"]}
    case = Case("a", "reenact-self", portrait="p", driver="d", truth="d", audio="s", options=options)
    assert set(case.files) == {"p", "q", "d", "e", "s"} and len(case.files) == 5


def test_nor_from_python(media, tmp_path):
    from bench.runner.run import run_suite

    suite = fill("long", media)
    with pytest.raises(SuiteError, match="^seconds is fixed when the suite is prepared"):
        run_suite(suite, [], tmp_path, settings={"seconds": 7})
    assert suite.with_settings({"seconds": suite.setting("seconds")}) == suite
