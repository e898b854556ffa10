"""The engine for 4 to about 16 dimensions: a kd-tree with adaptive cells. Exact.

    Points ─ grow ─ Tree ─ mark_core ─ core ─ join ─ components, clusters ─ label ─ Clustered

Every stage goes over the tree in pieces, each by one thread, which write to places of their own.
What is held: the coordinates once, in tree order and in the input's dtype; about 15 bytes a point
beside them; nodes, about one for seven points at most; a few MiB of scratch for each thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.kernels.partition import first_places, move
from thresher.cluster.kernels.tree_border import label
from thresher.cluster.kernels.tree_build import (
    Tree,
    assemble,
    build_bucket,
    close_upwards,
    count_cells,
    cut,
    route,
    top_tree,
)
from thresher.cluster.kernels.tree_connect import (
    bound_core,
    close_core,
    join_across,
    join_inside,
    merge,
    name_components,
)
from thresher.cluster.kernels.tree_core import mark
from thresher.cluster.kernels.tree_scratch import Scratch, new_scratch
from thresher.cluster.numbering import number_clusters
from thresher.cluster.points import Clustered, Phase, Points
from thresher.cluster.threads import each

__all__ = ["cluster"]

LEAF_SIZE = 20  # points that are not parted further
BUCKET_SIZE = 2_000  # points of a bucket, whose coordinates stay in a core's cache
MOST_LEVELS = 12  # of the top tree; bucket numbers are uint16
SAMPLED = 32  # rows of the sample for each bucket
GROUP_SIZE = 4_096  # points that share a list of candidates
GROUP_DIAGONAL = 1_000  # times eps: beyond, float32 would leave too much to float64
PIECES = 128  # of the work of a stage, whatever the number of threads
SUBTREES = 64  # that are joined inside before they are joined with each other

T = TypeVar("T")
Groups = list[NDArray[np.int64]]


class Lender(Generic[T]):
    """Things that are costly to make and are used by one thread at a time."""

    def __init__(self, make: Callable[[], T]) -> None:
        self.make = make
        self.idle: list[T] = []

    @contextmanager
    def lend(self) -> Iterator[T]:
        """An idle one, or a new one."""
        try:
            thing = self.idle.pop()
        except IndexError:
            thing = self.make()
        yield thing
        self.idle.append(thing)


def cluster(
    points: Points,
    eps: float,
    min_samples: float,
    weights: NDArray[np.float64] | None,
    jobs: int,
    phase: Phase,
) -> Clustered:
    """DBSCAN by a kd-tree. The result depends on nothing but the points.

    Args:
        points: Finite, at least one; Euclidean.
        eps: Radius of the neighbourhood, > 0.
        min_samples: Number, or weight, of neighbours that makes a point core; itself counts.
        weights: (N,) weight of every row, >= 0; None counts points.
        jobs: Threads.
        phase: Is told what is going on.
    """
    tree = grow(points, eps, jobs, phase)
    scratch = Lender(lambda: new_scratch(tree))
    groups = pieces_of(tree, cut(tree, GROUP_SIZE, GROUP_DIAGONAL * eps)[0])
    core = mark_core(tree, groups, eps, min_samples, weights, scratch, jobs, phase)
    cells, core_cells = count_cells(tree, core, eps)
    components, clusters, count = join(tree, core, eps, jobs, phase)
    labels = np.empty(points.rows, dtype=np.int32)
    core_rows = np.empty(points.rows, dtype=np.bool_)

    def write(number: int) -> None:
        with scratch.lend() as own:
            label(tree, core, groups[number], eps, components, clusters, labels, core_rows, own)

    each(write, len(groups), jobs, lambda share: phase("labels", share))
    held: tuple[NDArray[Any], ...] = (*tree, core, components, clusters, labels, core_rows)
    lent = [array for own in scratch.idle for array in (*own.near[:2], own.at[:2], own.kept)]
    statistics: dict[str, int | float | str] = {
        "engine": "tree",
        "cells": cells,
        "core_cells": core_cells,
        "clusters": count,
        "bytes": sum(array.nbytes for array in (*held, *lent)),
    }
    return Clustered(labels, core_rows, statistics)


# ---------------------------------------------------------------------- growing
def grow(points: Points, eps: float, jobs: int, phase: Phase) -> Tree:
    """Sort the points into a tree whose leaves are adaptive cells, or hold few points."""
    levels = min((points.rows // BUCKET_SIZE).bit_length(), MOST_LEVELS)
    buckets = 1 << levels
    dimensions, values = top_tree(sample_of(points, SAMPLED * buckets), levels)
    parts = len(points.starts) - 1
    bucket_of = np.empty(points.rows, dtype=np.uint16)
    counts = np.zeros((parts, buckets), dtype=np.int64)

    def find(number: int) -> None:
        here = slice(points.starts[number], points.starts[number + 1])
        part = np.ascontiguousarray(points.part(number))
        route(part, dimensions, values, levels, bucket_of[here], counts[number])

    each(find, parts, jobs, lambda share: phase("sorting", share / 4))

    totals = counts.sum(axis=0)
    firsts = np.append(0, np.cumsum(totals))
    places = np.empty_like(counts)
    first_places(counts, places)
    columns = np.empty((points.dimension, points.rows), dtype=points.dtype)
    rows = np.empty(points.rows, dtype=np.int32 if points.rows < 2**31 else np.int64)

    def carry(number: int) -> None:
        start, stop = points.starts[number], points.starts[number + 1]
        part = np.ascontiguousarray(points.part(number))
        here, held, to = bucket_of[start:stop], counts[number], places[number]
        move(part, start, here, held, to, None, columns, rows, None)

    each(carry, parts, jobs, lambda share: phase("sorting", 0.25 + share / 4))

    largest_first = np.argsort(-totals, kind="stable")
    built: list[Any] = [None] * buckets
    sizes = np.zeros(buckets, dtype=np.int64)

    def build(number: int) -> None:
        bucket = largest_first[number]
        if totals[bucket]:
            *arrays, sizes[bucket] = build_bucket(
                columns, rows, firsts[bucket], firsts[bucket + 1], eps, LEAF_SIZE
            )
            built[bucket] = [array[: sizes[bucket]].copy() for array in arrays]

    each(build, buckets, jobs, lambda share: phase("sorting", 0.5 + share / 2))

    nodes_before, above, skips = assemble(sizes, levels)
    nodes = int(sizes.sum()) + len(above)
    tree = Tree(
        columns,
        rows,
        np.empty((nodes, 2 * points.dimension), dtype=points.dtype),
        np.empty(nodes, dtype=np.int32),
        np.empty(nodes, dtype=np.int64),
        np.empty(nodes, dtype=np.int64),
    )
    tree.skip[above] = skips

    def place(bucket: int) -> None:
        if sizes[bucket]:
            first = nodes_before[bucket]
            here = slice(first, first + sizes[bucket])
            tree.boxes[here], skip, tree.starts[here], tree.stops[here] = built[bucket]
            tree.skip[here] = skip + np.int32(first)
            built[bucket] = None

    each(place, buckets, jobs)
    close_upwards(tree, above)
    return tree


def sample_of(points: Points, count: int) -> NDArray[Any]:
    """Rows drawn with replacement, the same ones every time: regular data have no part in it."""
    if points.rows <= count:
        return np.ascontiguousarray(points.take(np.arange(points.rows)))
    drawn = np.random.Generator(np.random.Philox(0)).integers(0, points.rows, count)
    return np.ascontiguousarray(points.take(np.sort(drawn)))


def pieces_of(tree: Tree, subtrees: NDArray[np.int64]) -> Groups:
    """The subtrees in pieces of about as many points."""
    before = tree.starts[subtrees]
    limits = np.linspace(0, len(tree.rows), PIECES + 1)[1:-1]
    pieces = np.split(subtrees, np.unique(np.searchsorted(before, limits)))
    return [piece for piece in pieces if len(piece)]


# ---------------------------------------------------------------------- core points
def mark_core(
    tree: Tree,
    groups: Groups,
    eps: float,
    min_samples: float,
    weights: NDArray[np.float64] | None,
    scratch: Lender[Scratch],
    jobs: int,
    phase: Phase,
) -> NDArray[np.uint8]:
    """Which points are core, (N,) in tree order."""
    core = np.zeros(len(tree.rows), dtype=np.uint8)
    ordered = None if weights is None else np.asarray(weights, dtype=np.float64)[tree.rows]

    def ask(number: int) -> None:
        with scratch.lend() as own:
            mark(tree, ordered, groups[number], eps, float(min_samples), core, own)

    each(ask, len(groups), jobs, lambda share: phase("core points", share))
    return core


# ---------------------------------------------------------------------- clusters
def join(
    tree: Tree, core: NDArray[np.uint8], eps: float, jobs: int, phase: Phase
) -> tuple[NDArray[Any], NDArray[np.int32], int]:
    """Find the clusters of the core points; the boxes become those of the core points.

    Returns:
        (N,) the component of every core point, in tree order; (components,) their clusters; and
        how many clusters there are.
    """
    subtrees, above = cut(tree, max(1, len(core) // SUBTREES), np.inf)
    components = np.empty(len(core), dtype=tree.rows.dtype)
    uniform = np.empty(len(tree.skip), dtype=tree.rows.dtype)
    counts = np.zeros(len(subtrees) + 1, dtype=np.int64)

    def inside(number: int) -> None:
        node = subtrees[number]
        bound_core(tree, core, node, eps * eps, components, uniform)
        counts[number + 1] = join_inside(tree, core, node, eps, components, uniform)

    each(inside, len(subtrees), jobs, lambda share: phase("joining", share / 2))

    bases = np.cumsum(counts)
    lowest = np.empty(bases[-1], dtype=np.int64)

    def name(number: int) -> None:
        base = bases[number]
        name_components(tree, core, subtrees[number], base, components, uniform, lowest)

    each(name, len(subtrees), jobs)
    close_core(tree, above, uniform)

    edges: list[Any] = [None] * len(subtrees)
    forests = Lender(
        lambda: (
            np.arange(len(lowest), dtype=components.dtype),
            np.empty((len(lowest) + 1, 2), dtype=components.dtype),
        )
    )

    def across(number: int) -> None:
        with forests.lend() as (parent, noted):
            count = join_across(
                tree, core, subtrees[number], eps, components, uniform, parent, noted
            )
            edges[number] = noted[1 : count + 1].copy()

    if len(lowest) > 1:
        each(across, len(subtrees), jobs, lambda share: phase("joining", 0.5 + share / 2))
    parent = np.arange(len(lowest), dtype=components.dtype)
    for found in edges:
        if found is not None:
            merge(parent, found)
    return components, *number_clusters(parent, lowest)
