"""The distance, by which everything is decided: Σ_j (x_j - y_j)² in float64, columns in order.

Columns are a tuple of one array for each dimension. Its length is part of the type, so that the
sum over dimensions is written out and the loop around it runs on vector registers. It does so only
with unsigned indices: a signed one might be negative, which means "from the end" and costs six
times as much.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from thresher.cluster.kernels.compiled import kernel

__all__ = ["Columns", "count_within", "fetch", "precedes", "squared_distance", "weight_within"]

Columns = Any  # tuple of (n,) arrays, one for each dimension; numba types it by its length


@kernel
def squared_distance(columns: Columns, j: int, point: Any) -> float:
    """Σ_k (columns[k][j] - point[k])²; ``j`` unsigned."""
    total = 0.0
    for k in range(len(columns)):
        difference = columns[k][j] - point[k]
        total += difference * difference
    return total


@kernel
def fetch(columns: Columns, j: int, point: Any) -> None:
    """Write the coordinates of one point to ``point``, float64."""
    for k in range(len(columns)):
        point[k] = columns[k][j]


@kernel
def precedes(columns: Any, i: int, j: int) -> bool:
    """Whether the coordinates of point i come lexicographically before those of j.

    Args:
        columns: d arrays of n, or one of (d, n).
        i: Point.
        j: Point.
    """
    for k in range(len(columns)):
        if columns[k][i] != columns[k][j]:
            return columns[k][i] < columns[k][j]
    return False


@kernel
def count_within(columns: Columns, first: int, last: int, point: Any, squared: float) -> int:
    """How many of the points first, …, last - 1 are within the squared radius of ``point``."""
    found = 0
    for j in range(np.uintp(first), np.uintp(last)):
        found += squared_distance(columns, j, point) <= squared
    return found


@kernel
def weight_within(
    columns: Columns, weights: Any, first: int, last: int, point: Any, squared: float
) -> Any:
    """The weight of the points first, …, last - 1 that are within the squared radius."""
    found = weights[0] * 0  # a number of their type
    for j in range(np.uintp(first), np.uintp(last)):
        if squared_distance(columns, j, point) <= squared:
            found += weights[j]
    return found
