"""Questions to a tree of cells: what lies within a distance of a place, and which of it is nearest.

Each kernel goes over a tree for every place it is asked about, and decides whole nodes by their
boxes, whose bounds hold for distances as they are computed. Trees are those of ``tree_build``; they
may lie in files that are mapped into memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from thresher.cluster.kernels.compiled import kernel
from thresher.cluster.kernels.disjoint import find_sparse, unite_sparse
from thresher.cluster.kernels.tree_build import Tree, diagonal_squared

__all__ = [
    "MIXED",
    "NONE",
    "lift_any",
    "lift_same",
    "lift_weights",
    "link",
    "mark_between",
    "meets_another",
    "name_balls",
    "nearest_chosen",
    "weigh",
]

NONE = -1  # no component
MIXED = -2  # more than one
U = np.uintp


@kernel
def near_squared(boxes: Any, node: int, place: Any) -> float:
    """The least squared distance that a point of a node's box can have from a place."""
    dimension = U(boxes.shape[1] // 2)
    total = 0.0
    for j in range(dimension):
        low, high = np.float64(boxes[U(node), j]), np.float64(boxes[U(node), dimension + j])
        gap = 0.0
        if place[j] < low:
            gap = low - place[j]
        elif place[j] > high:
            gap = place[j] - high
        total += gap * gap
    return total


@kernel
def far_squared(boxes: Any, node: int, place: Any) -> float:
    """The greatest squared distance that a point of a node's box can have from a place."""
    dimension = U(boxes.shape[1] // 2)
    total = 0.0
    for j in range(dimension):
        low, high = np.float64(boxes[U(node), j]), np.float64(boxes[U(node), dimension + j])
        span = max(abs(place[j] - low), abs(high - place[j]))
        total += span * span
    return total


@kernel
def distance_squared(columns: Any, p: int, place: Any) -> float:
    """Σ_j (columns[j, p] - place[j])², in the order of the columns."""
    total = 0.0
    for j in range(U(columns.shape[0])):
        difference = np.float64(columns[j, U(p)]) - place[j]
        total += difference * difference
    return total


# ---------------------------------------------------------------------- figures of nodes
@kernel
def lift_weights(tree: Tree, weights: Any, totals: Any) -> None:
    """Write the weight of every node's points, (nodes,)."""
    for node in range(len(tree.skip) - 1, -1, -1):
        total = weights[0] * 0  # a number of their type
        if tree.skip[node] == node + 1:
            for p in range(tree.starts[node], tree.stops[node]):
                total += weights[p]
        else:
            total = totals[node + 1] + totals[tree.skip[node + 1]]
        totals[node] = total


@kernel
def lift_any(tree: Tree, chosen: Any, held: Any) -> None:
    """Write whether a node holds a chosen point, (nodes,) uint8."""
    for node in range(len(tree.skip) - 1, -1, -1):
        if tree.skip[node] == node + 1:
            held[node] = 0
            for p in range(tree.starts[node], tree.stops[node]):
                held[node] |= chosen[p]
        else:
            held[node] = held[node + 1] | held[tree.skip[node + 1]]


@kernel
def lift_same(tree: Tree, components: Any, same: Any) -> None:
    """Write the component of all of a node's points that have one, or MIXED, or NONE, (nodes,)."""
    for node in range(len(tree.skip) - 1, -1, -1):
        found = np.int64(NONE)
        if tree.skip[node] == node + 1:
            for p in range(tree.starts[node], tree.stops[node]):
                found = both(found, np.int64(components[p]))
        else:
            found = both(np.int64(same[node + 1]), np.int64(same[tree.skip[node + 1]]))
        same[node] = found


@kernel
def both(one: int, other: int) -> int:
    """The component of two sets of points together."""
    if one in (NONE, other):
        return other
    return one if other == NONE else np.int64(MIXED)


@kernel
def name_balls(tree: Tree, squared: float, balls: Any) -> int:
    """Part the points into sets, neighbours of each other, that are as large as nodes allow.

    Args:
        tree: Of n points.
        squared: The diagonal that a set's box may have.
        balls: (n,) int32, written: the set of every point, ascending in tree order.

    Returns:
        How many there are.
    """
    count, node = 0, 0
    while node < len(tree.skip):
        if diagonal_squared(tree.boxes, node) <= squared:
            for p in range(tree.starts[node], tree.stops[node]):
                balls[p] = count
            count += 1
            node = tree.skip[node]
            continue
        if tree.skip[node] == node + 1:
            for p in range(tree.starts[node], tree.stops[node]):
                balls[p] = count
                count += 1
        node += 1
    return count


# ---------------------------------------------------------------------- questions
@kernel
def weigh(
    tree: Tree,
    weights: Any,
    node_weights: Any,
    places: Any,
    squared: float,
    enough: float,
    totals: Any,
) -> None:
    """Add to each place's total the weight within its radius, until that is enough.

    Args:
        tree: Of n points.
        weights: (n,) in tree order, int64 or float64.
        node_weights: (nodes,) of `lift_weights`.
        places: (q, d) float64.
        squared: Radius.
        enough: At which a total need not be right any more.
        totals: (q,) of the type of the weights, added to.
    """
    for i in range(places.shape[0]):
        place = places[i]
        total = totals[i]
        node = 0
        while node < len(tree.skip) and total < enough:
            if near_squared(tree.boxes, node, place) > squared:
                node = tree.skip[node]
            elif far_squared(tree.boxes, node, place) <= squared:
                total += node_weights[node]
                node = tree.skip[node]
            else:
                if tree.skip[node] == node + 1:
                    for p in range(tree.starts[node], tree.stops[node]):
                        if distance_squared(tree.columns, p, place) <= squared:
                            total += weights[p]
                node += 1
        totals[i] = total


@kernel
def nearest_chosen(
    tree: Tree,
    chosen: Any,
    held: Any,
    first: int,
    places: Any,
    least: Any,
    found: Any,
    found_at: Any,
) -> None:
    """Look for a chosen point that is nearer to a place than what was found before.

    Of points equally near, the one with the lexicographically smallest coordinates counts.

    Args:
        tree: Of n points.
        chosen: (n,) uint8 in tree order.
        held: (nodes,) of `lift_any`.
        first: Number of the tree's first point.
        places: (q, d) float64.
        least: (q,) squared distances: at first of the radius; a point as far away still counts.
        found: (q,) int64 numbers of points, at first -1.
        found_at: (q, d) their coordinates.
    """
    dimension = U(places.shape[1])
    for i in range(places.shape[0]):
        place = places[i]
        node = 0
        while node < len(tree.skip):
            if not held[node] or near_squared(tree.boxes, node, place) > least[i]:
                node = tree.skip[node]
                continue
            if tree.skip[node] == node + 1:
                for p in range(tree.starts[node], tree.stops[node]):
                    if not chosen[p]:
                        continue
                    distance = distance_squared(tree.columns, p, place)
                    better = distance < least[i] or (distance == least[i] and found[i] < 0)
                    if distance == least[i] and found[i] >= 0:
                        better = comes_before(tree.columns, p, found_at[i])
                    if better:
                        least[i], found[i] = distance, first + p
                        for j in range(dimension):
                            found_at[i, j] = tree.columns[j, p]
            node += 1


@kernel
def comes_before(columns: Any, p: int, place: Any) -> bool:
    """Whether the coordinates of a point come lexicographically before those of a place."""
    for j in range(columns.shape[0]):
        if columns[j, p] != place[j]:
            return columns[j, p] < place[j]
    return False


@kernel
def meets_another(
    tree: Tree, components: Any, same: Any, places: Any, own: Any, squared: Any, answers: Any
) -> None:
    """Write whether a point of another component lies within the radius of each place.

    Args:
        tree: Of n points.
        components: (n,) int64 in tree order, NONE for points that do not count.
        same: (nodes,) of `lift_same`.
        places: (q, d) float64.
        own: (q,) int64 the component that is no other; NONE: all are.
        squared: (q,) radii.
        answers: (q,) uint8, written 1; who has one already is not asked.
    """
    for i in range(places.shape[0]):
        if answers[i]:
            continue
        place, mine = places[i], own[i]
        node = 0
        while node < len(tree.skip):
            here = same[node]
            alone = here == NONE or (here == mine and here != MIXED)
            if alone or near_squared(tree.boxes, node, place) > squared[i]:
                node = tree.skip[node]
                continue
            if here != MIXED and far_squared(tree.boxes, node, place) <= squared[i]:
                answers[i] = 1
                break
            if tree.skip[node] == node + 1:
                for p in range(tree.starts[node], tree.stops[node]):
                    other = components[p] != NONE and components[p] != mine
                    if other and distance_squared(tree.columns, p, place) <= squared[i]:
                        answers[i] = 1
                        break
                if answers[i]:
                    break
            node += 1


@kernel
def mark_between(
    tree: Tree, chosen: Any, held: Any, places: Any, low: Any, high: Any, marks: Any
) -> None:
    """Mark the chosen points farther than one radius and within another of any place.

    Args:
        tree: Of n points.
        chosen: (n,) uint8 in tree order.
        held: (nodes,) of `lift_any`.
        places: (q, d) float64.
        low: (q,) squared; negative for none.
        high: (q,) squared.
        marks: (n,) uint8, written 1.
    """
    for i in range(places.shape[0]):
        place = places[i]
        node = 0
        while node < len(tree.skip):
            outside = near_squared(tree.boxes, node, place) > high[i]
            if outside or not held[node] or far_squared(tree.boxes, node, place) <= low[i]:
                node = tree.skip[node]
                continue
            if tree.skip[node] == node + 1:
                for p in range(tree.starts[node], tree.stops[node]):
                    if chosen[p] and not marks[p]:
                        distance = distance_squared(tree.columns, p, place)
                        if low[i] < distance <= high[i]:
                            marks[p] = 1
            node += 1


@kernel
def link(
    tree: Tree,
    core: Any,
    balls: Any,
    same: Any,
    first: int,
    places: Any,
    own: Any,
    squared: float,
    parent: Any,
    edges: Any,
    count: int,
) -> int:
    """Unite the balls of core places with earlier balls that have a core point within the radius.

    Args:
        tree: Of n points.
        core: (n,) uint8 in tree order.
        balls: (n,) int32 of `name_balls`.
        same: (nodes,) int32 of `lift_same`, for the balls of core points.
        first: Number of the tree's first ball.
        places: (q, d) float64, of core points.
        own: (q,) int64 their balls.
        squared: Radius.
        parent: (balls of all trees,) unsigned, a sparse forest: at first 0.
        edges: (room for one less than all balls, 2), written: what united two.
        count: Edges so far.

    Returns:
        Edges now.
    """
    for i in range(places.shape[0]):
        place, mine = places[i], own[i]
        node = 0
        while node < len(tree.skip):
            here = same[node]
            later = first + balls[tree.starts[node]] >= mine
            if here == NONE or later or near_squared(tree.boxes, node, place) > squared:
                node = tree.skip[node]
                continue
            if here != MIXED:
                root, other = find_sparse(parent, mine), find_sparse(parent, first + here)
                if root == other:
                    node = tree.skip[node]
                    continue
                if far_squared(tree.boxes, node, place) <= squared:
                    unite_sparse(parent, root, other)
                    edges[count, 0], edges[count, 1] = mine, first + here
                    count += 1
                    node = tree.skip[node]
                    continue
            if tree.skip[node] == node + 1:
                for p in range(tree.starts[node], tree.stops[node]):
                    if not core[p] or first + balls[p] >= mine:
                        continue
                    root, other = find_sparse(parent, mine), find_sparse(parent, first + balls[p])
                    if root != other and distance_squared(tree.columns, p, place) <= squared:
                        unite_sparse(parent, root, other)
                        edges[count, 0], edges[count, 1] = mine, first + balls[p]
                        count += 1
            node += 1
    return count
