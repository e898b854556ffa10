"""Cells as numbers: bounds of the data, keys of points, buckets of keys.

    c_j = ⌊(x_j - min_j) / side⌋                  coordinates of the cell of x
    key = ⌊c_1 / 2⌋ … ⌊c_{d-1} / 2⌋, c_d, c_1 mod 2 … c_{d-1} mod 2      from high bits to low

The grid may lie in other directions than the coordinates: x_j is then the product with the j-th of
``axes``, everywhere in these kernels. None are the coordinates themselves.

Cells that lie in the same column of blocks, two cells wide in each dimension but the last, and at
neighbouring heights have neighbouring keys. Each field has room for the neighbours of cells at the
rim, so that to add a difference of keys never carries into the next.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from thresher.cluster.kernels.compiled import kernel

__all__ = [
    "PADDING",
    "Axes",
    "Buckets",
    "Layout",
    "bounds",
    "bucket_of_part",
    "key_of_point",
    "keys_of_rows",
    "place_along",
]


class Layout(NamedTuple):
    """How points become keys, in the d dimensions of the grid."""

    least: Any  # (d,) float64, the least coordinate
    per_side: float  # 1 / side
    shift: Any  # (d,) int64, of the fields; that of the last leaves d - 1 bits for remainders


Axes = Any  # None, or a tuple of one direction for each dimension of the grid, float64


PADDING = 2  # blocks, or cells in the last dimension, beyond the rim


class Buckets(NamedTuple):
    """How keys become buckets, in order of the keys: a table over their leading bits."""

    origin: int  # key of the first slot
    shift: int  # low bits that slots do not tell apart
    table: Any  # (slots,) uint16, the bucket of a slot
    splitters: Any  # (buckets - 1,) int64: where the table is too coarse; or of length 0


@kernel
def place_along(point: Any, k: int, axes: Axes) -> float:
    """The k-th coordinate of a point in the grid."""
    if axes is None:
        return np.float64(point[k])
    total = 0.0
    for j in range(len(point)):
        total += axes[k][j] * point[j]
    return total


@kernel
def _of_columns(columns: Any, i: int, k: int, axes: Axes) -> float:
    """The same of one point of columns."""
    if axes is None:
        return np.float64(columns[k][i])
    total = 0.0
    for j in range(len(columns)):
        total += axes[k][j] * columns[j][i]
    return total


@kernel
def _of_rows(rows: Any, i: int, k: int, axes: Axes) -> float:
    """The same of one of rows (b, d)."""
    if axes is None:
        return np.float64(rows[i, k])
    total = 0.0
    for j in range(rows.shape[1]):
        total += axes[k][j] * rows[i, j]
    return total


@kernel
def bounds(part: Any, axes: Axes, least: Any, greatest: Any) -> bool:
    """Lower ``least`` and raise ``greatest``, (d,) float64, to hold a part; False if not finite."""
    finite = True
    for k in range(len(least)):
        low = high = _of_rows(part, 0, k, axes)
        for i in range(part.shape[0]):
            value = _of_rows(part, i, k, axes)
            finite &= abs(value) < np.inf
            low = value if value < low else low
            high = value if value > high else high
        least[k] = min(least[k], low)
        greatest[k] = max(greatest[k], high)
    return finite


@kernel
def key_of_point(columns: Any, i: int, layout: Layout, axes: Axes) -> int:
    """The key of one point of columns."""
    key, d = 0, len(columns) if axes is None else len(axes)
    for k in range(d):
        key += _field(_of_columns(columns, i, k, axes), k, d - 1, layout)
    return key


@kernel
def _key_of_row(rows: Any, i: int, layout: Layout, axes: Axes) -> int:
    """The key of one of rows (b, d)."""
    key, d = 0, rows.shape[1] if axes is None else len(axes)
    for k in range(d):
        key += _field(_of_rows(rows, i, k, axes), k, d - 1, layout)
    return key


@kernel
def _field(value: float, k: int, last: int, layout: Layout) -> int:
    """What one coordinate adds to a key."""
    cell = np.int64((value - layout.least[k]) * layout.per_side)
    if k == last:
        return (cell + PADDING) << layout.shift[k]
    return (((cell >> 1) + PADDING) << layout.shift[k]) + ((cell & 1) << k)


@kernel
def keys_of_rows(rows: Any, layout: Layout, axes: Axes, keys: Any) -> None:
    """The keys of rows (b, d)."""
    for i in range(np.uintp(rows.shape[0])):
        keys[i] = _key_of_row(rows, i, layout, axes)


@kernel
def bucket_of_part(part: Any, layout: Layout, axes: Axes, buckets: Buckets, found: Any) -> None:
    """The bucket of every row of a part, uint16."""
    last_slot = len(buckets.table) - 1
    for i in range(np.uintp(part.shape[0])):
        key = _key_of_row(part, i, layout, axes)
        if len(buckets.splitters) > 0:
            low, high = 0, len(buckets.splitters)
            while low < high:
                middle = (low + high) >> 1
                if buckets.splitters[middle] <= key:
                    low = middle + 1
                else:
                    high = middle
            found[i] = low
        else:
            slot = min(max((key - buckets.origin) >> buckets.shift, 0), last_slot)
            found[i] = buckets.table[np.uintp(slot)]
