"""The refinement of medoids: the median of a group, the objects near it, what each would cost.

Source: the geometric median is Weiszfeld's with the correction of Vardi & Zhang, PNAS 2000.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.kernels.compiled import kernel
from thresher.cluster.kernels.exact_sums import add_bits
from thresher.cluster.kernels.medoids import EUCLIDEAN, HAVERSINE, add_raw, finished, raw

__all__ = ["add_costs", "keep_nearest", "median_in_space", "merge_nearest"]

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


@kernel
def median_in_space(
    metric: int, rows: Floats, weights: Floats, start: Floats, tolerance: float, rounds: int
) -> Floats:
    """The point with the least Σ w · distance: EUCLIDEAN in space, HAVERSINE on the sphere.

    Args:
        rows: (r, D), on the unit sphere for HAVERSINE.
        start: (D,) where to begin.
        tolerance: It has arrived when it moves by no more than this share of the mean distance.
    """
    dimension = len(start)
    y = start.copy()
    for _ in range(rounds):
        mean = np.zeros(dimension)  # Σ w x / |x - y| over the objects that are not y
        pull, here, spread, total = 0.0, 0.0, 0.0, 0.0
        for i in range(len(rows)):
            apart = math.sqrt(raw(EUCLIDEAN, rows[i], y))
            total += weights[i]
            if apart == 0.0:
                here += weights[i]
                continue
            spread += weights[i] * apart
            share = weights[i] / apart
            if metric == HAVERSINE:  # the derivative of 2 asin(c / 2); its pole is the antipode
                share /= math.sqrt(max(1e-6, 1.0 - 0.25 * apart * apart))
            pull += share
            for j in range(dimension):
                mean[j] += share * rows[i, j]
        if pull == 0.0:
            return y
        resultant = 0.0
        for j in range(dimension):
            difference = mean[j] - pull * y[j]
            resultant += difference * difference
            mean[j] /= pull
        resultant = math.sqrt(resultant)
        if resultant <= here:  # the objects at y hold it there
            return y
        stay = here / resultant
        moved = 0.0
        length = 0.0
        for j in range(dimension):
            mean[j] = (1.0 - stay) * mean[j] + stay * y[j]
            length += mean[j] * mean[j]
        if metric == HAVERSINE and length > 0.0:
            for j in range(dimension):
                mean[j] /= math.sqrt(length)
        for j in range(dimension):
            moved += (mean[j] - y[j]) ** 2
            y[j] = mean[j]
        if math.sqrt(moved) * total <= tolerance * spread:
            break
    return y


@kernel
def insert(c: int, d: float, r: int, x: Floats, distance: Floats, row: Numbers, kept: Any) -> None:
    """Keep x among the nearest objects of group c if it is one; equal objects once, by lowest row.

    What is kept depends on which objects were offered, never on their order.
    """
    last = distance.shape[1] - 1
    if d > distance[c, last] or (d == distance[c, last] and r > row[c, last]):
        return
    for t in range(last + 1):
        if distance[c, t] == d and np.all(kept[c, t] == x):
            if r >= row[c, t]:
                return
            for later in range(t, last):
                distance[c, later], row[c, later] = distance[c, later + 1], row[c, later + 1]
                kept[c, later] = kept[c, later + 1]
            distance[c, last], row[c, last] = np.inf, np.iinfo(np.int64).max
            break
    t = last
    while t > 0 and (d < distance[c, t - 1] or (d == distance[c, t - 1] and r < row[c, t - 1])):
        distance[c, t], row[c, t] = distance[c, t - 1], row[c, t - 1]
        kept[c, t] = kept[c, t - 1]
        t -= 1
    distance[c, t], row[c, t] = d, r
    kept[c, t] = x


@kernel
def keep_nearest(
    metric: int,
    tile: Floats,
    first: int,
    labels: NDArray[np.int32],
    weights: Floats,
    centres: Floats,
    distance: Floats,
    row: Numbers,
    kept: Floats,
) -> None:
    """Offer every row of positive weight to the nearest objects of its group's centre.

    Args:
        first: The number of the first row.
        distance, row, kept: (k, T), (k, T), (k, T, D): what was kept, by distance; inf = vacant.
    """
    last = distance.shape[1] - 1
    for i in range(len(tile)):
        c = labels[i]
        if weights[i] > 0.0:
            d = raw(metric, tile[i], centres[c])
            if d <= distance[c, last]:
                insert(c, d, first + i, tile[i], distance, row, kept)


@kernel
def merge_nearest(
    distance: Floats, row: Numbers, kept: Floats, more: Floats, rows: Numbers, objects: Floats
) -> None:
    """Offer what was kept elsewhere."""
    for c in range(len(more)):
        for t in range(more.shape[1]):
            if more[c, t] < np.inf:
                insert(c, more[c, t], rows[c, t], objects[c, t], distance, row, kept)


@kernel
def add_costs(
    metric: int,
    tile: Floats,
    labels: NDArray[np.int32],
    weights: Floats,
    lanes: Floats,
    sums: Numbers,
) -> None:
    """Add to the exact sums what every row would cost with each candidate of its group.

    Args:
        lanes: (k, D, C) the candidates of every group, transposed.
        sums: (k, C, CHUNKS).
    """
    count = lanes.shape[2]
    total = np.empty(count, np.float64)
    bits = total.view(np.int64)
    for i in range(len(tile)):
        weight = weights[i]
        if weight == 0.0:
            continue
        group = lanes[labels[i]]
        total[:] = 0.0
        add_raw(metric, tile[i], group, total)
        if metric == EUCLIDEAN:
            for c in range(count):
                total[c] = weight * np.sqrt(total[c])
        else:
            for c in range(count):
                total[c] = weight * finished(metric, total[c])
        chunks = sums[labels[i]]
        for c in range(count):
            add_bits(bits[c], chunks[c])
