"""A kd-tree built in parallel: buckets by a sample's tree, then a tree in every bucket.

    sample ─ top tree ─ route every part ─ move into buckets ─ build each bucket ─ assemble

The top tree is a full binary tree of medians of a random sample, so that buckets hold about as
many points each however skewed the data are, and the way down is the same number of steps for all.
A bucket fits into a core's cache; there the widest side of the tight box is halved until a box's
diagonal is at most eps (an adaptive cell: its points are neighbours of each other) or few points
are left.

Nodes lie in preorder: a node's left child follows it, and ``skip`` names the next node outside its
subtree. So a traversal needs no stack, and a subtree is a range of nodes and a range of points.
Boxes bound sums of squares from below and above *as computed*: subtraction, multiplication and
addition round monotonically, and columns are added in the same order as in the distance itself.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.kernels.compiled import kernel

__all__ = [
    "Tree",
    "assemble",
    "build_bucket",
    "close_upwards",
    "count_cells",
    "cut",
    "diagonal_squared",
    "route",
    "top_tree",
]

U = np.uintp  # a signed index might mean "from the end"; without that, loops take half the time
BLOCK = 64  # points that go down the top tree together, so that their cache misses overlap
DEEPEST = 40  # halvings in a bucket, after which medians end what midpoints do not


class Tree(NamedTuple):
    """Points in tree order, and the nodes above them in preorder."""

    columns: NDArray[Any]  # (d, n) of the input's dtype
    rows: NDArray[Any]  # (n,) row of every position, int32 or int64
    boxes: NDArray[Any]  # (nodes, 2 d) lowest, then highest coordinates, of the input's dtype
    skip: NDArray[np.int32]  # (nodes,)
    starts: NDArray[np.int64]  # (nodes,) first position
    stops: NDArray[np.int64]  # (nodes,) position after the last one


@kernel
def diagonal_squared(boxes: Any, node: int) -> float:
    """The squared diagonal of a node's box, as the distance of two points is computed."""
    dimension = U(boxes.shape[1] // 2)
    total = 0.0
    for j in range(dimension):
        side = np.float64(boxes[U(node), dimension + j]) - np.float64(boxes[U(node), j])
        total += side * side
    return total


@kernel
def top_tree(sample: Any, levels: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Split a sample at medians, ``levels`` times.

    Args:
        sample: (rows, d).
        levels: Of splits; there are 2**levels buckets.

    Returns:
        The dimension and the value of every split, in heap order: ``value`` and less goes left.
    """
    inner = (1 << levels) - 1
    dimensions = np.zeros(inner, dtype=np.int64)
    values = np.full(inner, np.inf)
    firsts = np.zeros(2 * inner + 1, dtype=np.int64)
    lasts = np.zeros(2 * inner + 1, dtype=np.int64)
    lasts[0] = sample.shape[0]
    order = np.arange(sample.shape[0])
    other = np.empty_like(order)
    for node in range(inner):
        first, last = firsts[node], lasts[node]
        middle = last
        widest, dimension = 0.0, 0
        for j in range(sample.shape[1]):
            if last == first:
                break
            low = high = sample[order[first], j]
            for i in range(first + 1, last):
                value = sample[order[i], j]
                low = min(low, value)
                high = max(high, value)
            if np.float64(high) - np.float64(low) > widest:
                widest, dimension = np.float64(high) - np.float64(low), j
        if widest > 0:
            here = np.empty(last - first, dtype=sample.dtype)
            for i in range(first, last):
                here[i - first] = sample[order[i], dimension]
            split = middle_value(here)
            left, right = first, 0
            for i in range(first, last):
                if sample[order[i], dimension] <= split:
                    order[left] = order[i]
                    left += 1
                else:
                    other[right] = order[i]
                    right += 1
            for i in range(right):
                order[left + i] = other[i]
            middle = left
            dimensions[node], values[node] = dimension, split
        firsts[2 * node + 1], lasts[2 * node + 1] = first, middle
        firsts[2 * node + 2], lasts[2 * node + 2] = middle, last
    return dimensions, values


@kernel
def middle_value(values: Any) -> Any:
    """The value that parts others most evenly into as many as it and less, and the greater ones.

    That is the median or, where many are equal to it, perhaps the next smaller one. At least two
    values differ; their order is changed.
    """
    middle = (len(values) - 1) // 2
    first, last = 0, len(values) - 1
    while first < last:  # quickselect
        pivot = values[(first + last) // 2]
        left, right = first, last
        while left <= right:
            while values[left] < pivot:
                left += 1
            while values[right] > pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if middle <= right:
            last = right
        elif middle >= left:
            first = left
        else:
            break
    median = values[middle]
    below, not_above = 0, 0
    smaller = median
    for value in values:
        not_above += value <= median
        if value < median:
            smaller = value if below == 0 or value > smaller else smaller
            below += 1
    if below > 0 and len(values) - below <= not_above:
        return smaller
    return median


@kernel
def route(part: Any, dimensions: Any, values: Any, levels: int, buckets: Any, counts: Any) -> None:
    """Write the bucket of every row of a part, and count them.

    Args:
        part: (rows, d), C-contiguous.
        dimensions: Of the top tree's splits.
        values: Of the top tree's splits.
        levels: Of the top tree.
        buckets: (rows,) uint16, written.
        counts: (2**levels,) zeros, written.
    """
    at = np.empty(BLOCK, dtype=np.uint64)
    bottom = U((1 << levels) - 1)
    rows = U(part.shape[0])
    for first in range(U(0), rows, U(BLOCK)):
        size = min(U(BLOCK), rows - first)
        for i in range(size):
            at[i] = 0
        for _ in range(levels):
            for i in range(size):
                node = at[i]
                right = part[first + i, U(dimensions[node])] > values[node]
                at[i] = U(2) * node + U(1) + U(right)
        for i in range(size):
            bucket = at[i] - bottom
            buckets[first + i] = bucket
            counts[bucket] += 1


@kernel
def build_bucket(
    columns: Any, rows: Any, first: int, last: int, eps: float, leaf_size: int
) -> tuple[Any, NDArray[np.int32], NDArray[np.int64], NDArray[np.int64], int]:
    """Build the tree of one bucket, and put its points into tree order.

    Returns:
        Boxes, skips (counted from the bucket's first node), starts and stops of its nodes, with
        room to spare; and how many nodes there are.
    """
    dimension, size = columns.shape[0], last - first
    local = columns[:, first:last].copy()
    order = np.arange(size).astype(np.uint32)
    other = np.empty(size, dtype=np.uint32)
    most = 2 * size  # leaves hold a point at least; what is not used takes no memory
    boxes = np.empty((most, 2 * dimension), dtype=columns.dtype)
    skip = np.empty(most, dtype=np.int32)
    starts = np.empty(most, dtype=np.int64)
    stops = np.empty(most, dtype=np.int64)
    waiting = np.empty((size + 2, 3), dtype=np.int64)
    waiting[0, 0], waiting[0, 1], waiting[0, 2] = 0, size, 0
    depth, nodes = 1, np.int64(0)
    while depth > 0:
        depth -= 1
        start, stop, halvings = waiting[depth, 0], waiting[depth, 1], waiting[depth, 2]
        bound(local, order, start, stop, boxes, nodes)
        starts[nodes], stops[nodes] = first + start, first + stop
        leaf = stop - start <= leaf_size or diagonal_squared(boxes, nodes) <= eps * eps
        skip[nodes] = nodes + 1 if leaf else 0
        if not leaf:
            middle = halve(local, order, other, start, stop, boxes, nodes, halvings >= DEEPEST)
            waiting[depth, 0], waiting[depth, 1], waiting[depth, 2] = middle, stop, halvings + 1
            depth += 1
            waiting[depth, 0], waiting[depth, 1], waiting[depth, 2] = start, middle, halvings + 1
            depth += 1
        nodes += 1
    for node in range(nodes - 1, -1, -1):
        if skip[node] == 0:
            skip[node] = skip[skip[node + 1]]
    moved = rows[first:last].copy()
    for j in range(U(dimension)):
        for i in range(U(size)):
            columns[j, U(first) + i] = local[j, U(order[i])]
    for i in range(U(size)):
        rows[U(first) + i] = moved[U(order[i])]
    return boxes, skip, starts, stops, nodes


@kernel
def bound(local: Any, order: Any, start: int, stop: int, boxes: Any, node: int) -> None:
    """Write the tight box of some points of a bucket."""
    dimension = U(local.shape[0])
    for j in range(dimension):
        low = high = local[j, U(order[U(start)])]
        for i in range(U(start) + U(1), U(stop)):
            value = local[j, U(order[i])]
            low = value if value < low else low
            high = value if value > high else high
        boxes[U(node), j], boxes[U(node), dimension + j] = low, high


@kernel
def halve(
    local: Any,
    order: Any,
    other: Any,
    start: int,
    stop: int,
    boxes: Any,
    node: int,
    at_median: bool,
) -> int:
    """Sort the points of a node into two sides, both of them with points; where the right begins.

    The box has a side longer than 0, or its diagonal would have been within eps.
    """
    dimension = local.shape[0]
    widest, along = -1.0, 0
    for j in range(dimension):
        side = np.float64(boxes[node, dimension + j]) - np.float64(boxes[node, j])
        if side > widest:
            widest, along = side, j
    low, high = boxes[node, along], boxes[node, dimension + along]
    split = np.float64(low) / 2 + np.float64(high) / 2
    if at_median:
        here = np.empty(stop - start, dtype=local.dtype)
        for i in range(start, stop):
            here[i - start] = local[along, order[i]]
        split = np.float64(middle_value(here))
    if not low <= split < high:  # neighbouring numbers have none between them
        split = np.float64(low)
    left, right = U(start), U(0)
    for i in range(U(start), U(stop)):  # without a branch: which side is a coin toss
        point = order[i]
        goes_left = local[U(along), U(point)] <= split
        order[left] = point
        other[right] = point
        left += U(goes_left)
        right += U(not goes_left)
    for i in range(right):
        order[left + i] = other[i]
    return np.int64(left)


@kernel
def assemble(
    sizes: Any, levels: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """Place the buckets' nodes below those of the top tree, in preorder, leaving out empty ones.

    Args:
        sizes: (2**levels,) nodes of every bucket, 0 where it has no points.
        levels: Of the top tree.

    Returns:
        The first node of every bucket; the nodes of the top tree and their skips.
    """
    inner = (1 << levels) - 1
    totals = np.zeros(2 * inner + 1, dtype=np.int64)
    for bucket in range(inner + 1):
        totals[inner + bucket] = sizes[bucket]
    for heap in range(inner - 1, -1, -1):
        left, right = totals[2 * heap + 1], totals[2 * heap + 2]
        totals[heap] = left + right + (left > 0 and right > 0)
    places = np.zeros(2 * inner + 1, dtype=np.int64)
    nodes = np.empty(inner, dtype=np.int64)
    skips = np.empty(inner, dtype=np.int32)
    found = 0
    for heap in range(inner):
        both = totals[2 * heap + 1] > 0 and totals[2 * heap + 2] > 0
        places[2 * heap + 1] = places[heap] + both
        places[2 * heap + 2] = places[2 * heap + 1] + totals[2 * heap + 1]
        if both:
            nodes[found], skips[found] = places[heap], places[heap] + totals[heap]
            found += 1
    return places[inner:].copy(), nodes[:found].copy(), skips[:found].copy()


@kernel
def close_upwards(tree: Tree, nodes: Any) -> None:
    """Bound the nodes by their children; ``nodes`` ascending, their other descendants closed."""
    dimension = tree.columns.shape[0]
    for k in range(len(nodes) - 1, -1, -1):
        node = nodes[k]
        left = node + 1
        right = tree.skip[left]
        tree.starts[node], tree.stops[node] = tree.starts[left], tree.stops[right]
        for j in range(dimension):
            tree.boxes[node, j] = min(tree.boxes[left, j], tree.boxes[right, j])
            high = dimension + j
            tree.boxes[node, high] = max(tree.boxes[left, high], tree.boxes[right, high])


@kernel
def cut(tree: Tree, most: int, diagonal: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The largest subtrees of at most so many points and such a diagonal, and the nodes above.

    Leaves count as subtrees whatever they hold. Both lists are ascending.
    """
    below = np.empty(len(tree.skip), dtype=np.int64)
    above = np.empty(len(tree.skip), dtype=np.int64)
    subtrees, ancestors = 0, 0
    node = 0
    while node < len(tree.skip):
        fits = tree.stops[node] - tree.starts[node] <= most
        fits = fits and diagonal_squared(tree.boxes, node) <= diagonal * diagonal
        if fits or tree.skip[node] == node + 1:
            below[subtrees] = node
            subtrees += 1
            node = tree.skip[node]
        else:
            above[ancestors] = node
            ancestors += 1
            node += 1
    return below[:subtrees].copy(), above[:ancestors].copy()


@kernel
def count_cells(tree: Tree, core: Any, eps: float) -> tuple[int, int]:
    """How many adaptive cells there are, and how many of them hold core points."""
    cells, core_cells = 0, 0
    for node in range(len(tree.skip)):
        if tree.skip[node] == node + 1 and diagonal_squared(tree.boxes, node) <= eps * eps:
            cells += 1
            for p in range(tree.starts[node], tree.stops[node]):
                if core[p]:
                    core_cells += 1
                    break
    return cells, core_cells
