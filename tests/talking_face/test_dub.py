"""The Dubber on a small video of a real face: what changes, what must not, and how long it goes on."""

from fractions import Fraction
from itertools import islice

import numpy as np
import pytest

from animate import measures, pose
from animate.animator import PortraitAnimator
from animate.faces import create_tracker
from animate.media import VideoReader, VideoWriter
from animate.motion import Motion
from animate.portrait import Portrait
from talking_face.dub import Clip, Dubber
from talking_face.playback import DubOptions

FPS, FRAMES, BLANK = Fraction(30000, 1001), 30, (12, 13)


@pytest.fixture(scope="module")
def talk() -> Motion:
    """A real speaker's motion at the clip's rate, its mouth open in half of the frames."""
    return Motion.builtin("talk").resample(FPS)


@pytest.fixture(scope="module")
def video(astronaut, talk, tmp_path_factory):
    """A talking face, 30 frames, the face away in two of them."""
    picture = np.ascontiguousarray(astronaut[0:320, 60:380])
    own = talk.take(np.arange(len(talk))[::-1][:FRAMES])  # something else than what it is dubbed with
    path = tmp_path_factory.mktemp("dub") / "clip.mkv"
    frames = PortraitAnimator.from_pretrained(method="prior").animate(Portrait.from_image(picture), own)
    with VideoWriter(path, FPS, crf=5) as writer:
        for t, frame in enumerate(frames):
            writer.write(np.full_like(frame, 128) if t in BLANK else frame)
    return path


@pytest.fixture(scope="module")
def clip(video) -> Clip:
    return Clip.open(video)


@pytest.fixture(scope="module")
def own(video) -> list[np.ndarray]:
    return list(VideoReader(video))


@pytest.fixture(scope="module")
def dubber() -> Dubber:
    return Dubber(PortraitAnimator.from_pretrained(method="prior"))


@pytest.fixture(scope="module")
def dubbed(dubber, clip, talk) -> list[np.ndarray]:
    return list(dubber.dub(clip, [talk.take(slice(0, 10)), talk.take(slice(10, FRAMES))]))


@pytest.fixture(scope="module")
def seen(dubbed):
    """What the tracker finds in the result, with the frames without a face left out."""
    with create_tracker() as tracker:
        return tracker.track(iter(dubbed), FPS)[0]


def opening(landmarks: np.ndarray) -> np.ndarray:
    return measures.mouth_opening(pose.decompose(landmarks)[1])


def test_beyond_the_lower_face_not_a_bit_changes(clip, own, dubbed):
    for t in (0, 7, 20):
        points, iod = clip.face.landmarks[t], pose.inter_ocular(clip.face.landmarks[t])
        changed = (dubbed[t] != own[t]).any(axis=-1)
        ys, xs = np.nonzero(changed)
        assert changed.sum() > 500
        assert ys.min() > points[[159, 386], 1].max(), "eyes"
        low, high = points[:, :2].min(0) - 0.25 * iod, points[:, :2].max(0) + 0.25 * iod
        assert (xs > low[0]).all() and (xs < high[0]).all() and (ys < high[1]).all()


def test_frames_without_the_face_stay_and_are_told(clip, own, dubbed):
    assert clip.missing == list(BLANK)
    assert all(np.array_equal(dubbed[t], own[t]) for t in BLANK)


def test_the_mouth_says_what_the_motion_says_and_the_head_does_what_the_video_does(clip, talk, seen):
    away = np.minimum(np.abs(np.arange(FRAMES) - BLANK[0]), np.abs(np.arange(FRAMES) - BLANK[1]))
    frames = np.flatnonzero(away > 5)
    wanted = measures.mouth_opening(talk.shapes[frames])
    before, after = opening(clip.face.landmarks[frames]), opening(seen.landmarks[frames])
    assert np.corrcoef(wanted, after)[0, 1] > 0.9 > np.corrcoef(before, after)[0, 1] + 0.2
    assert after[wanted < 0.005].max() < 0.03, "lips that meet"
    turned = pose.head_angles(pose.decompose(seen.landmarks[frames])[0].rotation)
    apart = np.abs(np.degrees(turned - pose.head_angles(clip.face.rotation[frames])))
    assert apart[:, 1:].max() < 1.5 and apart[:, 0].max() < 6, "the tracker takes an open mouth for a nod"


