"""Passes over the entire data: what sets of medoids cost, which medoid is nearest to each row."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.medoid_objects import Objects, distinct, united
from thresher.cluster.medoid_space import NearestMedoid, embedded, tiles
from thresher.cluster.points import Phase, Points
from thresher.cluster.threads import each
from thresher.errors import DataError

__all__ = ["Assigned", "assign", "completed", "evaluate", "weights_of"]

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


class Assigned(NamedTuple):
    """Rows and their nearest medoids."""

    labels: NDArray[np.int32]  # (N,)
    counts: Numbers  # (k,) rows of positive weight
    first_rows: Numbers  # (k,) the lowest row of positive weight that equals each medoid
    inertia: float


def evaluate(
    points: Points,
    metric: int,
    sets: list[Objects],
    weights: Floats | None,
    jobs: int,
    phase: Phase,
) -> Floats:
    """φ of every set of medoids over the entire data, (m,), in one pass.

    Raises:
        DataError: coordinates are so large that their squares overflow.
    """
    nearest = [NearestMedoid(metric, embedded(metric, each.coordinates)) for each in sets]
    parts = len(points.starts) - 1
    sums = np.zeros((parts, len(sets)))

    def task(part: int) -> None:
        for first, rows in tiles(points, part):
            tile = embedded(metric, rows)
            for number, find in enumerate(nearest):
                sums[part, number] += weighted_sum(find(tile)[1], first, weights)

    each(task, parts, jobs, lambda share: phase("evaluating medoids", share))
    inertias: Floats = np.add.reduce(sums, axis=0)
    if not np.isfinite(inertias).all():
        raise DataError(
            "The coordinates are so large that their squared differences overflow.",
            "Divide them by a constant first.",
        )
    return inertias


def assign(
    points: Points,
    metric: int,
    medoids: Objects,
    weights: Floats | None,
    jobs: int,
    phase: Phase,
) -> Assigned:
    """The nearest medoid of every row."""
    find = NearestMedoid(metric, embedded(metric, medoids.coordinates))
    parts, count = len(points.starts) - 1, len(medoids.rows)
    labels = np.empty(points.rows, np.int32)
    sums, counts = np.zeros((parts, 1)), np.zeros((parts, count), np.int64)
    first_rows = np.full((parts, count), np.iinfo(np.int64).max)

    def task(part: int) -> None:
        for first, rows in tiles(points, part):
            near, distances = find(embedded(metric, rows))
            labels[first : first + len(rows)] = near
            sums[part] += weighted_sum(distances, first, weights)
            heavy = np.ones(len(rows), np.bool_)
            if weights is not None:
                heavy = weights[first : first + len(rows)] > 0
            counts[part] += np.bincount(near[heavy], minlength=count)
            here = np.flatnonzero(heavy & (distances == 0))
            here = here[(rows[here] == medoids.coordinates[near[here]]).all(axis=1)]
            np.minimum.at(first_rows[part], near[here], first + here)

    each(task, parts, jobs, lambda share: phase("assigning points", share))
    found = first_rows.min(axis=0)
    return Assigned(
        labels,
        counts.sum(axis=0),
        np.where(found < np.iinfo(np.int64).max, found, medoids.rows),
        float(np.add.reduce(sums, axis=0)[0]),
    )


def completed(
    points: Points,
    metric: int,
    sets: list[Objects],
    best: int,
    n_clusters: int,
    weights: Floats | None,
    jobs: int,
) -> Objects:
    """More medoids for a sample that had fewer than k distinct objects.

    What other samples found comes first, then what a pass over the data finds elsewhere: with no
    more than k distinct objects in all, every one of them ends as a medoid.
    """
    pooled = distinct(
        metric,
        np.concatenate([each.coordinates for each in sets]),
        np.concatenate([each.rows for each in sets]),
        None,
    )
    known = pooled if len(pooled.rows) <= n_clusters else sets[best]
    find = NearestMedoid(metric, embedded(metric, known.coordinates))
    parts = len(points.starts) - 1
    missing = n_clusters - len(known.rows)
    elsewhere: list[Objects | None] = [None] * parts

    def task(part: int) -> None:
        for first, rows in tiles(points, part):
            apart = find(embedded(metric, rows))[1] > 0
            if weights is not None:
                apart &= weights[first : first + len(rows)] > 0
            places = np.flatnonzero(apart)
            if len(places) == 0:
                continue
            more = distinct(metric, rows[places], first + places, None)
            before = elsewhere[part]
            elsewhere[part] = united(metric, [more] if before is None else [before, more], missing)

    each(task, parts, jobs)
    found = [more for more in elsewhere if more is not None]
    return united(metric, [known, united(metric, found, missing)], n_clusters) if found else known


def weighted_sum(distances: Floats, first: int, weights: Floats | None) -> float:
    """Σ w d of consecutive rows."""
    if weights is not None:
        distances = distances * weights[first : first + len(distances)]
    return float(distances.sum())


def weights_of(weights: Floats | None, first: int, count: int) -> Floats:
    """The weights of consecutive rows, 1 each where there are none."""
    return np.ones(count) if weights is None else weights[first : first + count]
