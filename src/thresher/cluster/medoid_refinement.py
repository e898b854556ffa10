"""The refinement of medoids on the entire data: PAMAE's second phase."""

from __future__ import annotations

import itertools
import math
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.kernels import medoids as kernels
from thresher.cluster.kernels.keyed_uniforms import keyed_uniforms
from thresher.cluster.kernels.medoid_refinement import (
    add_costs,
    keep_nearest,
    median_in_space,
    merge_nearest,
)
from thresher.cluster.medoid_objects import Objects, distinct
from thresher.cluster.medoid_passes import Assigned, weights_of
from thresher.cluster.medoid_space import embedded, tiles
from thresher.cluster.points import Phase, Points
from thresher.cluster.threads import each

__all__ = ["refine"]

NEAREST_OBJECTS = 16  # T: how many near the median are tried
MEDIAN_ROWS = 20_000  # of a group, at most; its median is off by a 1/√20,000 of the spread
MEDIAN_BYTES = 32 << 20  # of the rows of all groups together

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


def refine(
    points: Points,
    metric: int,
    medoids: Objects,
    assigned: Assigned,
    weights: Floats | None,
    key: int,
    jobs: int,
    phase: Phase,
) -> Objects:
    """The most central object of every group, of those near its median and its present medoid."""
    present = embedded(metric, medoids.coordinates)
    centres = group_medians(points, metric, present, assigned, weights, key, jobs, phase)
    row, kept = nearest_objects(points, metric, centres, assigned, weights, jobs, phase)
    vacant = row < 0
    kept[vacant] = np.repeat(present[:, None], kept.shape[1], axis=1)[vacant]
    candidates = np.concatenate([kept, present[:, None]], axis=1)  # (k, T + 1, D)
    costs = group_costs(points, metric, candidates, assigned, weights, jobs, phase)
    best = costs.argmin(axis=1)
    groups = np.arange(len(best))
    stays = costs[groups, best] >= costs[:, -1]
    rows = np.where(stays, medoids.rows, np.append(row, medoids.rows[:, None], 1)[groups, best])
    return distinct(metric, points.take(rows), rows, None)


def group_medians(
    points: Points,
    metric: int,
    present: Floats,
    assigned: Assigned,
    weights: Floats | None,
    key: int,
    jobs: int,
    phase: Phase,
) -> Floats:
    """The point of the space with the least Σ w · distance in every group, (k, D).

    Large groups are represented by some rows, those whose hash is low enough. The Manhattan
    distance has the columns' medians, the cosine distance the mean direction.
    """
    count, dimension = present.shape
    affordable = MEDIAN_BYTES // (count * dimension * points.dtype.itemsize)
    most = min(MEDIAN_ROWS, max(1000, affordable))
    share = most / np.maximum(assigned.counts, 1)
    parts = len(points.starts) - 1
    gathered: list[list[tuple[NDArray[Any], ...]]] = [[] for _ in range(parts)]

    def gather(part: int) -> None:
        for first, rows in tiles(points, part):
            labels = assigned.labels[first : first + len(rows)]
            lot = keyed_uniforms(key, first, len(rows)) < share[labels]
            heavy = np.ones(len(rows)) if weights is None else weights[first : first + len(rows)]
            lot &= heavy > 0
            gathered[part].append((labels[lot], heavy[lot], rows[lot]))

    each(gather, parts, jobs, lambda share: phase("gathering groups", share))
    labels, heavy, rows = (
        np.concatenate(columns)
        for columns in zip(*itertools.chain.from_iterable(gathered), strict=True)
    )
    order = np.argsort(labels, kind="stable")
    bounds = np.searchsorted(labels[order], np.arange(count + 1))
    centres = present.copy()

    def find(group: int) -> None:
        places = order[bounds[group] : bounds[group + 1]]
        if len(places):
            inside = embedded(metric, rows[places])
            centres[group] = centre_of(metric, inside, heavy[places], present[group])

    each(find, count, jobs, lambda share: phase("finding medians", share))
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


def nearest_objects(
    points: Points,
    metric: int,
    centres: Floats,
    assigned: Assigned,
    weights: Floats | None,
    jobs: int,
    phase: Phase,
) -> tuple[Numbers, Floats]:
    """The T objects of every group that are nearest to its centre: rows (k, T), -1 = vacant;
    where they are (k, T, D).
    """

    def vacant() -> tuple[Floats, Numbers, Floats]:
        shape = (len(centres), NEAREST_OBJECTS)
        return (
            np.full(shape, np.inf),
            np.full(shape, -1, np.int64),
            np.zeros((*shape, centres.shape[1])),
        )

    kept, merging = vacant(), threading.Lock()
    parts = len(points.starts) - 1

    def task(part: int) -> None:
        here = vacant()
        for first, rows in tiles(points, part):
            labels = assigned.labels[first : first + len(rows)]
            heavy = weights_of(weights, first, len(rows))
            tile = embedded(metric, rows)
            keep_nearest(metric, tile, first, labels, heavy, centres, *here)
        with merging:  # in any order: what is kept does not depend on it
            merge_nearest(*kept, *here)

    each(task, parts, jobs, lambda share: phase("finding objects", share))
    return kept[1], kept[2]


def group_costs(
    points: Points,
    metric: int,
    candidates: Floats,
    assigned: Assigned,
    weights: Floats | None,
    jobs: int,
    phase: Phase,
) -> Floats:
    """Σ w · distance of every group's objects to each of its candidates, (k, C) of (k, C, D)."""
    lanes = np.ascontiguousarray(candidates.transpose(0, 2, 1))
    parts = len(points.starts) - 1
    costs = np.zeros((parts, *candidates.shape[:2]))

    def task(part: int) -> None:
        for first, rows in tiles(points, part):
            labels = assigned.labels[first : first + len(rows)]
            heavy = weights_of(weights, first, len(rows))
            add_costs(metric, embedded(metric, rows), labels, heavy, lanes, costs[part])

    each(task, parts, jobs, lambda share: phase("comparing medoids", share))
    summed: Floats = np.add.reduce(costs, axis=0)
    return summed
