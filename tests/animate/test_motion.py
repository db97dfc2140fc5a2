"""Motion: exact to the track, found neutral, safe files, editing."""

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from animate import measures, pose
from animate.errors import FaceError, MotionError, OptionError
from animate.faces import FaceTrack
from animate.motion import HEADER_KEY, MOTIONS_FOLDER, Motion

NAMES = ("laugh", "nod", "smile", "surprise", "talk", "wink")


def made_up_track(frames: int = 40, neutral: range = range(18, 26)) -> FaceTrack:
    """Talks with a turned head, but for a calm stretch, and blinks in the middle of that."""
    rng = np.random.default_rng(3)
    t = np.arange(frames)
    busy = ~np.isin(t, neutral)
    shape = np.repeat(np.array(pose.canonical_face(), np.float64)[None], frames, axis=0)
    lower = [14, 87, 178, 88, 95, 317, 402, 318, 324, 17, 152]
    shape[:, lower, 1] += (busy * (0.1 + 0.08 * np.sin(t)))[:, None]
    for uppers, lowers in (([159, 158, 160], [145, 153, 144]), ([386, 385, 387], [374, 380, 373])):
        shape[20, uppers, 1] = shape[20, lowers, 1]
    shape += rng.normal(0, 5e-4, shape.shape)
    rotation = np.stack([0.02 * np.sin(t), busy * 0.3 * np.sin(t / 4), 0 * t], axis=1)
    translation = np.stack([300 + 2.0 * t, 200 + 0 * t, 0 * t], axis=1)
    landmarks = pose.compose(shape, pose.Pose(rotation, translation, 90 + 0.2 * t))
    return FaceTrack(landmarks.astype(np.float32), np.ones(frames, bool), Fraction(30000, 1001), (640, 480))


def test_a_motion_gives_its_own_tracks_landmarks_back(speaker):
    motion = Motion.from_track(speaker)
    assert np.abs(motion.landmarks() - speaker.landmarks).max() < 0.01
    assert len(motion) == len(speaker.landmarks) and motion.fps == speaker.fps


def test_units_are_the_drivers_neutral_inter_ocular_distance():
    track = made_up_track()
    motion = Motion.from_track(track)
    assert pose.inter_ocular(motion.neutral) == pytest.approx(1, abs=1e-5)
    assert motion.scale[motion.neutral_index] == pytest.approx(1)
    bigger = replace(track, landmarks=track.landmarks * 3)
    np.testing.assert_allclose(Motion.from_track(bigger).expression, motion.expression, atol=1e-4)
    np.testing.assert_allclose(Motion.from_track(bigger).translation, motion.translation, atol=1e-3)


def test_neutral_is_calm_frontal_and_neither_a_blink_nor_speech():
    motion = Motion.from_track(made_up_track())
    assert motion.neutral_index in range(18, 26) and motion.neutral_index != 20


def test_neutral_is_not_the_frame_with_the_widest_eyes():
    track = made_up_track()
    shapes = pose.decompose(track.landmarks)
    stare = shapes[1].copy()
    stare[22, [159, 158, 160, 386, 385, 387], 1] -= 0.08
    stare[22, [65, 52, 53, 282, 283, 295], 1] -= 0.08
    track.landmarks[:] = pose.compose(stare, shapes[0])
    assert Motion.from_track(track).neutral_index in {18, 19, 23, 24, 25}


def test_neutral_skips_bridged_frames():
    track = made_up_track()
    chosen = Motion.from_track(track).neutral_index
    track.valid[chosen] = False
    assert Motion.from_track(track).neutral_index != chosen
    with pytest.raises(FaceError, match="No frame of the clip shows a face"):
        Motion.from_track(replace(track, valid=np.zeros(len(track), bool)))


def test_neutral_of_real_speech_has_closed_lips_and_open_eyes(speaker):
    neutral = Motion.from_track(speaker).neutral
    assert measures.mouth_opening(neutral) < 0.03
    assert measures.eye_openings(neutral).min() > 0.15


