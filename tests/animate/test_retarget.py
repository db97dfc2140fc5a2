"""Retargeting: exact on the driver's own face, closed where the driver closes, proportioned on others."""

import time
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from animate import measures, pose
from animate import topology as mesh
from animate.closure import EASE_FROM, MAX_SLOPE, ease_opening, map_opening
from animate.errors import FaceError, OptionError
from animate.motion import Motion
from animate.retarget import (
    MAX_YAW,
    STRENGTHS,
    jaw_part,
    limit_turn,
    match_frame,
    region_weights,
    resolve_strengths,
    retarget,
    scale_offsets,
)


def in_pixels(face: np.ndarray, size: float = 100.0) -> np.ndarray:
    return face * size + (320, 240, 0)


def canonical(landmarks: np.ndarray) -> np.ndarray:
    shapes = pose.decompose(landmarks)[1]
    return shapes / pose.inter_ocular(shapes)[:, None, None]


def acting(face: np.ndarray, change, frames: int = 11) -> Motion:
    """A driver with this neutral face: `change(shape, level)` with the level rising from 0 to 1."""
    levels = np.linspace(0, 1, frames)
    shapes = np.stack([face + change(face, level) for level in levels])
    return Motion(
        fps=Fraction(25),
        rotation=np.zeros((frames, 3)),
        translation=np.zeros((frames, 3)),
        scale=np.ones(frames),
        expression=shapes - face,
        gaze=measures.gaze_of(shapes),
        valid=np.ones(frames, bool),
        neutral=face,
        neutral_index=0,
    )


def blinks(face: np.ndarray, level: float, eyes=(0, 1), residual: float = 0.1) -> np.ndarray:
    change = np.zeros((478, 3))
    gaps = measures.lid_gaps(face)
    for eye in eyes:
        pairs = np.array(mesh.EYE_PAIRS[eye])
        change[pairs[:, 0], 1] = level * gaps[eye] * (1 - residual)
    return change


def opens(face: np.ndarray, level: float, by: float = 0.3) -> np.ndarray:
    change = np.zeros((478, 3))
    change[list(mesh.LOWER_LIP), 1] = by * level
    change[list(mesh.CHIN_POINTS), 1] = by * level
    return change


# Absolute mode on the driver's own face


@pytest.mark.parametrize("frame", [0, 30, 51, 74])
def test_a_portrait_out_of_the_clip_gets_the_drivers_landmarks(speaker, frame):
    motion = Motion.from_track(speaker)
    result = retarget(speaker.landmarks[frame], motion, "absolute")
    assert result.shape == (75, 478, 3) and result.dtype == np.float32
    assert np.abs(result - speaker.landmarks).max() < 0.05


def test_so_does_one_from_a_saved_motion_but_for_its_rounding(speaker, tmp_path):
    Motion.from_track(speaker).save(tmp_path / "m.safetensors")
    motion = Motion.load(tmp_path / "m.safetensors")
    assert np.abs(retarget(speaker.landmarks[0], motion, "absolute") - speaker.landmarks).max() < 0.1


def test_a_bigger_copy_of_the_clip_elsewhere_moves_in_its_own_pixels(speaker):
    motion = Motion.from_track(speaker)
    big = speaker.landmarks * 3 + np.float32([100, 50, 0])
    result = retarget(big[20], motion, "absolute")
    np.testing.assert_allclose(result, big, atol=0.15)


def test_the_first_frame_wins_ties(make_face):
    face = make_face()
    shapes = np.repeat(face[None], 5, axis=0)
    assert match_frame(face, shapes, np.ones(5, bool), np.zeros(5)) == 0
    open_mouth = face + opens(face, 1.0)
    shapes[3] = open_mouth
    assert match_frame(open_mouth, shapes, np.ones(5, bool), np.zeros(5)) == 3
    assert match_frame(face, shapes, np.array([False, True, True, True, True]), np.zeros(5)) == 1


# Relative mode


