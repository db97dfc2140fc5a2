"""Landmark locally linear embedding: what the network says is pulled a little towards what faces really do.

GeneFace++ (Ye et al. 2023), section 3.4, there on landmarks, here on the coefficients of the lower face.
"""

from __future__ import annotations

import numpy as np

_BLOCK = 128  # rows worked on together: their distances stay in the processor's cache


def project_lle(
    coefficients: np.ndarray, database: np.ndarray, neighbours: int = 10, blend: float = 0.2, ridge: float = 0.1
) -> np.ndarray:
    """Coefficients (n, K) float32, each moved by `blend` towards its reconstruction from real frames (M, K).

    The reconstruction is the combination of the row's `neighbours` nearest frames, weights summing to 1, that lies
    nearest to the row. `ridge`, relative to the mean of the local Gram matrix' diagonal, keeps the weights bounded:
    duplicates share a weight, and a row that equals all its neighbours stays where it is. With hardly any (0.001) ten
    frames in eight dimensions rebuild every row, true or not; 0.1 takes 40 % of a noise away and moves real frames by
    0.005. Fewer than `neighbours` frames are all used; without any, or with blend 0, nothing changes. Every row is on
    its own, so a stretch gives what the whole gives.
    """
    rows = np.asarray(coefficients, np.float64)
    known = np.asarray(database, np.float64)
    if blend == 0 or not len(known) or not len(rows):
        return np.array(coefficients, np.float32)
    size = (known**2).sum(axis=1)
    out = np.empty(rows.shape, np.float32)
    for first in range(0, len(rows), _BLOCK):
        part = rows[first : first + _BLOCK]
        distance = size - 2 * (part @ known.T)  # without the row's own square, which does not change the order
        near = known[_smallest(distance, min(neighbours, len(known)))]  # (b, k, K)
        rebuilt = np.einsum("bk,bkc->bc", _weights(near - part[:, None], ridge), near)
        out[first : first + _BLOCK] = part + blend * (rebuilt - part)
    return out


def _weights(offsets: np.ndarray, ridge: float) -> np.ndarray:
    """Weights (b, k) that sum to 1 and bring the weighted sum of offsets (b, k, K) near to 0: Roweis and Saul 2000."""
    count = offsets.shape[1]
    gram = offsets @ offsets.transpose(0, 2, 1)
    diagonal = np.arange(count)
    trace = gram[:, diagonal, diagonal].sum(axis=1)
    gram[:, diagonal, diagonal] += (ridge * trace / count + 1e-9)[:, None]
    weights = np.linalg.solve(gram, np.ones((len(gram), count, 1)))[..., 0]
    return weights / weights.sum(axis=1, keepdims=True)


def _smallest(values: np.ndarray, count: int, group: int = 16) -> np.ndarray:
    """Column indices (b, count) of the smallest values of each row (b, M), in any order.

    The smallest `count` lie in the `count` groups of columns with the smallest minima, so most columns are never
    sorted.
    """
    rows, columns = values.shape
    if columns <= 2 * group * count:
        return np.argpartition(values, count - 1, axis=1)[:, :count]
    groups = -(-columns // group)
    padded = np.full((rows, groups * group), np.inf)
    padded[:, :columns] = values
    grouped = padded.reshape(rows, group, groups)  # group g holds columns g, g + groups, ...
    best = np.argpartition(grouped.min(axis=1), count - 1, axis=1)[:, :count]  # (b, count)
    candidates = (best[:, None] + groups * np.arange(group)[:, None]).reshape(rows, -1)
    chosen = np.take_along_axis(padded, candidates, axis=1)
    order = np.argpartition(chosen, count - 1, axis=1)[:, :count]
    return np.take_along_axis(candidates, order, axis=1)
