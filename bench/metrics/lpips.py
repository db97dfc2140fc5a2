"""LPIPS: the distance of two pictures in the features of a network, with weights learned from people's judgement."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from bench.metrics.base import FrameMean, Sample
from bench.metrics.local_weights import describe, weights_missing

WEIGHTS = "lpips-alexnet"


def lpips(a: np.ndarray, b: np.ndarray) -> float:
    """LPIPS of two pictures (h, w, 3) uint8."""
    from bench.metrics.lpips_network import distance

    return distance(a, b)


def head_file() -> Path | None:
    """The heads' weights inside torchmetrics' wheel; None where it is not installed."""
    spec = importlib.util.find_spec("torchmetrics")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(next(iter(spec.submodule_search_locations))) / "functional/image/lpips_models/alex.pth"
    return path if path.is_file() else None


def missing() -> str | None:
    """What LPIPS lacks here."""
    if head_file() is None:
        return (
            "needs torchmetrics (Apache-2.0), whose wheel holds LPIPS's heads (BSD-2-Clause): pip install 'mien[bench]'"
        )
    return weights_missing(WEIGHTS)


class LPIPS(FrameMean):
    """LPIPS (version 0.1, AlexNet) over the whole frame."""

    name = "lpips"
    direction = "lower"
    unit = "distance"
    source = "Zhang et al. 2018, The unreasonable effectiveness of deep features as a perceptual metric, section 3"
    needs = f"{describe(WEIGHTS)}; torchmetrics (Apache-2.0)"

    @classmethod
    def missing(cls) -> str | None:
        return missing()

    def measure(self, sample: Sample) -> float:
        return sample.shared("lpips", lambda: lpips(sample.output, sample.truth))