def test_neutral_gives_the_portrait_back(talk, astronaut_landmarks):
    still = talk.scaled(dict.fromkeys(STRENGTHS, 0.0))
    result = retarget(astronaut_landmarks, still)
    np.testing.assert_allclose(result, np.tile(astronaut_landmarks, (75, 1, 1)), atol=2.0)
    result = retarget(astronaut_landmarks, talk, strengths=dict.fromkeys(STRENGTHS, 0.0), regions={"all"})
    points = [*mesh.NOSE_BRIDGE, *mesh.FACE_OVAL]
    np.testing.assert_allclose(result[:, points], np.tile(astronaut_landmarks[points], (75, 1, 1)), atol=1.5)


def test_relative_mode_on_the_drivers_own_neutral_frame_follows_the_driver(speaker):
    motion = Motion.from_track(speaker)
    result = retarget(speaker.landmarks[motion.neutral_index], motion)
    assert np.median(np.abs(result - speaker.landmarks)) < 0.1
    for measure in (measures.mouth_opening, measures.mouth_width):
        assert np.corrcoef(measure(canonical(result)), measure(canonical(speaker.landmarks)))[0, 1] > 0.995


def test_head_moves_are_added_to_the_portraits_own_pose(other_face):
    angles = np.radians([[0, 0, 0], [5, 10, 0], [0, -8, 3]])
    motion = acting(np.array(pose.canonical_face(), np.float64), lambda f, level: np.zeros((478, 3)), 3)
    motion = replace(
        motion, rotation=pose.rotation_from_angles(angles), translation=[[0, 0, 0], [0.1, 0, 0], [0, 0.2, 0]]
    )
    own, _ = pose.decompose(other_face)
    result, _ = pose.decompose(retarget(other_face, motion))
    expected = pose.rotation_matrices(motion.rotation) @ pose.rotation_matrices(own.rotation)[0]
    np.testing.assert_allclose(pose.rotation_matrices(result.rotation), expected, atol=1e-4)
    unit = pose.inter_ocular(other_face)
    np.testing.assert_allclose(result.translation - own.translation, motion.translation * unit, atol=0.05)
    np.testing.assert_allclose(result.scale, own.scale[0], rtol=1e-4)


def test_a_large_turn_slows_before_its_limit_in_relative_mode_only(make_face):
    face = make_face()
    yaw = np.radians(np.linspace(0, 80, 41))
    motion = acting(face, lambda f, level: np.zeros((478, 3)), 41)
    motion = replace(motion, rotation=pose.rotation_from_angles(np.stack([0 * yaw, yaw, 0 * yaw], axis=1)))
    turned = {
        m: pose.head_angles(pose.decompose(retarget(in_pixels(face), motion, m))[0].rotation)[:, 1]
        for m in ("relative", "absolute")
    }
    limit = np.radians(MAX_YAW)
    small = yaw < 0.7 * limit
    np.testing.assert_allclose(turned["relative"][small], yaw[small], atol=1e-4)
    assert (np.diff(turned["relative"]) >= 0).all() and turned["relative"].max() <= limit + 1e-4
    np.testing.assert_allclose(turned["absolute"], yaw, atol=1e-4)


def test_a_portrait_that_is_turned_further_keeps_its_turn():
    own = pose.rotation_from_angles(np.radians([[0, 60, 0]]))
    np.testing.assert_allclose(limit_turn(own, own), own, atol=1e-6)


# Closure


@pytest.mark.parametrize("portrait", [{}, {"eye": 1.4}, {"eye": 0.7}, {"mouth": 0.7, "eye": 1.2}])
def test_a_closed_driver_eye_closes_the_portraits(make_face, portrait):
    driver = make_face()
    motion = acting(driver, blinks)
    result = canonical(retarget(in_pixels(make_face(**portrait)), motion))
    closed = measures.lid_gaps(motion.shapes[-1:])
    assert (measures.lid_gaps(result[-1:]) <= closed + 1e-4).all()
    openings = measures.eye_openings(result)
    assert (np.diff(openings, axis=0) < 0).all(), "it closes steadily"
    np.testing.assert_allclose(openings[0], measures.eye_openings(make_face(**portrait)), atol=2e-3)


