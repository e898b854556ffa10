"""How far the k nearest points are: exact, for some points among all, by parts of these.

    up to 10 dimensions   a kd-tree of every block of rows, asked for the k nearest of each point
    above                 |x - y|² = |x|² + |y|² - 2 x·y for a tile of pairs: a matrix product says
                          which of them may be nearer than the k nearest so far

Either only names candidates; what counts is Σ_j (x_j - y_j)² in float64, columns in order, as for
the engines of DBSCAN. Blocks may come in any order: the k smallest numbers are the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.points import Points
from thresher.cluster.threads import each, one_blas_thread

__all__ = ["nearest_squared"]

TREE_DIMENSIONS = 10  # above, a tree looks at almost all rows where they have no structure
BLOCK_ROWS = 1 << 18  # of a kd-tree, whose float64 copy is held by one thread
TILE_ROWS, TILE_ASKED = 4096, 512  # of a matrix product
NUMBERS = 1 << 21  # coordinates of pairs that are held at once
ROUNDED = 2.0**-53

Floats = NDArray[np.float64]


def nearest_squared(
    points: Points,
    asked: Floats,
    k: int,
    jobs: int,
    done: Callable[[float], None] | None = None,
) -> Floats:
    """(M, k) the squares of the k smallest distances of every asked point, ascending.

    Args:
        points: N >= k finite rows.
        asked: (M, d) float64; usually some of these rows, which are their own nearest.
        k: >= 1.
        jobs: Threads.
        done: Is told the share of the rows that have been looked at.
    """
    best = np.full((len(asked), k), np.inf)
    if points.dimension <= TREE_DIMENSIONS:
        _by_trees(points, asked, best, jobs, done)
    else:
        with one_blas_thread():  # the tiles are shared out to our threads
            _by_products(points, asked, best, jobs, done)
    return best


# ---------------------------------------------------------------------- trees
def _by_trees(
    points: Points, asked: Floats, best: Floats, jobs: int, done: Callable[[float], None] | None
) -> None:
    from scipy.spatial import cKDTree

    blocks = _blocks(points.starts)
    lock = threading.Lock()
    k = best.shape[1]

    def task(number: int) -> None:
        parts = [np.asarray(points.part(part), np.float64) for part in blocks[number]]
        rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
        # medians would be searched for long where many rows are equal
        tree = cKDTree(rows, balanced_tree=False, compact_nodes=False)
        few = min(k, len(rows))
        _, nearest = tree.query(asked, k=np.arange(1, few + 1))
        found = np.empty((len(asked), few))
        for place in range(few):
            row = nearest[:, place]  # len(rows) where the distance overflowed
            found[:, place] = _squared(asked, rows[np.minimum(row, len(rows) - 1)])
            found[row == len(rows), place] = np.inf
        with lock:
            best[:] = np.sort(np.concatenate([best, found], axis=1), axis=1)[:, :k]

    each(task, len(blocks), jobs, done)


def _blocks(starts: NDArray[np.int64]) -> list[list[int]]:
    """Neighbouring parts, together of about as many rows as a block."""
    found: dict[int, list[int]] = {}
    for part in range(len(starts) - 1):
        if starts[part + 1] > starts[part]:
            found.setdefault(int(starts[part]) // BLOCK_ROWS, []).append(part)
    return list(found.values())


# ---------------------------------------------------------------------- matrix products
def _by_products(
    points: Points, asked: Floats, best: Floats, jobs: int, done: Callable[[float], None] | None
) -> None:
    lock = threading.Lock()
    centre = asked[0].copy()  # products of coordinates far from 0 would round too much
    moved, lengths = _centred(asked, centre)
    slack = 8 * (points.dimension + 4) * ROUNDED  # of |x|² + |y|²: more than all rounding
    limits = _limits(moved, lengths, slack, best.shape[1])

    def task(part: int) -> None:
        rows = points.part(part)
        for first in range(0, len(rows), TILE_ROWS):
            look_at(np.ascontiguousarray(rows[first : first + TILE_ROWS], dtype=np.float64))

    def look_at(rows: Floats) -> None:
        theirs, their_lengths = _centred(rows, centre)
        transposed = -2 * theirs.T
        for first in range(0, len(asked), TILE_ASKED):
            own = first + np.flatnonzero(best[first : first + TILE_ASKED, -1] > 0)
            lower = moved[own] @ transposed
            lower += their_lengths * (1 - slack)
            # another thread may lower the limits meanwhile: those read here hold as well
            most = limits[own] - lengths[own] * (1 - slack)
            near = np.flatnonzero(~(lower > most[:, None]))  # what overflowed is looked at
            compare(own, near // len(rows), rows, near % len(rows))

    def compare(own: Any, i: Any, rows: Floats, j: Any) -> None:
        step = max(1, NUMBERS // points.dimension)
        for first in range(0, len(i), step):
            who = own[i[first : first + step]]
            squared = _squared(asked[who], rows[j[first : first + step]])
            with lock:
                _keep_smallest(best, who, squared)
                limits[who] = np.minimum(limits[who], best[who, -1])

    with np.errstate(over="ignore", invalid="ignore"):
        each(task, len(points.starts) - 1, jobs, done)


def _centred(rows: Floats, centre: Floats) -> tuple[Floats, Floats]:
    """Rows from a centre, and the squares of their lengths."""
    with np.errstate(over="ignore", invalid="ignore"):
        moved = rows - centre
        return moved, (moved * moved).sum(axis=1)


def _limits(moved: Floats, lengths: Floats, slack: float, k: int) -> Floats:
    """(M,) what the square of the k-th distance cannot exceed, from the asked points alone."""
    limits = np.full(len(moved), np.inf)
    if len(moved) < k:
        return limits
    transposed = -2 * moved.T
    with np.errstate(over="ignore", invalid="ignore"):
        for first in range(0, len(moved), TILE_ASKED):
            here = slice(first, first + TILE_ASKED)
            upper = moved[here] @ transposed
            upper += lengths * (1 + slack)
            upper += lengths[here, None] * (1 + slack)
            limits[here] = np.maximum(np.partition(upper, k - 1, axis=1)[:, k - 1], 0)
    limits[np.isnan(limits)] = np.inf
    return limits


def _keep_smallest(best: Floats, who: NDArray[np.int64], squared: Floats) -> None:
    """Put new numbers among the smallest ones of their points, (M, k) ascending."""
    order = np.lexsort((squared, who))
    who, squared = who[order], squared[order]
    first = np.flatnonzero(np.append(True, who[1:] != who[:-1]))
    group = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(who))))
    place = np.arange(len(who)) - first[group]
    kept = place < best.shape[1]
    found = np.full((len(first), best.shape[1]), np.inf)
    found[group[kept], place[kept]] = squared[kept]
    rows = who[first]
    both = np.concatenate([best[rows], found], axis=1)
    both.sort(axis=1)
    best[rows] = both[:, : best.shape[1]]


# ---------------------------------------------------------------------- the distance
def _squared(some: Floats, others: Floats) -> Floats:
    """Σ_j (x_j - y_j)² of rows beside each other, columns in order."""
    total = np.zeros(len(some))
    with np.errstate(over="ignore"):
        for j in range(some.shape[1]):
            difference = some[:, j] - others[:, j]
            total += difference * difference
    return total
