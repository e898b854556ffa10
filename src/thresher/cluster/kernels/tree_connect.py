"""Clusters: the connected components of the core points, found by a join of the tree with itself.

The tree is cut into subtrees. ``join_inside`` finds the components of each one alone, bottom up,
with a union-find over positions; an adaptive cell's core points are one element from the start.
``join_across`` then looks for links between a subtree's components and those of later subtrees,
and returns the edges of a spanning forest of what it has linked; a single pass merges those. No
two threads write to the same place, and the components are the same in whatever order.

A pair of nodes is left alone when they are farther apart than eps or already in one component as a
whole; it is linked without a distance when their boxes lie within eps of each other entirely. Both
ends of every link are core points: boxes are those of the core points by now.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from thresher.cluster.kernels.closest import halved
from thresher.cluster.kernels.compiled import kernel
from thresher.cluster.kernels.disjoint import find, unite
from thresher.cluster.kernels.tree_build import Tree, diagonal_squared
from thresher.cluster.kernels.tree_scratch import (
    ZERO,
    doubled,
    gap_squared,
    pair_squared,
    reach_squared,
)

__all__ = [
    "bound_core",
    "close_core",
    "join_across",
    "join_inside",
    "merge",
    "name_components",
]

EMPTY = -1  # a node without core points
MIXED = -2  # a node whose core points may be in several components
STACK = 512  # rows to begin with
U = np.uintp
GLANCES = 4  # points of each cell
MANY = 1_024  # pairs of points that are compared one by one


@kernel
def bound_core(tree: Tree, core: Any, node: int, squared: float, parent: Any, uniform: Any) -> None:
    """Replace the boxes of a subtree by those of its core points, and make its elements.

    Args:
        tree: Its boxes are overwritten.
        core: (n,) flags.
        node: Root of the subtree.
        squared: eps².
        parent: (n,) int32; of the core points written: themselves, or their cell's first one.
        uniform: (nodes,) int32, written: an element of the one component that a leaf's core points
            are in, or EMPTY or MIXED.
    """
    dimension = tree.columns.shape[0]
    for leaf in range(tree.skip[node] - 1, node - 1, -1):
        if tree.skip[leaf] != leaf + 1:
            bound_by_children(tree, leaf)
            continue
        start, stop = tree.starts[leaf], tree.stops[leaf]
        first, found = -1, 0
        for p in range(start, stop):
            parent[p] = -1
            if core[p]:
                first = p if first < 0 else first
                found += 1
                parent[p] = p
        if found < stop - start:
            for j in range(dimension):
                low, high = np.inf, -np.inf
                for p in range(start, stop):
                    if core[p]:
                        value = np.float64(tree.columns[j, p])
                        low, high = min(low, value), max(high, value)
                tree.boxes[leaf, j], tree.boxes[leaf, dimension + j] = low, high
        if found == 0:
            uniform[leaf] = EMPTY
        elif diagonal_squared(tree.boxes, leaf) > squared:
            uniform[leaf] = MIXED
        else:  # an adaptive cell of core points: one element
            uniform[leaf] = first
            for p in range(first, stop):
                if core[p]:
                    parent[p] = first


@kernel
def bound_by_children(tree: Tree, node: int) -> None:
    """Bound a node by its children."""
    dimension = tree.columns.shape[0]
    left, right = node + 1, tree.skip[node + 1]
    for j in range(dimension):
        high = dimension + j
        tree.boxes[node, j] = min(tree.boxes[left, j], tree.boxes[right, j])
        tree.boxes[node, high] = max(tree.boxes[left, high], tree.boxes[right, high])


@kernel
def close_core(tree: Tree, above: Any, uniform: Any) -> None:
    """Do for the nodes above the subtrees what ``bound_core`` does inside them."""
    for k in range(len(above) - 1, -1, -1):
        bound_by_children(tree, above[k])
        combine(tree, uniform, above[k])


@kernel
def combine(tree: Tree, uniform: Any, node: int) -> None:
    """Set ``uniform`` of a node from its children, whose labels are final."""
    left, right = uniform[node + 1], uniform[tree.skip[node + 1]]
    if left == EMPTY:
        uniform[node] = right
    else:
        uniform[node] = left
        if right != EMPTY and right != left:
            uniform[node] = MIXED


# ---------------------------------------------------------------------- joining
@kernel
def root_of(parent: Any, element: Any) -> int:
    """The root of an element of any integer type."""
    return find(parent, np.int64(element))


@kernel
def link(parent: Any, a: int, b: int, edges: Any) -> int:
    """Unite two roots, and note the edge where there is room; ``edges[0, 0]`` counts them."""
    root = unite(parent, a, b)
    if len(edges) > 1:
        edges[0, 0] += 1
        edges[edges[0, 0], 0], edges[edges[0, 0], 1] = a + b - root, root
    return root


@kernel
def join_inside(tree: Tree, core: Any, node: int, eps: float, parent: Any, uniform: Any) -> int:
    """Find the components of a subtree's core points alone.

    Args:
        tree: With the boxes of the core points.
        core: (n,) flags.
        node: Root of the subtree.
        eps: Radius.
        parent: (n,) int32; those of the subtree's core points become the number of their
            component, counted from 0 in order of their first positions.
        uniform: (nodes,) int32, of this subtree.

    Returns:
        How many components there are.
    """
    stack = np.empty((STACK, 2), dtype=np.int64)
    edges = np.empty((1, 2), dtype=parent.dtype)  # none are noted
    squared = eps * eps
    for above in range(tree.skip[node] - 1, node - 1, -1):
        left, right = above + 1, np.int64(tree.skip[above])
        if left == right:  # a leaf
            if uniform[above] == MIXED:
                join(tree, core, above, above, squared, parent, parent, uniform, edges, stack)
            continue
        right = np.int64(tree.skip[left])
        if uniform[left] != EMPTY and uniform[right] != EMPTY:
            join(tree, core, left, right, squared, parent, parent, uniform, edges, stack)
        uniform[above] = MIXED
        refresh(tree, core, above, parent, uniform)
    components = 0
    for p in range(tree.starts[node], tree.stops[node]):
        if core[p]:  # a parent lies before its child, and bears its number already
            if parent[p] == p:
                parent[p] = components
                components += 1
            else:
                parent[p] = parent[parent[p]]
    return components


@kernel
def refresh(tree: Tree, core: Any, node: int, parent: Any, uniform: Any) -> None:
    """See whether a mixed node's core points have come together since; if so, note an element."""
    left = node + 1
    if tree.skip[node] == left:
        root = -1
        for p in range(tree.starts[node], tree.stops[node]):
            if core[p]:
                other = root_of(parent, parent[p])
                if root >= 0 and other != root:
                    return
                root = other
        uniform[node] = root
        return
    first, second = uniform[left], uniform[tree.skip[left]]
    if first == EMPTY or second == EMPTY:
        uniform[node] = second if first == EMPTY else first
    elif first >= 0 and second >= 0 and root_of(parent, first) == root_of(parent, second):
        uniform[node] = first


