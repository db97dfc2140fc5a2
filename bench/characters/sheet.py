"""A picture to look at for each case of the group benchmark: frames of the methods, each face beside its driver."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from bench.characters.cases import Case, look

FRAMES = 3
"""Columns of whole frames."""

WIDTH = 512
"""Width in px of a whole frame."""

LOOKS = 5
"""Columns of heads and mouths."""

LABEL = 20


def moments(count: int, columns: int) -> list[int]:
    """Frame numbers of the columns, spread over a clip without its first frame."""
    return sorted({round((number + 1) * (count - 1) / columns) for number in range(columns)})


def sheet(case: Case, frames: dict[str, list[np.ndarray]], targets: Sequence[np.ndarray]) -> np.ndarray:
    """(H, W, 3) uint8.

    Args:
        case: the portrait and the drivers.
        frames: method -> its frames.
        targets: for each face (T, 478, 3) px, where its driver brings it.

    Returns:
        The frames of each method at a few moments. Below, for each face its driver's head and mouth, and the same of
        each method.
    """
    count = len(case.drivers[0].motion)
    times = moments(count, FRAMES)
    rows = [
        _labelled(np.hstack([_wide(made[t]) for t in times]), f"{name}: frames {_listed(times)}")
        for name, made in frames.items()
    ]
    times = moments(count, LOOKS)
    for face, driver in enumerate(case.drivers):
        label = f"face {face} and its driver {driver.name}: frames {_listed(times)}"
        rows.append(_labelled(np.hstack([driver.looks[t] for t in times]), label))
        for name, made in frames.items():
            rows.append(_labelled(np.hstack([look(made[t], targets[face][t]) for t in times]), f"face {face}, {name}"))
    width = max(row.shape[1] for row in rows)
    return np.vstack([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows])


def _listed(times: Sequence[int]) -> str:
    return ", ".join(str(t) for t in times)


def _wide(image: np.ndarray) -> np.ndarray:
    scale = WIDTH / image.shape[1]
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(image[..., :3], (WIDTH, round(image.shape[0] * scale)), interpolation=interpolation)


def _labelled(row: np.ndarray, text: str) -> np.ndarray:
    head = np.full((LABEL, row.shape[1], 3), 255, np.uint8)
    cv2.putText(head, text, (4, LABEL - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([head, row])
