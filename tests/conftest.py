"""Fixtures that every test folder shares."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GLOG_minloglevel", "2")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The data folder that lies beside the checkout; tests that need it skip where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("the data folder ../shared is not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def astronaut():
    """A real portrait, (512, 512, 3) uint8 RGB, that comes inside scikit-image."""
    from skimage import data

    return data.astronaut()