def test_gaze_is_the_iris_in_the_eyes_own_coordinates():
    face = np.array(pose.canonical_face(), np.float64)
    before = measures.gaze_of(face)
    face[468:478, 0] += 0.05  # both irises to the image's right
    moved = measures.gaze_of(face) - before
    np.testing.assert_allclose(moved[:, 0] * measures.eye_widths(face), 0.05, atol=2e-3)
    assert (moved[:, 0] > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_builtin_motions_start_and_end_near_neutral_and_name_their_licence(name):
    motion = Motion.builtin(name)
    assert 2 <= motion.duration <= 5 and motion.source and motion.licence
    for frame in (0, -1):
        assert np.abs(motion.expression[frame]).max() < 0.02
        np.testing.assert_allclose(motion.rotation[frame], motion.neutral_rotation, atol=0.01)
        np.testing.assert_allclose(motion.translation[frame], motion.neutral_translation, atol=0.02)
    assert np.abs(np.diff(motion.expression, axis=0)).max() < 0.12, "no jumps"


def test_builtin_motions_do_what_their_names_say():
    motions = {name: Motion.builtin(name) for name in NAMES}
    eyes = {name: measures.eye_openings(m.shapes) for name, m in motions.items()}
    assert measures.mouth_opening(motions["talk"].shapes).max() > 0.12
    assert np.ptp(measures.mouth_width(motions["smile"].shapes)) > 0.15
    assert np.ptp(measures.mouth_width(motions["laugh"].shapes)) > 0.3
    assert eyes["wink"][:, 0].min() < 0.04 and eyes["wink"][:, 1].min() > 0.15
    assert np.ptp(measures.brow_heights(motions["surprise"].shapes), axis=0).min() > 0.07
    assert np.ptp(pose.head_angles(motions["nod"].rotation)[:, 0]) > np.radians(8)
    assert sum(path.stat().st_size for path in MOTIONS_FOLDER.glob("*.safetensors")) < 1.5e6


def test_unknown_builtin_lists_the_known_ones():
    with pytest.raises(OptionError, match="laugh, nod, smile"):
        Motion.builtin("yawn")


def test_a_saved_motion_comes_back(tmp_path, talk):
    path = tmp_path / "m.safetensors"
    motion = replace(talk, fps=Fraction(30000, 1001), source="a, b", licence="CC0", neutral_index=4)
    motion.save(path)
    loaded = Motion.load(path)
    assert (loaded.fps, loaded.source, loaded.licence, loaded.neutral_index) == (
        Fraction(30000, 1001), "a, b", "CC0", 4,
    )  # fmt: skip
    assert np.abs(loaded.expression - motion.expression).max() < 1e-3
    for name in ("rotation", "translation", "scale", "gaze", "valid", "neutral", "neutral_rotation"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(motion, name))
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"], "no temporary file is left"


def spoil(path, change):
    tensors = load_file(path)
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()[HEADER_KEY])
    change(tensors, header)
    save_file(tensors, path, metadata={HEADER_KEY: json.dumps(header)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, h: t["expression"].__setitem__((0, 0, 0), np.nan), "expression.*not finite"),
        (lambda t, h: t["gaze"].__setitem__((1, 0, 0), np.inf), "gaze.*not finite"),
        (lambda t, h: t.update(rotation=t["rotation"][:, :2].copy()), "rotation.*shape"),
        (lambda t, h: t.update(scale=t["scale"][:-1].copy()), "scale.*shape"),
        (lambda t, h: t.update(scale=-t["scale"]), "scale that is not positive"),
        (lambda t, h: t.pop("gaze"), "lacks gaze"),
        (
            lambda t, h: t.update({k: v[:0].copy() for k, v in t.items() if not k.startswith("neutral")}),
            "no frames",
        ),
        (lambda t, h: h.update(schema=2), "version 2"),
        (lambda t, h: h.pop("schema"), "version None"),
        (lambda t, h: h.update(fps="25/0"), "damaged"),
        (lambda t, h: h.update(fps="-25"), "frames per second"),
        (lambda t, h: h.pop("fps"), "damaged"),
        (lambda t, h: h.update(neutral_index=10_000), "neutral"),
    ],
)
def test_a_spoilt_file_is_refused_by_name(tmp_path, talk, change, message):
    path = tmp_path / "spoilt.safetensors"
    talk.save(path)
    spoil(path, change)
    with pytest.raises(MotionError, match=message) as caught:
        Motion.load(path)
    assert "spoilt.safetensors" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"hello, I am a text file", b"\x80\x04\x95pickle", b"{" * 100])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(MotionError, match="not a motion file"):
        Motion.load(path)


