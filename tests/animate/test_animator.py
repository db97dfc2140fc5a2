"""PortraitAnimator end to end on a real portrait with a tiny untrained network, and the shipped one where it pays."""

import numpy as np
import pytest

from animate.animator import EMBEDDED, PortraitAnimator
from animate.errors import FaceError, OptionError, WeightsError
from animate.portrait import Portrait


@pytest.fixture(scope="module")
def portrait(astronaut):
    return Portrait.from_image(astronaut)


def frames(animator, portrait, motion, count=3, **options):
    from itertools import islice

    return list(islice(animator.animate(portrait, motion, **options), count))


def test_frames_have_the_portraits_size_and_move(tiny, portrait, talk):
    made = frames(PortraitAnimator.from_pretrained(tiny), portrait, talk, 6)
    assert all(f.shape == portrait.image.shape and f.dtype == np.uint8 for f in made)
    assert np.abs(made[0].astype(int) - made[-1]).max() > 10


def test_the_same_seed_gives_the_same_frames_and_another_seed_others(tiny, portrait, talk):
    one, two, other = (
        frames(PortraitAnimator.from_pretrained(tiny, seed=seed), portrait, talk, 2) for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_network_paints_only_mouth_and_eyes(tiny, portrait, talk):
    painted = frames(PortraitAnimator.from_pretrained(tiny), portrait, talk, 1)[0]
    plain = frames(PortraitAnimator.from_pretrained(method="prior"), portrait, talk, 1)[0]
    changed = np.abs(painted.astype(int) - plain).max(-1) > 0
    assert 100 < changed.sum() < 0.1 * changed.size


def test_frames_are_made_when_they_are_asked_for(portrait, talk):
    animator = PortraitAnimator.from_pretrained(method="warp")
    iterator = animator.animate(portrait, talk)
    assert "warp" not in animator.timings
    next(iterator)
    assert animator.timings["warp"] > 0


def test_the_number_of_threads_does_not_change_the_frames(tiny, portrait, talk, monkeypatch):
    from animate import animator

    made = []
    for workers in (1, 3):
        monkeypatch.setattr(animator, "WORKERS", workers)
        made.append(frames(PortraitAnimator.from_pretrained(tiny), portrait, talk, 14))
    assert all(np.array_equal(a, b) for a, b in zip(*made, strict=True))


def test_an_abandoned_run_leaves_no_threads(portrait, talk):
    import threading

    before = threading.active_count()
    iterator = PortraitAnimator.from_pretrained(method="warp").animate(portrait, talk)
    next(iterator)
    iterator.close()
    assert threading.active_count() <= before


def test_still_gives_the_portrait(portrait, talk):
    made = frames(PortraitAnimator.from_pretrained(method="still"), portrait, talk, 2)
    assert all(np.array_equal(f, portrait.image) for f in made)


def test_a_transparent_portrait_stays_transparent(portrait, talk):
    image = np.dstack([portrait.image, np.full(portrait.image.shape[:2], 255, np.uint8)])
    image[:60, :, 3] = 0
    made = frames(PortraitAnimator.from_pretrained(method="prior"), Portrait(image, portrait.faces), talk, 1)[0]
    assert made.shape[2] == 4 and (made[:20, :20, 3] == 0).all() and made[300, 256, 3] == 255


def test_a_face_that_is_not_there_is_named_at_once(portrait, talk):
    with pytest.raises(FaceError, match="1"):
        PortraitAnimator.from_pretrained(method="warp").animate(portrait, talk, face=5)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"name_or_folder": "no/such/folder"}, WeightsError),
        ({"method": "magic"}, OptionError),
        ({"steps": 0}, OptionError),
    ],
)
def test_bad_arguments_are_one_sentence(arguments, error):
    with pytest.raises(error) as caught:
        PortraitAnimator.from_pretrained(**arguments)
    assert str(caught.value).count("\n") == 0


@pytest.mark.skipif(not (EMBEDDED / "mini" / "model_index.json").exists(), reason="mini is not trained yet")
def test_the_shipped_model_changes_the_mouth_less_than_it_could_spoil(portrait, talk):
    painted = frames(PortraitAnimator.from_pretrained("mini"), portrait, talk, 4)[3]
    plain = frames(PortraitAnimator.from_pretrained(method="prior"), portrait, talk, 4)[3]
    difference = np.abs(painted.astype(int) - plain)
    assert difference.max() > 3 and difference.mean() < 2
