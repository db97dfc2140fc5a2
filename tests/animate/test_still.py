"""One portrait, drawn again and again: what a slider or a camera shows is what a clip shows."""

import threading

import numpy as np
import pytest

from animate.animator import PortraitAnimator
from animate.errors import OptionError
from animate.portrait import Portrait
from animate.sliders import FaceSliders
from animate.still import Still, shrunk

LAUGH = FaceSliders(mouth_open=0.7, smile=0.5, blink_left=0.6, yaw=12).motion()


@pytest.fixture(scope="module")
def animator():
    return PortraitAnimator.from_pretrained("mini")


@pytest.fixture(scope="module")
def portrait(astronaut):
    return Portrait.from_image(np.ascontiguousarray(astronaut[:256, 96:352]))


@pytest.fixture(scope="module")
def still(animator, portrait):
    return Still(portrait, animator)


def test_it_is_the_first_frame_of_a_clip(still, animator, portrait):
    (frame,) = animator.animate(portrait, LAUGH)
    assert np.array_equal(still.draw(LAUGH), frame)


def test_windows_side_by_side_give_the_same_picture(still):
    assert still._painting.side_by_side
    together = still.draw(LAUGH)
    still._painting.side_by_side = False
    try:
        assert np.array_equal(still.draw(LAUGH), together)
    finally:
        still._painting.side_by_side = True


def test_the_order_of_windows_does_not_matter(still, portrait):
    from animate.painter import paint_jobs

    painting, target = still._painting, portrait.faces[0].landmarks + np.float32([0, 1.5, 0])
    frames = [portrait.image.copy() for _ in range(2)]
    for frame, turn in zip(frames, (1, -1), strict=True):
        paint_jobs(painting.painter, painting.jobs(frame, target, (0, 0))[::turn])
    assert np.array_equal(*frames) and not np.array_equal(frames[0], portrait.image)


def test_without_the_network_it_is_another_picture(still):
    assert not np.array_equal(still.draw(LAUGH, paint=False), still.draw(LAUGH))


def test_several_threads_draw_what_one_draws(still):
    motions = [FaceSliders(smile=value).motion() for value in (0.2, 0.9)]
    alone = [still.draw(motion) for motion in motions]
    seen = {}

    def draw(which):
        seen[which] = [still.draw(motions[which]) for _ in range(3)]

    threads = [threading.Thread(target=draw, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(alone[which], frame) for which in seen for frame in seen[which])


def test_another_kind_of_model_is_one_sentence(portrait, animator, monkeypatch):
    monkeypatch.setattr(animator, "paints_regions", False, raising=False)
    with pytest.raises(OptionError, match="mini"):
        Still(portrait, animator)


def test_a_large_portrait_is_shrunk_with_its_faces(portrait):
    small = shrunk(portrait, 128)
    assert small.image.shape == (128, 128, 3) and shrunk(portrait, 256) is portrait
    assert np.allclose(small.faces[0].landmarks, portrait.faces[0].landmarks / 2)
