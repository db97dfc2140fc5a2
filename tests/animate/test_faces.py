"""Faces in pictures, people through clips, and the choice among them."""

import importlib.util
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from animate.errors import FaceError, OptionError, WeightsError
from animate.faces import Face, FaceTrack, FaceTracker, create_tracker, select_face
from animate.topology import mirror_landmarks

FPS = Fraction(30000, 1001)
TASK = "weights/face_landmarker_v2_with_blendshapes.task"


@pytest.fixture(scope="module")
def tracker():
    with create_tracker("mediapipe") as made:
        yield made


@pytest.fixture(scope="module")
def portrait(astronaut):
    """The astronaut's head and shoulders, (256, 256, 3)."""
    return np.ascontiguousarray(astronaut[:256, 96:352])


@pytest.fixture(scope="module")
def face(tracker, portrait):
    return tracker.detect(portrait)[0]


def eye_distance(landmarks):
    points = landmarks.reshape(-1, *landmarks.shape[-2:])[0]
    return float(np.linalg.norm(points[[33, 133], :2].mean(0) - points[[362, 263], :2].mean(0)))


def error(found, expected):
    """Mean distance over the inter-ocular distance."""
    return np.linalg.norm(found[..., :2] - expected[..., :2], axis=-1).mean() / eye_distance(expected)


def moved(picture, x, y, size=(256, 256)):
    return cv2.warpAffine(picture, np.float32([[1, 0, x], [0, 1, y]]), size, borderMode=cv2.BORDER_REPLICATE)


class TestDetect:
    def test_finds_the_one_person_and_no_badge(self, tracker, astronaut):
        faces = tracker.detect(astronaut)
        assert len(faces) == 1  # the badge on her sleeve passes the detector
        assert isinstance(tracker, FaceTracker)

    def test_a_face_is_what_the_docstring_says(self, face):
        assert face.landmarks.shape == (478, 3) and face.landmarks.dtype == np.float32
        plane = face.landmarks[:, :2]
        assert np.allclose(face.box, [*plane.min(0), *plane.max(0)])
        assert 0.5 < face.score <= 1 and face.track_id == 0
        assert face.landmarks[33, 0] < face.landmarks[468, 0] < face.landmarks[133, 0]  # iris between its corners
        assert face.landmarks[1, 2] < face.landmarks[[234, 454], 2].min()  # the nose is nearer than the ears

    def test_alpha_is_ignored(self, tracker, portrait, face):
        transparent = np.dstack([portrait, np.zeros(portrait.shape[:2], np.uint8)])
        assert np.array_equal(tracker.detect(transparent)[0].landmarks, face.landmarks)

    def test_a_mirrored_picture_has_mirrored_landmarks(self, tracker, portrait, face):
        found = tracker.detect(np.ascontiguousarray(portrait[:, ::-1]))[0].landmarks
        expected = mirror_landmarks(face.landmarks, portrait.shape[1])
        assert error(found, expected) < 0.02
        # A half-pixel slip of the network's 192 pixels would show as a shift of 0.5 pixels and more.
        assert abs((found - expected)[:, 0].mean()) < 0.25

    @pytest.mark.parametrize("quarters", [1, 2, 3])
    def test_lying_and_upside_down_pictures(self, tracker, portrait, face, quarters):
        found = tracker.detect(np.ascontiguousarray(np.rot90(portrait, quarters)))[0].landmarks
        x, y = face.landmarks[:, 0], face.landmarks[:, 1]
        last = portrait.shape[0] - 1
        expected = np.stack({1: (y, last - x), 2: (last - x, last - y), 3: (last - y, x)}[quarters], axis=-1)
        assert error(found, expected) < 0.02

    @pytest.mark.parametrize("factor", [0.25, 8])
    def test_small_and_very_large_pictures(self, tracker, portrait, face, factor):
        method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        picture = cv2.resize(portrait, None, fx=factor, fy=factor, interpolation=method)
        found = tracker.detect(picture)[0].landmarks
        expected = (face.landmarks + 0.5) * factor - 0.5
        assert error(found, expected) < (0.04 if factor < 1 else 0.02)

    def test_several_people_come_largest_first(self, tracker, portrait):
        scene = np.full((300, 520, 3), 90, np.uint8)
        scene[20:148, 10:138] = cv2.resize(portrait, (128, 128), interpolation=cv2.INTER_AREA)
        scene[22:278, 250:506] = portrait[:, ::-1]
        faces = tracker.detect(scene)
        assert [face.center[0] > 200 for face in faces] == [True, False]
        assert faces[0].size > 1.8 * faces[1].size

    def test_nothing_where_there_is_nobody(self, tracker):
        noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
        assert tracker.detect(noise) == []
        assert tracker.detect(np.zeros((1, 1, 3), np.uint8)) == []

    def test_a_float_picture_is_refused(self, tracker):
        with pytest.raises(FaceError, match="uint8"):
            tracker.detect(np.zeros((64, 64, 3), np.float32))

    def test_a_closed_tracker_says_so(self, portrait):
        closed = create_tracker("mediapipe")
        closed.close()
        closed.close()
        with pytest.raises(FaceError, match="closed"):
            closed.detect(portrait)

    @pytest.mark.parametrize(
        ("name", "count"),
        [
            ("JoyVASA__examples_imgs_joyvasa_003.png", 1),  # a marble bust
            ("JoyVASA__examples_imgs_joyvasa_004.png", 1),  # a drawing
            ("LivePortrait__examples_source_s4.jpg", 1),  # paintings
            ("LivePortrait__examples_source_s9.jpg", 1),
            ("LivePortrait__examples_source_s7.jpg", 1),  # a 3-D cartoon
            ("cognitive-serv__Face_images_detection4.jpg", 3),  # groups
            ("cognitive-serv__Face_images_test-image-person-group.jpg", 2),
            ("scikit-image__skimage_data_chelsea.png", 0),  # a cat
        ],
    )
    def test_examples(self, tracker, shared, name, count):
        picture = cv2.imread(str(shared / "data/examples/portraits" / name))[..., ::-1]
        assert len(tracker.detect(picture)) == count


