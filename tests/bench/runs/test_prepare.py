"""Suites of a folder's media: who meets whom, and by which groups the results are reported."""

import json
import shutil

import cv2
import numpy as np
import pytest

from bench.suites.cases import distinct
from bench.suites.manifest import Case, Suite, SuiteError
from bench.suites.media import age_band, find_media
from bench.suites.prepare import fill
from bench.suites.tone import MEASURED_TONE, tone, typology_angle


def test_a_manifest_says_what_media_are(media):
    found = {medium.file: medium for medium in find_media(media)[0]}
    ana = found["portraits/ana_female.png"]
    assert ana.subject == "ana" and ana.licence == "CC0-1.0"
    assert ana.groups == {"style": "human", "gender": "female", "age": "30-44"}
    assert found["portraits/old.png"].groups == {"style": "painting"}
    assert found["video/nod.mp4"].kind == "driving"


def test_without_a_manifest_names_tell(tmp_path):
    for name in ("paintings/a_woman.png", "cartoon/man-1.png", "x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    groups = {medium.file: medium.groups for medium in find_media(tmp_path)[0]}
    assert groups["paintings/a_woman.png"] == {"style": "painting", "gender": "female"}
    assert groups["cartoon/man-1.png"] == {"style": "cartoon", "gender": "male"}
    assert groups["x.png"] == {"style": "unknown"}


def test_the_generated_portraits_have_the_ages_of_their_prompts(tmp_path):
    (tmp_path / "assets-person-__male_512_92.jpg").touch()
    ((medium,), _) = find_media(tmp_path)
    assert medium.groups["age"] == "60 and over" and medium.groups["gender"] == "male"


@pytest.mark.parametrize(
    ("age", "band"), [("17", "under 18"), (18, "18-29"), ("44.5", "30-44"), ("child", "child"), ("130", "60 and over")]
)
def test_ages_fall_into_bands(age, band):
    assert age_band(age) == band


@pytest.mark.parametrize("age", ["-1", "nan", "inf", "-inf", "131", -0.5])
def test_what_is_no_age_of_a_person_is_unknown(age):
    assert age_band(age) == ""


def test_self_reenactment_has_a_case_for_each_video(media):
    suite = fill("reenact-self", media)
    assert [case.id for case in suite.cases] == ["self--nod", "self--slow"]
    assert all(case.driver == case.truth and case.portrait is None for case in suite.cases)


def test_cross_reenactment_mixes_styles_and_has_no_truth(media):
    cases = fill("reenact-cross", media).cases
    assert len(cases) == 3 and {case.groups["style"] for case in cases} == {"human", "painting", "animal"}
    assert all(case.truth is None and case.portrait and case.driver for case in cases)


def test_a_built_in_suite_is_made_by_the_settings_that_it_is_loaded_with(media):
    suite = Suite.load("reenact-cross", media, settings={"drivers_per_portrait": 2})
    assert len(suite.cases) == 6 and suite.settings["drivers_per_portrait"] == 2


def test_every_portrait_comes_once_before_any_comes_twice(media):
    cases = fill("reenact-cross", media, settings={"drivers_per_portrait": 2}).cases
    assert len(cases) == 6
    assert len({case.portrait for case in cases[:3]}) == 3
    assert len({(case.portrait, case.driver) for case in cases}) == 6


def test_several_people_stand_in_pairs(media):
    (case,) = fill("expression-multi", media).cases
    assert case.options["drivers"] == ["video/nod.mp4", "video/slow.mp4"]


def test_the_long_suite_loops_its_clips(media):
    cases = fill("long", media, settings={"seconds": 3}).cases
    assert {case.options["loop"] for case in cases} == {3}
    assert {case.protocol for case in cases} == {"reenact-self", "reenact-cross"}


def test_speech_needs_sound(media, tmp_path):
    cases = fill("talk", media).cases
    assert all(case.audio == "speech.wav" and case.portrait for case in cases)
    (tmp_path / "a.png").touch()
    with pytest.raises(SuiteError, match="videos with sound"):
        fill("talk", tmp_path)


def test_subjects_of_one_name_get_ids_of_their_own(tmp_path, media):
    shutil.copy(media / "video" / "nod.mp4", tmp_path / "a.mp4")
    (tmp_path / "b").mkdir()
    shutil.copy(media / "video" / "nod.mp4", tmp_path / "b" / "a.mp4")
    ids = [case.id for case in fill("reenact-self", tmp_path).cases]
    assert len(set(ids)) == 2


def test_ids_are_counted_up_until_one_is_free(tmp_path, media):
    for name in ("a/clip.mp4", "b/clip.mp4", "clip-2.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(media / "video" / "nod.mp4", tmp_path / name)
    ids = [case.id for case in fill("reenact-self", tmp_path).cases]
    assert ids == ["self--clip", "self--clip-2", "self--clip-2-2"]


def test_ids_that_runs_have_files_of_are_counted_up():
    cases = [Case(name, "reenact-self") for name in ("tracks", "Run.json", "a")]
    assert [case.id for case in distinct(cases)] == ["tracks-2", "Run.json-2", "a"]


def test_ids_keep_the_letters_of_any_script(tmp_path, media):
    for name in ("李华", "हिन्दी", "Zoe\u0308 2", "ñ" * 60, "!?"):
        shutil.copy(media / "video" / "nod.mp4", tmp_path / f"{name}.mp4")
    ids = {case.id for case in fill("reenact-self", tmp_path).cases}
    assert ids == {"self--李华", "self--हिन्दी", "self--zoë-2", f"self--{'ñ' * 45}", "self--x"}


def test_media_that_cannot_be_opened_are_left_out_and_said(media, tmp_path):
    shutil.copytree(media, tmp_path, dirs_exist_ok=True)
    (tmp_path / "video" / "broken.mp4").write_bytes(b"no video")
    (tmp_path / "portraits" / "broken.png").write_bytes(b"no picture")
    suite = fill("reenact-cross", tmp_path)
    assert not any("broken" in file for case in suite.cases for file in case.files) and len(suite.cases) == 3
    assert "Left out because they cannot be opened: portraits/broken.png, video/broken.mp4." in suite.notes


def test_sounds_that_cannot_be_opened_are_left_out(media, tmp_path):
    shutil.copytree(media, tmp_path, dirs_exist_ok=True)
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    assert {case.audio for case in fill("talk", tmp_path).cases} == {"speech.wav"}


def test_where_nothing_can_be_opened_the_refusal_says_so(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(SuiteError, match=r"it needs videos\. Left out because they cannot be opened: a\.mp4\."):
        fill("reenact-self", tmp_path)


def test_media_without_a_licence_are_said(media):
    assert any("licences of 1 of" in note for note in fill("reenact-cross", media).notes)


class TestTone:
    def test_is_measured_where_nobody_tells_and_named_so(self, media):
        human = next(case for case in fill("reenact-cross", media).cases if case.groups["style"] == "human")
        assert human.groups[MEASURED_TONE] and "tone" not in human.groups

    @pytest.mark.parametrize(
        ("angle", "name"),
        [(60, "very light"), (50, "light"), (30, "intermediate"), (20, "tan"), (0, "brown"), (-40, "dark")],
    )
    def test_bands_are_those_of_the_paper(self, angle, name):
        assert tone(angle) == name

    def test_a_known_colour_has_a_known_angle(self, face):
        landmarks = face[1]
        lab = np.full((320, 320, 3), (70.0, 10.0, 20.0), np.float32)
        image = (cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * 255).round().astype(np.uint8)
        assert typology_angle(image, landmarks) == pytest.approx(45.0, abs=2)

    def test_darker_skin_has_a_smaller_angle(self, face):
        picture, landmarks = face
        angles = [typology_angle((picture * share).astype(np.uint8), landmarks) for share in (1.0, 0.8, 0.6, 0.4)]
        assert angles == sorted(angles, reverse=True)


class TestMultiHuman:
    def item(self, *people, gender=2):
        return {"people": list(people), "prompt": "two friends", "attributes": [[3, 1, gender] for _ in people]}

    def test_items_become_cases_by_number(self, tmp_path):
        items = [self.item("data/faces/a.jpg"), self.item("data/faces/a.jpg", "data/faces/b.jpg", gender=1)]
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "multihuman_metadata.json").write_text(json.dumps(items))
        suite = fill("multi-human", None, metadata=tmp_path)
        assert [case.id for case in suite.cases] == ["0", "1"]
        assert suite.cases[1].options["people"] == ["data/faces/a.jpg", "data/faces/b.jpg"]
        assert suite.cases[1].groups == {"people": "2", "age code": "3", "ethnicity code": "1", "gender": "male"}
        assert "2 of 2 people's pictures are missing" in suite.notes[0]

    @pytest.mark.parametrize("text", ["{}x", '[{"prompt": "a"}]', '[{"people": 3, "prompt": "a"}]'])
    def test_other_metadata_is_refused(self, tmp_path, text):
        (tmp_path / "metadata.json").write_text(text)
        with pytest.raises(SuiteError, match="form"):
            fill("multi-human", None, metadata=tmp_path)

    def test_no_metadata_is_told(self, tmp_path):
        with pytest.raises(SuiteError, match="multihuman_metadata.json"):
            fill("multi-human", None, metadata=tmp_path)
