"""Core points: which points have neighbours that number or weigh ``min_samples``.

Points are asked in groups, subtrees of a few thousand. A leaf that is an adaptive cell with enough
points is all core without a question. Then the group's own points are candidates: where data are
dense that is enough for most. Whoever is still open is counted against the candidates from the rest
of the tree: boxes farther than eps are dropped, subtrees wholly within eps are counts, the others'
points go through the scratch. On the way down the group's subtree the candidates are narrowed to
each smaller box, and a subtree for which they are too few is done.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.kernels.compiled import kernel
from thresher.cluster.kernels.tree_build import Tree, diagonal_squared
from thresher.cluster.kernels.tree_scratch import (
    BLOCK,
    FEW,
    LEVELS,
    SHRINK,
    ZERO,
    Frame,
    Scratch,
    frame_of,
    gather,
    narrow,
    near_runs,
    pair_squared,
    squares,
    tally,
    to_frame,
    write_box,
)

__all__ = ["mark"]

U = np.uintp


class Group(NamedTuple):
    """The subtree whose points are asked, and what is known of them."""

    node: int
    stop: int  # the node after its last one
    start: int  # its first position
    found: NDArray[np.float64]  # (points,) neighbours, or their weight, so far
    most: NDArray[np.float64]  # (nodes,) the largest of ``found`` of a subtree's open points, or -1


@kernel
def mark(
    tree: Tree,
    weights: Any,
    groups: Any,
    eps: float,
    enough: float,
    core: NDArray[np.uint8],
    scratch: Scratch,
) -> None:
    """Set ``core`` for the points of some groups.

    Args:
        tree: All points.
        weights: (n,) float64 in tree order, or None.
        groups: (k,) nodes of disjoint subtrees.
        eps: Radius.
        enough: min_samples.
        core: (n,) zeros, written for the groups' points alone.
        scratch: Of this thread.
    """
    squared = eps * eps
    for node in groups:
        start, stop = tree.starts[node], tree.stops[node]
        group = Group(
            node,
            np.int64(tree.skip[node]),
            start,
            np.zeros(stop - start),
            np.empty(tree.skip[node] - node),
        )
        cells(tree, weights, group, squared, enough, core)
        if settle(tree, group, core) < 0:
            continue
        frame = frame_of(tree.boxes, node, eps)
        sure = 0.0  # what lies within eps of all open points
        for others in range(2):  # the group's own points, then the rest of the tree
            box = open_box(tree, group)
            if others:
                runs, count_runs, wholes, count_wholes = near_runs(tree, box, squared, node)
                for k in range(count_wholes):
                    sure += total(weights, wholes[k, 0], wholes[k, 1])
            elif group.stop == node + 1 and diagonal_squared(tree.boxes, node) <= squared:
                own = total(weights, start, stop)
                for k in range(stop - start):
                    group.found[k] = own
                settle(tree, group, core)
                continue
            else:
                runs, count_runs = np.empty((1, 2), dtype=np.int64), 1
                runs[0, 0], runs[0, 1] = start, stop
            if not ask(
                tree,
                weights,
                group,
                frame,
                box,
                squared,
                enough,
                sure,
                runs,
                count_runs,
                others == 1,
                core,
                scratch,
            ):
                break


@kernel
def ask(
    tree: Tree,
    weights: Any,
    group: Group,
    frame: Frame,
    box: Any,
    squared: float,
    enough: float,
    sure: float,
    runs: Any,
    count_runs: int,
    is_last: bool,
    core: Any,
    scratch: Scratch,
) -> bool:
    """Count the neighbours in some runs of positions; whether anybody is open after that."""
    capacity = len(scratch.kept)
    length, k = ZERO, 0
    first = runs[0, 0] if count_runs else ZERO
    while True:
        while k < count_runs and length <= capacity - BLOCK:
            last = runs[k, 1]
            if last > first + capacity - length:
                last = first + capacity - length
            length = gather(
                tree.columns, first, last, box, squared, core, ZERO, frame, scratch, length
            )
            first = last
            if first == runs[k, 1]:
                k += 1
                first = runs[k, 0] if k < count_runs else first
        final = is_last and k == count_runs
        count(tree, weights, group, frame, squared, enough, sure, length, final, core, scratch)
        length = ZERO
        if final or settle(tree, group, core) < 0:
            return False
        if k == count_runs:
            return True


@kernel
def cells(tree: Tree, weights: Any, group: Group, squared: float, enough: float, core: Any) -> None:
    """Every adaptive cell of the group that holds enough is all core."""
    for node in range(group.node, group.stop):
        if tree.skip[node] != node + 1 or diagonal_squared(tree.boxes, node) > squared:
            continue
        start, stop = tree.starts[node], tree.stops[node]
        if total(weights, start, stop) >= enough:
            for p in range(start, stop):
                core[p] = 1


@kernel
def total(weights: Any, start: int, stop: int) -> float:
    """How many points, or what weight, lie at some positions."""
    if weights is None:
        return float(stop - start)
    else:
        weight = 0.0
        for p in range(start, stop):
            weight += weights[p]
        return weight


@kernel
def settle(tree: Tree, group: Group, core: Any) -> float:
    """Bring ``group.most`` up to date; that of the group's root, -1 where none is open."""
    for node in range(group.stop - 1, group.node - 1, -1):
        most = -1.0
        if tree.skip[node] == node + 1:
            for p in range(tree.starts[node], tree.stops[node]):
                if core[p] == 0:
                    most = max(most, group.found[p - group.start])
        else:
            most = max(
                group.most[node + 1 - group.node],
                group.most[tree.skip[node + 1] - group.node],
            )
        group.most[node - group.node] = most
    return group.most[0]