def test_a_wink_stays_a_wink(make_face):
    motion = acting(make_face(), lambda f, level: blinks(f, level, eyes=(1,)))
    openings = measures.eye_openings(canonical(retarget(in_pixels(make_face(eye=1.3)), motion)))
    assert openings[-1, 1] < 0.2 * openings[0, 1]
    np.testing.assert_allclose(openings[:, 0], openings[0, 0], atol=2e-3)


@pytest.mark.parametrize(
    "portrait", [{"mouth": 0.7}, {"mouth": 1.3}, {"jaw": 1.3}, {"gap": 0.03}, {"mouth": 0.7, "gap": 0.06}]
)
def test_lips_that_meet_in_the_driver_meet_in_the_portrait(make_face, portrait):
    """The driver's lips rest a little apart; in the middle of the clip they press together, then open
    wide."""
    driver = make_face(mouth=1.2, gap=0.04)

    def speaks(face, level):
        return opens(face, 1.0, by=-0.04 if level == 0.5 else 0.3 * level)

    motion = acting(driver, speaks)
    result = canonical(retarget(in_pixels(make_face(**portrait)), motion))
    gaps = measures.lip_gaps(result)
    assert np.abs(gaps[5]).max() < 2e-3, "closed"
    assert gaps.min() > -2e-3, "lips never cross"
    opening = measures.mouth_opening(result)
    assert opening[-1] > 0.15 and opening[0] == pytest.approx(max(portrait.get("gap", 0), 0), abs=5e-3)


def test_closing_keeps_the_lips_thickness(make_face):
    driver = make_face(gap=0.05)
    motion = acting(driver, lambda f, level: opens(f, level, by=-0.05))
    before, after = canonical(retarget(in_pixels(make_face(gap=0.05, jaw=1.2)), motion))[[0, -1]]
    for inner, outer in ((13, 0), (14, 17)):
        thick = [abs(shape[outer, 1] - shape[inner, 1]) for shape in (before, after)]
        assert thick[1] == pytest.approx(thick[0], abs=0.012)


def test_a_smile_on_a_smile_does_not_reach_the_ears(make_face):
    def smiles(face, level):
        change = np.zeros((478, 3))
        change[:, 0] = 0.35 * level * region_weights()["lips"] * face[:, 0] / 0.4
        return change

    motion = acting(make_face(mouth=0.85), smiles)
    widths = measures.mouth_width(canonical(retarget(in_pixels(make_face(mouth=1.3)), motion)))
    driver = measures.mouth_width(motion.shapes)
    assert (np.diff(widths) > -1e-4).all()
    assert widths[-1] - widths[0] < 0.75 * (driver[-1] - driver[0])


gap = st.floats(-0.02, 0.5)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(gap, min_size=2, max_size=8),
    st.floats(0, 0.3),
    st.floats(0, 0.3),
    st.floats(0.6, 1.6),
    st.floats(0.3, 1),
)
def test_the_opening_map_is_monotone_and_meets_its_fixed_points(gaps, rest, own, above, base):
    x = np.sort(np.array(gaps))
    y = map_opening(x, np.float64(rest), np.float64(own), np.float64(above), base)
    assert (np.diff(y) >= -1e-9).all()
    at = map_opening(np.array([0.0, rest]), np.float64(rest), np.float64(own), np.float64(above), base)
    assert at[1] == pytest.approx(own, abs=1e-6)
    if rest > 1e-3 and own <= MAX_SLOPE * rest:
        assert at[0] == pytest.approx(0, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(st.lists(gap, min_size=1, max_size=8), st.floats(-0.02, 0.3))
def test_the_opening_map_is_the_identity_between_equals(gaps, rest):
    x, rest = np.array(gaps), np.float64(rest)
    np.testing.assert_allclose(map_opening(x, rest, rest, np.float64(1), 1.0), x, atol=1e-9)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 0.6), min_size=2, max_size=8), st.floats(-0.1, 0.3))
