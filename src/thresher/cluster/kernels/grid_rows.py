"""Rows of neighbouring cells: for each neighbouring column of blocks, one run of keys.

Blocks are two cells wide in each dimension but the last, and eps is less than a block, so all
neighbours of a cell's points lie in its own column of blocks and the ones around it, at most two
cells higher or lower. In each column those are one range of keys, hence one of cells and one of
points: 3 ranges in two dimensions, 9 in three, which loops over points run through at full speed.
Cells are visited in order of their keys, so both ends of each range only ever move forward.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from thresher.cluster.kernels.compiled import kernel
from thresher.cluster.kernels.grid_keys import Axes, Layout, place_along

__all__ = ["Cursor", "Rows", "advance", "begin", "first_at_least", "row_distance", "slab_distances"]


class Rows(NamedTuple):
    """The rows around any cell, nearest first; the first is its own column of blocks."""

    delta: Any  # (rows,) int64: difference of keys between the column and the cell's own
    offset: Any  # (rows, d - 1) int64: 0, 1, 2 for the block before, the same, the one after
    below: int  # keys from the first cell in reach to the cell's height
    above: int  # and from there to the first cell out of reach
    remainders: int  # bits of a key that tell the cells of a block apart
    margin: float  # by which a distance in cells may be off, through rounding
    limit: float  # squared radius in cells, and the margin


class Cursor(NamedTuple):
    """Where each row's range of cells begins and ends for the current cell."""

    low: Any  # (rows,) int64
    high: Any  # (rows,) int64


@kernel
def first_at_least(keys: Any, low: int, high: int, key: int) -> int:
    """The first place from low on, below high, with at least this key; high where there is none."""
    while low < high:
        middle = (low + high) >> 1
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def _middle(key: int, rows: Rows, r: int) -> int:
    """The key of the first cell of a row's block at the cell's height."""
    return ((key >> rows.remainders) << rows.remainders) + rows.delta[r]


@kernel
def begin(keys: Any, key: int, rows: Rows, low: int, high: int) -> Cursor:
    """A cursor for the cell of a key, over the cells low, …, high - 1."""
    count = len(rows.delta)
    cursor = Cursor(np.empty(count, np.int64), np.empty(count, np.int64))
    for r in range(count):
        middle = _middle(key, rows, r)
        cursor.low[r] = first_at_least(keys, low, high, middle - rows.below)
        cursor.high[r] = first_at_least(keys, cursor.low[r], high, middle + rows.above)
    return cursor


@kernel
def advance(keys: Any, key: int, rows: Rows, cursor: Cursor, r: int, limit: int) -> None:
    """Move one row's range forward to a later cell; never beyond ``limit``."""
    middle = _middle(key, rows, r)
    cursor.low[r] = _forward(keys, cursor.low[r], limit, middle - rows.below)
    start = max(cursor.low[r], cursor.high[r])
    cursor.high[r] = _forward(keys, start, limit, middle + rows.above)


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
    return first_at_least(keys, place, min(place + leap, limit), key)


@kernel
def slab_distances(point: Any, layout: Layout, axes: Axes, rows: Rows, squared: Any) -> None:
    """Squared distance, in cells, of a point to the blocks before and after, a lower bound.

    Args:
        point: (dimension,).
        layout: Of the grid.
        axes: Of the grid.
        rows: Its rows.
        squared: (d - 1, 3), to write to.
    """
    for k in range(squared.shape[0]):
        block = (place_along(point, k, axes) - layout.least[k]) * layout.per_side * 0.5
        within = 2 * (block - np.floor(block))
        before = max(within - rows.margin, 0.0)
        after = max(2 - within - rows.margin, 0.0)
        squared[k, 0], squared[k, 1], squared[k, 2] = before * before, 0.0, after * after


@kernel
def row_distance(rows: Rows, r: int, squared: Any) -> float:
    """Squared distance in cells from a point to a row, a lower bound, of the slabs' distances."""
    total = 0.0
    for k in range(rows.offset.shape[1]):
        total += squared[k, rows.offset[r, k]]
    return total
