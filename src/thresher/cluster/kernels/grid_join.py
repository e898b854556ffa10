"""Core cells into clusters: those of a cell are one; two cells join when two core points do.

The work is dealt as contiguous runs of cells. A run joins only cells of its own, so that all share
one array of parents; then runs are merged pairwise, as in RP-DBSCAN's tournament: of two
neighbouring runs only the pairs of cells across their border are still to be looked at.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from thresher.cluster.kernels.closest import any_within
from thresher.cluster.kernels.compiled import kernel
from thresher.cluster.kernels.disjoint import find, unite
from thresher.cluster.kernels.distance import Columns
from thresher.cluster.kernels.grid_rows import Rows, advance, begin

__all__ = ["box_cells", "gather_core", "join_cells"]

BOXED = 8  # points from which on a cell's box is worth a look


@kernel
def gather_core(
    columns: Columns,
    rows: Any,
    core: Any,
    keys: Any,
    starts: Any,
    cores: Any,
    first: int,
    last: int,
    cell: int,
    core_keys: Any,
    core_starts: Any,
    core_stops: Any,
    lowest_rows: Any,
) -> None:
    """Put the core points of each of the cells first, …, last - 1 before its others, and list the
    cells that have any from ``cell`` on, with the lowest row number of each."""
    for c in range(first, last):
        if cores[c] == 0:
            continue
        begin, stop = np.uintp(starts[c]), np.uintp(starts[c + 1])
        end = begin + np.uintp(cores[c])
        lowest = np.iinfo(np.int64).max
        other = end
        for i in range(begin, end):
            if not core[i]:
                while other < stop and not core[other]:
                    other += np.uintp(1)
                for k in range(len(columns)):
                    columns[k][i], columns[k][other] = columns[k][other], columns[k][i]
                rows[i], rows[other] = rows[other], rows[i]
                other += np.uintp(1)
            lowest = min(lowest, rows[i])
        core_keys[cell], core_starts[cell], core_stops[cell] = keys[c], begin, end
        lowest_rows[cell] = lowest
        cell += 1


@kernel
def box_cells(columns: Columns, starts: Any, stops: Any, first: int, last: int, boxes: Any) -> None:
    """The box of every cell with enough points: boxes (cells, 2, d), least and greatest."""
    for c in range(first, last):
        if stops[c] - starts[c] < BOXED:
            continue
        for k in range(len(columns)):
            low = high = np.float64(columns[k][np.uintp(starts[c])])
            for i in range(np.uintp(starts[c]), np.uintp(stops[c])):
                value = np.float64(columns[k][i])
                low = value if value < low else low
                high = value if value > high else high
            boxes[c, 0, k], boxes[c, 1, k] = low, high


@kernel
def join_cells(
    columns: Columns,
    keys: Any,
    starts: Any,
    stops: Any,
    boxes: Any,
    rows: Rows,
    squared: float,
    low: int,
    middle: int,
    high: int,
    parent: Any,
) -> None:
    """Join each of the cells middle, …, high - 1 to earlier ones, but none before ``low``.

    With ``low`` = ``middle`` a run joins its own cells; else the cells from ``middle`` on are
    joined to those before it, as both sides have been joined within themselves.
    """
    within = low == middle
    furthest = 0
    for r in range(len(rows.delta)):
        furthest = max(furthest, rows.below - rows.delta[r])
    cursor = begin(keys, keys[middle], rows, low, high if within else middle)
    last_key = keys[middle - 1] if middle > 0 else 0
    for c in range(middle, high):
        if not within and ((keys[c] >> rows.remainders) << rows.remainders) - furthest > last_key:
            break
        root = find(parent, c)
        limit = c if within else middle
        for r in range(len(rows.delta)):
            if rows.delta[r] > 0:
                continue
            advance(keys, keys[c], rows, cursor, r, limit)
            for other in range(cursor.low[r], min(cursor.high[r], limit)):
                other_root = find(parent, other)
                if other_root != root and _touch(columns, starts, stops, boxes, c, other, squared):
                    root = unite(parent, root, other_root)


@kernel
def _touch(
    columns: Columns, starts: Any, stops: Any, boxes: Any, one: int, other: int, squared: float
) -> bool:
    """Whether a point of one cell is within the radius of one of the other."""
    a, b, c, d = starts[one], stops[one], starts[other], stops[other]
    if b - a >= BOXED and d - c >= BOXED:
        near = far = 0.0
        for k in range(len(columns)):
            gap = max(boxes[one, 0, k] - boxes[other, 1, k], boxes[other, 0, k] - boxes[one, 1, k])
            span = max(boxes[one, 1, k] - boxes[other, 0, k], boxes[other, 1, k] - boxes[one, 0, k])
            near += max(gap, 0.0) ** 2
            far += span * span
        if near > squared * (1 + 1e-9):
            return False
        if far * (1 + 1e-9) <= squared:
            return True
    return any_within(columns, a, b, c, d, squared)
