"""Rows of neighbouring cells: for each offset in all dimensions but the last, one run of keys.

The last dimension occupies the lowest bits of a key, so the neighbours of a cell that agree in all
other dimensions are one range of keys, hence one range of cells and one of points: 5 rows in two
dimensions, 25 in three. Cells are visited in order of their keys, so that both ends of each range
only ever move forward.

An offset o belongs to a row when a point of the cell can have a neighbour there:
Σ_j max(|o_j| - 1, 0)² ≤ d, the corners included.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from thresher.cluster.kernels.compiled import kernel
from thresher.cluster.kernels.grid_keys import Layout

__all__ = ["Cursor", "Rows", "advance", "begin", "slab_distances", "row_distance"]


class Rows(NamedTuple):
    """The rows around any cell, nearest first; the first is the cell's own."""

    delta: Any  # (rows,) int64: difference of keys between a row's middle cell and the cell
    reach: Any  # (rows,) int64: cells to both sides of the middle one
    offset: Any  # (rows, d - 1) int64, each plus the greatest offset: columns of slab distances
    greatest: int  # offset in any dimension
    margin: float  # by which a distance in cells may be off, through rounding
    limit: float  # squared radius in cells, and the margin


class Cursor(NamedTuple):
    """Where each row's range of cells begins and ends for the current cell."""

    low: Any  # (rows,) int64
    high: Any  # (rows,) int64


@kernel
def _first_at_least(keys: Any, low: int, high: int, key: int) -> int:
    while low < high:
        middle = (low + high) >> 1
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def begin(keys: Any, key: int, rows: Rows, low: int, high: int) -> Cursor:
    """A cursor for the cell of a key, over the cells low, …, high - 1."""
    count = len(rows.delta)
    cursor = Cursor(np.empty(count, np.int64), np.empty(count, np.int64))
    for r in range(count):
        middle = key + rows.delta[r]
        cursor.low[r] = _first_at_least(keys, low, high, middle - rows.reach[r])
        cursor.high[r] = _first_at_least(keys, cursor.low[r], high, middle + rows.reach[r] + 1)
    return cursor


@kernel
def advance(keys: Any, key: int, rows: Rows, cursor: Cursor, r: int, limit: int) -> None:
    """Move one row's range forward to a later cell; never beyond ``limit``."""
    middle = key + rows.delta[r]
    cursor.low[r] = _forward(keys, cursor.low[r], limit, middle - rows.reach[r])
    start = max(cursor.low[r], cursor.high[r])
    cursor.high[r] = _forward(keys, start, limit, middle + rows.reach[r] + 1)


@kernel
def _forward(keys: Any, place: int, limit: int, key: int) -> int:
    """The first place from here on with at least this key: a few steps, then in leaps."""
    for _ in range(4):
        if place >= limit or keys[np.uintp(place)] >= key:
            return place
        place += 1
    leap = 4
    while place + leap < limit and keys[np.uintp(place + leap)] < key:
        place += leap
        leap *= 2
    return _first_at_least(keys, place, min(place + leap, limit), key)


@kernel
def slab_distances(point: Any, layout: Layout, rows: Rows, squared: Any) -> None:
    """Squared distance, in cells, of a point to the slabs of cells at each offset, a lower bound.

    Args:
        point: (d,).
        layout: Of the grid.
        rows: Its rows.
        squared: (d - 1, 2 greatest + 1), to write to.
    """
    for k in range(len(point) - 1):
        exact = (point[k] - layout.least[k]) * layout.per_side[k]
        within = exact - np.floor(exact)
        for o in range(-rows.greatest, rows.greatest + 1):
            gap = o - within if o > 0 else (within - o - 1 if o < 0 else 0.0)
            gap = max(gap - rows.margin, 0.0)
            squared[k, o + rows.greatest] = gap * gap


@kernel
def row_distance(rows: Rows, r: int, squared: Any) -> float:
    """Squared distance in cells from a point to a row, a lower bound, of the slabs' distances."""
    total = 0.0
    for k in range(rows.offset.shape[1]):
        total += squared[k, rows.offset[r, k]]
    return total
