"""A small lower-face basis and made-up speech that the tests of this folder share."""

import numpy as np
import pytest

from animate.motion import Motion
from talking_face import features
from talking_face.basis import LowerFaceBasis
from talking_face.curves import RATE, FaceCurves


@pytest.fixture(scope="session")
def small_basis() -> LowerFaceBasis:
    """Eight components of two clips that Mien ships."""
    return LowerFaceBasis.fit([Motion.builtin(name).expression for name in ("talk", "smile")], 8)


@pytest.fixture(scope="session")
def make_features():
    """A maker of features (n, FEATURES): speech between the given seconds, silence elsewhere."""

    def make(seconds: float, *speech: tuple[float, float], noise_db: float = -85.0, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        times = np.arange(round(seconds * RATE)) / RATE
        table = np.zeros((len(times), features.FEATURES), np.float32)
        loud = np.full(len(times), noise_db) + rng.uniform(-1, 1, len(times))
        for start, end in speech:
            inside = (times >= start) & (times < end)
            stress = 1 + np.sin(2 * np.pi * 0.8 * times + 1)  # some syllables are louder and higher than others
            loud[inside] = (-34 + 9 * np.abs(np.sin(2 * np.pi * 2 * times)) + 3 * stress)[inside]
            table[inside, features.VOICING] = 0.5
            table[inside, features.PITCH] = (-0.3 + 0.2 * stress + 0.02 * rng.normal(size=len(times)))[inside]
        table[:, features.ENERGY] = ((loud + 25) / 20).clip(-3, 1)  # the running level is -25 dBFS: its column is 0
        return table

    return make


@pytest.fixture(scope="session")
def make_curves(make_features, small_basis):
    """A maker of FaceCurves: a mouth that opens with the syllables, and quick closures in given rows."""

    def make(seconds: float, *speech: tuple[float, float], closed: tuple[int, ...] = (), seed: int = 0) -> FaceCurves:
        table = make_features(seconds, *speech, seed=seed)
        opening = np.clip(table[:, features.ENERGY] + 1, 0, None) * 0.15
        direction = small_basis.encode(small_basis.decode(np.eye(8)[:1]))[0]
        coefficients = (opening[:, None] * 6 * direction + 0.2).astype(np.float32)
        closure = np.zeros(len(table), np.float32)
        closure[list(closed)] = 1.0
        return FaceCurves(coefficients, closure, opening.astype(np.float32), table)

    return make


@pytest.fixture(scope="session")
def astronaut_face(astronaut):
    """A crop of a real portrait and its landmarks (478, 3) px."""
    from animate.faces import create_tracker

    picture = np.ascontiguousarray(astronaut[0:300, 80:370])
    with create_tracker() as tracker:
        return picture, tracker.detect(picture)[0].landmarks
