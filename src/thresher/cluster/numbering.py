"""Clusters numbered by their lowest core row, as scikit-learn numbers them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.kernels.disjoint import flatten

__all__ = ["number_clusters"]


def number_clusters(
    parent: NDArray[Any], lowest_rows: NDArray[Any]
) -> tuple[NDArray[np.int32], int]:
    """The cluster of every element of a forest, and how many clusters there are.

    >>> number_clusters(np.array([0, 0, 2, 2]), np.array([7, 5, 9, 1]))
    (array([1, 1, 0, 0], dtype=int32), 2)

    Args:
        parent: (m,) of every element, of lower or equal number; a root is its own. Becomes flat.
        lowest_rows: (m,) the lowest row number of each element's core points.
    """
    flatten(parent)
    roots = np.flatnonzero(parent == np.arange(len(parent), dtype=parent.dtype))
    lowest = np.full(len(parent), np.iinfo(lowest_rows.dtype).max, lowest_rows.dtype)
    np.minimum.at(lowest, parent, lowest_rows)
    number = np.empty(len(parent), np.int32)
    number[roots[np.argsort(lowest[roots])]] = np.arange(len(roots), dtype=np.int32)
    return number[parent], len(roots)
