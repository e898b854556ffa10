"""Distinct objects, of which medoids are chosen: equal rows are one, weighing as much as all."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.medoid_space import embedded

__all__ = ["Objects", "chosen", "distinct", "places_of", "united"]

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


class Objects(NamedTuple):
    """Distinct objects, sorted by their coordinates in the space of the metric."""

    coordinates: NDArray[Any]  # (u, d)
    rows: Numbers  # (u,) the lowest row that holds each
    weights: Floats  # (u,)


def distinct(
    metric: int, coordinates: NDArray[Any], rows: Numbers, weights: Floats | None
) -> Objects:
    """Merge rows that are equal in the metric's space, adding weights; leave out those of 0."""
    heavy = np.ones(len(rows)) if weights is None else weights
    if weights is not None and not heavy.all():
        kept = heavy > 0
        coordinates, rows, heavy = coordinates[kept], rows[kept], heavy[kept]
    where = embedded(metric, coordinates)
    order = np.lexsort((rows, *where.T[::-1]))
    coordinates, rows, heavy, where = coordinates[order], rows[order], heavy[order], where[order]
    new = np.ones(len(rows), np.bool_)
    new[1:] = (where[1:] != where[:-1]).any(axis=1)
    starts = np.flatnonzero(new)
    return Objects(coordinates[starts], rows[starts], np.add.reduceat(heavy, starts))


def chosen(objects: Objects, places: NDArray[Any]) -> Objects:
    """Some of the objects."""
    return Objects(*(values[places] for values in objects))


def united(metric: int, some: list[Objects], most: int) -> Objects:
    """The distinct objects of several, of which those in the lowest rows are kept."""
    both = distinct(
        metric,
        np.concatenate([each.coordinates for each in some]),
        np.concatenate([each.rows for each in some]),
        None,
    )
    return chosen(both, np.sort(np.argsort(both.rows)[:most]))


def places_of(metric: int, some: Objects, objects: Objects) -> Numbers:
    """Where among distinct objects some of them stand."""
    here = embedded(metric, objects.coordinates) + 0  # -0 becomes 0
    known = {row.tobytes(): place for place, row in enumerate(here)}
    sought = embedded(metric, some.coordinates) + 0
    return np.array([known[row.tobytes()] for row in sought], np.int64)
