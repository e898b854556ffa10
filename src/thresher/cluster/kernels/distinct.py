"""Equal rows found by their hashes, and compared in full.

Rows are moved to buckets by their hash, so that equal ones meet in a bucket that fits in a core's
cache; there a small table tells those that were seen before. -0 equals 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from thresher.cluster.kernels.compiled import kernel

__all__ = ["gather_distinct", "hash_rows", "merge_bucket"]


@kernel
def hash_rows(bits: Any, hashes: Any) -> None:
    """A 64-bit hash of every row of uint64 (b, d): multiply and fold (MurmurHash3's finaliser)."""
    for i in range(np.uintp(bits.shape[0])):
        total = np.uint64(0x9E3779B97F4A7C15)
        for k in range(bits.shape[1]):
            total ^= bits[i, k]
            total ^= total >> np.uint64(33)
            total *= np.uint64(0xFF51AFD7ED558CCD)
            total ^= total >> np.uint64(33)
            total *= np.uint64(0xC4CEB9FE1A85EC53)
            total ^= total >> np.uint64(29)
        hashes[i] = total


@kernel
def merge_bucket(
    moved: Any, hashes: Any, rows: Any, weights: Any, first: int, last: int, same: Any, total: Any
) -> int:
    """Bring the distinct rows of a bucket to its front, in order of their first occurrence.

    Args:
        moved: (N, d) rows in order of their buckets.
        hashes: (N,)
        rows: (N,) row numbers, ascending within a bucket; of the distinct rows, at the front: the
            lowest.
        weights: Of all rows by their numbers, or None for 1 each.
        first: Of the bucket.
        last: Of the bucket.
        same: (rows,) by row number: which distinct row of its bucket, to write to.
        total: (N,) weights of the distinct rows, at the front, to write to.

    Returns:
        How many are distinct.
    """
    size = 2
    while size < 2 * (last - first):
        size *= 2
    table = np.full(size, -1, np.int32)
    found = 0
    for i in range(first, last):
        slot = np.int64(hashes[i] & np.uint64(size - 1))
        while table[slot] >= 0:
            other = first + table[slot]
            if hashes[other] == hashes[i] and _equal(moved, other, i):
                break
            slot = (slot + 1) & (size - 1)
        row = rows[i]
        if table[slot] < 0:
            table[slot] = found
            place = first + found
            for k in range(moved.shape[1]):
                moved[place, k] = moved[i, k]
            hashes[place], rows[place] = hashes[i], row
            total[place] = 0
            found += 1
        same[row] = table[slot]
        total[first + table[slot]] += 1 if weights is None else weights[row]
    return found


@kernel
def _equal(moved: Any, i: int, j: int) -> bool:
    for k in range(moved.shape[1]):  # noqa: SIM110  numba compiles no generator expressions
        if moved[i, k] != moved[j, k]:
            return False
    return True


@kernel
def gather_distinct(same: Any, buckets: Any, rank: Any, first_rank: Any) -> None:
    """same[row] = rank[first_rank[bucket of row] + same[row]], in place."""
    for i in range(np.uintp(len(same))):
        same[i] = rank[first_rank[buckets[i]] + same[i]]
