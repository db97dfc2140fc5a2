"""Blink F1: do the eyes close when the driver's do, and only then?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from animate import pose
from animate.measures import eye_openings
from bench.metrics.tracks import PairedTracks

CLOSED = 0.5
"""Share of the clip's usual opening below which the eyes count as closed."""

USUAL = 75
"""Percentile of the opening that is taken for the usual one: people blink far less than a quarter of the time."""

TOLERANCE = 0.2
"""Seconds by which a closure may be early or late."""


def closures(opening: np.ndarray, times: np.ndarray) -> list[tuple[float, float]]:
    """Stretches with closed eyes.

    Args:
        opening: (T,) opening of the eyes, any unit.
        times: (T,) seconds, rising.

    Returns:
        (first, last) time of each stretch.
    """
    closed = opening < CLOSED * np.percentile(opening, USUAL)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], closed, [False]]).astype(np.int8)))
    return [(float(times[a]), float(times[b - 1])) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def matched(output: list[tuple[float, float]], target: list[tuple[float, float]], slack: float = TOLERANCE) -> int:
    """How many closures have a partner that overlaps or lies within the slack; each is used once, in order of time."""
    count, i, j = 0, 0, 0
    while i < len(output) and j < len(target):
        (first, last), (begin, end) = output[i], target[j]
        if last < begin - slack:
            i += 1
        elif end < first - slack:
            j += 1
        else:
            count, i, j = count + 1, i + 1, j + 1
    return count


class BlinkF1(PairedTracks):
    """F1 of the output's closures of the eyes against the driver's, within 0.2 s.

    1 when every blink is there and no other. Clips whose driver never blinks are left out.
    """

    name = "blink_f1"
    direction = "higher"
    unit = "[0, 1]"
    source = "ours; events as in Soukupová and Čech 2016, Real-time eye blink detection using facial landmarks"
    unfit = "the driver never blinks"

    def measure(self, output: np.ndarray, target: np.ndarray) -> float | None:
        # Blinks of frames that the output lost are still asked for.
        indices, every = zip(*self.targets_seen, strict=True)
        asked = self._closures(np.stack(every), indices)
        shown = self._closures(output, self.indices)
        return 2 * matched(shown, asked) / (len(shown) + len(asked)) if asked else None

    def _closures(self, meshes: np.ndarray, indices: Sequence[int]) -> list[tuple[float, float]]:
        openings = eye_openings(pose.decompose_long(meshes)[1]).mean(-1)
        return closures(openings, np.array(indices) / float(self.reference.fps))