@kernel
def join(
    tree: Tree,
    core: Any,
    a: int,
    b: int,
    squared: float,
    labels: Any,
    parent: Any,
    uniform: Any,
    edges: Any,
    stack: Any,
) -> None:
    """Unite whatever is linked by a pair of core points, one below each of two nodes.

    Args:
        tree: With the boxes of the core points.
        core: (n,) flags.
        a: A node.
        b: A node that is no ancestor or descendant of ``a``; or the same leaf.
        squared: eps².
        labels: (n,) element of every core point.
        parent: Of the elements.
        uniform: (nodes,) an element, EMPTY or MIXED; brought up to date where no edges are noted.
        edges: (elements + 1, 2) to note the edges in, or (1, 2) for none.
        stack: (…, 2) scratch.
    """
    stack[0, 0], stack[0, 1] = a, b
    depth = 1
    while depth > 0:
        depth -= 1
        x, y = stack[depth, 0], stack[depth, 1]
        if uniform[x] == EMPTY or uniform[y] == EMPTY:
            continue
        if x != y and gap_squared(tree.boxes, x, tree.boxes, y) > squared:
            continue
        if len(edges) == 1:
            if uniform[x] == MIXED:
                refresh(tree, core, x, parent, uniform)
            if uniform[y] == MIXED:
                refresh(tree, core, y, parent, uniform)
        if uniform[x] >= 0 and uniform[y] >= 0:
            first, second = root_of(parent, uniform[x]), root_of(parent, uniform[y])
            if first == second:
                continue
            if reach_squared(tree.boxes, x, tree.boxes, y) <= squared:
                link(parent, first, second, edges)
                continue
        leaf_x, leaf_y = tree.skip[x] == x + 1, tree.skip[y] == y + 1
        if leaf_x and leaf_y:
            join_leaves(tree, core, x, y, squared, labels, parent, uniform, edges)
            continue
        if depth + 2 > len(stack):
            stack = doubled(stack)
        size_x, size_y = tree.stops[x] - tree.starts[x], tree.stops[y] - tree.starts[y]
        if leaf_x or (not leaf_y and size_y > size_x):
            x, y = y, x
        one, two = x + 1, np.int64(tree.skip[x + 1])
        if gap_squared(tree.boxes, one, tree.boxes, y) < gap_squared(
            tree.boxes, two, tree.boxes, y
        ):
            one, two = two, one  # the nearer pair first: it may spare the farther one
        stack[depth, 0], stack[depth, 1] = one, y
        stack[depth + 1, 0], stack[depth + 1, 1] = two, y
        depth += 2


