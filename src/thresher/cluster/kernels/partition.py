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
    places: Any,
    weights: Any,
    columns: Columns,
    rows: Any,
    moved_weights: Any,
) -> None:
    """Write a part's points, their row numbers and weights to their buckets; advances ``places``.

    Args:
        part: (b, d).
        first_row: Row number of the part's first point.
        buckets: (b,) of the part.
        places: (buckets,) where the part's next point of each bucket goes.
        weights: Of all rows, or None.
        columns: d arrays of N, to write to.
        rows: (N,), to write to.
        moved_weights: (N,), to write to, or None.
    """
    for i in range(np.uintp(len(buckets))):
        bucket = buckets[i]
        place = np.uintp(places[bucket])
        places[bucket] += 1
        for k in range(len(columns)):
            columns[k][place] = part[i, k]
        rows[place] = first_row + i
        if weights is not None:
            moved_weights[place] = weights[np.uintp(first_row) + i]
