"""Labels: a core point's cluster, and for the others that of the nearest core point within eps.

Points that are not core are asked in groups, as in ``tree_core``; only core points go through the
scratch. The float32 sums single out the few that may be the nearest, of which float64 decides; of
equally near ones the one with the lexicographically smallest coordinates.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.kernels.compiled import kernel
from thresher.cluster.kernels.distance import precedes
from thresher.cluster.kernels.tree_build import Tree
from thresher.cluster.kernels.tree_scratch import (
    BLOCK,
    FEW,
    LEVELS,
    ROUNDING,
    SHRINK,
    SLACK,
    ZERO,
    Frame,
    Scratch,
    frame_of,
    gather,
    narrow,
    near_runs,
    pair_squared,
    squares,
    to_frame,
    write_box,
)

__all__ = ["label"]

U = np.uintp


class Asking(NamedTuple):
    """A subtree's points that are not core, and the nearest core points so far."""

    node: int
    stop: int  # the node after its last one
    start: int  # its first position
    boxes: NDArray[np.float64]  # (nodes, 2 d) of the points that ask
    nearest: NDArray[np.int64]  # (points,) a position, or -1
    least: NDArray[np.float64]  # (points,) squared distance


@kernel
def label(
    tree: Tree,
    core: Any,
    groups: Any,
    eps: float,
    components: Any,
    clusters: Any,
    labels: Any,
    core_rows: Any,
    scratch: Scratch,
) -> None:
    """Write the results for the points of some groups, by row.

    Args:
        tree: With the boxes of the core points.
        core: (n,) flags in tree order.
        groups: (k,) nodes of disjoint subtrees.
        eps: Radius.
        components: (n,) int32 component of every core point, in tree order.
        clusters: (components,) int32.
        labels: (n,) int32 by row, written.
        core_rows: (n,) bool by row, written.
        scratch: Of this thread.
    """
    for node in groups:
        start, stop = tree.starts[node], tree.stops[node]
        asking = 0
        for p in range(start, stop):
            row = tree.rows[p]
            core_rows[row] = core[p] != 0
            labels[row] = clusters[components[p]] if core[p] else -1
            asking += not core[p]
        if asking == 0 or len(clusters) == 0:
            continue
        group = Asking(
            node,
            np.int64(tree.skip[node]),
            start,
            asking_boxes(tree, core, node),
            np.empty(stop - start, dtype=np.int64),
            np.empty(stop - start),
        )
        for k in range(stop - start):
            group.nearest[k], group.least[k] = -1, np.inf
        ask(tree, core, group, eps, scratch)
        for p in range(start, stop):
            nearest = group.nearest[p - start]
            if nearest >= 0:
                labels[tree.rows[p]] = clusters[components[nearest]]


@kernel
def asking_boxes(tree: Tree, core: Any, node: int) -> Any:
    """The tight boxes of a subtree's points that are not core, (nodes, 2 d) float64."""
    dimension = tree.columns.shape[0]
    boxes = np.empty((tree.skip[node] - node, 2 * dimension))
    for inner in range(tree.skip[node] - 1, node - 1, -1):
        box = boxes[inner - node]
        if tree.skip[inner] != inner + 1:
            left, right = boxes[inner + 1 - node], boxes[tree.skip[inner + 1] - node]
            for j in range(dimension):
                box[j] = min(left[j], right[j])
                box[dimension + j] = max(left[dimension + j], right[dimension + j])
            continue
        for j in range(dimension):
            box[j], box[dimension + j] = np.inf, -np.inf
        for p in range(tree.starts[inner], tree.stops[inner]):
            if not core[p]:
                for j in range(dimension):
                    value = np.float64(tree.columns[j, p])
                    box[j] = min(box[j], value)
                    box[dimension + j] = max(box[dimension + j], value)
    return boxes