class TestTrack:
    def test_follows_a_moving_face(self, tracker, portrait, face):
        path = [(12 * np.sin(t / 3), 6 * np.cos(t / 4) - 6) for t in range(24)]
        [track] = tracker.track((moved(portrait, x, y) for x, y in path), FPS)
        assert len(track) == 24 and track.valid.all() and track.bridged == 0
        assert track.fps == FPS and track.size == (256, 256) and track.track_id == 0
        offsets = np.array([(*step, 0) for step in path])[:, None]
        assert error(track.landmarks, face.landmarks + offsets) < 0.02

    def test_a_still_face_hardly_jitters(self, tracker, portrait):
        rng = np.random.default_rng(0)
        big = cv2.resize(portrait, (512, 512), interpolation=cv2.INTER_CUBIC).astype(np.float32)
        clip = ((big + rng.normal(0, 4, big.shape)).clip(0, 255).astype(np.uint8) for _ in range(12))
        [track] = tracker.track(clip, FPS)
        jitter = np.linalg.norm(np.diff(track.landmarks[..., :2], 2, axis=0), axis=-1).mean()
        assert jitter / eye_distance(track.landmarks[0]) < 0.006  # one run of the network a frame gives more

    def test_frames_without_a_face_are_bridged(self, tracker, portrait):
        black = np.zeros_like(portrait)
        clip = [black, moved(portrait, 0, 0), black, black, black, moved(portrait, 8, 4), black]
        [track] = tracker.track(clip, FPS)
        assert track.valid.tolist() == [False, True, False, False, False, True, False]
        assert track.bridged == 5 and track.gaps() == [(0, 1), (2, 5), (6, 7)]
        points = track.landmarks
        assert np.array_equal(points[0], points[1]) and np.array_equal(points[6], points[5])
        assert np.allclose(points[3], (points[1] + points[5]) / 2, atol=1e-3)
        assert "2 of 7" in track.report() and "2-4" in track.report()

    def test_no_frame_is_kept(self, tracker, portrait):
        apart = [moved(portrait, t, 0) for t in range(4)]

        def one_buffer():
            buffer = np.empty_like(portrait)
            for frame in apart:
                buffer[:] = frame
                yield buffer
                buffer[:] = 0

        [reused], [separate] = tracker.track(one_buffer(), FPS), tracker.track(apart, FPS)
        assert np.array_equal(reused.landmarks, separate.landmarks)

    def test_each_person_keeps_their_track(self, tracker, portrait):
        small = cv2.resize(portrait, (128, 128), interpolation=cv2.INTER_AREA)

        def scene(t):
            frame = np.full((300, 640, 3), 90, np.uint8)
            frame[20:276, 10 + 2 * t : 266 + 2 * t] = portrait
            if t != 5:  # the small one is hidden for a frame
                frame[100:228, 500 - 6 * t : 628 - 6 * t] = small
            return frame

        large, little = tracker.track((scene(t) for t in range(10)), FPS, max_faces=None)
        assert large.valid.all() and little.valid.tolist() == [t != 5 for t in range(10)]
        assert np.allclose(np.diff(large.landmarks[:, :, 0].mean(1)), 2, atol=0.7)
        assert np.allclose(np.diff(little.landmarks[:, :, 0].mean(1)), -6, atol=0.7)
        assert (large.track_id, little.track_id) == (0, 1)
        assert len(tracker.track((scene(t) for t in range(2)), FPS, max_faces=1)) == 1

    def test_a_newcomer_is_found_within_a_second(self, tracker, portrait):
        def scene(t):
            frame = np.full((256, 520, 3), 90, np.uint8)
            frame[:, :256] = portrait
            if t >= 3:
                frame[:, 260:516] = portrait[:, ::-1]
            return frame

        first, second = tracker.track((scene(t) for t in range(14)), Fraction(5), max_faces=2)
        assert first.valid.all() and second.valid[5:].all() and not second.valid[:3].any()

    def test_a_clip_without_a_face_is_one_sentence(self, tracker, portrait):
        with pytest.raises(FaceError, match="holiday.mp4"):
            tracker.track([np.zeros_like(portrait)] * 3, FPS, name="holiday.mp4")
        with pytest.raises(FaceError, match="no frame"):
            tracker.track([], FPS)

    def test_real_clip(self, tracker, shared):
        reader = cv2.VideoCapture(str(shared / "data/examples/video/LivePortrait__examples_driving_d0.mp4"))
        frames = (reader.read()[1][..., ::-1] for _ in range(20))
        [track] = tracker.track(frames, Fraction(25))
        assert track.valid.all()


