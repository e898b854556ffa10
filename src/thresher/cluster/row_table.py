"""Distinct rows with their weights, gathered part by part; the same whatever the order of parts.

What a task of a cluster knows of the points it has seen, what tasks know together, and where a
point's row is found again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.distinct import hashes_of
from thresher.cluster.kernels.row_table import add_rows, fill_slots, find_rows

__all__ = ["RowTable", "empty_slots", "find", "slots_for", "slots_of"]

FIRST = 1 << 12  # rows there is room for at first
TOGETHER = 1 << 16  # rows whose hashes are in memory

Array = NDArray[Any]


class RowTable:
    """Distinct rows of float64, the sum of their weights, and the lowest number of each.

    Args:
        dimension: Columns.
        weight_type: int64 where all weights are whole, else float64.
    """

    def __init__(self, dimension: int, weight_type: Any = np.int64) -> None:
        self.count = 0
        self._rows = np.empty((FIRST, dimension))
        self._totals = np.empty(FIRST, weight_type)
        self._lowest = np.empty(FIRST, np.int64)
        self._slots = empty_slots(FIRST)

    def add(self, rows: Array, weights: Array, numbers: Array) -> None:
        """Add rows.

        Args:
            rows: (b, d) float64.
            weights: (b,) of the table's type.
            numbers: (b,) int64.
        """
        rows = np.ascontiguousarray(rows, np.float64) + 0.0  # -0 is 0
        self._make_room(self.count + len(rows))
        self.count = add_rows(
            rows, hashes_of(rows), weights, numbers,
            self._slots, self._rows, self._totals, self._lowest, self.count,
        )  # fmt: skip

    @property
    def rows(self) -> Array:
        """(count, d), in the order in which they came."""
        return self._rows[: self.count]

    @property
    def weights(self) -> Array:
        """(count,) the sums."""
        return self._totals[: self.count]

    @property
    def lowest(self) -> Array:
        """(count,) the lowest number of each."""
        return self._lowest[: self.count]

    def _make_room(self, needed: int) -> None:
        if needed <= len(self._lowest):
            return
        size = max(needed, 2 * len(self._lowest))
        for name in ("_rows", "_totals", "_lowest"):
            old = getattr(self, name)
            new = np.empty((size, *old.shape[1:]), old.dtype)
            new[: self.count] = old[: self.count]
            setattr(self, name, new)
        self._slots = empty_slots(size)
        fill_slots(self.rows, 0, hashes_of(self.rows), self._slots)


def empty_slots(rows: int) -> NDArray[np.int32]:
    """Slots for so many rows, of which at most half will be taken."""
    return np.full(slots_for(rows), -1, np.int32)


def slots_for(rows: int) -> int:
    """How many slots so many rows have."""
    return 1 << max(1, (2 * rows - 1).bit_length())


def slots_of(rows: Array, slots: NDArray[np.int32]) -> NDArray[np.int32]:
    """The slots, empty before, filled with distinct rows for `find`."""
    for first in range(0, len(rows), TOGETHER):
        part = rows[first : first + TOGETHER]
        fill_slots(rows, first, _first_slots(part, slots), slots)
    return slots


def find(rows: Array, slots: NDArray[np.int32], held: Array) -> NDArray[np.int32]:
    """Which of the held rows each row equals, (b,); -1 for none."""
    rows = np.ascontiguousarray(rows, np.float64) + 0.0
    found = np.empty(len(rows), np.int32)
    find_rows(rows, _first_slots(rows, slots), slots, held, found)
    return found


def _first_slots(rows: Array, slots: NDArray[np.int32]) -> NDArray[np.uint64]:
    """Where to begin to look: the beginnings of hashes, as rows that come by these stay together.

    A `RowTable` looks by the ends of hashes, as its rows may have beginnings in common.
    """
    hashes: NDArray[np.uint64] = hashes_of(rows)
    return hashes >> np.uint64(65 - len(slots).bit_length())
