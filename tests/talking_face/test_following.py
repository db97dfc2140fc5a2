"""Following one person through a clip of any length."""

import tempfile
from fractions import Fraction

import numpy as np
import pytest

from animate import pose
from animate.errors import FaceError
from animate.faces import create_tracker
from animate.motion import Motion
from talking_face import following
from talking_face.following import FollowedFace, follow, steady


def followed(landmarks: np.ndarray, valid: np.ndarray, fps=25) -> FollowedFace:
    file = tempfile.TemporaryFile()
    file.write(landmarks.astype(np.float32).tobytes())
    return FollowedFace(file, valid, Fraction(fps), (640, 480))


@pytest.fixture(scope="module")
def speaker() -> np.ndarray:
    """Landmarks (75, 478, 3) px of a real speaker."""
    landmarks = Motion.builtin("talk").landmarks()
    return landmarks * (60 / pose.inter_ocular(landmarks[0])) + (320, 240, 0)


@pytest.fixture(scope="module")
def frames(astronaut) -> list[np.ndarray]:
    """A face that moves to the right, with two frames without it."""
    face = np.ascontiguousarray(astronaut[0:256, 96:352])
    blank = np.full_like(face, 128)
    return [blank if t in (4, 5) else np.roll(face, 2 * t, axis=1) for t in range(12)]


@pytest.fixture(scope="module")
def tracker():
    with create_tracker() as made:
        yield made


def test_pieces_give_the_same_track_as_the_whole(frames, tracker, monkeypatch):
    whole = follow(tracker, iter(frames), Fraction(25))
    assert whole.valid.tolist() == [t not in (4, 5) for t in range(12)]
    monkeypatch.setattr(following, "CHUNK", 5)
    pieces = follow(tracker, iter(frames), Fraction(25))
    assert np.array_equal(whole.valid, pieces.valid) and whole.shots == pieces.shots == [(0, 4), (6, 12)]
    assert np.abs(whole.landmarks[:] - pieces.landmarks[:]).max() < 1.5


def test_the_chosen_person_is_found_again_in_the_next_piece(frames, tracker, monkeypatch):
    monkeypatch.setattr(following, "CHUNK", 4)
    pair = [np.hstack([f, frames[0]]) for f in frames[:3] + frames[6:10]]
    asked = []

    def right(tracks):
        asked.append(len(tracks))
        return max(tracks, key=lambda track: track.boxes[0, 0])

    face = follow(tracker, iter(pair), Fraction(25), choose=right)
    assert asked == [2] and face.valid.all() and (face.landmarks[:][:, 1, 0] > 256).all()


def test_a_clip_without_a_face_is_one_sentence_that_names_it(tracker):
    blank = [np.full((64, 64, 3), 128, np.uint8)] * 3
    with pytest.raises(FaceError, match=r"^No frame of nobody\.mp4 shows a face") as caught:
        follow(tracker, iter(blank), Fraction(25), "nobody.mp4")
    assert str(caught.value).count("\n") == 0


def test_a_cut_begins_a_new_shot_and_the_level_falls_only_beside_missing_frames(speaker):
    landmarks, valid = speaker.copy(), np.ones(75, bool)
    landmarks[40:] += (120, 0, 0)
    valid[60:65] = False
    face = followed(landmarks * valid[:, None, None], valid)
    assert face.shots == [(0, 40), (40, 60), (65, 75)]
    assert (face.level[[20, 39, 40]] == 1).all() and (face.level[60:65] == 0).all()
    assert 0 < face.level[59] < 1 and face.level[65] == face.level[59]
    assert (np.diff(face.level[65:70]) >= 0).all()


def test_rows_come_from_the_file_as_they_are_asked_for(speaker):
    face = followed(speaker, np.ones(75, bool))
    rows = speaker.astype(np.float32)
    assert len(face.landmarks) == 75 and face.landmarks[3].shape == (478, 3)
    for which in (7, -1, slice(10, 20, 3), np.array([40, 2, 40])):
        assert np.array_equal(face.landmarks[which], rows[which])


def test_the_pose_has_less_jitter_and_the_same_path(speaker):
    rng = np.random.default_rng(0)
    noisy = speaker + rng.normal(size=(75, 1, 3)) * 0.2
    face, own = followed(noisy, np.ones(75, bool)), pose.decompose(speaker)[0]
    before = np.abs(np.diff(pose.decompose(noisy)[0].translation, 2, axis=0)).mean()
    after = np.abs(np.diff(face.translation, 2, axis=0)).mean()
    assert after < 0.6 * before
    assert np.abs(face.translation - own.translation).mean() < 0.5


def test_steady_passes_a_jump_and_takes_jitter():
    step = np.where(np.arange(60)[:, None] < 30, 0.0, 40.0)
    assert np.abs(steady(step, 25.0) - step).max() < 1e-6
    noise = np.random.default_rng(2).normal(size=(200, 1)) * 0.3
    assert steady(noise, 25.0).std() < 0.7 * noise.std()
