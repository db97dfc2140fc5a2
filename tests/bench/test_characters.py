"""The benchmark of several faces: figures that tell right from wrong, cases, methods and the report."""

import json

import cv2
import numpy as np
import pytest

from animate.errors import MediaError, MienError
from animate.group import Part
from animate.media import write_image
from animate.motion import MOTIONS_FOLDER, Motion
from animate.portrait import Portrait
from bench.characters import run as characters
from bench.characters.cases import (
    FPS,
    HEAD,
    Case,
    Driver,
    cases,
    cheek_to_cheek,
    find_drivers,
    find_portraits,
    left_to_right,
    liveliest,
    side_by_side,
)
from bench.characters.methods import Naive, grouped, methods
from bench.characters.report import bars, markdown, tables
from bench.characters.run import leaks, measure_case, nearer, staying
from bench.characters.scores import equal_share, exact_leak, face_scores, follow, leak, outside, oval
from bench.characters.sheet import moments
from bench.clips import find_clips

COUNT = 12


@pytest.fixture(scope="module")
def single(face):
    picture, landmarks = face
    return Portrait(picture, [_face(landmarks)], "single")


def _face(landmarks):
    from animate.faces import Face

    points = landmarks[:, :2]
    return Face(np.concatenate([points.min(0), points.max(0)]).astype(np.float32), landmarks, 1.0)


@pytest.fixture(scope="module")
def pair(single):
    """The same woman twice, the right one a little smaller."""
    picture, landmarks = single.image, single.faces[0].landmarks
    small = cv2.resize(picture, None, fx=0.9, fy=0.9, interpolation=cv2.INTER_AREA)
    image = np.hstack([picture, np.pad(small, ((0, picture.shape[0] - small.shape[0]), (0, 0), (0, 0)), mode="edge")])
    right = landmarks * np.float32(0.9) + np.float32([picture.shape[1], 0, 0])
    return Portrait(image, [_face(landmarks), _face(right)], "pair")


@pytest.fixture(scope="module")
def drivers():
    made = []
    for name in ("talk", "surprise", "smile", "nod"):
        motion = Motion.load(MOTIONS_FOLDER / f"{name}.safetensors").resample(FPS)
        motion = motion.take(np.arange(COUNT) % len(motion))
        made.append(Driver(name, motion, [np.zeros((HEAD, 2 * HEAD, 3), np.uint8)] * COUNT))
    return made


@pytest.fixture(scope="module")
def case(pair, drivers):
    return Case("pair", pair, tuple(drivers[:2]), (drivers[2], drivers[0]))


@pytest.fixture(scope="module")
def systems():
    return {"group": grouped(_warping()), "naive": Naive(_warping()), "still": methods(["still"], "mini")["still"]}


def _warping():
    from animate.animator import PortraitAnimator

    return PortraitAnimator.from_pretrained(method="warp")


@pytest.fixture(scope="module")
def frames(case, systems):
    return systems["group"](case.portrait, [Part(i, driver.motion) for i, driver in enumerate(case.drivers)])