class TestFaceTrack:
    def test_shapes_are_checked(self):
        with pytest.raises(ValueError, match="478"):
            FaceTrack(np.zeros((3, 468, 3), np.float32), np.ones(3, bool), FPS, (1, 1))
        with pytest.raises(ValueError, match="valid"):
            FaceTrack(np.zeros((3, 478, 3), np.float32), np.ones(2, bool), FPS, (1, 1))


def stand_in(x, size):
    points = np.zeros((478, 3), np.float32)
    return Face(np.array([x, 0, x + size, size], np.float32), points, 0.9)


class TestSelect:
    faces = [stand_in(100, 50), stand_in(300, 40), stand_in(0, 30)]  # largest first

    @pytest.mark.parametrize(
        ("selector", "index"),
        [
            (0, 0), (2, 2), ("1", 1), ("largest", 0), ("largest:2", 2), ("left", 2), ("right", 1),
            ("left-to-right:1", 0), ("right-to-left:0", 1),
        ],
    )  # fmt: skip
    def test_by_index_and_order(self, selector, index):
        assert select_face(self.faces, selector) is self.faces[index]

    @pytest.mark.parametrize("selector", [3, -1, "left-to-right:7", "-1"])
    def test_an_index_that_is_not_there(self, selector):
        with pytest.raises(FaceError, match="3 faces were found"):
            select_face(self.faces, selector)

    @pytest.mark.parametrize(
        "selector", ["tallest", "left:", "left:x", "²", "left-to-right:²", "--1", "-", "9" * 5000, 1.5, True, None]
    )
    def test_a_selector_that_is_not_understood(self, selector):
        with pytest.raises(OptionError):
            select_face(self.faces, selector)

    def test_no_faces(self):
        with pytest.raises(FaceError, match="no face"):
            select_face([], 0)

    def test_a_reference_picture_chooses_the_person(self, shared):
        pytest.importorskip("dlib", reason="dlib (extra bench) is not installed")
        from animate.media import read_image

        group = read_image(shared / "data/examples/portraits/cognitive-serv__Face_images_detection4.jpg")[..., :3]
        with create_tracker() as tracker:
            faces = tracker.detect(group)
        for face in faces:
            x0, y0, x1, y1 = face.box.astype(int)
            margin = (y1 - y0) // 2
            crop = group[max(0, y0 - margin) : y1 + margin, max(0, x0 - margin) : x1 + margin]
            darker = np.ascontiguousarray((crop[:, ::-1] * 0.8).astype(np.uint8))
            assert select_face(faces, darker, group) is face

    def test_a_reference_picture_needs_embeddings(self, astronaut):
        with pytest.raises(OptionError, match="insightface"):
            select_face(self.faces, astronaut)


