"""Points into buckets: count, then move, each part by one thread; the order within stays.

Moving points to buckets that fit in a core's cache, and only then sorting each bucket, reads and
writes memory in runs; to gather points by a sorted list of row numbers is a cache miss a point.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from thresher.cluster.kernels.compiled import kernel
from thresher.cluster.kernels.distance import Columns

__all__ = ["count_buckets", "first_places", "move"]


@kernel
def count_buckets(buckets: Any, counts: Any) -> None:
    """Add the points of a part to the counts of their buckets."""
    for i in range(len(buckets)):
        counts[buckets[i]] += 1


@kernel
def first_places(counts: Any, places: Any) -> None:
    """Where each part's share of each bucket begins: counts (parts, buckets) → places, (the same).

    Bucket by bucket, in each part by part: the order does not depend on who moves which part.
    """
    place = 0
    for bucket in range(counts.shape[1]):
        for part in range(counts.shape[0]):
            places[part, bucket] = place
            place += counts[part, bucket]


@kernel
def move(
    part: Any,
    first_row: int,
    buckets: Any,
    counts: Any,
    places: Any,
    weights: Any,
    columns: Columns,
    rows: Any,
    moved_weights: Any,
) -> None:
    """Write a part's points, their row numbers and weights to their buckets.

    Args:
        part: (b, d).
        first_row: Row number of the part's first point.
        buckets: (b,) of the part.
        counts: (buckets,) of the part.
        places: (buckets,) where the part's points of each bucket begin.
        weights: A number for every row, such as its weight, or None.
        columns: d arrays of N, or one of (d, N), to write to.
        rows: (N,), to write to.
        moved_weights: (N,), to write to, or None.
    """
    ends = np.empty(len(counts), np.int64)
    total = 0
    for bucket in range(len(counts)):
        ends[bucket] = total
        total += counts[bucket]
    order = np.empty(len(buckets), np.uint32)
    for i in range(np.uintp(len(buckets))):
        bucket = np.uintp(buckets[i])
        order[np.uintp(ends[bucket])] = i
        ends[bucket] += 1
    for bucket in range(np.uintp(len(counts))):  # one run after the other stays in cache
        size, place = np.uintp(counts[bucket]), np.uintp(places[bucket])
        first = np.uintp(ends[bucket]) - size
        for k in range(len(columns)):
            for i in range(size):
                columns[k][place + i] = part[np.uintp(order[first + i]), k]
        for i in range(size):
            row = first_row + np.int64(order[first + i])
            rows[place + i] = row
            if weights is not None:
                moved_weights[place + i] = weights[np.uintp(row)]
