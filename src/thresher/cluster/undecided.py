"""Exact DBSCAN of points of which only the cells are known: which cells' points must be looked at.

Every point lies within half a diagonal δ of its cell's centre, so with D the distance of two
centres, that of two points of the cells is between D - δ and D + δ. Hence

    dense at eps - δ       all points of the cell are core                           sure
    not dense at eps + δ   none is                                                   sure
    else                   its points must be counted                                undecided

and clusters of sure cells at eps - δ lie within one cluster each. What these bounds leave open, the
points must tell:

    undecided cells, and those whose distance from one is between the bounds
    sure cells that may or may not be linked to one of another cluster
    cells without core points that may or may not be in reach of one, or be nearest to either of
        two clusters; and the cells with core points that might be the nearest

The points of these, exact, and all other cells, at their centres with their weights, have the very
clusters of the points: where two of them are compared that are not both exact, the bounds agree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.dbscan import run_engine
from thresher.cluster.kernels.cell_tree import (
    NONE,
    lift_any,
    lift_same,
    mark_between,
    meets_another,
    nearest_chosen,
)
from thresher.cluster.kernels.tree_build import Tree
from thresher.cluster.points import ArrayPoints, Clustered
from thresher.cluster.threads import each
from thresher.cluster.tree import grow

__all__ = ["Bounded", "Bounds", "bounded", "bounds_of", "mark_needed", "needed_cells"]

BLOCK = 4_096  # cells that are asked about together
UNDECIDED = 2**62  # no component has this number
ROUNDING = 1e-15  # of a coordinate, by which a centre may be off: some units in the last place
MARGIN = 1e-12  # of a radius, far above the rounding of a distance

Array = NDArray[Any]


class Bounds(NamedTuple):
    """Radii of centres that hold for all points of their cells."""

    sure: float  # centres within it: all points of the two cells are within eps; may be < 0
    possible: float  # centres beyond it: none are
    spread: float  # how far a distance of points is from that of the centres, at most


def bounds_of(eps: float, side: float, dimension: int, largest: float) -> Bounds:
    """The radii for cells of a side, whose centres have no larger absolute coordinate.

    >>> sure, possible, spread = bounds_of(1.0, 0.1, 1, 0.0)
    >>> round(sure, 6), round(possible, 6), round(spread, 6)
    (0.9, 1.1, 0.1)
    """
    spread = math.sqrt(dimension) * (side * (1 + MARGIN) + 2 * ROUNDING * largest)
    return Bounds(eps * (1 - MARGIN) - spread, eps * (1 + MARGIN) + spread, spread)


def needed_cells(
    centres: Array, weights: Array | None, bounds: Bounds, min_samples: float, jobs: int
) -> tuple[NDArray[np.bool_], int]:
    """Which cells' points decide what the bounds leave open.

    Args:
        centres: (m, d) float64, at least one.
        weights: (m,) of the cells; None for 1 each.
        bounds: The radii; the lower one > 0.
        min_samples: As of DBSCAN.
        jobs: Threads.

    Returns:
        (m,) flags, and how many cells may or may not hold core points.
    """
    points = ArrayPoints(centres)

    def at(radius: float) -> Clustered:
        return run_engine(
            points, radius, min_samples, weights, "auto", False, jobs, lambda *_: None, None
        )

    inner = at(bounds.sure)
    possible = at(bounds.possible).core
    tree = grow(points, 0.0, jobs, lambda *_: None)
    order = tree.rows
    components = np.where(inner.core, inner.labels, NONE)[order].astype(np.int64)
    known = bounded(tree, components, possible[order])
    needed = np.zeros(len(order), np.uint8)
    blocks = np.split(np.arange(len(order)), np.arange(BLOCK, len(order), BLOCK))

    def ask(number: int) -> None:
        mark_needed(known, blocks[number], {0: known}, {0: needed}, 0, bounds)

    each(ask, len(blocks), jobs)
    flags = np.empty(len(order), np.bool_)
    flags[order] = needed > 0
    return flags, int((possible & ~inner.core).sum())


class Bounded(NamedTuple):
    """What the bounds say of the cells of a tree, in its order."""

    tree: Tree
    sure: NDArray[np.uint8]  # (n,) all points are core
    undecided: NDArray[np.uint8]  # (n,) some may be
    possible: NDArray[np.uint8]  # (n,) either
    components: NDArray[np.int64]  # (n,) of the sure ones; else NONE
    candidates: NDArray[np.int64]  # (n,) the same; undecided ones have one that no other has
    sure_nodes: NDArray[np.uint8]  # (nodes,) and so on
    possible_nodes: NDArray[np.uint8]
    all_nodes: NDArray[np.uint8]
    component_nodes: NDArray[np.int64]
    candidate_nodes: NDArray[np.int64]


def bounded(tree: Tree, components: NDArray[np.int64], possible: NDArray[np.bool_]) -> Bounded:
    """Say of every node what holds for its cells.

    Args:
        tree: Of n cells.
        components: (n,) in tree order, those of sure cells at the lower radius; else NONE.
        possible: (n,) in tree order, core at the upper radius.
    """
    sure = (components != NONE).astype(np.uint8)
    undecided = (possible & (sure == 0)).astype(np.uint8)
    either = sure | undecided
    candidates = np.where(undecided > 0, UNDECIDED, components)
    nodes = len(tree.skip)
    sure_nodes, possible_nodes = np.empty(nodes, np.uint8), np.empty(nodes, np.uint8)
    component_nodes, candidate_nodes = np.empty(nodes, np.int64), np.empty(nodes, np.int64)
    lift_any(tree, sure, sure_nodes)
    lift_any(tree, either, possible_nodes)
    lift_same(tree, components, component_nodes)
    lift_same(tree, candidates, candidate_nodes)
    return Bounded(
        tree, sure, undecided, either, components, candidates, sure_nodes, possible_nodes,
        np.ones(nodes, np.uint8), component_nodes, candidate_nodes,
    )  # fmt: skip


def mark_needed(
    own: Bounded,
    asking: NDArray[np.int32] | NDArray[np.int64],
    trees: Mapping[int, Bounded],
    needed: Mapping[int, NDArray[np.uint8]],
    at_home: int,
    bounds: Bounds,
) -> None:
    """Mark the cells whose points decide what the bounds leave open about some cells.

    Args:
        own: Tree of the cells that are asked about.
        asking: (q,) their positions in it.
        trees: All that have a cell within reach of one of them.
        needed: (n,) marks of each tree, written.
        at_home: Which of the trees is their own.
        bounds: Radii.
    """
    places = np.ascontiguousarray(own.tree.columns[:, asking].T)
    components = own.components[asking]
    sure, undecided = own.sure[asking] > 0, own.undecided[asking] > 0
    open_ones = undecided.copy()

    # sure cells in reach of another cluster's may be linked to it
    linked, answers = places[sure], np.zeros(int(sure.sum()), np.uint8)
    reach = np.full(len(linked), bounds.possible**2)
    for each_tree in trees.values():
        meets_another(
            each_tree.tree, each_tree.components, each_tree.component_nodes, linked,
            components[sure], reach, answers,
        )  # fmt: skip
    open_ones[np.flatnonzero(sure)[answers > 0]] = True

    # of the others it may be open whose they are, if anyone's
    at = places[~sure]
    least, nearest = np.full(len(at), bounds.possible**2), np.full(len(at), NONE, np.int64)
    found, found_at = np.full(len(at), -1, np.int64), np.empty_like(at)
    for each_tree in trees.values():
        found[:] = np.where(found >= 0, len(each_tree.sure), -1)  # none of this tree
        nearest_chosen(
            each_tree.tree, each_tree.sure, each_tree.sure_nodes, 0, at, least, found, found_at
        )
        here = (found >= 0) & (found < len(each_tree.sure))
        nearest[here] = each_tree.components[found[here]]
    distance = np.sqrt(least) * (1 + MARGIN)
    farthest = np.where(nearest != NONE, distance + 2 * bounds.spread, np.inf)
    reach = np.minimum(bounds.possible, farthest) ** 2
    answers = np.zeros(len(at), np.uint8)
    for each_tree in trees.values():
        meets_another(
            each_tree.tree, each_tree.candidates, each_tree.candidate_nodes, at, nearest, reach,
            answers,
        )  # fmt: skip
    unknown = (answers > 0) | ((nearest != NONE) & (distance > bounds.sure))
    open_ones[np.flatnonzero(~sure)[unknown]] = True
    at, reach, nothing = at[unknown], reach[unknown], np.full(int(unknown.sum()), -1.0)

    # undecided cells must be counted, with what is neither surely within eps nor surely beyond
    counted = places[undecided]
    low = np.full(len(counted), bounds.sure**2)
    high = np.full(len(counted), bounds.possible**2)
    for number, each_tree in trees.items():
        mark_between(
            each_tree.tree, each_tree.possible, each_tree.possible_nodes, at, nothing, reach,
            needed[number],
        )  # fmt: skip
        everyone = np.ones(len(each_tree.sure), np.uint8)
        mark_between(
            each_tree.tree, everyone, each_tree.all_nodes, counted, low, high, needed[number]
        )
    needed[at_home][asking[open_ones]] = 1
