"""ARKit curves: what goes out as CSV comes back as the same movement."""

import csv
from fractions import Fraction

import numpy as np
import pytest

from animate import arkit, measures, pose
from animate.arkit import BLENDSHAPES, COLUMNS, motion_from_arkit_csv, motion_to_arkit_csv, scores_of
from animate.errors import MotionError


def write_curves(path, curves: dict[str, np.ndarray]) -> None:
    count = len(next(iter(curves.values())))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for t in range(count):
            row = [f"{curves[name][t]:.6f}" if name in curves else "0.0" for name in COLUMNS[2:]]
            writer.writerow(["00:00:00:00.000", 61, *row])


def wave(period: float, count: int = 60) -> np.ndarray:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(count) / period)


@pytest.fixture
def curves() -> dict[str, np.ndarray]:
    return {
        "JawOpen": 0.8 * wave(13),
        "EyeBlinkLeft": wave(29),
        "EyeBlinkRight": wave(17),
        "MouthSmileLeft": 0.6 * wave(37),
        "HeadYaw": 0.4 * wave(41) - 0.2,
        "HeadPitch": 0.2 * wave(23),
        "HeadRoll": 0.1 * wave(31),
    }


def test_there_are_52_curves_and_9_angles_in_live_links_columns():
    assert len(BLENDSHAPES) == len(set(BLENDSHAPES)) == 52 and len(COLUMNS) == 2 + 61
    assert COLUMNS[:3] == ("Timecode", "BlendshapeCount", "EyeBlinkLeft") and COLUMNS[-1] == "RightEyeRoll"


def test_live_links_own_file_has_these_columns(shared):
    path = next((shared / "data/train/B_unclear/data").glob("*iPhone_cal.csv"))
    with path.open(newline="") as file:
        assert tuple(next(csv.reader(file))) == COLUMNS
    motion = motion_from_arkit_csv(path)
    assert len(motion) == 1848 and np.ptp(measures.eye_openings(motion.shapes)) > 0.1


def test_curves_move_what_they_name(tmp_path, curves):
    write_curves(tmp_path / "a.csv", curves)
    motion = motion_from_arkit_csv(tmp_path / "a.csv", 30)
    openings = measures.eye_openings(motion.shapes)
    assert motion.fps == 30 and len(motion) == 60
    assert np.corrcoef(measures.mouth_opening(motion.shapes), curves["JawOpen"])[0, 1] > 0.95
    assert measures.mouth_opening(motion.shapes).max() > 0.3
    for eye, name in enumerate(("EyeBlinkRight", "EyeBlinkLeft")):
        assert np.corrcoef(openings[:, eye], curves[name])[0, 1] < -0.95
        assert openings[:, eye].min() < 0.06, "a full blink closes the eye"
    corners = measures.corner_heights(motion.shapes)
    left_over_right = corners[:, 1] - corners[:, 0]
    assert np.corrcoef(left_over_right, curves["MouthSmileLeft"])[0, 1] > 0.9
    angles = pose.head_angles(motion.rotation)
    expected = np.stack([curves["HeadPitch"], curves["HeadYaw"], -curves["HeadRoll"]], axis=1)
    np.testing.assert_allclose(angles, expected, atol=1e-5)


def test_gaze_curves_turn_the_eyes_and_the_iris_points(tmp_path):
    write_curves(tmp_path / "a.csv", {"EyeLookInLeft": wave(20), "EyeLookOutRight": wave(20)})
    motion = motion_from_arkit_csv(tmp_path / "a.csv")
    turned = motion.gaze - motion.gaze[0]
    assert (turned[10, :, 0] < -0.05).all(), "the subject's right is the image's left"
    np.testing.assert_allclose(measures.gaze_of(motion.shapes), motion.gaze, atol=1e-3)


def test_a_round_trip_keeps_curves_and_head(tmp_path, curves):
    write_curves(tmp_path / "a.csv", curves)
    motion_to_arkit_csv(motion_from_arkit_csv(tmp_path / "a.csv", 30), tmp_path / "b.csv")
    back = arkit._read_table(tmp_path / "b.csv")
    for name, values in curves.items():
        assert np.corrcoef(back[name.lower()], values)[0, 1] > 0.95, name
    for name in ("JawOpen", "EyeBlinkLeft"):
        np.testing.assert_allclose(back[name.lower()], curves[name], atol=0.12)