@kernel
def open_box(tree: Tree, group: Group) -> Any:
    """(1, 2 d) float64: the box of the leaves that hold open points."""
    dimension = tree.columns.shape[0]
    box = np.empty((1, 2 * dimension))
    for j in range(dimension):
        box[0, j], box[0, dimension + j] = np.inf, -np.inf
    for node in range(group.node, group.stop):
        if tree.skip[node] == node + 1 and group.most[node - group.node] >= 0:
            for j in range(dimension):
                high = dimension + j
                box[0, j] = min(box[0, j], np.float64(tree.boxes[node, j]))
                box[0, high] = max(box[0, high], np.float64(tree.boxes[node, high]))
    return box


@kernel
def count(
    tree: Tree,
    weights: Any,
    group: Group,
    frame: Frame,
    squared: float,
    enough: float,
    sure: float,
    length: int,
    is_last: bool,
    core: Any,
    scratch: Scratch,
) -> None:
    """Count the candidates in level 0 that are neighbours, for every open point of the group.

    Args:
        tree: All points.
        weights: Of them, or None.
        group: Its ``found`` grows.
        frame: Of the group.
        squared: eps².
        enough: min_samples.
        sure: What lies within eps of all open points and was not put into the scratch.
        length: Candidates in level 0.
        is_last: No others will follow: who cannot reach ``enough`` is not core.
        core: Written.
        scratch: Levels above 0 are written.
    """
    ends = np.empty(LEVELS, dtype=np.int64)  # the node at which a level is no longer needed
    sizes = np.empty(LEVELS, dtype=np.int64)  # points of the subtree it was made for
    lengths = np.empty(LEVELS, dtype=np.int64)
    within = np.empty(LEVELS)  # near for sure, and left out since level 0
    weight = np.empty(LEVELS)  # of all in it
    ends[0], sizes[0], lengths[0], within[0] = group.stop, len(group.found), length, 0.0
    weight[0] = weigh(weights, scratch.at[0], length)
    level, node = 0, group.node
    while node < group.stop:
        while node >= ends[level]:
            level -= 1
        most = group.most[node - group.node]
        if most < 0 or (is_last and most + sure + within[level] + weight[level] < enough):
            node = tree.skip[node]
            continue
        leaf = tree.skip[node] == node + 1
        size = tree.stops[node] - tree.starts[node]
        smaller = leaf or size * SHRINK <= sizes[level]
        if smaller and size > 1 and level + 1 < LEVELS and lengths[level] > FEW and not frame.rough:
            write_box(tree.boxes, node, frame, scratch.box)
            surely = diagonal_squared(tree.boxes, node) <= squared
            here, left_out = narrow(scratch, level, lengths[level], frame, surely)
            level += 1
            ends[level], sizes[level], lengths[level] = tree.skip[node], size, here
            within[level] = within[level - 1]
            within[level] += weigh_left_out(weights, scratch.at[level - 1], left_out, scratch.kept)
            weight[level] = weigh(weights, scratch.at[level], here)
            if is_last and most + sure + within[level] + weight[level] < enough:
                node = tree.skip[node]
                continue
        if leaf:
            for p in range(tree.starts[node], tree.stops[node]):
                if core[p] == 0:
                    before = group.found[p - group.start] + within[level]
                    after = scan(
                        tree,
                        weights,
                        p,
                        frame,
                        squared,
                        enough,
                        sure,
                        before,
                        level,
                        lengths[level],
                        is_last,
                        scratch,
                    )
                    group.found[p - group.start] = after
                    core[p] = after + sure >= enough
        node += 1


@kernel
def weigh(weights: Any, at: Any, length: int) -> float:
    """The number or the weight of the candidates of a level."""
    if weights is None:
        return float(length)
    else:
        weight = 0.0
        for k in range(length):
            weight += weights[at[k]]
        return weight


@kernel
def weigh_left_out(weights: Any, at: Any, count: int, kept: Any) -> float:
    """The number or the weight of those that ``narrow`` left out for being near for sure."""
    if weights is None:
        return float(count)
    else:
        weight = 0.0
        for k in range(len(kept) - count, len(kept)):
            weight += weights[at[kept[k]]]
        return weight


@kernel
def scan(
    tree: Tree,
    weights: Any,
    p: int,
    frame: Frame,
    squared: float,
    enough: float,
    sure: float,
    found: float,
    level: int,
    length: int,
    is_last: bool,
    scratch: Scratch,
) -> float:
    """Add a point's neighbours among the candidates of a level, until it is decided."""
    near, at = scratch.near[level], scratch.at[level]
    point, sums = scratch.point, scratch.sums
    to_frame(tree.columns, p, frame, point)
    for start in range(0, length, BLOCK):
        if found + sure >= enough:
            break
        size = min(BLOCK, length - start)
        if weights is None:
            if is_last and found + sure + (length - start) < enough:
                break
            if not frame.rough:
                certain, maybe = tally(near, U(start), U(size), point, frame.low, frame.high, sums)
                if certain == maybe:
                    found += certain
                    continue
        if not frame.rough:
            squares(near, U(start), U(size), point, sums)
        for i in range(size):
            close = not frame.rough and sums[i] <= frame.low
            if not close and (frame.rough or sums[i] <= frame.high):
                close = pair_squared(tree.columns, p, np.int64(at[start + i])) <= squared
            if close:
                if weights is None:
                    found += 1.0
                else:
                    found += weights[at[start + i]]
    return found
