"""Work folders: what comes back is what was put in, and only for the job that put it in."""

import json
from itertools import islice

import numpy as np
import pytest

from animate.errors import OptionError
from animate.pipelines.windows import draw_windows, overlapping
from animate.work_folder import WorkFolder, checksum, model_facts


def test_numbers_and_pictures_come_back_bit_for_bit(tmp_path):
    random = np.random.default_rng(0)
    arrays = {
        "latents": random.standard_normal((4, 3, 5)).astype(np.float32),
        "rgb": random.integers(0, 255, (9, 7, 3), dtype=np.uint8),
        "rgba": random.integers(0, 255, (9, 7, 4), dtype=np.uint8),
        "flags": np.array([True, False]),
    }
    WorkFolder(tmp_path).claim("g", {})
    WorkFolder(tmp_path).put("part", arrays, "source")
    back = WorkFolder(tmp_path).get("part", "source")
    assert back.keys() == arrays.keys()
    assert all(np.array_equal(back[k], arrays[k]) and back[k].dtype == arrays[k].dtype for k in arrays)


def test_a_job_with_other_facts_is_refused_and_the_sentence_names_them(tmp_path):
    WorkFolder(tmp_path).claim("drawing", {"seed": 1, "portrait": "a"})
    WorkFolder(tmp_path).claim("drawing", {"seed": 1, "portrait": "a"})
    with pytest.raises(OptionError, match=r"another job \(not the same: seed\)[^\n]+\.$"):
        WorkFolder(tmp_path).claim("drawing", {"seed": 2, "portrait": "a"})


def test_a_part_of_another_source_is_refused(tmp_path):
    work = WorkFolder(tmp_path)
    work.put("part", {"a": np.zeros(1)}, "one")
    with pytest.raises(OptionError, match="another job"):
        work.get("part", "other")


def test_a_folder_with_other_things_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OptionError, match="other things"):
        WorkFolder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("where", ["no/such/folder", "a-file"])
def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path, where):
    (tmp_path / "a-file").write_text("")
    with pytest.raises(OptionError, match=r"^[^\n]+choose another one\.$"):
        WorkFolder(tmp_path / where)


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"schema": 99, "groups": {}})])
def test_a_damaged_job_is_one_sentence(tmp_path, text):
    (tmp_path / "job.json").write_text(text)
    with pytest.raises(OptionError, match="damaged or of another version"):
        WorkFolder(tmp_path).claim("g", {})


def test_a_damaged_part_is_made_again(tmp_path):
    work = WorkFolder(tmp_path)
    work.put("part", {"a": np.zeros(100)}, "source")
    path = tmp_path / "part.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    assert work.get("part", "source") is None


def test_what_a_killed_process_left_half_written_goes(tmp_path):
    WorkFolder(tmp_path).claim("g", {})
    (tmp_path / ".window-00000001.safetensors.7.8.partial").write_text("half")
    WorkFolder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["job.json"]


def test_finished_windows_are_not_drawn_again_and_give_the_same_video(tmp_path):
    items = np.random.default_rng(0).standard_normal((30, 2)).astype(np.float32)
    drawn = []

    def draw(window, items, known):
        drawn.append(window.index)
        before = sum(known.values()) if known else np.float32(0)
        return [np.asarray(items[window.frames.index(frame)] + before) for frame in window.drawn]

    def video(draw):
        return (value for _, value in draw_windows(overlapping(items, 8, 2), draw))

    whole = list(video(draw))
    drawn.clear()
    killed, again = WorkFolder(tmp_path), WorkFolder(tmp_path)
    killed.claim("movement", {})
    list(islice(video(killed.remember(draw)), 10))
    first = list(drawn)
    resumed = list(video(again.remember(draw)))
    assert drawn == sorted(set(drawn)), "every window is drawn once"
    assert (killed.recalled, again.recalled) == (0, len(first)) and len(first) == 2
    assert all(np.array_equal(a, b) for a, b in zip(whole, resumed, strict=True))


def test_checksums_tell_shape_type_and_order_apart(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    values = [
        checksum(np.zeros(4, np.float32)),
        checksum(np.zeros((2, 2), np.float32)),
        checksum(np.zeros(2, np.float64)),
        checksum("a", "b"),
        checksum("b", "a"),
        checksum("ab"),
        checksum(path),
    ]
    assert len(set(values)) == len(values)


def test_a_model_is_told_from_one_whose_last_weight_differs(tmp_path):
    file = tmp_path / "unet" / "weights.safetensors"
    file.parent.mkdir()
    file.write_bytes(bytes(3 << 20))
    before = model_facts(tmp_path)
    assert model_facts(tmp_path) == before
    file.write_bytes(bytes((3 << 20) - 1) + b"\1")
    assert model_facts(tmp_path) != before
