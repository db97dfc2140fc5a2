"""Mouths that a hand covers are told from free ones by their colours."""

import numpy as np
import pytest

from talking_face.covered import covered, lip_contrast


@pytest.fixture(scope="module")
def face(astronaut_face):
    return astronaut_face


def with_hand(image, landmarks, skin):
    """The picture with a patch of skin over the right half of the mouth."""
    out = image.copy()
    x0, y0 = landmarks[61, :2].astype(int)
    x1, y1 = landmarks[13, :2].astype(int)
    size = int(np.linalg.norm(landmarks[61, :2] - landmarks[291, :2]))
    out[y0 - size : y0 + size, x0 - size // 2 : x1] = skin
    return out


def shades(image, count, seed=0):
    """The picture in other light, with noise."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        noisy = image * rng.uniform(0.8, 1.1) + rng.normal(0, 6, image.shape)
        yield noisy.clip(0, 255).astype(np.uint8)


def test_a_covered_half_of_the_mouth_is_found(face):
    image, landmarks = face
    cheek = image[tuple(landmarks[205, 1::-1].astype(int))]
    pictures = [*shades(image, 4), *(with_hand(p, landmarks, cheek) for p in shades(image, 6, 1))]
    found = covered(np.array([lip_contrast(p, landmarks) for p in pictures]))
    assert found.tolist() == [False] * 4 + [True] * 6


def test_light_and_noise_cover_nothing(face):
    image, landmarks = face
    assert not covered(np.array([lip_contrast(p, landmarks) for p in shades(image, 8)])).any()


def test_lips_like_skin_are_never_judged():
    rng = np.random.default_rng(0)
    assert not covered(rng.normal(0, 1, (30, 6))).any()


def test_a_mouth_outside_the_picture_counts_as_covered(face):
    image, landmarks = face
    lost = np.full(6, np.nan)
    assert covered(np.array([lip_contrast(image, landmarks), lip_contrast(image, landmarks), lost])).tolist() == [
        *(False, False, True)
    ]
    assert not covered(np.array([lost, lost])).any()


def test_the_mouths_place_and_size_do_not_matter(face):
    image, landmarks = face
    shifted = np.roll(image, (5, -7), axis=(0, 1))
    assert np.allclose(
        lip_contrast(shifted, landmarks + np.array([-7, 5, 0])), lip_contrast(image, landmarks), atol=1e-6
    )
