"""The refinement of medoids on all rows: PAMAE's second phase, three passes.

lots       → the median of every group, of some of its rows
nearest    → T objects of every group near to its median
costs      → Σ w · distance of every group to each of these, and to its present medoid
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.exact_sums import ExactSums
from thresher.cluster.kernels import medoids as kernels
from thresher.cluster.kernels.keyed_uniforms import keyed_uniforms
from thresher.cluster.kernels.medoid_refinement import (
    add_costs,
    keep_nearest,
    median_in_space,
    merge_nearest,
)
from thresher.cluster.medoid_objects import Objects, distinct
from thresher.cluster.medoid_passes import Assigned
from thresher.cluster.medoid_rows import Both, Gathering, MedoidRows, Taking, Tile
from thresher.cluster.medoid_space import embedded
from thresher.cluster.threads import each

__all__ = ["NEAREST_OBJECTS", "median_rows", "refine"]

NEAREST_OBJECTS = 16  # T: how many near the median are tried
MEDIAN_ROWS = 20_000  # of a group, at most; its median is off by a 1/√20,000 of the spread
MEDIAN_BYTES = 32 << 20  # of the rows of all groups together

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


def refine(data: MedoidRows, assigned: Assigned, key: int) -> Objects:
    """The most central object of every group, of those near its median and its present medoid."""
    medoids, metric = assigned.medoids, data.metric
    present = embedded(metric, medoids.coordinates)
    centres = group_medians(data, assigned, present, key)
    near = data.over("finding objects", NearestObjects(metric, assigned, centres))
    vacant = near.row < 0
    kept = near.kept.copy()
    kept[vacant] = np.repeat(present[:, None], kept.shape[1], axis=1)[vacant]
    candidates = np.concatenate([kept, present[:, None]], axis=1)  # (k, T + 1, D)
    taking = Taking(near.row[~vacant])  # their coordinates as given, for those that are chosen
    costs_of = GroupCosts(metric, assigned, candidates)
    sums, held = data.over("comparing medoids", Both(costs_of, taking))
    costs = sums.values()  # (k, T + 1)
    best = costs.argmin(axis=1)
    groups = np.arange(len(best))
    moves = np.flatnonzero(costs[groups, best] < costs[:, -1])
    rows, coordinates = medoids.rows.copy(), medoids.coordinates.copy()
    if len(moves):
        rows[moves] = near.row[moves, best[moves]]
        coordinates[moves] = taking.ordered(held, rows[moves]).rows
    return distinct(metric, coordinates, rows, None)


# ---------------------------------------------------------------------- medians
class Lot(NamedTuple):
    """Some rows of a tile that stand for their groups."""

    numbers: Numbers  # (r,)
    labels: NDArray[np.int32]  # (r,)
    weights: Floats  # (r,)
    rows: NDArray[Any]  # (r, d) as they are given


class Lots(Gathering[list[Lot]]):
    """Rows of every group by chance, those whose hash is low enough.

    Args:
        assigned: To which group a row belongs.
        key: Of the hashes.
        share: (k,) of every group's rows.
    """

    def __init__(self, assigned: Assigned, key: int, share: Floats) -> None:
        self.assigned, self.key, self.share = assigned, key, share

    def begin(self) -> list[Lot]:
        """None."""
        return []

    def add(self, state: list[Lot], tile: Tile) -> None:
        """Of some rows."""
        labels = self.assigned.labels_of(tile)
        chosen = keyed_uniforms(self.key, tile.first, len(tile)) < self.share[labels]
        places = np.flatnonzero(chosen & (tile.weights > 0))
        if len(places):
            here = labels[places], tile.weights[places], tile.rows[places]
            state.append(Lot(tile.first + places, *here))

    def merge(self, state: list[Lot], other: list[Lot]) -> None:
        """In any order."""
        state.extend(other)


def median_rows(n_clusters: int, dimension: int, itemsize: int) -> int:
    """Rows that stand for a group, at most, about."""
    affordable = MEDIAN_BYTES // (n_clusters * dimension * itemsize)
    return min(MEDIAN_ROWS, max(1000, affordable))


def group_medians(data: MedoidRows, assigned: Assigned, present: Floats, key: int) -> Floats:
    """The point of the space with the least Σ w · distance in every group, (k, D).

    Large groups are represented by some rows. The Manhattan distance has the columns' medians, the
    cosine distance the mean direction.
    """
    count, dimension = present.shape
    most = median_rows(count, dimension, data.dtype.itemsize)
    lots = Lots(assigned, key, most / np.maximum(assigned.counts, 1))
    gathered = data.over("gathering groups", lots)
    centres = present.copy()
    if not gathered:
        return centres
    gathered.sort(key=lambda lot: int(lot.numbers[0]))  # tiles came in any order
    labels = np.concatenate([lot.labels for lot in gathered])
    weights = np.concatenate([lot.weights for lot in gathered])
    rows = np.concatenate([lot.rows for lot in gathered])
    order = np.argsort(labels, kind="stable")
    bounds = np.searchsorted(labels[order], np.arange(count + 1))

    def find(group: int) -> None:
        places = order[bounds[group] : bounds[group + 1]]
        if len(places):
            inside = embedded(data.metric, rows[places])
            centres[group] = centre_of(data.metric, inside, weights[places], present[group])

    data.phase("finding medians", 0.0)
    each(find, count, data.jobs, lambda share: data.phase("finding medians", share))
    return centres


def centre_of(metric: int, rows: Floats, weights: Floats, start: Floats) -> Floats:
    """The point with the least Σ w · distance, (D,)."""
    if metric == kernels.MANHATTAN or rows.shape[1] == 1:
        return weighted_medians(rows, weights)
    if metric == kernels.COSINE:
        direction = np.average(rows, axis=0, weights=weights)
        length = math.sqrt(float((direction * direction).sum()))
        return direction / length if length > 1e-9 else start
    return median_in_space(metric, rows, weights, start, 1e-6, 200)


def weighted_medians(rows: Floats, weights: Floats) -> Floats:
    """The weighted median of every column, (D,), one of its values.

    >>> weighted_medians(np.array([[1.0], [2.0], [9.0]]), np.array([1.0, 1.0, 3.0]))
    array([9.])
    """
    order = np.argsort(rows, axis=0, kind="stable")
    cumulated = np.cumsum(weights[order], axis=0)
    middle = (cumulated >= cumulated[-1] / 2).argmax(axis=0)
    columns = np.arange(rows.shape[1])
    found: Floats = rows[order[middle, columns], columns]
    return found


# ---------------------------------------------------------------------- candidates
@dataclass
class Nearest:
    """The objects of every group that are nearest to its centre, in the order of the distances."""

    raw: Floats  # (k, T) what the distance is a function of; inf = vacant
    row: Numbers  # (k, T), -1 = vacant
    kept: Floats  # (k, T, D) where they are


class NearestObjects(Gathering[Nearest]):
    """The T objects of every group that are nearest to its centre.

    Args:
        metric: The kernels' number.
        assigned: To which group a row belongs.
        centres: (k, D).
    """

    def __init__(self, metric: int, assigned: Assigned, centres: Floats) -> None:
        self.metric, self.assigned, self.centres = metric, assigned, centres

    def begin(self) -> Nearest:
        """All vacant."""
        count, dimension = self.centres.shape
        shape = (count, NEAREST_OBJECTS)
        return Nearest(
            np.full(shape, np.inf), np.full(shape, -1, np.int64), np.zeros((*shape, dimension))
        )

    def add(self, state: Nearest, tile: Tile) -> None:
        """Of some rows."""
        labels = self.assigned.labels_of(tile)
        kept = state.raw, state.row, state.kept
        keep_nearest(
            self.metric, tile.places, tile.first, labels, tile.weights, self.centres, *kept
        )

    def merge(self, state: Nearest, other: Nearest) -> None:
        """In any order: what is kept does not depend on it."""
        merge_nearest(state.raw, state.row, state.kept, other.raw, other.row, other.kept)


class GroupCosts(Gathering[ExactSums]):
    """Σ w · distance of every group's objects to each of its candidates, (k, C).

    Args:
        metric: The kernels' number.
        assigned: To which group a row belongs.
        candidates: (k, C, D).
    """

    def __init__(self, metric: int, assigned: Assigned, candidates: Floats) -> None:
        self.metric, self.assigned = metric, assigned
        self.lanes = np.ascontiguousarray(candidates.transpose(0, 2, 1))  # (k, D, C)

    def begin(self) -> ExactSums:
        """Nothing."""
        return ExactSums(len(self.lanes), self.lanes.shape[2])

    def add(self, state: ExactSums, tile: Tile) -> None:
        """Of some rows."""
        labels = self.assigned.labels_of(tile)
        chunks = state.room_for(len(tile))
        add_costs(self.metric, tile.places, labels, tile.weights, self.lanes, chunks)

    def merge(self, state: ExactSums, other: ExactSums) -> None:
        """Of other rows."""
        state.merge(other)
