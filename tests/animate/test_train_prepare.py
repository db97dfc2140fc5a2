"""From real moving pictures to a training folder: what is kept, what is left out and said, what a second run does."""

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from animate import train_prepare
from animate.errors import FaceError, MediaError, OptionError
from animate.train_prepare import PrepareConfig, find_sources, prepare
from animate.train_shots import crop_square, find_shots

SMALL = PrepareConfig(size=128, shortest=8, smallest_face=48)


@pytest.fixture(scope="module")
def videos(tmp_path_factory, astronaut):
    """A folder: cut.mp4 (12 frames of a face, 4 grey ones, 10 of the face larger), noise.mp4, manifest.csv."""
    import cv2

    from animate.media import VideoWriter

    folder = tmp_path_factory.mktemp("videos")
    small = np.ascontiguousarray(astronaut[0:256, 96:352])
    large = cv2.resize(astronaut[20:200, 130:310], (256, 256), interpolation=cv2.INTER_CUBIC)
    with VideoWriter(folder / "cut.mp4", Fraction(25)) as writer:
        for t in range(12):
            writer.write(np.roll(small, 2 * t, axis=1))
        for _ in range(4):
            writer.write(np.full_like(small, 128))
        for t in range(10):
            writer.write(np.roll(large, t, axis=0))
    noise = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    with VideoWriter(folder / "noise.mp4", Fraction(25)) as writer:
        for _ in range(10):
            writer.write(np.kron(noise, np.ones((8, 8, 1), np.uint8)))
    (folder / "manifest.csv").write_text("file,subject,licence\nx/cut.mp4,eileen,public domain\n")
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, videos):
    folder = tmp_path_factory.mktemp("dataset") / "out"
    summary = prepare([videos], folder, SMALL)
    return folder, summary


def manifest(folder):
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestDataset:
    def test_a_clip_is_cut_where_the_face_is_lost(self, dataset):
        rows = manifest(dataset[0])
        assert [(row["source"], row["frames"]) for row in rows] == [("cut.mp4", 12), ("cut.mp4", 10)]
        assert rows[1]["start"] == pytest.approx(16 / 25)
        assert dataset[1].clips == 2 and dataset[1].frames == 22

    def test_a_video_without_a_face_is_left_out_and_named(self, dataset):
        (sentence,) = dataset[1].skipped
        assert "noise.mp4" in sentence and "face" in sentence

    def test_every_frame_is_there_in_the_size_asked_for(self, dataset):
        from animate.media import read_image

        for row in manifest(dataset[0]):
            pictures = sorted((dataset[0] / row["folder"]).glob("*.jpg"))
            assert len(pictures) == row["frames"]
            assert read_image(pictures[-1]).shape == (128, 128, 3)

    def test_landmarks_lie_on_the_face_of_the_crop(self, dataset):
        from safetensors.numpy import load_file

        from animate.faces import create_tracker
        from animate.media import read_image

        folder = dataset[0] / manifest(dataset[0])[0]["folder"]
        stored = load_file(folder / "landmarks.safetensors")["landmarks"]
        with create_tracker() as tracker:
            seen = tracker.detect(read_image(folder / "00007.jpg"))[0].landmarks
        assert stored.shape == (12, 478, 3) and stored.dtype == np.float32
        assert np.abs(stored[7] - seen)[:, :2].mean() < 1.0

    def test_people_licences_and_rates_are_kept(self, dataset):
        row = manifest(dataset[0])[0]
        assert (row["subject"], row["licence"], row["fps"]) == ("eileen", "public domain", "25")

    def test_the_manifest_of_the_folder_above_counts_too(self, videos, tmp_path):
        inner = tmp_path / "all" / "clips"
        inner.mkdir(parents=True)
        (inner / "a.mp4").write_bytes((videos / "noise.mp4").read_bytes())
        (tmp_path / "all" / "manifest.csv").write_text("file,subject\nclips/a.mp4,nobody\n")
        (source,) = find_sources([inner])
        assert source.subject == "nobody" and source.licence == ""


class TestAgain:
    def test_a_second_run_changes_nothing_and_looks_for_no_face(self, dataset, videos, monkeypatch):
        before = contents(dataset[0])
        monkeypatch.setattr("animate.faces.create_tracker", None)
        assert prepare([videos], dataset[0], SMALL) == dataset[1]
        assert contents(dataset[0]) == before

    def test_a_killed_run_goes_on_where_it_was(self, dataset, videos, tmp_path):
        import shutil

        half = tmp_path / "half"
        shutil.copytree(dataset[0], half)
        (clip,) = (path for path in (half / "clips").iterdir() if path.name.startswith("cut"))
        (clip / "00000.json").unlink()
        (clip / "00000-01" / "landmarks.safetensors").unlink()
        (half / "manifest.jsonl").unlink()
        prepare([videos], half, SMALL)
        assert contents(half) == contents(dataset[0])

    def test_a_folder_of_other_settings_is_refused(self, dataset, videos):
        with pytest.raises(OptionError, match="other settings"):
            prepare([videos], dataset[0], PrepareConfig(size=64))

    def test_settings_that_gave_nothing_give_way_to_better_ones(self, dataset, videos, tmp_path):
        with pytest.raises(FaceError, match=r"^No clip .* says all reasons\.$"):
            prepare([videos], tmp_path, replace(SMALL, shortest=100_000))
        assert (tmp_path / "skipped.jsonl").read_text().count("\n") >= 1
        prepare([videos], tmp_path, SMALL)
        assert contents(tmp_path) == contents(dataset[0])

    def test_a_folder_with_other_things_in_it_is_refused(self, videos):
        with pytest.raises(OptionError, match="not an empty folder"):
            prepare([videos], videos, SMALL)


