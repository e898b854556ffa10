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
from thresher.cluster.points import ArrayPoints, Clustered
from thresher.cluster.threads import each
from thresher.cluster.tree import grow

__all__ = ["Bounds", "bounds_of", "needed_cells"]

BLOCK = 4_096  # cells that are asked about together
ROUNDING = 1e-15  # of a coordinate, by which a centre may be off: some units in the last place
MARGIN = 1e-12  # of a radius, far above the rounding of a distance

Array = NDArray[Any]


class Bounds(NamedTuple):
    """Radii of centres that hold for all points of their cells."""

    sure: float  # centres within it: all points of the two cells are within eps; may be < 0
    possible: float  # centres beyond it: none are
    spread: float  # how far a distance of points is from that of the centres, at most


def bounds_of(eps: float, side: float, centres: Array) -> Bounds:
    """The radii for cells of a side.

    >>> sure, possible, spread = bounds_of(1.0, 0.1, np.zeros((1, 1)))
    >>> round(sure, 6), round(possible, 6), round(spread, 6)
    (0.9, 1.1, 0.1)
    """
    dimension = centres.shape[1]
    largest = float(np.abs(centres).max(initial=0.0))
    spread = math.sqrt(dimension) * (side * (1 + MARGIN) + 2 * ROUNDING * largest)
    return Bounds(eps * (1 - MARGIN) - spread, eps * (1 + MARGIN) + spread, spread)


def needed_cells(
    centres: Array, weights: Array | None, eps: float, side: float, min_samples: float, jobs: int
) -> tuple[NDArray[np.bool_], int]:
    """Which cells' points decide what the bounds leave open.

    Args:
        centres: (m, d) float64, of cells of one side.
        weights: (m,) of the cells; None for 1 each.
        eps: Radius of the points.
        side: Of the cells.
        min_samples: As of DBSCAN.
        jobs: Threads.

    Returns:
        (m,) flags, and how many cells may or may not hold core points.
    """
    bounds = bounds_of(eps, side, centres)
    if bounds.sure <= 0 or not len(centres):
        return np.ones(len(centres), np.bool_), len(centres)
    points = ArrayPoints(centres)

    def at(radius: float) -> Clustered:
        return run_engine(
            points, radius, min_samples, weights, "auto", False, jobs, lambda *_: None, None
        )

    inner = at(bounds.sure)
    possible = at(bounds.possible).core
    return _open_cells(centres, inner, possible, bounds, jobs)


def _open_cells(
    centres: Array, inner: Clustered, possible: NDArray[np.bool_], bounds: Bounds, jobs: int
) -> tuple[NDArray[np.bool_], int]:
    tree = grow(ArrayPoints(centres), 0.0, jobs, lambda *_: None)
    order = tree.rows
    places = np.ascontiguousarray(tree.columns.T)
    sure = inner.core[order]
    undecided = possible[order] & ~sure
    components = np.where(sure, inner.labels[order], NONE).astype(np.int64)
    needed = undecided.astype(np.uint8)

    def asked(questions: Array) -> list[Array]:
        """Positions in blocks."""
        chosen = np.flatnonzero(questions)
        return np.split(chosen, np.arange(BLOCK, len(chosen), BLOCK)) if len(chosen) else []

    def lifted(flags: Array) -> tuple[Array, Array]:
        chosen, held = flags.astype(np.uint8), np.empty(len(tree.skip), np.uint8)
        lift_any(tree, chosen, held)
        return chosen, held

    def same(of: Array) -> Array:
        found = np.empty(len(tree.skip), np.int64)
        lift_same(tree, of, found)
        return found

    # a cell of undecided core marks is another cluster's to all that ask
    candidates = np.where(undecided, components.max(initial=0) + 1, components)
    sure_held, all_held = lifted(sure), lifted(np.ones(len(order), np.uint8))
    possible_held = lifted(possible[order])
    sure_same, candidate_same = same(components), same(candidates)

    linked = asked(sure)

    def ask_links(number: int) -> None:
        """Sure cells within reach of another cluster's."""
        here = linked[number]
        answers = np.empty(len(here), np.uint8)
        reach = np.full(len(here), bounds.possible**2)
        meets_another(tree, components, sure_same, places[here], components[here], reach, answers)
        needed[here] |= answers

    each(ask_links, len(linked), jobs)
    others = asked(~sure)

    def ask_reach(number: int) -> None:
        """Cells that are not surely core: is it known whose they are, if anyone's?"""
        here = others[number]
        at = places[here]
        least = np.full(len(here), bounds.possible**2)
        found, found_at = np.full(len(here), -1, np.int64), np.empty_like(at)
        nearest_chosen(tree, *sure_held, 0, at, least, found, found_at)
        own = np.where(found >= 0, components[found], NONE)
        distance = np.sqrt(least) * (1 + MARGIN)
        nearest = np.where(found >= 0, distance + 2 * bounds.spread, np.inf)
        reach = np.minimum(bounds.possible, nearest) ** 2
        answers = np.empty(len(here), np.uint8)
        meets_another(tree, candidates, candidate_same, at, own, reach, answers)
        open_ones = (answers > 0) | ((found >= 0) & (distance > bounds.sure))
        needed[here[open_ones]] = 1
        at, reach = at[open_ones], reach[open_ones]
        mark_between(tree, *possible_held, at, np.full(len(at), -1.0), reach, needed)

    each(ask_reach, len(others), jobs)
    counted = asked(undecided)

    def ask_counts(number: int) -> None:
        """Cells between the bounds of an undecided one."""
        at = places[counted[number]]
        low, high = np.full(len(at), bounds.sure**2), np.full(len(at), bounds.possible**2)
        mark_between(tree, *all_held, at, low, high, needed)

    each(ask_counts, len(counted), jobs)
    flags = np.empty(len(order), np.bool_)
    flags[order] = needed > 0
    return flags, int(undecided.sum())