def test_a_real_motion_survives_the_round_trip(tmp_path, talk):
    motion_to_arkit_csv(talk, tmp_path / "talk.csv")
    back = motion_from_arkit_csv(tmp_path / "talk.csv", talk.fps, neutral=talk.neutral)
    assert len(back) == len(talk) and back.fps == talk.fps
    for measure in (measures.mouth_opening, lambda s: measures.eye_openings(s).mean(axis=1)):
        assert np.corrcoef(measure(talk.shapes), measure(back.shapes))[0, 1] > 0.9
    turn = pose.rotation_matrices(talk.rotation) @ pose.rotation_matrices(talk.neutral_rotation)[0].T
    np.testing.assert_allclose(pose.rotation_matrices(back.rotation), turn, atol=1e-5)


def test_scores_stay_between_zero_and_one(talk):
    scores = scores_of(talk)
    assert scores.shape == (75, 52) and scores.min() >= 0 and scores.max() <= 1
    assert scores[:, BLENDSHAPES.index("JawOpen")].max() > 0.05


def test_timecodes_count_frames_within_seconds(tmp_path, talk):
    motion_to_arkit_csv(talk, tmp_path / "a.csv")
    codes = [line.split(",")[0] for line in (tmp_path / "a.csv").read_text().splitlines()[1:]]
    assert codes[0] == "00:00:00:00.000" and codes[26] == "00:00:01:01.000"
    assert arkit._timecode(30, Fraction(30000, 1001)).startswith("00:00:01:00")


def test_left_and_right_mirror_each_other():
    offsets, gaze = arkit.basis()
    from animate.topology import MIRROR

    for name in ("EyeBlink", "MouthSmile", "BrowDown"):
        left, right = (offsets[BLENDSHAPES.index(f"{name}{side}")] for side in ("Left", "Right"))
        np.testing.assert_allclose(right, left[MIRROR] * (-1, 1, 1), atol=2e-3)
    blink = np.abs(offsets[BLENDSHAPES.index("EyeBlinkLeft")])
    assert blink[list(range(33, 34)) + [159, 145]].max() < 1e-3, "a left blink leaves the right eye alone"
    assert gaze.shape == (52, 2, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column"),
        ("Timecode,Pitch\n0,1\n", "no column"),
        ("Timecode,JawOpen\n", "no frames"),
        ("Timecode,JawOpen\n0,open\n", "no number"),
        ("Timecode,JawOpen\n0\n", "missing value"),
        ("Timecode,JawOpen\n0,nan\n", "not finite"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path, text, message):
    path = tmp_path / "curves.csv"
    path.write_text(text)
    with pytest.raises(MotionError, match=message) as caught:
        motion_from_arkit_csv(path)
    assert "curves.csv" in str(caught.value)


def test_missing_and_binary_files_are_refused(tmp_path, talk):
    with pytest.raises(MotionError, match="no CSV file"):
        motion_from_arkit_csv(tmp_path / "absent.csv")
    (tmp_path / "b.csv").write_bytes(bytes(range(256)))
    with pytest.raises(MotionError):
        motion_from_arkit_csv(tmp_path / "b.csv")
    with pytest.raises(MotionError, match="cannot be written"):
        motion_to_arkit_csv(talk, tmp_path / "absent" / "a.csv")


def test_fitting_finds_a_basis_again(talk):
    """Clips made with the shipped basis teach a basis that moves the face alike."""
    from dataclasses import replace

    from animate.arkit_fit import fit_basis

    rng = np.random.default_rng(0)
    names = ("JawOpen", "EyeBlinkLeft", "EyeBlinkRight", "BrowInnerUp")
    columns = [BLENDSHAPES.index(name) for name in names]
    scores = np.zeros((200, 52))
    scores[1:, columns] = rng.uniform(0, 1, (199, len(columns)))
    still = talk.take(np.zeros(200, int))
    motion = replace(still, expression=np.tensordot(scores, arkit.basis()[0], axes=1), neutral_index=-1)
    scores[1] = 0  # the neutral score is a mean round the neutral frame
    motion.expression[1] = 0
    offsets, _ = fit_basis([scores], [motion])
    for column in columns:
        found, wanted = offsets[column].ravel(), arkit.basis()[0][column].ravel()
        assert np.corrcoef(found, wanted)[0, 1] > 0.97