class TestBackEnds:
    def test_unknown_name(self):
        with pytest.raises(OptionError, match="mediapipe-tasks"):
            create_tracker("dlib")

    def test_missing_task_file_says_where_to_get_it(self, tmp_path):
        with pytest.raises(WeightsError, match=r"nowhere\.task is missing: download it from https://"):
            create_tracker("mediapipe-tasks", tmp_path / "nowhere.task")

    def test_damaged_task_file(self, tmp_path):
        damaged = tmp_path / "damaged.task"
        damaged.write_text("no model")
        with pytest.raises(WeightsError, match=r"damaged\.task cannot be used"):
            create_tracker("mediapipe-tasks", damaged)

    @pytest.mark.parametrize(("name", "module"), [("insightface",) * 2, ("face-alignment", "face_alignment")])
    def test_optional_back_ends_say_what_to_install(self, name, module):
        if importlib.util.find_spec(module):
            pytest.skip(f"{name} is installed")
        with pytest.raises(OptionError, match=r"mien\[faces\]"):
            create_tracker(name)

    def test_tasks_agree_with_the_offline_mesh(self, shared, portrait, face, monkeypatch):
        monkeypatch.setenv("MIEN_FACE_LANDMARKER", str(shared / TASK))
        with create_tracker("mediapipe-tasks") as tasks:
            [found] = tasks.detect(portrait)
            assert error(found.landmarks, face.landmarks) < 0.04
            [track] = tasks.track([portrait] * 3, FPS)
            assert track.valid.all()

    def test_blendshapes(self, shared, portrait, face):
        from animate.faces_tasks import BLENDSHAPE_COUNT, detect_blendshapes

        landmarks, scores = detect_blendshapes(portrait, shared / TASK)
        assert error(landmarks, face.landmarks) < 0.05
        assert len(scores) == BLENDSHAPE_COUNT and all(0 <= score <= 1 for score in scores.values())
        assert scores["mouthSmileLeft"] > 0.5 > scores["jawOpen"]  # she smiles
        with pytest.raises(FaceError, match="blendshapes"):
            detect_blendshapes(np.zeros_like(portrait), shared / TASK)


class TestLog:
    def test_mediapipe_is_silent(self):
        code = (
            "from skimage import data; from animate.faces import create_tracker\n"
            "with create_tracker() as t: assert len(t.detect(data.astronaut())) == 1"
        )
        environment = {k: v for k, v in os.environ.items() if k not in ("GLOG_minloglevel", "TF_CPP_MIN_LOG_LEVEL")}
        root = Path(__file__).resolve().parents[2]
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert (done.returncode, done.stderr) == (0, "")

    def test_native_errors_are_not_hidden(self, capfd):
        from animate.native_log import quiet_native_log

        with pytest.raises(RuntimeError), quiet_native_log():
            os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n")
            os.write(2, b"E0000 00:00:1 graph.cc:1] the model is damaged\n")
            raise RuntimeError
        assert capfd.readouterr().err == "E0000 00:00:1 graph.cc:1] the model is damaged\n"