def test_easing_is_monotone_and_ends_at_the_drivers_opening(opened, excess):
    x = np.sort(np.array(opened))
    y = ease_opening(x, np.float64(excess))
    assert (
        (np.diff(y) >= -1e-12).all() and (y <= x + 1e-12).all() and ease_opening(np.zeros(1), np.float64(excess)) == 0
    )
    big = ease_opening(np.array([2.0]), np.float64(excess))
    np.testing.assert_allclose(big, 2.0 - max(excess - EASE_FROM, 0), atol=1e-9)


# Gaze


@pytest.mark.parametrize("mode", ["relative", "absolute"])
def test_the_gaze_follows_by_eye_widths(make_face, mode):
    def looks(face, level):
        change = np.zeros((478, 3))
        change[468:478, 0] = 0.08 * level
        return change

    motion = acting(make_face(), looks)
    result = canonical(retarget(in_pixels(make_face(eye=1.2)), motion, mode))
    turned = measures.gaze_of(result) - measures.gaze_of(result[0])
    np.testing.assert_allclose(turned, motion.gaze - motion.gaze[0], atol=2e-3)
    weak = canonical(retarget(in_pixels(make_face(eye=1.2)), motion, mode, strengths={"gaze": 0.5}))
    np.testing.assert_allclose(measures.gaze_of(weak) - measures.gaze_of(weak[0]), turned / 2, atol=2e-3)


def test_the_iris_keeps_the_portraits_radius_and_stays_in_the_eye(talk, astronaut_landmarks):
    result = canonical(retarget(astronaut_landmarks, talk, strengths={"gaze": 5.0}))
    own = canonical(astronaut_landmarks)
    for centre, *ring in mesh.IRISES:
        radii = np.linalg.norm(result[:, ring] - result[:, [centre]], axis=-1)
        expected = np.linalg.norm(own[:, ring] - own[:, [centre]], axis=-1)
        np.testing.assert_allclose(radii, np.tile(expected, (75, 1)), rtol=0.02)
    assert np.abs(measures.gaze_of(result)[..., 0]).max() < 0.5


# Strengths and regions


def test_jaw_and_lips_are_the_two_parts_of_a_mouths_movement(talk):
    offsets = talk.expression.astype(np.float64)
    levels = resolve_strengths(None, None, len(talk))
    assert scale_offsets(offsets, levels) is offsets
    jaw = jaw_part(offsets)
    chin = [mesh.CHIN, 148, 377]
    np.testing.assert_allclose(jaw[:, chin], np.tile(jaw[:, [mesh.CHIN]], (1, 3, 1)), atol=1e-9)
    assert np.abs(jaw[:, list(mesh.UPPER_LIP)]).max() == 0
    without_jaw = scale_offsets(offsets, resolve_strengths({"jaw": 0}, None, len(talk)))
    opening = [measures.mouth_opening(talk.neutral + o) for o in (offsets, without_jaw)]
    assert opening[1].max() < 0.6 * opening[0].max()
    assert np.abs(without_jaw[:, chin]).max() < 0.25 * np.abs(offsets[:, chin]).max()


@pytest.mark.parametrize(
    ("name", "measure"),
    [
        ("eyes", lambda s: measures.eye_openings(s).mean(axis=1)),
        ("brows", lambda s: measures.brow_heights(s).mean(axis=1)),
        ("jaw", measures.mouth_opening),
    ],
)
def test_a_strength_scales_its_own_region_alone(name, measure, other_face):
    motion = Motion.builtin("surprise")
    plain = measure(canonical(retarget(other_face, motion)))
    weak = measure(canonical(retarget(other_face, motion, strengths={name: 0.3})))
    assert np.ptp(weak) < 0.75 * np.ptp(plain)
    others = {"eyes": measures.mouth_opening, "brows": measures.mouth_opening}
    other = others.get(name, lambda s: measures.eye_openings(s).mean(axis=1))
    once, again = (other(canonical(retarget(other_face, motion, strengths=s))) for s in (None, {name: 0.3}))
    np.testing.assert_allclose(again, once, atol=0.012)