@pytest.fixture(scope="module")
def result(case, systems, redetector, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sheets")
    return measure_case(case, systems, redetector, folder), folder


class TestCorrelations:
    t = np.linspace(0, 6, 40)

    def test_a_face_follows_its_driver(self):
        driver = 0.1 * np.sin(3 * self.t)
        assert follow(2 * driver + 1, driver, 0.01) == pytest.approx(1)

    def test_a_driver_that_does_nothing_is_not_followed(self):
        assert follow(self.t, np.full(40, 0.3), 0.01) is None

    def test_a_face_that_does_nothing_follows_nobody(self):
        assert follow(np.full(40, 0.3), 0.1 * np.sin(self.t), 0.01) == 0

    def test_what_drivers_have_in_common_is_no_leak(self):
        own = 0.1 * np.sin(3 * self.t)
        other = own + 0.05 * np.cos(7 * self.t)
        assert follow(own, other, 0.01) > 0.8 and abs(leak(own, own, other, 0.01)) < 1e-6

    def test_what_comes_from_the_other_driver_is_a_leak(self):
        own, other = 0.1 * np.sin(3 * self.t), 0.1 * np.cos(7 * self.t)
        assert leak(own + 0.7 * other, own, other, 0.01) == pytest.approx(0.57, abs=0.05)

    def test_a_driver_without_anything_of_its_own_cannot_leak(self):
        own = 0.1 * np.sin(3 * self.t)
        assert leak(own, own, 2 * own, 0.01) is None


class TestFaceScores:
    @pytest.mark.parametrize("number", [0, 1])
    def test_swapped_motions_are_noticed(self, case, frames, redetector, number):
        source = case.portrait.faces[number].landmarks
        motions = [driver.motion for driver in case.drivers]
        right = face_scores(frames, source, motions, number, redetector)
        wrong = face_scores(frames, source, motions[::-1], number, redetector)
        assert right["lost"] == 0 and right["mouth"]["own"] > 0.9
        assert right["mouth"]["own"] - right["mouth"]["leak"] > 0.5 > wrong["mouth"]["own"] - wrong["mouth"]["leak"]
        assert right["landmark_own"] < 0.03 and right["landmark_own"] < right["landmark_other"]
        assert wrong["landmark_own"] == pytest.approx(right["landmark_other"], rel=0.1)

    def test_a_face_that_is_gone_is_lost_and_its_neighbour_does_not_stand_in(self, case, frames, redetector):
        source = case.portrait.faces[0].landmarks
        hidden = [frame.copy() for frame in frames[:2]]
        for frame in hidden:
            frame[:, : frame.shape[0]] = 127
        scores = face_scores(
            hidden, source, [driver.motion.take(slice(0, 2)) for driver in case.drivers], 0, redetector
        )
        assert scores["lost"] == 2 and "mouth" not in scores


class TestPixels:
    @pytest.fixture
    def scene(self, pair):
        places = [[face.landmarks] * 2 for face in pair.faces]
        return [pair.image.copy() for _ in range(2)], places, pair

    def leak(self, scene, other, face, front):
        frames, places, _ = scene
        return exact_leak(frames, other, places, places, face, front)

    def test_the_same_frames_have_none(self, scene):
        found = self.leak(scene, [frame.copy() for frame in scene[0]], 1, [0])
        assert found["mean"] == found["largest"] == 0 and found["clear"] > 0.5

    def test_one_changed_pixel_is_one(self, scene):
        other = [frame.copy() for frame in scene[0]]
        x, y = scene[2].faces[1].landmarks[1, :2].astype(int)
        other[1][y, x] ^= 5
        found = self.leak(scene, other, 1, [0])
        assert found["largest"] > 0 and found["mean"] > 0
        assert self.leak(scene, other, 0, [])["largest"] == 0

    def test_where_a_nearer_head_hides_the_face_does_not_count(self, scene):
        frames, places, pair = scene
        moved = [
            [each + np.float32([60, 0, 0]) for each in places[0]],
            [each - np.float32([90, 0, 0]) for each in places[1]],
        ]
        other = [frame.copy() for frame in frames]
        both = oval(moved[0][0], pair.image.shape[:2], 1.6) & oval(moved[1][0], pair.image.shape[:2])
        other[0][both] ^= 60
        found = exact_leak(frames, other, moved, moved, 1, [0])
        assert both.any() and found["largest"] == 0 and found["hidden"] > 0 and found["clear"] < 1
        assert exact_leak(frames, other, moved, moved, 1, [])["largest"] > 0

    def test_the_larger_head_is_the_nearer(self, pair):
        sources = [face.landmarks for face in pair.faces]
        assert nearer(sources, 0) == [] and nearer(sources, 1) == [0]

    def test_equal_share(self):
        image = np.zeros((4, 4, 3), np.uint8)
        frame = image.copy()
        frame[0, 0, 2] = 1
        everywhere = np.ones((4, 4), bool)
        assert equal_share([image], image, everywhere) == 1 and equal_share([frame], image, everywhere) == 15 / 16
        assert equal_share([frame], image, ~everywhere) is None

    def test_heads_and_shoulders_are_not_outside(self, single):
        beyond = outside([single.faces[0].landmarks], (2000, 2000))
        assert not beyond[oval(single.faces[0].landmarks, beyond.shape)].any() and beyond.any()

    def test_a_method_that_moves_everyone_is_caught(self, case):
        shaken = staying(case, lambda portrait, parts: [np.roll(portrait.image, 2, axis=1)])
        kept = staying(case, lambda portrait, parts: [portrait.image])
        assert shaken < 0.9 and kept == 1

    def test_a_method_that_mixes_the_drivers_is_caught(self, case):
        def swapping(portrait, parts):
            shift = round(float(sum(part.motion.rotation[-1, 0] for part in parts)) * 1e4) % 7 + 1
            return [np.roll(portrait.image, shift, axis=1)] * len(parts[0].motion)

        assert max(found["largest"] for found in leaks(case, swapping)) > 0


class TestCases:
    def test_the_liveliest_stretch(self):
        assert liveliest(np.array([0, 0, 0, 5, -5, 5, 0, 0]), 3) == 3
        assert liveliest(np.array([1.0, 2.0]), 5) == 0

    def test_heads_touch_cheek_to_cheek_and_are_both_found(self, single, redetector):
        image = cheek_to_cheek(single, single, 400)
        left, right = left_to_right(redetector.tracker.detect(image))
        assert 0 < right.box[0] - left.box[2] < 0.2 * (left.box[2] - left.box[0])
        assert nearer([left.landmarks, right.landmarks], 1) == [0]

    def test_side_by_side_has_one_height(self, single, pair):
        assert side_by_side([single, pair], 100).shape[0] == 100

    def test_every_face_has_a_driver_of_its_own_and_another_to_exchange(self, pair, drivers, redetector):
        (made,) = cases([pair], [], drivers, redetector.tracker)
        assert len({driver.name for driver in made.drivers}) == 2
        assert all(a.name != b.name for a, b in zip(made.drivers, made.others, strict=True))

    def test_too_few_drivers(self, pair, drivers, redetector):
        (sentence,) = cases([pair], [], drivers[:2], redetector.tracker)
        assert "2 faces need 3 drivers" in sentence

    def test_groups_and_singles_are_told_apart_by_looking(self, single, pair, redetector, tmp_path):
        for number, image in enumerate((single.image, pair.image, np.full((200, 200, 3), 90, np.uint8))):
            write_image(tmp_path / f"{number}.png", image)
        (tmp_path / "broken.jpg").write_text("no picture")
        groups, singles = find_portraits([tmp_path], redetector.tracker)
        assert [each.name for each in groups] == ["1"] and [each.name for each in singles] == ["0"]
        assert groups[0].faces[0].center[0] < groups[0].faces[1].center[0]

    def test_no_picture(self, redetector, tmp_path):
        with pytest.raises(MediaError, match="no picture of two people"):
            find_portraits([tmp_path], redetector.tracker)

    def test_a_speaker_drives(self, shared, redetector):
        clips = find_clips(shared / "data/examples/video/LipNet__samples_GRID_bbaf2n.mpg", 75)
        (driver,), notes = find_drivers(clips, redetector.tracker)
        assert len(driver.motion) == len(driver.looks) == 25 and driver.motion.fps == FPS and not notes
        assert driver.looks[0].shape == (HEAD, 2 * HEAD, 3)

    def test_a_clip_without_a_face_does_not(self, redetector, tmp_path):
        from animate.media import VideoWriter

        with VideoWriter(tmp_path / "grey.mp4", FPS) as writer:
            for _ in range(4):
                writer.write(np.full((64, 64, 3), 90, np.uint8))
        found, notes = find_drivers(find_clips(tmp_path, 75), redetector.tracker)
        assert not found and "grey.mp4 is left out" in notes[0]


class TestNaive:
    def test_a_lonely_face_is_the_animators_own(self, single, drivers):
        naive, motion = Naive(_warping()), drivers[0].motion.take(slice(4, 7))
        own = list(_warping().animate(single, motion))
        assert all(np.array_equal(a, b) for a, b in zip(naive(single, [Part(0, motion)]), own, strict=True))
        assert naive.spent[0].clock > 0

    def test_the_last_pasted_lies_on_top(self, pair, drivers):
        naive = Naive(_warping())
        parts = [Part(0, drivers[0].motion.take(slice(4, 6))), Part(1, drivers[1].motion.take(slice(4, 6)))]
        one, other = naive(pair, parts), naive(pair, parts[::-1])
        assert any((a != b).any() for a, b in zip(one, other, strict=True))

    def test_times_are_those_of_this_portrait(self, single, pair, drivers):
        naive, motion = Naive(_warping()), drivers[0].motion.take(slice(4, 5))
        naive(pair, [Part(0, motion), Part(1, motion)])
        naive(single, [Part(0, motion)])
        assert list(naive.spent) == [0]


class TestReport:
    def test_the_engines_way_passes_and_the_still_does_not(self, result):
        measured, _ = result
        assert all(bar.passed for bar in bars([measured], "group")[:4])
        assert bars([measured], "still")[0].passed is False

    def test_what_moves_is_compared_with_one_face_alone(self, result):
        assert set(result[0]["time"]) == {"seconds", "seconds_one", "clock", "processor"}
        assert result[0]["time"]["processor"] > 0

    def test_it_is_plain_data_and_can_be_read(self, result):
        measured = json.loads(json.dumps(result[0], allow_nan=False))
        names = list(measured["methods"])
        assert "pair" in tables([measured], names)
        page = markdown([measured], names, ["about"])
        assert page.startswith("# Several faces") and "| still |" in page

    def test_a_picture_of_each_case(self, result):
        assert [path.name for path in result[1].iterdir()] == ["pair.png"]

    def test_moments_leave_out_the_first_frame(self):
        assert moments(25, 3) == [8, 16, 24] and moments(5, 2) == [2, 4]

    def test_a_swapped_verdict_fails(self, result):
        measured = json.loads(json.dumps(result[0]))
        for face in measured["methods"]["group"]["faces"]:
            face["landmark_own"], face["landmark_other"] = face["landmark_other"], face["landmark_own"]
            face["mouth"]["own"], face["mouth"]["leak"] = face["mouth"]["leak"], face["mouth"]["own"]
            face["leak"]["largest"] = 3
        assert [bar.passed for bar in bars([measured], "group")[:5]] == [False, False, False, True, False]


class TestCommand:
    def test_an_empty_folder(self, tmp_path, capsys):
        assert characters.main(["--data", str(tmp_path)]) == 1
        assert "There is no video" in capsys.readouterr().err

    @pytest.mark.parametrize("methods", ["pasted", ""])
    def test_an_unknown_method(self, methods, capsys):
        assert characters.main(["--methods", methods]) == 1
        assert "choose from group" in capsys.readouterr().err

    def test_no_case(self, tmp_path, single, monkeypatch):
        from animate.media import VideoWriter

        with VideoWriter(tmp_path / "grey.mp4", FPS) as writer:
            for _ in range(4):
                writer.write(np.full((64, 64, 3), 90, np.uint8))
        for name in ("a", "b"):
            write_image(tmp_path / f"{name}.png", single.image)
        options = characters._parser().parse_args(["--data", str(tmp_path), "--methods", "still"])
        with pytest.raises(MienError, match="No case"):
            characters.measure(options)
