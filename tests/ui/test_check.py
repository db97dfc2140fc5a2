"""`mien check` tells beforehand what will go wrong, and is silent about what will not."""

import json

import cv2
import numpy as np
import pytest

from ui.cli import EXIT_ERROR, EXIT_PROBLEM


@pytest.fixture
def verdict(mien, tmp_path):
    """Checks a picture, (H, W, 3) uint8 RGB: -> (exit code, set of topics that are not fine)."""

    def check(image: np.ndarray) -> tuple[int, set[str]]:
        from animate.media import write_image

        write_image(tmp_path / "picture.png", image)
        code, out, _ = mien("check", tmp_path / "picture.png", "--json")
        return code, {row["topic"] for row in json.loads(out) if row["level"] != "ok"}

    return check


@pytest.fixture(scope="module")
def face(astronaut):
    """The astronaut's face, enlarged so that the eyes are about 80 px apart, and its landmarks."""
    from animate.faces import create_tracker

    image = cv2.resize(astronaut[:256, 96:352], None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    tracker = create_tracker()
    landmarks = tracker.detect(image)[0].landmarks
    tracker.close()
    return image, landmarks[:, :2]


def test_nothing_is_wrong_with_a_good_portrait(verdict, astronaut):
    assert verdict(astronaut) == (0, {"neutral face"})  # she smiles with parted lips


def test_small_face(verdict, astronaut):
    code, topics = verdict(cv2.resize(astronaut, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    assert code == 0 and "size" in topics


def test_blurred_face(verdict, face):
    code, topics = verdict(cv2.GaussianBlur(face[0], (0, 0), 5))
    assert code == 0 and "sharpness" in topics


@pytest.mark.parametrize("part", ["lips", "eyes"])
def test_covered_face(verdict, face, part):
    from animate import topology

    image, points = face[0].copy(), face[1][list(topology.REGIONS[part])]
    (x0, y0), (x1, y1) = points.min(0) - 12, points.max(0) + 12
    cv2.rectangle(image, (int(x0), int(y0)), (int(x1), int(y1)), (70, 110, 150), -1)
    code, topics = verdict(image)
    assert (code, "cover" in topics) == (0, True) or (code == EXIT_PROBLEM and "face" in topics)


def test_face_cut_by_the_border(verdict, face):
    image, points = face
    code, topics = verdict(np.ascontiguousarray(image[:, : int(points[4, 0]) + 35]))
    assert topics & {"frame", "face", "cover"}


def test_turned_face(verdict, shared):
    from animate.media import read_image

    picture = shared / "data/train/A_clear/portraits/assets-person-__female_512_65.jpg"
    assert verdict(read_image(picture)) == (0, {"turn"})


def test_driving_clip_without_a_face_or_a_neutral_frame(mien, files):
    code, out, _ = mien("check", files / "portrait.png", files / "faceless.mp4", "--json")
    rows = json.loads(out)
    assert code == EXIT_PROBLEM
    assert [row["topic"] for row in rows if row["level"] == "problem"] == ["face"]
    code, out, _ = mien("check", files / "portrait.png", files / "clip.mp4", "--json")
    topics = {row["topic"] for row in json.loads(out) if row["subject"] == "driving" and row["level"] == "warning"}
    assert code == 0 and "face" in topics  # 2 of 10 frames have none


def test_table_has_a_line_of_advice_for_each_finding(mien, files):
    code, out, _ = mien("check", files / "noise.png")
    assert code == EXIT_PROBLEM and "problem" in out and "face" in out
    assert mien("check", files / "nowhere.png")[0] == EXIT_PROBLEM
    assert mien("check", files / "portrait.png", "--tracker", "magic")[0] == EXIT_ERROR
