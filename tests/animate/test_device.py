"""A device that cannot be used is told in one sentence, whatever is to be loaded there."""

import pytest
import torch

from animate.animator import PortraitAnimator
from animate.device import check_device
from animate.errors import OptionError
from talking_face.talker import Talker
from weights.registry import get


def test_the_processor_is_always_there():
    assert check_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda:99", "warp-drive", "meta", ""])
def test_a_device_that_cannot_compute_here(name):
    with pytest.raises(OptionError, match="cannot be used here: choose cpu"):
        check_device(name)


def test_the_animator_asks_first():
    with pytest.raises(OptionError, match="warp-drive"):
        PortraitAnimator.from_pretrained("mini", device="warp-drive")


@pytest.mark.skipif(not get("talk").available, reason="the speech model is not built yet")
def test_the_talker_asks_first():
    with pytest.raises(OptionError, match="warp-drive"):
        Talker.from_pretrained("mini", device="warp-drive")