@kernel
def ask(tree: Tree, core: Any, group: Asking, eps: float, scratch: Scratch) -> None:
    """Find the nearest core point within eps for everyone of the group."""
    squared, capacity = eps * eps, len(scratch.kept)
    frame = frame_of(group.boxes, ZERO, eps)
    box = group.boxes[:1]
    runs, count, wholes, count_wholes = near_runs(tree, box, squared, ZERO - 1)
    length = ZERO
    for k in range(count + count_wholes):
        first = runs[k, 0] if k < count else wholes[k - count, 0]
        end = runs[k, 1] if k < count else wholes[k - count, 1]
        while first < end:
            last = end if end < first + capacity - length else first + capacity - length
            length = gather(
                tree.columns, first, last, box, squared, core, ZERO + 1, frame, scratch, length
            )
            first = last
            if length > capacity - BLOCK or (first == end and k == count + count_wholes - 1):
                search(tree, core, group, frame, squared, length, scratch)
                length = ZERO


@kernel
def search(
    tree: Tree,
    core: Any,
    group: Asking,
    frame: Frame,
    squared: float,
    length: int,
    scratch: Scratch,
) -> None:
    """Look for nearer core points among the candidates of level 0."""
    ends = np.empty(LEVELS, dtype=np.int64)  # the node at which a level is no longer needed
    sizes = np.empty(LEVELS, dtype=np.int64)  # points of the subtree it was made for
    lengths = np.empty(LEVELS, dtype=np.int64)
    ends[0], sizes[0], lengths[0] = group.stop, len(group.nearest), length
    level, node = 0, group.node
    while node < group.stop:
        while node >= ends[level]:
            level -= 1
        if lengths[level] == 0 or group.boxes[node - group.node, 0] == np.inf:
            node = np.int64(tree.skip[node])
            continue
        leaf = tree.skip[node] == node + 1
        size = tree.stops[node] - tree.starts[node]
        smaller = leaf or size * SHRINK <= sizes[level]
        if smaller and size > 1 and level + 1 < LEVELS and lengths[level] > FEW and not frame.rough:
            write_box(group.boxes, node - group.node, frame, scratch.box)
            here, _ = narrow(scratch, level, lengths[level], frame, size < 1)  # no one is left out
            level += 1
            ends[level], sizes[level], lengths[level] = tree.skip[node], size, here
        if leaf:
            for p in range(tree.starts[node], tree.stops[node]):
                if not core[p]:
                    compare(tree, group, p, frame, squared, level, lengths[level], scratch)
        node += 1


@kernel
def compare(
    tree: Tree,
    group: Asking,
    p: int,
    frame: Frame,
    squared: float,
    level: int,
    length: int,
    scratch: Scratch,
) -> None:
    """Look for a point's nearest core point among the candidates of a level."""
    near, at = scratch.near[level], scratch.at[level]
    sums, bits = scratch.sums, scratch.sums.view(np.int32)
    least, nearest = group.least[p - group.start], group.nearest[p - group.start]
    to_frame(tree.columns, p, frame, scratch.point)
    limit = frame.high
    for start in range(0, length, BLOCK):
        size = min(BLOCK, length - start)
        if not frame.rough:
            squares(near, U(start), U(size), scratch.point, sums)
            smallest = np.int32(2**31 - 1)  # bits of numbers >= 0 are ordered as these are
            for i in range(U(size)):
                smallest = bits[i] if bits[i] < smallest else smallest
            if smallest > np.float32(limit).view(np.int32):
                continue
        for i in range(U(size)):
            if not frame.rough and sums[i] > limit:
                continue
            q = np.int64(at[U(start) + i])
            distance = pair_squared(tree.columns, p, q)
            if distance > squared or distance > least:
                continue
            if distance < least or nearest < 0 or precedes(tree.columns, q, nearest):
                least, nearest = distance, q
                if not frame.rough:
                    limit = min(limit, no_farther(sums[i], tree.columns.shape[0], frame))
    group.least[p - group.start], group.nearest[p - group.start] = least, nearest


@kernel
def no_farther(total: Any, dimension: int, frame: Frame) -> Any:
    """What the float32 sum of a point at most as far away as one with this sum cannot exceed."""
    slack = 1 + (dimension + SLACK) * 2 * ROUNDING
    distance = np.sqrt(np.float64(total) * slack) + 2 * frame.error
    return np.float32(distance * distance * slack * slack)
