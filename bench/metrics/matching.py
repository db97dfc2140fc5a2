"""Who is who: faces found in a picture matched with the people who should be in it."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.optimize import linear_sum_assignment

Matching = Literal["optimal", "compat"]


def match(similarity: np.ndarray, matching: Matching = "optimal") -> list[tuple[int, int]]:
    """Pairs of person and face, each used once.

    Args:
        similarity: (people, faces), higher is more alike.
        matching: "optimal" gives the largest sum; "compat" what MultiHuman-Testbench's released code gives.

    Returns:
        min(people, faces) pairs (person, face) at most, in order of the people.

    Raises:
        ValueError: not a table, or an unknown matching.
    """
    similarity = np.asarray(similarity, np.float64)
    if similarity.ndim != 2:
        raise ValueError(f"similarity must be (people, faces), got {similarity.shape}")
    if matching not in ("optimal", "compat"):
        raise ValueError(f"matching must be 'optimal' or 'compat', got {matching!r}")
    if 0 in similarity.shape:
        return []
    if matching == "compat":
        return _compat(similarity)
    return [(int(i), int(j)) for i, j in zip(*linear_sum_assignment(similarity, maximize=True), strict=True)]


def _compat(similarity: np.ndarray) -> list[tuple[int, int]]:
    """MultiHuman-Testbench's matching as released, re-derived from what it does.

    It is meant to be the Hungarian algorithm (Kuhn 1955) but takes zeros greedily in reading order and counts for each
    of them the row and the column as a covering line. So it stops as soon as half of the rows have a zero of their own;
    the other rows get the columns that are left in the order in which they stand. A table that is not square is filled
    with similarities of 0. Of random tables 15 % (2 x 2) to 67 % (5 x 5) are not matched optimally.
    """
    people, faces = similarity.shape
    side = max(people, faces)
    table = np.zeros((side, side))
    table[:people, :faces] = similarity
    cost = table.max() - table
    cost -= cost.min(1, keepdims=True)
    cost -= cost.min(0, keepdims=True)
    while True:
        pairs = _greedy_zeros(cost)
        if 2 * len(pairs) >= side:
            break
        row_taken, column_taken = np.zeros(side, bool), np.zeros(side, bool)
        row_taken[list(pairs)], column_taken[list(pairs.values())] = True, True
        least = cost[~row_taken][:, ~column_taken].min()
        cost[~row_taken] -= least
        cost[:, column_taken] += least
    columns = iter([column for column in range(side) if column not in pairs.values()])
    for row in range(side):
        if row not in pairs:
            pairs[row] = next(columns)
    return [(row, pairs[row]) for row in range(people) if pairs[row] < faces]


def _greedy_zeros(cost: np.ndarray) -> dict[int, int]:
    """Row -> column of the zeros met in reading order, none in a row or column of an earlier one."""
    pairs: dict[int, int] = {}
    for row, column in zip(*np.nonzero(cost == 0), strict=True):
        if row not in pairs and column not in pairs.values():
            pairs[int(row)] = int(column)
    return pairs


def matched_similarity(similarity: np.ndarray, matching: Matching = "optimal") -> float:
    """Sum of the matched similarities over the number of people: who is missing counts as 0.

    Args:
        similarity: (people, faces), at least one person.
    """
    return float(sum(similarity[pair] for pair in match(similarity, matching)) / len(similarity))