@kernel
def join_leaves(
    tree: Tree,
    core: Any,
    x: int,
    y: int,
    squared: float,
    labels: Any,
    parent: Any,
    uniform: Any,
    edges: Any,
) -> None:
    """Unite what is linked by a pair of core points of two leaves, or of one with itself."""
    if tree.stops[x] - tree.starts[x] > tree.stops[y] - tree.starts[y]:
        x, y = y, x
    one_x, one_y = uniform[x] >= 0, uniform[y] >= 0
    pairs = (tree.stops[x] - tree.starts[x]) * (tree.stops[y] - tree.starts[y])
    if one_x and one_y and pairs > MANY:
        if touching(tree, core, x, y, squared):
            link(parent, root_of(parent, uniform[x]), root_of(parent, uniform[y]), edges)
        return
    for p in range(tree.starts[x], tree.stops[x]):
        if not core[p] or beyond_box(tree, p, y) > squared:
            continue
        root = root_of(parent, labels[p])
        if one_y and root_of(parent, uniform[y]) == root:
            continue
        for q in range(p + 1 if x == y else tree.starts[y], tree.stops[y]):
            if not core[q]:
                continue
            other = root_of(parent, labels[q])
            if other == root or pair_squared(tree.columns, p, q) > squared:
                continue
            root = link(parent, root, other, edges)
            if one_y:
                break
        if one_x and one_y and root_of(parent, uniform[y]) == root:
            return


@kernel
def beyond_box(tree: Tree, p: int, node: int) -> float:
    """The squared distance of a point from a node's box."""
    dimension = U(tree.columns.shape[0])
    p, node = U(p), U(node)
    total = 0.0
    for j in range(dimension):
        value = np.float64(tree.columns[j, p])
        below = np.float64(tree.boxes[node, j]) - value
        above = value - np.float64(tree.boxes[node, dimension + j])
        gap = below if below > above else above
        gap = gap if gap > 0.0 else 0.0
        total += gap * gap
    return total


@kernel
def touching(tree: Tree, core: Any, x: int, y: int, squared: float) -> bool:
    """Whether any core points of two large cells are within eps of each other.

    A few pairs settle it nearly always. Otherwise only those within eps of the other's box count;
    the nearest of them to it are tried against all; then both sets are halved as long as their
    boxes leave it open, so that two blobs a little more than eps apart do not cost the product of
    their sizes.
    """
    if glance(tree, core, x, y, squared):
        return True
    left = facing(tree, core, x, y, squared)
    if len(left) == 0:
        return False
    right = facing(tree, core, y, x, squared)
    if len(right) == 0:
        return False
    for q in right:
        if pair_squared(tree.columns, left[0], q) <= squared:
            return True
    for p in left:
        if pair_squared(tree.columns, p, right[0]) <= squared:
            return True
    return halved(gathered(tree, left), gathered(tree, right), squared)


@kernel
def gathered(tree: Tree, positions: Any) -> Any:
    """The points at some positions, (m, d) float64."""
    found = np.empty((len(positions), tree.columns.shape[0]))
    for k in range(len(positions)):
        for j in range(tree.columns.shape[0]):
            found[k, j] = tree.columns[j, positions[k]]
    return found


