"""Labels of points: a core point has its cell's; another that of its nearest core point, if any.

Of core points equally near, the one with the lexicographically smallest coordinates counts, so
that a label does not depend on the order of rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from thresher.cluster.kernels.compiled import kernel
from thresher.cluster.kernels.distance import (
    Columns,
    count_within,
    fetch,
    precedes,
    squared_distance,
)
from thresher.cluster.kernels.grid_keys import Axes, Layout
from thresher.cluster.kernels.grid_rows import (
    Rows,
    advance,
    begin,
    first_at_least,
    row_distance,
    slab_distances,
)

__all__ = ["label_cells"]


@kernel
def label_cells(
    columns: Columns,
    rows_of_points: Any,
    keys: Any,
    starts: Any,
    cores: Any,
    core_keys: Any,
    core_starts: Any,
    core_stops: Any,
    core_labels: Any,
    layout: Layout,
    axes: Axes,
    rows: Rows,
    squared: float,
    first: int,
    last: int,
    labels: Any,
    core_rows: Any,
) -> None:
    """Write label and core flag of the points of the cells first, …, last - 1 to their rows.

    The core points of a cell come first in it.
    """
    if len(core_keys) == 0:
        return
    cursor = begin(core_keys, keys[first], rows, 0, len(core_keys))
    point = np.empty(len(columns))
    slabs = np.empty((len(layout.shift) - 1, 3))
    own = 0
    for c in range(first, last):
        begins = np.uintp(starts[c])
        ends, stop = begins + np.uintp(cores[c]), np.uintp(starts[c + 1])
        if begins < ends:
            own = first_at_least(core_keys, own, len(core_keys), keys[c])
            for i in range(begins, ends):
                row = np.uintp(rows_of_points[i])
                labels[row] = core_labels[np.uintp(own)]
                core_rows[row] = True
        if ends == stop:
            continue
        for r in range(len(rows.delta)):
            advance(core_keys, keys[c], rows, cursor, r, len(core_keys))
        for i in range(ends, stop):
            row = np.uintp(rows_of_points[i])
            fetch(columns, i, point)
            slab_distances(point, layout, axes, rows, slabs)
            cell = _nearest(columns, core_starts, core_stops, rows, cursor, slabs, point, squared)
            if cell >= 0:
                labels[row] = core_labels[cell]


@kernel
def _nearest(
    columns: Columns,
    starts: Any,
    stops: Any,
    rows: Rows,
    cursor: Any,
    slabs: Any,
    point: Any,
    squared: float,
) -> int:
    """The cell of the nearest core point within the radius, or -1."""
    best, best_cell, best_point = squared, -1, np.uintp(0)
    for r in range(len(rows.delta)):
        low, high = cursor.low[r], cursor.high[r]
        if low == high or row_distance(rows, r, slabs) > rows.limit:
            continue
        # those that are not core lie among them: one look at all that is there is the quickest
        if count_within(columns, starts[low], stops[high - 1], point, best) == 0:
            continue
        for cell in range(low, high):
            for i in range(np.uintp(starts[cell]), np.uintp(stops[cell])):
                distance = squared_distance(columns, i, point)
                if distance < best or (
                    distance == best and (best_cell < 0 or precedes(columns, i, best_point))
                ):
                    best, best_cell, best_point = distance, cell, i
    return best_cell