def test_a_strength_may_be_a_curve(talk, other_face):
    curve = np.zeros(75)
    curve[40:] = 1.0
    fields = ("eyes", "brows", "lips", "jaw")
    result = retarget(other_face, talk, strengths=dict.fromkeys(fields, curve))
    full = retarget(other_face, talk)
    np.testing.assert_allclose(result[40:], full[40:], atol=1e-3)
    moving = measures.mouth_opening(canonical(result[:40]))
    assert np.ptp(moving) < 0.3 * np.ptp(measures.mouth_opening(canonical(full[:40])))


@pytest.mark.parametrize("mode", ["relative", "absolute"])
def test_regions_hold_the_rest_still(talk, other_face, mode):
    posed = retarget(other_face, talk, mode, regions={"pose"})
    shapes = canonical(posed)
    np.testing.assert_allclose(shapes, np.tile(shapes[:1], (75, 1, 1)), atol=2e-3)
    for names in ({"exp"}, {"lips"}, {"eyes"}):
        result = pose.decompose(retarget(other_face, talk, mode, regions=names))[0]
        own = pose.decompose(other_face)[0]
        np.testing.assert_allclose(result.translation, np.tile(own.translation, (75, 1)), atol=3.0)
        np.testing.assert_allclose(result.rotation, np.tile(own.rotation, (75, 1)), atol=0.05)
    lips, eyes = (canonical(retarget(other_face, talk, mode, regions=names)) for names in ({"lips"}, {"eyes"}))
    assert np.ptp(measures.mouth_opening(lips)) > 0.1 > np.ptp(measures.mouth_opening(eyes)) * 5
    assert np.ptp(measures.eye_openings(eyes)) > 0.1 > np.ptp(measures.eye_openings(lips)) * 5


def test_all_and_none_are_everything(talk, other_face):
    once = retarget(other_face, talk)
    for names in ({"all"}, {"exp", "pose"}, set(STRENGTHS)):
        np.testing.assert_array_equal(retarget(other_face, talk, regions=names), once)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "sideways"}, "relative, absolute"),
        ({"strengths": {"ears": 1}}, "eyes, brows, lips, jaw, gaze, rotation, translation"),
        ({"strengths": {"eyes": -1}}, "0 or more"),
        ({"strengths": {"eyes": float("nan")}}, "0 or more"),
        ({"strengths": {"eyes": np.ones(7)}}, "75 numbers"),
        ({"regions": {"nose"}}, "all, exp, pose, lips, eyes"),
    ],
)
def test_unknown_options_are_refused_with_the_known_ones(talk, other_face, options, message):
    with pytest.raises(OptionError, match=message):
        retarget(other_face, talk, **options)


def test_landmarks_that_are_no_face_are_refused(talk):
    with pytest.raises(FaceError):
        retarget(np.zeros((478, 3)), talk)


# The whole


def test_region_weights_sum_to_one_and_are_symmetric():
    weights = region_weights()
    np.testing.assert_allclose(sum(weights.values()), 1, atol=1e-12)
    for name, value in weights.items():
        assert value.min() >= -1e-12
        np.testing.assert_allclose(value[mesh.MIRROR], value, atol=1e-5, err_msg=name)


def test_a_mirrored_driver_on_a_mirrored_portrait_is_the_mirrored_result(talk, other_face):
    flip = np.array([-1.0, 1.0, 1.0])
    turned = replace(
        talk,
        rotation=talk.rotation * (1, -1, -1),
        translation=talk.translation * flip,
        expression=talk.expression[:, mesh.MIRROR] * flip,
        gaze=talk.gaze[:, ::-1] * (-1, 1),
        neutral=talk.neutral[mesh.MIRROR] * flip,
        neutral_rotation=talk.neutral_rotation * (1, -1, -1),
        neutral_translation=talk.neutral_translation * flip,
    )
    result = retarget(mesh.mirror_landmarks(other_face, 640), turned)
    np.testing.assert_allclose(mesh.mirror_landmarks(result, 640), retarget(other_face, talk), atol=0.05)


def test_three_hundred_frames_take_less_than_half_a_second(talk, other_face):
    motion = Motion.join([talk] * 4)
    retarget(other_face, motion)  # tables are made once
    start = time.perf_counter()
    retarget(other_face, motion)
    assert time.perf_counter() - start < 0.5