def test_safetensors_without_mien_header_and_missing_files_are_refused(tmp_path):
    save_file({"a": np.zeros(3)}, tmp_path / "weights.safetensors")
    with pytest.raises(MotionError, match="not a motion file"):
        Motion.load(tmp_path / "weights.safetensors")
    with pytest.raises(MotionError, match="no motion file"):
        Motion.load(tmp_path / "absent.safetensors")


def test_an_unwritable_folder_is_one_sentence(tmp_path, talk):
    with pytest.raises(MotionError, match="cannot be written"):
        talk.save(tmp_path / "absent" / "m.safetensors")


def test_resampling_keeps_the_length_and_the_moment_of_a_blink(talk):
    fast = talk.resample("60000/1001")
    assert fast.fps == Fraction(60000, 1001) and len(fast) == round(3 * 60000 / 1001)
    blink = [np.argmin(measures.eye_openings(m.shapes).mean(axis=1)) / float(m.fps) for m in (talk, fast)]
    assert abs(blink[0] - blink[1]) < 0.03
    back = fast.resample(25)
    assert len(back) == len(talk) and np.abs(back.expression - talk.expression).mean() < 1e-3
    assert len(talk.take(slice(0, 1)).resample(50)) == 2


def test_resampling_marks_a_frame_between_seen_and_bridged_as_bridged(talk):
    valid = np.ones(len(talk), bool)
    valid[10] = False
    doubled = replace(talk, valid=valid).resample(50)
    assert not doubled.valid[19:22].any() and doubled.valid[:19].all() and doubled.valid[22:].all()


def test_trim_takes_seconds_and_keeps_the_neutral_pose(talk):
    motion = replace(talk, neutral_index=5, neutral_rotation=talk.rotation[5])
    part = motion.trim(1.0, 2.0)
    assert len(part) == 25 and part.neutral_index == -1
    np.testing.assert_array_equal(part.neutral_rotation, motion.neutral_rotation)
    assert motion.trim(0.1).neutral_index == 3
    with pytest.raises(OptionError, match="leaves nothing"):
        motion.trim(2.0, 1.0)


def test_joined_motions_follow_each_other_without_a_jump(talk):
    smile = replace(Motion.builtin("smile").trim(1.0, 2.0), fps=Fraction(25))  # cut out of the middle
    joined = Motion.join([talk, smile, talk], blend=0.2)
    assert len(joined) == len(talk) * 2 + len(smile)
    steps = np.abs(np.diff(joined.expression, axis=0)).max(axis=(1, 2))
    assert steps.max() < 0.1 and np.abs(np.diff(joined.rotation, axis=0)).max() < 0.06
    np.testing.assert_array_equal(joined.expression[:60], talk.expression[:60])
    middle = len(talk) + len(smile) // 2
    np.testing.assert_allclose(joined.expression[middle], smile.expression[len(smile) // 2], atol=1e-3)
    assert "GRID" in joined.source and "MIT" in joined.licence
    with pytest.raises(OptionError):
        Motion.join([])


def test_joining_resamples_to_the_first_ones_rate(talk):
    assert len(Motion.join([talk, talk.resample(50)])) == 2 * len(talk)


def test_scaled_to_nothing_is_the_neutral_face_at_rest(talk):
    still = talk.scaled(dict.fromkeys(("eyes", "brows", "lips", "jaw"), 0.0))
    assert measures.mouth_opening(still.shapes).max() < measures.mouth_opening(talk.neutral) + 0.02
    np.testing.assert_allclose(
        talk.scaled({"rotation": 0}).rotation, np.tile(talk.neutral_rotation, (75, 1)), atol=1e-6
    )
    np.testing.assert_allclose(talk.scaled({}).expression, talk.expression, atol=1e-6)


def test_wrong_arrays_are_refused_at_once(talk):
    with pytest.raises(MotionError, match="gaze"):
        replace(talk, gaze=np.zeros((75, 2)))
    with pytest.raises(MotionError, match="frames per second"):
        replace(talk, fps=Fraction(0))
