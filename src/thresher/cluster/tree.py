"""The engine for 4 to about 16 dimensions: a kd-tree of adaptive cells."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.kernels import tree_build
from thresher.cluster.kernels.tree_build import Tree
from thresher.cluster.points import Clustered, Phase, Points
from thresher.cluster.threads import each

LEAF_SIZE = 12
BUCKET_SIZE = 2_000
MOST_LEVELS = 12
SAMPLED = 32  # rows of the sample for each bucket


def sampled(points: Points, levels: int) -> NDArray[Any]:
    count = min(points.rows, SAMPLED << levels)
    rows = np.random.Generator(np.random.Philox(0)).integers(0, points.rows, count)
    return np.ascontiguousarray(points.take(np.sort(rows)))


def grow(points: Points, eps: float, jobs: int, phase: Phase) -> Tree:
    n, d = points.rows, points.dimension
    levels = min(max(0, (n // BUCKET_SIZE).bit_length()), MOST_LEVELS)
    buckets = 1 << levels
    dimensions, values = tree_build.top_tree(sampled(points, levels), levels)
    parts = len(points.starts) - 1
    bucket_of = np.empty(n, dtype=np.uint16)
    counts = np.zeros((parts, buckets), dtype=np.int64)

    def route(number: int) -> None:
        start, stop = points.starts[number], points.starts[number + 1]
        part = np.ascontiguousarray(points.part(number))
        tree_build.route(part, dimensions, values, levels, bucket_of[start:stop], counts[number])

    each(route, parts, jobs, lambda share: phase("sorting points", share / 4))

    totals = counts.sum(axis=0)
    firsts = np.concatenate(([0], np.cumsum(totals)))
    targets = firsts[:-1] + np.cumsum(counts, axis=0) - counts
    columns = np.empty((d, n), dtype=points.dtype)
    rows = np.empty(n, dtype=np.int32 if n < 2**31 else np.int64)

    def scatter(number: int) -> None:
        start, stop = points.starts[number], points.starts[number + 1]
        part = np.ascontiguousarray(points.part(number))
        tree_build.scatter(
            part, int(start), bucket_of[start:stop], counts[number], targets[number], columns, rows
        )

    each(scatter, parts, jobs, lambda share: phase("sorting points", 0.25 + share / 4))

    largest_first = np.argsort(-totals, kind="stable")
    built: list[Any] = [None] * buckets
    sizes = np.zeros(buckets, dtype=np.int64)

    def build(number: int) -> None:
        bucket = int(largest_first[number])
        if totals[bucket]:
            built[bucket] = tree_build.build_bucket(
                columns, rows, int(firsts[bucket]), int(firsts[bucket + 1]), eps, LEAF_SIZE
            )
            sizes[bucket] = len(built[bucket][1])

    each(build, buckets, jobs, lambda share: phase("sorting points", 0.5 + share / 2))

    places, above, skips = tree_build.assemble(sizes, levels)
    nodes = int(sizes.sum()) + len(above)
    tree = Tree(
        columns,
        rows,
        np.empty((nodes, 2 * d), dtype=points.dtype),
        np.empty(nodes, dtype=np.int32),
        np.empty(nodes, dtype=np.int64),
        np.empty(nodes, dtype=np.int64),
    )
    tree.skip[above] = skips

    def place(bucket: int) -> None:
        if sizes[bucket]:
            boxes, skip, starts, stops = built[bucket]
            here = slice(places[bucket], places[bucket] + sizes[bucket])
            tree.boxes[here] = boxes
            tree.skip[here] = skip + np.int32(places[bucket])
            tree.starts[here] = starts
            tree.stops[here] = stops
            built[bucket] = None

    each(place, buckets, jobs)
    tree_build.close_upwards(tree, above)
    return tree
