"""The mesh: regions mirror each other, triangles leave mouth and eyes open, and MediaPipe agrees."""

from collections import Counter

import numpy as np
import pytest

from animate import pose, topology

TRIANGLES, MIRROR = topology.TRIANGLES, topology.MIRROR


def test_mirror_is_an_involution_that_swaps_the_eyes_and_keeps_the_midline():
    assert sorted(MIRROR) == list(range(478))
    np.testing.assert_array_equal(MIRROR[MIRROR], np.arange(478))
    assert MIRROR[33] == 263 and MIRROR[133] == 362 and MIRROR[61] == 291 and MIRROR[468] == 473
    midline = [10, 151, 9, 8, 168, 6, 197, 195, 5, 4, 1, 2, 0, 13, 14, 17, 152]
    np.testing.assert_array_equal(MIRROR[midline], midline)


@pytest.mark.parametrize("name", ["EYE_UPPER", "EYE_LOWER", "BROW_UPPER", "BROW_LOWER", "LID_RING", "CREASE_RING"])
def test_left_lists_mirror_right_lists_point_by_point(name):
    right, left = (list(getattr(topology, f"{side}_{name}")) for side in ("RIGHT", "LEFT"))
    np.testing.assert_array_equal(MIRROR[right], left)


@pytest.mark.parametrize("name", ["INNER_LIPS_UPPER", "INNER_LIPS_LOWER", "OUTER_LIPS_UPPER", "OUTER_LIPS_LOWER"])
def test_lip_lines_run_from_corner_to_corner_symmetrically(name):
    line = list(getattr(topology, name))
    np.testing.assert_array_equal(MIRROR[line], line[::-1])
    corners = topology.MOUTH_CORNERS if "INNER" in name else topology.OUTER_MOUTH_CORNERS
    assert (line[0], line[-1]) == corners


@pytest.mark.parametrize("name", sorted(topology.REGIONS))
def test_every_region_is_symmetric(name):
    points = set(topology.REGIONS[name])
    assert len(points) == len(topology.REGIONS[name])
    assert {int(MIRROR[p]) for p in points} == points


def test_right_means_the_subjects_right():
    face = pose.canonical_face()
    assert face[33, 0] < 0 < face[263, 0], "the subject's right eye lies on the image's left"
    assert face[468, 0] < 0 < face[473, 0]


def test_upper_lies_above_lower():
    face = pose.canonical_face()
    for pairs in (*topology.EYE_PAIRS, topology.OUTER_LIP_PAIRS):
        for upper, lower in pairs:
            assert face[upper, 1] < face[lower, 1]


def test_triangles_cover_the_disc_but_for_three_holes():
    edges = Counter(frozenset((t[i], t[i - 2])) for t in TRIANGLES.tolist() for i in range(3))
    assert len(TRIANGLES) == 852 and set(edges.values()) == {1, 2}
    assert set(TRIANGLES.ravel()) == set(range(468))
    assert 468 - len(edges) + len(TRIANGLES) == 1 - 3, "Euler: a disc with three holes"
    rims = {p for edge, count in edges.items() if count == 1 for p in edge}
    holes = {*topology.INNER_LIPS, *topology.RIGHT_EYE, *topology.LEFT_EYE}
    assert rims == holes | set(topology.FACE_OVAL)


def test_no_triangle_spans_an_opening():
    for opening in (topology.INNER_LIPS, topology.RIGHT_EYE, topology.LEFT_EYE):
        assert not np.isin(TRIANGLES, opening).all(axis=1).any()


def test_orientation_is_consistent_and_faces_the_camera():
    directed = Counter((t[i], t[(i + 1) % 3]) for t in TRIANGLES.tolist() for i in range(3))
    assert max(directed.values()) == 1, "two neighbours run along their edge in opposite directions"
    a, b, c = (pose.canonical_face()[TRIANGLES[:, i], :2] for i in range(3))
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    assert (area < 0).mean() > 0.95, "counter-clockwise on the screen"


def test_mirror_landmarks_twice_gives_them_back():
    landmarks = pose.canonical_face() * 100 + 300
    once = topology.mirror_landmarks(landmarks, 640)
    np.testing.assert_allclose(once[33, 0], 639 - landmarks[263, 0], rtol=1e-6)
    np.testing.assert_allclose(topology.mirror_landmarks(once, 640), landmarks, rtol=1e-5)


def test_tables_are_those_of_mediapipe_and_the_canonical_face():
    connections = pytest.importorskip("mediapipe.python.solutions.face_mesh_connections")
    built = topology.triangles_from_edges(set(connections.FACEMESH_TESSELATION))
    np.testing.assert_array_equal(built, TRIANGLES)
    np.testing.assert_array_equal(topology.mirror_from_face(pose.canonical_face()), MIRROR)
