"""Who plays whom: roles, orders, labels, best match, and cast.yaml."""

import numpy as np
import pytest

from animate import pose
from animate.cast_file import read_cast
from animate.casting import Look, Role, assign, best_match, in_order, likeness, parse_role, place
from animate.errors import FaceError, MienError, OptionError
from animate.faces import Face

# left to right the faces are 2, 0, 3, 1; their index tells their size
PLACES = {0: 300, 1: 900, 2: 100, 3: 600}


@pytest.fixture(scope="module")
def faces() -> list[Face]:
    """Four synthetic people, largest first."""
    people = []
    for index, x in PLACES.items():
        points = pose.canonical_face() * (60 - 10 * index) + (x, 200, 0)
        plane = points[:, :2]
        people.append(Face(np.concatenate([plane.min(0), plane.max(0)]), points.astype(np.float32), 1.0))
    return people


def clips(*texts: str, kind: str = "driving") -> list[Role]:
    return [parse_role(text, kind) for text in texts]


def seated(faces, roles, order=None, **options) -> list[tuple[str, int]]:
    return [(seat.role.name, seat.face) for seat in assign(faces, roles, order, **options)]


@pytest.mark.parametrize(
    ("text", "face", "source", "person"),
    [
        ("a.mp4", None, "a.mp4", None),
        ("0=a.mp4", "0", "a.mp4", None),
        ("left-to-right:1=a.mp4", "left-to-right:1", "a.mp4", None),
        ("anna=duo.mp4@right", "anna", "duo.mp4", "right"),
        ("duo.mp4@left-to-right:0", None, "duo.mp4", "left-to-right:0"),
        ("/some/x=1/a.mp4", None, "/some/x=1/a.mp4", None),
    ],
)
def test_a_role_is_read_from_its_words(text, face, source, person):
    role = parse_role(text, "driving")
    assert (role.face, role.source, role.person) == (face, source, person)


def test_a_files_own_name_may_hold_the_signs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a=b.mp4", "me@home.mp4"):
        (tmp_path / name).touch()
        role = parse_role(name, "driving")
        assert (role.face, role.source, role.person) == (None, name, None)
    assert parse_role("left=me@home.mp4", "driving").source == "me@home.mp4"
    assert parse_role("left=who@where", "audio").person is None, "only clips show people"


@pytest.mark.parametrize("text", ["=a.mp4", "left="])
def test_half_a_role_is_refused(text):
    with pytest.raises(OptionError, match="FACE=FILE"):
        parse_role(text, "driving")


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (None, [0, 1, 2, 3]),
        ("largest", [0, 1, 2, 3]),
        ("left-to-right", [2, 0, 3, 1]),
        ("right-to-left", [1, 3, 0, 2]),
        ("3,1,right,left", [3, 1, 1, 2]),
    ],
)
def test_drivers_take_the_faces_in_order(faces, order, expected):
    roles = clips("a", "b", "c", "d")
    if len(set(expected)) < 4:
        with pytest.raises(OptionError, match="twice"):
            assign(faces, roles, order)
    else:
        assert seated(faces, roles, order) == list(zip("abcd", expected, strict=True))


def test_fewer_drivers_leave_faces_alone(faces):
    assert seated(faces, clips("a", "b"), "left-to-right") == [("a", 2), ("b", 0)]


def test_one_driver_for_all_and_for_some(faces):
    assert seated(faces, clips("a"), "all") == [("a", 0), ("a", 1), ("a", 2), ("a", 3)]
    assert seated(faces, clips("a", "b"), "all") == [("a", 0), ("b", 1), ("a", 2), ("b", 3)]
    assert seated(faces, clips("a"), "0,2") == [("a", 0), ("a", 2)]
    assert seated(faces, clips("a", "b"), "2,right") == [("a", 2), ("b", 1)]


def test_a_number_counts_in_the_order_and_a_selector_stands_for_itself(faces):
    roles = clips("0=a", "right=b", "left-to-right:2=c")
    assert seated(faces, roles) == [("a", 0), ("b", 1), ("c", 3)]
    assert seated(faces, roles, "left-to-right") == [("a", 2), ("b", 1), ("c", 3)]


def test_labels_are_selectors_by_name(faces):
    labels = {"anna": "left", "ben": "1"}
    assert seated(faces, clips("ben=b", "anna=a"), "left-to-right", labels=labels) == [("b", 0), ("a", 2)]


def test_a_place_finds_its_face_again(faces):
    assert [place(faces, index) for index in in_order(faces, "left-to-right")] == [
        f"left-to-right:{n}" for n in range(4)
    ]


