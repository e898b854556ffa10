"""Equal rows as one row with their weight.

What clusters is the same for ten equal rows of weight 1 and for one of weight 10; where data repeat
themselves (integers, clicks, positions of parked cars) the work shrinks with them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.kernels.distinct import gather_distinct, hash_rows, merge_bucket
from thresher.cluster.kernels.partition import count_buckets, first_places, move
from thresher.cluster.points import ArrayPoints, Phase, Points
from thresher.cluster.threads import each

__all__ = ["Distinct", "distinct_share", "merge_equal_rows"]

BUCKET = 4_096  # rows, about
MOST_BUCKETS = 4_096
SAMPLED = 1 / 16  # of the possible hashes

Array = NDArray[Any]


class Distinct(NamedTuple):
    """Distinct rows in order of their first occurrence."""

    points: ArrayPoints  # (m, d)
    weights: Array  # (m,) int64, or float64 where the given weights are
    same: Array  # (N,) int32 or int64: which distinct row each row is


def distinct_share(points: Points, jobs: int) -> float:
    """About which share of the rows is distinct, by the hashes that end in four zero bits.

    All copies of a row have one hash, so a sixteenth of the distinct rows is among them, however
    often each occurs.
    """
    parts = len(points.starts) - 1
    found: list[Array] = [np.empty(0, np.uint64)] * parts

    def task(number: int) -> None:
        hashes = hashes_of(points.part(number))
        found[number] = hashes[hashes & np.uint64(round(1 / SAMPLED) - 1) == 0]

    each(task, parts, jobs)
    return min(1.0, len(np.unique(np.concatenate(found))) / SAMPLED / points.rows)


def hashes_of(rows: Array) -> Array:
    """A hash of every row, (b,) uint64."""
    bits = (np.ascontiguousarray(rows, np.float64) + 0.0).view(np.uint64)  # -0 + 0 is 0
    hashes = np.empty(len(rows), np.uint64)
    hash_rows(bits, hashes)
    return hashes


def merge_equal_rows(points: Points, weights: Array | None, jobs: int, phase: Phase) -> Distinct:
    """Merge equal rows, and add up their weights.

    Args:
        points: Any.
        weights: (N,) int64 or float64; None for 1 each.
        jobs: Threads.
        phase: Hears how far it is, as "merging equal rows".
    """
    n, parts, starts = points.rows, len(points.starts) - 1, points.starts
    count = min(max(1, n // BUCKET), MOST_BUCKETS)
    number_type = np.int32 if n < 2**31 else np.int64
    bucket_of, hashes = np.empty(n, np.uint16), np.empty(n, np.uint64)
    counts = np.zeros((parts, count), np.int64)

    def find(number: int) -> None:
        here = slice(starts[number], starts[number + 1])
        hashes[here] = hashes_of(points.part(number))
        # leading bits choose the bucket, trailing ones the slot in it
        bucket_of[here] = (hashes[here] >> np.uint64(32)) * np.uint64(count) >> np.uint64(32)
        count_buckets(bucket_of[here], counts[number])

    each(find, parts, jobs, lambda share: phase("merging equal rows", share / 3))
    places = np.empty_like(counts)
    first_places(counts, places)
    begins = np.append(places[0], n)
    moved, moved_hashes = np.empty((n, points.dimension), points.dtype), np.empty(n, np.uint64)
    rows = np.empty(n, number_type)

    def carry(number: int) -> None:
        here = slice(starts[number], starts[number + 1])
        part, held, to = points.part(number), counts[number], places[number]
        move(part, here.start, bucket_of[here], held, to, hashes, moved.T, rows, moved_hashes)

    each(carry, parts, jobs, lambda share: phase("merging equal rows", (1 + share) / 3))
    same = np.empty(n, number_type)
    total = np.empty(n, np.int64 if weights is None else weights.dtype)
    found = np.empty(count, np.int64)

    def merge(b: int) -> None:
        found[b] = merge_bucket(
            moved, moved_hashes, rows, weights, begins[b], begins[b + 1], same, total
        )

    each(merge, count, jobs, lambda share: phase("merging equal rows", (2 + share) / 3))
    fronts = np.repeat(begins[:-1] - np.cumsum(found) + found, found) + np.arange(found.sum())
    order = np.argsort(rows[fronts])
    rank = np.empty(len(order), number_type)
    rank[order] = np.arange(len(order), dtype=number_type)
    first_rank = np.cumsum(found) - found

    def number(i: int) -> None:
        part = slice(starts[i], starts[i + 1])
        gather_distinct(same[part], bucket_of[part], rank, first_rank)

    each(number, parts, jobs)
    chosen = fronts[order]
    return Distinct(ArrayPoints(moved[chosen]), total[chosen], same)
