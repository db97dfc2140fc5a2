"""Person masks: where they are sure, how their border lies, and how they fail."""

import cv2
import numpy as np
import pytest

from animate.errors import FaceError, WeightsError
from animate.segmentation import PersonSegmenter


@pytest.fixture(scope="module")
def segmenter():
    with PersonSegmenter() as made:
        yield made


def test_the_astronaut_is_told_from_her_background(segmenter, astronaut):
    mask = segmenter.mask(astronaut)
    assert mask.shape == (512, 512) and mask.dtype == np.float32
    assert mask.min() >= 0 and mask.max() <= 1
    assert mask[60:180, 190:260].mean() > 0.97  # face
    assert mask[330:480, 100:250].mean() > 0.97  # suit
    assert mask[20:200, 300:500].mean() < 0.02  # wall and shuttle
    assert mask[10:150, 100:130].mean() < 0.05  # flag and wall


def test_a_mask_has_the_size_of_its_picture(segmenter, astronaut):
    for width, height in ((33, 47), (301, 217), (3001, 2501)):
        mask = segmenter.mask(cv2.resize(astronaut, (width, height), interpolation=cv2.INTER_AREA))
        assert mask.shape == (height, width)


def test_size_does_not_change_the_person(segmenter, astronaut):
    large = segmenter.mask(cv2.resize(astronaut, (2600, 2600), interpolation=cv2.INTER_CUBIC))
    back = cv2.resize(large, (512, 512), interpolation=cv2.INTER_AREA)
    assert np.abs(back - segmenter.mask(astronaut)).mean() < 0.02


def test_alpha_is_ignored(segmenter, astronaut):
    transparent = np.dstack([astronaut, np.zeros((512, 512), np.uint8)])
    assert np.array_equal(segmenter.mask(transparent), segmenter.mask(astronaut))


def test_the_border_follows_the_picture(segmenter, astronaut):
    """Across the border the mask changes where the picture does, more than the network's own mask does."""
    head = cv2.resize(astronaut[0:256, 96:352], (1024, 1024), interpolation=cv2.INTER_CUBIC)
    refined, coarse = segmenter.mask(head), segmenter._coarse(head)
    grey = cv2.GaussianBlur(cv2.cvtColor(head, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 2)

    def contrast(mask):
        """Mean picture gradient where the mask changes."""
        weight = np.hypot(cv2.Sobel(mask, -1, 1, 0), cv2.Sobel(mask, -1, 0, 1))
        edges = np.hypot(cv2.Sobel(grey, -1, 1, 0), cv2.Sobel(grey, -1, 0, 1))
        return float((weight * edges).sum() / weight.sum())

    assert contrast(refined) > 1.05 * contrast(coarse)


def test_a_small_person_gets_a_closer_look(segmenter, astronaut):
    from animate.faces import create_tracker

    scene = np.full((1200, 1600, 3), 200, np.uint8)
    scene[900:1080, 1200:1380] = cv2.resize(astronaut[:360, 40:400], (180, 180), interpolation=cv2.INTER_AREA)
    with create_tracker() as tracker:
        [face] = tracker.detect(scene)
    x0, y0, x1, y1 = face.box.astype(int)
    assert segmenter.mask(scene, box=face.box)[y0:y1, x0:x1].mean() > 0.9


def test_nobody(segmenter):
    assert segmenter.mask(np.full((200, 200, 3), 128, np.uint8)).mean() < 0.05


def test_a_closed_segmenter_says_so(astronaut):
    closed = PersonSegmenter()
    closed.close()
    with pytest.raises(FaceError, match="closed"):
        closed.mask(astronaut)


def test_missing_model(tmp_path):
    with pytest.raises(WeightsError, match=r"nowhere\.tflite is missing: download it from https://"):
        PersonSegmenter(tmp_path / "nowhere.tflite")
