"""Several faces of one portrait: who changes which pixel."""

from itertools import islice

import cv2
import numpy as np
import pytest

from animate.animator import PortraitAnimator
from animate.errors import OptionError
from animate.group import Part
from animate.group_scene import GroupScene, Sitter
from animate.layers import own_pixels
from animate.motion import MOTIONS_FOLDER, Motion
from animate.portrait import Portrait
from animate.regions import MOUTH, window_matrix
from animate.topology import FACE_OVAL
from animate.warp import PortraitWarp

SIDE = 400


def group_of(astronaut, gap: int = 0, count: int = 2) -> Portrait:
    """The same woman so many times, each picture cut `gap` pixels nearer to the next one; faces left to right."""
    one = np.ascontiguousarray(astronaut[:SIDE, 60 : 60 + SIDE - gap])
    face = Portrait.from_image(one).faces[0]
    faces = []
    for number in range(count):
        shift = number * one.shape[1]
        landmarks = face.landmarks + np.float32([shift, 0, 0])
        faces.append(type(face)(face.box + np.float32([shift, 0, shift, 0]), landmarks, face.score, number))
    return Portrait(np.hstack([one] * count), faces, "group")


@pytest.fixture(scope="module")
def apart(astronaut):
    return group_of(astronaut)


@pytest.fixture(scope="module")
def close(astronaut):
    return group_of(astronaut, gap=180)


@pytest.fixture(scope="module")
def motions(talk):
    surprise = Motion.load(MOTIONS_FOLDER / "surprise.safetensors")
    length = min(len(talk), len(surprise))
    return [each.trim(0, length / float(each.fps)) for each in (talk, surprise)]


def frames(animator, portrait, parts, count=4, first=16, **options):
    made = animator.animate_group(portrait, parts, **options)
    return list(islice(made, first, first + count))


def oval(landmarks, shape) -> np.ndarray:
    mask = np.zeros(shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.round(landmarks[list(FACE_OVAL), :2]).astype(np.int32)), 1)
    return mask > 0


def largest_difference(one, other, mask=None) -> int:
    differences = [np.abs(a.astype(int) - b).max(-1) for a, b in zip(one, other, strict=True)]
    return max(int(d.max() if mask is None else d[mask].max()) for d in differences)