# (roles, order, words that the sentence must hold)
WRONG = {
    "more drivers than faces": (["a", "b", "c", "d", "e"], None, ["5 drivers", "4 faces"]),
    "more named drivers than faces": (["0=a", "1=b", "2=c", "3=d", "left=e"], None, ["5 drivers"]),
    "label that matches nothing": (["carl=a"], None, ["carl", "anna"]),
    "face that is not there": (["7=a"], None, ["7", "4 faces"]),
    "same face twice": (["left=a", "2=b"], None, ["left-to-right:0", "left=a", "2=b"]),
    "driver without a face": (["0=a", "b"], None, ["b names no face", "0=a"]),
    "named twice": (["0=a"], "0,2", ["--faces 0,2", "0=a"]),
    "list of another length": (["a", "b"], "0,1,2", ["3 faces", "2 drivers"]),
    "listed face that is not there": (["a"], "0,9", ["9", "4 faces"]),
    "unknown order": (["a"], "prettiest", ["prettiest"]),
    "empty order": (["a"], ",", ["--faces"]),
    "best match without likeness": (["a"], "best-match", ["best-match"]),
    "nobody": ([], None, ["No driver"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_one_sentence_for_a_cast_that_cannot_be(faces, case):
    texts, order, words = WRONG[case]
    with pytest.raises((OptionError, FaceError)) as caught:
        assign(faces, clips(*texts), order, labels={"anna": "left"})
    sentence = str(caught.value)
    assert all(word in sentence for word in words) and sentence.endswith("."), sentence


def test_turns_let_one_face_speak_again(faces):
    roles = clips("0=a", "1=b", "0=c", kind="audio")
    assert seated(faces, roles, again=True) == [("a", 0), ("b", 1), ("c", 0)]
    with pytest.raises(OptionError, match="5 drivers"):
        assign(faces, clips(*"abcde", kind="audio"), again=True)


def test_best_match_is_the_greatest_total_and_not_each_ones_own_best():
    table = np.array([[0.9, 0.8, 0.1], [0.85, 0.1, 0.2]])
    assert best_match(table) == [1, 0]


def test_best_match_finds_people_by_their_proportions_whatever_their_size_and_place(faces, make_face):
    people = [make_face(mouth=1.2, jaw=1.1), make_face(eye=1.3, jaw=0.9), make_face(jaw=1.25)]
    turned = pose.Pose(np.array([[0.1, -0.2, 0.3]]), np.array([[400.0, 300.0, 0.0]]), np.array([80.0]))
    sitters = [Face(np.zeros(4), pose.compose(person[None], turned)[0], 1.0) for person in people]
    shuffled = [2, 0, 1]
    table, means = likeness([Look(people[i]) for i in shuffled], sitters, np.zeros((8, 8, 3), np.uint8))
    assert means == "proportions" and best_match(table) == shuffled
    roles = clips("a", "b", "c")
    assert seated(sitters, roles, "best-match", likeness=lambda: table) == [("a", 2), ("b", 0), ("c", 1)]


def test_embeddings_count_where_everybody_has_one(make_face):
    one, other = np.eye(2)
    sitters = [Face(np.zeros(4), make_face(), 1.0, embedding=vector) for vector in (one, other)]
    table, means = likeness([Look(make_face(), embedding=other), Look(make_face(), embedding=one)], sitters, None)
    assert means == "recognition" and best_match(table) == [1, 0]


GOOD = """
order: left-to-right
faces:
  anna: {face: left, driving: a.mp4}
  ben: {face: 1, audio: b.wav}
  carl: {face: left-to-right:2, driving: duo.mp4, person: right}
  dora: {face: dora.jpg, motion: smile}
  emil: {face: 3}
"""


def test_a_cast_file_names_faces_and_drivers_beside_it(tmp_path):
    path = tmp_path / "cast.yaml"
    path.write_text(GOOD)
    cast = read_cast(path)
    assert cast.order == "left-to-right"
    assert dict(cast.labels) == {
        "anna": "left",
        "ben": "1",
        "carl": "left-to-right:2",
        "dora": tmp_path / "dora.jpg",
        "emil": "3",
    }
    assert [(role.kind, role.face, role.source, role.person) for role in cast.roles] == [
        ("driving", "anna", str(tmp_path / "a.mp4"), None),
        ("audio", "ben", str(tmp_path / "b.wav"), None),
        ("driving", "carl", str(tmp_path / "duo.mp4"), "right"),
        ("motion", "dora", "smile", None),
    ]


# (what stands in the file, words that the sentence must hold)
BAD = {
    "no YAML": ("faces: [", ["line 1"]),
    "bytes": ("\x00\x01", ["no YAML"]),
    "empty": ("", ["mapping"]),
    "a list": ("- a\n- b", ["mapping"]),
    "no faces": ("order: largest", ["names no faces"]),
    "unknown key": ("faces: {anna: {face: left}}\nfase: 1", ["'fase'", "faces, order"]),
    "unknown key of a face": ("faces: {anna: {face: left, drivng: a.mp4}}", ["'anna'", "'drivng'", "driving"]),
    "unknown order": ("order: tallest\nfaces: {a: {face: 0}}", ["tallest", "left-to-right"]),
    "no face": ("faces: {anna: {driving: a.mp4}}", ["'anna' has no face"]),
    "two drivers": ("faces: {anna: {face: 0, driving: a, audio: b}}", ["driving and audio"]),
    "name twice": ("faces:\n  anna: {face: 0}\n  anna: {face: 1}", ["'anna'", "twice"]),
    "person without a clip": ("faces: {anna: {face: 0, person: left}}", ["person", "driving"]),
    "name that is no text": ("faces: {yes: {face: 0}}", ["quotes"]),
    "file that is no text": ("faces: {anna: {face: 0, driving: [a]}}", ["driving", "'anna'"]),
    "code": ("faces: !!python/object/apply:os.system [ls]", ["no YAML", "python"]),
}


@pytest.mark.parametrize("case", BAD)
def test_one_sentence_for_a_cast_file_that_does_not_fit(tmp_path, case):
    text, words = BAD[case]
    path = tmp_path / "cast.yaml"
    path.write_text(text)
    with pytest.raises(MienError) as caught:
        read_cast(path)
    sentence = str(caught.value)
    assert "cast.yaml" in sentence and sentence.endswith("."), sentence
    assert all(word in sentence for word in words), sentence


def test_a_cast_file_that_is_not_there(tmp_path):
    with pytest.raises(OptionError, match="does not exist"):
        read_cast(tmp_path / "nowhere.yaml")
    with pytest.raises(OptionError, match="cannot be read"):
        read_cast(tmp_path)
