"""Which points are core: those whose neighbours, themselves among them, weigh enough.

A cell's points are all neighbours of each other, so a heavy cell needs no distance. In the others
each point counts row by row, the nearest first, and stops as soon as the answer is known.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from thresher.cluster.kernels.compiled import kernel
from thresher.cluster.kernels.distance import Columns, count_within, fetch, weight_within
from thresher.cluster.kernels.grid_keys import Axes, Layout
from thresher.cluster.kernels.grid_rows import (
    Rows,
    advance,
    begin,
    row_distance,
    slab_distances,
)

__all__ = ["mark_core", "weigh_cells"]


@kernel
def weigh_cells(weights: Any, starts: Any, first: int, last: int, cell_weights: Any) -> None:
    """The weight of the points of each cell."""
    for c in range(first, last):
        total = weights[0] * 0
        for i in range(np.uintp(starts[c]), np.uintp(starts[c + 1])):
            total += weights[i]
        cell_weights[c] = total


@kernel
def mark_core(
    columns: Columns,
    weights: Any,
    keys: Any,
    starts: Any,
    cell_weights: Any,
    layout: Layout,
    axes: Axes,
    rows: Rows,
    squared: float,
    min_samples: Any,
    first: int,
    last: int,
    core: Any,
    cores: Any,
) -> None:
    """Mark the core points of the cells first, …, last - 1, and count them for each cell.

    Args:
        columns: Sorted points.
        weights: Their weights, or None for 1 each.
        keys: Of all cells.
        starts: (cells + 1,) first point of every cell.
        cell_weights: (cells,), or None.
        layout: Of the grid.
        axes: Of the grid.
        rows: Its rows.
        squared: The squared radius.
        min_samples: Least weight of a core point's neighbours; int64 where weights are whole.
        first: Cell.
        last: Cell.
        core: (N,) bool, False before, to write to.
        cores: (cells,), to write to.
    """
    count = len(rows.delta)
    cursor = begin(keys, keys[first], rows, 0, len(keys))
    point = np.empty(len(columns))
    slabs = np.empty((len(layout.shift) - 1, 3))
    held = np.full(count, min_samples)
    for c in range(first, last):
        begins, ends = starts[c], starts[c + 1]
        own = ends - begins if weights is None else cell_weights[c]
        if own >= min_samples:
            for i in range(np.uintp(begins), np.uintp(ends)):
                core[i] = True
            cores[c] = ends - begins
            continue
        around = min_samples * 0
        for r in range(count):
            advance(keys, keys[c], rows, cursor, r, len(keys))
            if weights is None:
                held[r] = starts[cursor.high[r]] - starts[cursor.low[r]]
            else:
                held[r] = _weight_of(cell_weights, cursor.low[r], cursor.high[r])
            around += held[r]
        if around < min_samples:
            continue
        marked = 0
        for i in range(np.uintp(begins), np.uintp(ends)):
            fetch(columns, i, point)
            slab_distances(point, layout, axes, rows, slabs)
            found, left = min_samples * 0, around
            for r in range(count):
                if held[r] == 0:
                    continue
                left -= held[r]
                if row_distance(rows, r, slabs) > rows.limit:
                    continue
                a, b = starts[cursor.low[r]], starts[cursor.high[r]]
                if weights is None:
                    found += count_within(columns, a, b, point, squared)
                else:
                    found += weight_within(columns, weights, a, b, point, squared)
                if found >= min_samples:
                    core[i] = True
                    marked += 1
                    break
                if found + left < min_samples:
                    break
        cores[c] = marked


@kernel
def _weight_of(cell_weights: Any, low: int, high: int) -> Any:
    total = cell_weights[0] * 0
    for c in range(low, high):
        total += cell_weights[c]
    return total