@pytest.mark.parametrize("method", ["warp", "prior"])
def test_one_part_alone_is_the_face_alone(apart, motions, method):
    animator = PortraitAnimator.from_pretrained(method=method)
    alone = list(islice(animator.animate(apart, motions[0], face=0), 16, 19))
    grouped = frames(animator, apart, [Part(0, motions[0])], 3)
    own = np.zeros(apart.image.shape[:2], bool)
    own[:, : SIDE // 2 + 60] = True  # what the other face keeps is not compared
    assert largest_difference(alone, grouped, own) == 0


def test_faces_that_are_not_chosen_stay_bit_for_bit(tiny, close, motions):
    made = frames(PortraitAnimator.from_pretrained(tiny), close, [Part(0, motions[1])])
    still = oval(close.faces[1].landmarks, close.image.shape)
    assert largest_difference(made, [close.image] * len(made), still) == 0
    assert largest_difference(made, [close.image] * len(made), oval(close.faces[0].landmarks, close.image.shape)) > 30


def test_each_face_follows_its_own_motion(apart, motions):
    animator = PortraitAnimator.from_pretrained(method="prior")
    both = frames(animator, apart, [Part(0, motions[0]), Part(1, motions[1])])
    for face, motion in enumerate(motions):
        alone = frames(animator, apart, [Part(face, motion)])
        assert largest_difference(both, alone, oval(apart.faces[face].landmarks, apart.image.shape)) <= 1


def test_anothers_motion_does_not_leak_into_a_face(tiny, close, motions):
    animator = PortraitAnimator.from_pretrained(tiny)
    one = frames(animator, close, [Part(0, motions[0]), Part(1, motions[0])])
    other = frames(animator, close, [Part(0, motions[0]), Part(1, motions[1])])
    kernel = np.ones((25, 25), np.uint8)  # the outermost rim of a head may be hidden by the neighbour's
    inside = cv2.erode(oval(close.faces[0].landmarks, close.image.shape).astype(np.uint8), kernel) > 0
    assert largest_difference(one, other, inside) <= 2
    assert largest_difference(one, other) > 30


def test_parts_in_another_order_give_the_same_frames(tiny, close, motions):
    animator = PortraitAnimator.from_pretrained(tiny)
    parts = [Part(0, motions[0]), Part(1, motions[1])]
    one, other = frames(animator, close, parts), frames(animator, close, parts[::-1])
    assert largest_difference(one, other) <= 1


def test_the_nearer_head_hides_the_farther_one(astronaut):
    """A head that moves behind a larger one is not drawn over it."""
    image = np.full((300, 500, 3), 90, np.uint8)
    face = Portrait.from_image(astronaut).faces[0].landmarks
    middle = face[:, :2].mean(0)

    def placed(x, scale):
        out = face * np.float32(scale)
        out[:, :2] += (x, 150) - middle * scale
        return out

    far, near = placed(180, 0.8), placed(330, 1.2)
    image[oval(far, image.shape)], image[oval(near, image.shape)] = (0, 200, 0), (200, 0, 0)
    people = [oval(each, image.shape).astype(np.float32) for each in (far, near)]
    warps = [PortraitWarp(image, far, people[0], [near]), PortraitWarp(image, near, people[1], [far])]
    scene = GroupScene(image, [Sitter(warp, None, None) for warp in warps])
    _, picture = scene.draw([far + np.float32([60, 0, 0]), near])
    core = cv2.erode(oval(near, image.shape).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert (picture[core] == (200, 0, 0)).all()
    assert (picture != image)[oval(far, image.shape)].any()  # and it has left its place


def test_three_faces_of_which_the_middle_one_stays(tiny, astronaut, motions):
    portrait = group_of(astronaut, gap=180, count=3)
    made = frames(PortraitAnimator.from_pretrained(tiny), portrait, [Part(0, motions[0]), Part(2, motions[1])], 2)
    assert largest_difference(made, [portrait.image] * 2, oval(portrait.faces[1].landmarks, portrait.image.shape)) == 0


def test_each_pixel_of_two_heads_that_touch_is_ones_own_up_to_the_pictures_rim(close):
    people = np.ones(close.image.shape[:2], np.float32)
    landmarks = [face.landmarks for face in close.faces]
    own = [own_pixels(people, landmarks[n], [landmarks[1 - n]], close.image) for n in (0, 1)]
    assert np.abs(own[0] + own[1] - 1).max() < 1e-5
    assert (own[0][:, 0] == 1).all() and (own[0][:, -1] == 0).all()
    for mask, points, other in zip(own, landmarks, landmarks[::-1], strict=True):
        assert (mask[oval(points, mask.shape)] > 0.99).all() and (mask[oval(other, mask.shape)] < 0.01).all()


class TestLabels:
    def scene(self, portrait, moving):
        warps = [PortraitWarp(portrait.image, portrait.faces[face].landmarks) for face in moving]
        staying = [face.landmarks for number, face in enumerate(portrait.faces) if number not in moving]
        return GroupScene(portrait.image, [Sitter(warp, None, None) for warp in warps], staying)

    def test_a_window_of_a_lonely_face_is_its_own(self, astronaut):
        portrait = group_of(astronaut)
        targets = [face.landmarks for face in portrait.faces]
        matrix = window_matrix(targets[0], MOUTH)
        assert self.scene(portrait, [0, 1]).labels(0, targets, matrix, MOUTH.size) is None

    @pytest.mark.parametrize(("moving", "other"), [([0, 1], 2), ([0], 0)])
    def test_a_pixel_of_anothers_oval_is_the_others(self, moving, other, make_face):
        one = make_face()
        near = one + np.float32([0.7 * np.ptp(one[:, 0]), 0, 0])
        faces = [type("F", (), {"landmarks": each})() for each in (one, near)]
        portrait = Portrait(np.zeros((512, 900, 3), np.uint8), faces, "two")
        targets = [faces[face].landmarks for face in moving]
        matrix = window_matrix(one, MOUTH)
        labels = self.scene(portrait, moving).labels(0, targets, matrix, MOUTH.size)
        assert labels[MOUTH.size // 2, MOUTH.size // 2] == 1 and labels[MOUTH.size // 2, -1] == other


class TestBadInput:
    @pytest.mark.parametrize(
        ("parts", "sentence"),
        [
            (lambda m: [], "No face"),
            (lambda m: [Part(2, m[0])], "no face 2"),
            (lambda m: [Part(0, m[0]), Part(0, m[1])], "two motions"),
            (lambda m: [Part(0, m[0]), Part(1, m[1].trim(0, 0.4))], "one length"),
        ],
    )
    def test_one_sentence_at_once(self, apart, motions, parts, sentence):
        with pytest.raises(OptionError, match=sentence):
            PortraitAnimator.from_pretrained(method="warp").animate_group(apart, parts(motions))


def test_a_finished_part_is_taken_from_the_work_folder(tiny, apart, motions, tmp_path):
    from animate.work_folder import WorkFolder

    parts = [Part(0, motions[0].trim(0, 0.4)), Part(1, motions[1].trim(0, 0.4))]
    first = list(PortraitAnimator.from_pretrained(tiny).animate_group(apart, parts, work=WorkFolder(tmp_path)))
    work = WorkFolder(tmp_path)
    again = list(PortraitAnimator.from_pretrained(tiny).animate_group(apart, parts, work=work))
    assert work.recalled > 1 and largest_difference(first, again) == 0
    with pytest.raises(OptionError, match="another job"):
        list(PortraitAnimator.from_pretrained(tiny).animate_group(apart, parts[::-1], work=WorkFolder(tmp_path)))


def test_transparency_moves_along(apart, motions):
    image = np.dstack([apart.image, np.full(apart.image.shape[:2], 255, np.uint8)])
    image[:20, :, 3] = 0
    parts = [Part(0, motions[0]), Part(1, motions[1])]
    made = frames(PortraitAnimator.from_pretrained(method="prior"), Portrait(image, apart.faces), parts, 1)[0]
    assert made.shape[2] == 4 and (made[:5, :5, 3] == 0).all() and made[200, 200, 3] == 255