def test_the_mouth_comes_and_goes_softly_beside_frames_without_a_face(clip, own, dubbed):
    def changed(t):
        return np.abs(dubbed[t].astype(int) - own[t]).mean()

    assert changed(11) < 0.6 * max(changed(t) for t in range(5, 10))


@pytest.mark.parametrize(("longer", "count"), [("loop", FRAMES + 14), ("hold", FRAMES + 14), ("trim", FRAMES)])
def test_a_longer_sound(dubber, clip, own, talk, longer, count):
    motion = talk.take(np.arange(FRAMES + 14))
    made = list(dubber.dub(clip, [motion], DubOptions(longer=longer)))
    assert len(made) == count
    forehead = slice(0, 60)
    for n in range(FRAMES, count):
        shown = own[2 * (FRAMES - 1) - n] if longer == "loop" else own[-1]
        if longer == "loop":
            assert np.array_equal(made[n][forehead], shown[forehead])
        else:
            assert np.abs(made[n][forehead].astype(int) - shown[forehead]).mean() < 2
    if longer == "hold":
        mouths = [frame[120:260, 80:220].astype(int) for frame in made[FRAMES:]]
        assert max(np.abs(a - mouths[0]).max() for a in mouths) > 40, "the mouth goes on"


def test_a_sound_that_outlasts_the_picture_by_one_block_of_motion(dubber, clip, talk):
    motions = [talk.take(slice(0, FRAMES)), talk.take(slice(0, 5))]
    counts = {longer: len(list(dubber.dub(clip, motions, DubOptions(longer)))) for longer in ("hold", "trim")}
    assert counts == {"hold": FRAMES + 5, "trim": FRAMES}


@pytest.mark.parametrize(("shorter", "count"), [("rest", FRAMES), ("keep", FRAMES), ("trim", 8)])
def test_a_shorter_sound(dubber, clip, own, talk, shorter, count):
    made = list(dubber.dub(clip, [talk.take(slice(0, 8))], DubOptions(shorter=shorter)))
    assert len(made) == count
    if shorter == "keep":
        assert all(np.array_equal(a, b) for a, b in zip(made[20:], own[20:], strict=True))
    if shorter == "rest":
        with create_tracker() as tracker:
            after = opening(np.stack([tracker.detect(frame)[0].landmarks for frame in made[20:]]))
        assert opening(clip.face.landmarks[20:]).max() > 0.08 and after.max() < 0.03


def test_sound_and_picture_are_read_as_they_are_needed(dubber, clip, talk):
    taken = 0

    def motions():
        nonlocal taken
        while True:
            taken += 1
            yield talk.take(slice(0, 10))

    frames = dubber.dub(clip, motions())
    next(frames)
    assert taken <= 4
    assert len(list(islice(frames, 100))) == 100, "a video that is looped goes on as long as the sound"
    frames.close()


def test_the_number_of_threads_does_not_change_the_frames(dubber, clip, dubbed, talk, monkeypatch):
    from animate import animator

    monkeypatch.setattr(animator, "WORKERS", 3)
    again = dubber.dub(clip, [talk.take(slice(0, 12))], DubOptions(shorter="trim"))
    assert all(np.array_equal(a, b) for a, b in zip(again, dubbed, strict=False))


def test_the_network_paints_only_the_mouth(clip, dubbed, talk):
    painted = list(
        Dubber(PortraitAnimator.from_pretrained("mini")).dub(clip, [talk.take(slice(0, 4))], DubOptions(shorter="trim"))
    )
    for t, frame in enumerate(painted):
        ys, xs = np.nonzero((frame != dubbed[t]).any(axis=-1))
        points, iod = clip.face.landmarks[t], pose.inter_ocular(clip.face.landmarks[t])
        mouth = points[[61, 291, 0, 17], :2]
        assert (np.abs(np.stack([xs, ys], 1) - mouth.mean(0)) < 1.0 * iod).all()
    assert any((frame != dubbed[t]).any() for t, frame in enumerate(painted))
