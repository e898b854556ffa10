"""Sums over many rows that are the same in whatever order, and by whatever parts, rows come.

A sum of floats depends on their order. Sums decide which medoids are better, and rows come by the
parts of an array, the row groups of a file, the partitions of a cluster: so they are kept exactly,
and rounded once, when they are read.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.kernels.exact_sums import CHUNKS, add_exactly, carry

__all__ = ["ExactSums"]

UNIT = 1 << 1075  # of them are 1
MOST_ADDED = 1 << 29  # numbers between two carries, at most


class ExactSums:
    """Sums of float64 numbers of at least 0.

    >>> sums = ExactSums(1)
    >>> sums.add(0, np.array([1e-9] * 10 + [1e16]))
    >>> sums.add(0, np.array([1.0, 1.0, 1.0]))
    >>> sums.values()
    array([1.e+16])
    >>> sums.values()[0] - 1e16  # 3.00000001, to the nearest number that there is
    np.float64(4.0)

    Args:
        shape: Of the sums.
    """

    def __init__(self, *shape: int) -> None:
        self.chunks: NDArray[np.int64] = np.zeros((*shape, CHUNKS), np.int64)
        self._added = 0  # numbers since the last carry, at most, to one sum

    def add(self, place: int, values: NDArray[np.float64]) -> None:
        """Add numbers (r,) to one of the sums, of which there is one row."""
        add_exactly(np.ascontiguousarray(values), self.room_for(len(values))[place])

    def room_for(self, count: int) -> NDArray[np.int64]:
        """The chunks, (..., CHUNKS), to which so many numbers may be added now."""
        if self._added + count > MOST_ADDED:
            carry(self.chunks.reshape(-1, CHUNKS))
            self._added = 1
        self._added += count
        return self.chunks

    def merge(self, other: ExactSums) -> None:
        """Add what was summed elsewhere."""
        carry(other.chunks.reshape(-1, CHUNKS))
        self.room_for(1)[:] += other.chunks

    def values(self) -> NDArray[np.float64]:
        """The sums, each the float64 next to it; infinity if it is larger than any."""
        flat = self.chunks.reshape(-1, CHUNKS).copy()
        carry(flat)
        found = [_rounded(chunks) for chunks in flat]
        return np.array(found, np.float64).reshape(self.chunks.shape[:-1])


def _rounded(chunks: NDArray[np.int64]) -> float:
    if chunks[-1]:
        return math.inf
    units = int.from_bytes(chunks[:-1].astype("<u4").tobytes(), "little")
    try:
        return units / UNIT  # rounded once, as Python divides whole numbers
    except OverflowError:
        return math.inf