def test_a_long_video_is_read_in_blocks_that_leave_no_frame_out(tmp_path, videos, monkeypatch):
    monkeypatch.setattr(train_prepare, "BLOCK_SECONDS", Fraction(4, 25))
    blocks = list(train_prepare._blocks(videos / "cut.mp4"))
    assert [(number, round(start * 25)) for number, start, _ in blocks] == [(n, 4 * n) for n in range(6)]
    assert [end and round(end * 25) for *_, end in blocks] == [4, 8, 12, 16, 20, None]


def test_a_damaged_video_is_named_and_the_others_are_used(tmp_path, videos):
    for name, content in (("bad.mp4", b"nothing"), ("good.mp4", (videos / "cut.mp4").read_bytes())):
        (tmp_path / name).write_bytes(content)
    summary = prepare([tmp_path], tmp_path.parent / "mixed", SMALL)
    assert summary.clips == 2
    assert any("bad.mp4" in sentence for sentence in summary.skipped)


def test_several_videos_at_once_give_the_same_folder(dataset, videos, tmp_path):
    prepare([videos], tmp_path / "out", SMALL, workers=2)
    assert contents(tmp_path / "out") == contents(dataset[0])


def test_no_usable_clip_is_an_error(videos, tmp_path):
    with pytest.raises(FaceError, match="noise.mp4"):
        prepare([videos / "noise.mp4"], tmp_path / "out", SMALL)


def test_no_video_is_an_error(tmp_path):
    with pytest.raises(MediaError, match="No video"):
        find_sources([tmp_path])
    with pytest.raises(MediaError, match="does not exist"):
        find_sources([tmp_path / "nowhere"])


@pytest.mark.parametrize("wrong", [{"size": 100}, {"picture": "bmp"}, {"shortest": 1}], ids=str)
def test_settings_that_cannot_work_are_refused(wrong):
    with pytest.raises(OptionError):
        PrepareConfig(**wrong)


class TestShots:
    @pytest.fixture
    def still(self):
        points = np.random.default_rng(0).uniform(50, 150, (478, 3)).astype(np.float32)
        return np.repeat(points[None], 20, 0), np.ones(20, bool), np.full(20, 0.01)

    def test_a_still_face_is_one_shot(self, still):
        assert find_shots(*still) == [(0, 20)]

    def test_frames_without_a_face_split(self, still):
        still[1][8:10] = False
        assert find_shots(*still) == [(0, 8), (10, 20)]

    def test_a_face_that_jumps_is_a_cut(self, still):
        still[0][5:] += (80, 0, 0)
        assert find_shots(*still) == [(0, 5), (5, 20)]

    def test_a_face_that_grows_at_once_is_a_cut(self, still):
        middle = still[0][5:].mean(1, keepdims=True)
        still[0][5:] = (still[0][5:] - middle) * 1.7 + middle
        assert find_shots(*still) == [(0, 5), (5, 20)]

    def test_another_picture_with_the_face_in_place_is_a_cut(self, still):
        still[2][12] = 0.3
        assert find_shots(*still) == [(0, 12), (12, 20)]

    def test_a_clip_that_always_changes_is_not_cut(self, still):
        still[2][:] = 0.2
        assert find_shots(*still) == [(0, 20)]


class TestCrop:
    def test_it_holds_the_face_all_the_way(self):
        boxes = np.array([[100, 100, 160, 160], [300, 120, 360, 180]], np.float32)
        x, y, side = crop_square(boxes, (640, 480))
        assert x <= 100 and y <= 100 and x + side >= 360 and y + side >= 180

    def test_a_still_face_has_the_room_that_the_animator_gives_it(self):
        from animate.square_crop import SquareCrop

        boxes = np.repeat(np.array([[300, 200, 380, 280]], np.float32), 3, 0)
        other = SquareCrop.around(boxes[0].reshape(2, 2), (640, 480), 512, boxes[0].reshape(2, 2))
        assert crop_square(boxes, (640, 480)) == (other.left, other.top, other.side)

    @pytest.mark.parametrize("corner", [(0, 0), (600, 440)])
    def test_it_stays_inside_the_picture(self, corner):
        boxes = np.array([[*corner, corner[0] + 200, corner[1] + 200]], np.float32)
        x, y, side = crop_square(boxes, (640, 480))
        assert 0 <= x and x + side <= 640 and 0 <= y and y + side <= 480
