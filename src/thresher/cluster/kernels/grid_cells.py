"""Buckets of points into cells: sort each bucket by key, then list the cells.

A bucket is small enough for a core's cache. Where its keys span a short range they are counted;
else they are sorted by their digits, eleven bits at a time, lowest first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from thresher.cluster.kernels.compiled import kernel
from thresher.cluster.kernels.distance import Columns
from thresher.cluster.kernels.grid_keys import Axes, Layout, key_of_point

__all__ = ["list_cells", "sort_bucket"]

DIGIT = 11
DIGITS = 1 << DIGIT


@kernel
def sort_bucket(
    columns: Columns, rows: Any, weights: Any, first: int, last: int, layout: Layout, axes: Axes
) -> int:
    """Sort the points first, …, last - 1 by key, equal keys in their order; returns the cells."""
    size = last - first
    if size == 0:
        return 0
    keys = np.empty(size, np.int64)
    low = high = key_of_point(columns, first, layout, axes)
    ascending = True
    for i in range(np.uintp(size)):
        key = key_of_point(columns, np.uintp(first) + i, layout, axes)
        keys[i] = key
        ascending &= i == 0 or keys[i - np.uintp(1)] <= key
        low, high = min(low, key), max(high, key)
    if not ascending:
        order = (
            _counted(keys, low, high - low + 1)
            if high - low < 4 * size + DIGITS
            else _by_digits(keys, low, high)
        )
        for k in range(len(columns)):
            _reorder(columns[k], first, order)
        _reorder(rows, first, order)
        if weights is not None:
            _reorder(weights, first, order)
    return _distinct(keys) if ascending else _distinct_of(columns, first, last, layout, axes)


@kernel
def _counted(keys: Any, low: int, span: int) -> Any:
    """The order that sorts keys in low, …, low + span - 1."""
    places = np.zeros(span + 1, np.int32)
    for i in range(np.uintp(len(keys))):
        places[np.uintp(keys[i] - low + 1)] += 1
    for i in range(np.uintp(1), np.uintp(span)):
        places[i] += places[i - np.uintp(1)]
    order = np.empty(len(keys), np.int32)
    for i in range(np.uintp(len(keys))):
        slot = np.uintp(keys[i] - low)
        order[np.uintp(places[slot])] = i
        places[slot] += 1
    return order


@kernel
def _by_digits(keys: Any, low: int, high: int) -> Any:
    """The order that sorts any keys."""
    size = len(keys)
    order = np.empty(size, np.int32)
    for i in range(np.uintp(size)):
        order[i] = i
    other = np.empty(size, np.int32)
    shift = 0
    while (high - low) >> shift > 0:
        places = np.zeros(DIGITS + 1, np.int32)
        for i in range(np.uintp(size)):
            places[np.uintp(((keys[i] - low) >> shift) & (DIGITS - 1)) + np.uintp(1)] += 1
        for i in range(np.uintp(1), np.uintp(DIGITS)):
            places[i] += places[i - np.uintp(1)]
        for i in range(np.uintp(size)):
            point = order[i]
            digit = np.uintp(((keys[np.uintp(point)] - low) >> shift) & (DIGITS - 1))
            other[np.uintp(places[digit])] = point
            places[digit] += 1
        order, other = other, order
        shift += DIGIT
    return order


@kernel
def _reorder(values: Any, first: int, order: Any) -> None:
    """values[first + i] = values[first + order[i]] for all i at once."""
    copy = np.empty(len(order), values.dtype)
    begin = np.uintp(first)
    for i in range(np.uintp(len(order))):
        copy[i] = values[begin + np.uintp(order[i])]
    for i in range(np.uintp(len(order))):
        values[begin + i] = copy[i]


@kernel
def _distinct(keys: Any) -> int:
    found = 1
    for i in range(np.uintp(1), np.uintp(len(keys))):
        found += keys[i] != keys[i - np.uintp(1)]
    return found


@kernel
def _distinct_of(columns: Columns, first: int, last: int, layout: Layout, axes: Axes) -> int:
    found, before = 0, -1
    for i in range(np.uintp(first), np.uintp(last)):
        key = key_of_point(columns, i, layout, axes)
        found += key != before
        before = key
    return found


@kernel
def list_cells(
    columns: Columns,
    first: int,
    last: int,
    layout: Layout,
    axes: Axes,
    place: int,
    keys: Any,
    starts: Any,
) -> None:
    """Write key and first point of the cells of sorted points, from ``place`` on."""
    before = -1
    for i in range(np.uintp(first), np.uintp(last)):
        key = key_of_point(columns, i, layout, axes)
        if key != before:
            keys[place] = key
            starts[place] = i
            place += 1
            before = key