@kernel
def glance(tree: Tree, core: Any, x: int, y: int, squared: float) -> bool:
    """Whether any of a few pairs of core points of two leaves is within eps."""
    step_x = max(1, (tree.stops[x] - tree.starts[x]) // GLANCES)
    step_y = max(1, (tree.stops[y] - tree.starts[y]) // GLANCES)
    for p in range(tree.starts[x], tree.stops[x], step_x):
        for q in range(tree.starts[y], tree.stops[y], step_y):
            if core[p] and core[q] and pair_squared(tree.columns, p, q) <= squared:
                return True
    return False


@kernel
def facing(tree: Tree, core: Any, node: int, other: int, squared: float) -> Any:
    """Positions of a node's core points within eps of the other's box, the nearest one first."""
    found = np.empty(tree.stops[node] - tree.starts[node], dtype=np.int64)
    count, nearest, least = 0, 0, np.inf
    for p in range(tree.starts[node], tree.stops[node]):
        if core[p]:
            distance = beyond_box(tree, p, other)
            if distance <= squared:
                found[count] = p
                if distance < least:
                    nearest, least = count, distance
                count += 1
    if count:
        found[0], found[nearest] = found[nearest], found[0]
    return found[:count]


@kernel
def join_across(
    tree: Tree,
    core: Any,
    subtree: int,
    eps: float,
    labels: Any,
    uniform: Any,
    parent: Any,
    edges: Any,
) -> int:
    """Find edges between components, by links of a subtree's core points with those after it.

    Args:
        tree: With the boxes of the core points.
        core: (n,) flags.
        subtree: Its root.
        eps: Radius.
        labels: (n,) int32 component of every core point.
        uniform: (nodes,) int32 component, EMPTY or MIXED.
        parent: (components,) int32, every one its own; so it is left.
        edges: (components + 1, 2), written from row 1 on: a spanning forest of what was linked.

    Returns:
        How many edges there are.
    """
    stack = np.empty((STACK, 2), dtype=np.int64)
    edges[0, 0] = 0
    node, end = ZERO, tree.stops[subtree]
    while node < len(tree.skip):
        if tree.stops[node] > end and tree.starts[node] < end:
            node += 1  # an ancestor of the subtree
            continue
        if tree.starts[node] >= end:
            join(tree, core, subtree, node, eps * eps, labels, parent, uniform, edges, stack)
        node = np.int64(tree.skip[node])
    count = np.int64(edges[0, 0])
    for k in range(1, count + 1):
        parent[edges[k, 0]] = edges[k, 0]
    return count


# ---------------------------------------------------------------------- naming
@kernel
def name_components(
    tree: Tree, core: Any, node: int, base: int, labels: Any, uniform: Any, lowest: Any
) -> None:
    """Number a subtree's components from ``base`` on, and note the lowest row of each.

    Args:
        tree: All points.
        core: (n,) flags.
        node: Root of the subtree.
        base: Components of the subtrees before it.
        labels: (n,) int32, of the subtree's core points from 0; ``base`` is added.
        uniform: (nodes,) int32, written.
        lowest: (components,) int64, written.
    """
    for above in range(tree.skip[node] - 1, node - 1, -1):
        if tree.skip[above] != above + 1:
            combine(tree, uniform, above)
            continue
        one = EMPTY
        for p in range(tree.starts[above], tree.stops[above]):
            if core[p]:
                labels[p] += base
                if one == EMPTY:
                    one = np.int64(labels[p])
                elif one != labels[p]:
                    one = MIXED
        uniform[above] = one
    highest = base - 1
    for p in range(tree.starts[node], tree.stops[node]):
        if core[p]:
            component, row = labels[p], np.int64(tree.rows[p])
            if component > highest:  # they are numbered in order of their first positions
                highest, lowest[component] = component, row
            elif row < lowest[component]:
                lowest[component] = row


@kernel
def merge(parent: Any, edges: Any) -> None:
    """Unite components along edges."""
    for k in range(len(edges)):
        first, second = root_of(parent, edges[k, 0]), root_of(parent, edges[k, 1])
        if first != second:
            unite(parent, first, second)
