"""Distances to medoids: of a tile of rows, and of the objects of a sample.

Rows come as tiles of float64 in the space of `thresher.cluster.medoid_space`, where a distance is a
function of the squared Euclidean or of the Manhattan distance, summed in the order of the columns:

    EUCLIDEAN √v    MANHATTAN Σ|·|    COSINE v / 2 of unit rows    HAVERSINE 2 asin(√v / 2) of them
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.kernels.compiled import kernel

__all__ = [
    "COSINE",
    "EUCLIDEAN",
    "HAVERSINE",
    "MANHATTAN",
    "add_raw",
    "all_distances",
    "distance_rows",
    "distances_to_all",
    "finished",
    "nearest",
    "nearest_two",
    "raw",
]

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

EUCLIDEAN, MANHATTAN, COSINE, HAVERSINE = 0, 1, 2, 3

ROUNDING = 2.0**-24  # of float32, relative
LARGEST = 1e15  # a float32 whose square is still far from overflowing
BLOCK = 128  # rows that are scored together, in the nearest cache
SMALLEST = 1e-30  # scaled values below may be what underflow left of different ones


@kernel
def raw(metric: int, a: Floats, b: Floats) -> float:
    """What a distance is a function of: Σ|a - b| or Σ(a - b)²."""
    total = 0.0
    if metric == MANHATTAN:
        for j in range(len(a)):
            total += abs(a[j] - b[j])
    else:
        for j in range(len(a)):
            difference = a[j] - b[j]
            total += difference * difference
    return total


@kernel
def finished(metric: int, value: float) -> float:
    """The distance."""
    if metric == MANHATTAN:
        return value
    if metric == COSINE:
        return 0.5 * value
    if metric == HAVERSINE:
        return 2.0 * math.asin(min(1.0, 0.5 * math.sqrt(value)))
    return math.sqrt(value)


@kernel
def add_raw(metric: int, x: Any, lanes: Any, total: Any) -> None:
    """Add to ``total[c]`` what x and the object in column c of ``lanes`` are apart.

    The loops over c are made of independent sums, so the compiler runs them in vector registers.
    """
    dimension, count = lanes.shape
    # four columns at once: totals are loaded and stored a quarter as often
    whole = dimension - dimension % 4 if metric != MANHATTAN else 0
    for j in range(0, whole, 4):
        lane0, lane1, lane2, lane3 = lanes[j], lanes[j + 1], lanes[j + 2], lanes[j + 3]
        x0, x1, x2, x3 = x[j], x[j + 1], x[j + 2], x[j + 3]
        for c in range(count):
            d0, d1, d2, d3 = x0 - lane0[c], x1 - lane1[c], x2 - lane2[c], x3 - lane3[c]
            total[c] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)
    if metric == MANHATTAN:
        for j in range(dimension):
            lane0, x0 = lanes[j], x[j]
            for c in range(count):
                total[c] += abs(x0 - lane0[c])
    else:
        for j in range(whole, dimension):
            lane0, x0 = lanes[j], x[j]
            for c in range(count):
                d0 = x0 - lane0[c]
                total[c] += d0 * d0


@kernel
def distances_to_all(metric: int, place: int, sample: Any, found: Singles) -> None:
    """Distances of one object of a sample to all, (s,), in float32.

    Euclidean and Manhattan ones stay multiplied by the scale, so that none overflows.

    Args:
        sample: (objects, lanes, scale): (s, D) float32 centred and scaled, its transpose, and what
            the coordinates were multiplied by.
    """
    objects, lanes, scale = sample
    found[:] = 0.0
    add_raw(metric, objects[place], lanes, found)
    if metric == EUCLIDEAN:
        for c in range(len(found)):
            found[c] = np.sqrt(found[c])
    elif metric != MANHATTAN:  # unit rows
        for c in range(len(found)):
            found[c] = np.float32(finished(metric, found[c] / (scale * scale)))
    found[place] = 0.0


@kernel
def distance_rows(metric: int, sample: Any, first: int, matrix: Singles) -> None:
    """Fill the rows of the matrix of distances from row ``first`` on."""
    for i in range(len(matrix)):
        distances_to_all(metric, first + i, sample, matrix[i])


@kernel
def all_distances(metric: int, tile: Floats, medoids: Floats, found: Floats) -> None:
    """Distances of every row to every medoid, (rows, k)."""
    for row in range(len(tile)):
        for c in range(len(medoids)):
            found[row, c] = finished(metric, raw(metric, tile[row], medoids[c]))


@kernel
def nearest(
    metric: int,
    tile: Floats,
    medoids: Floats,
    singles: Singles,
    shift: Floats,
    scale: float,
    reach: float,
    labels: NDArray[np.int32],
    distances: Floats,
) -> None:
    """The nearest medoid of every row and its distance, as float64 has them; ties to the first.

    The two best scores in float32 tell, of nearly all rows, that no other medoid can be the
    nearest; where rounding may have decided, all are compared in float64.

    Args:
        tile, medoids: (rows, D), (k, D).
        singles: (k, D) float32, the medoids less ``shift``, times ``scale``.
        reach: The largest norm of a row of ``singles``.
        labels, distances: (rows,), written.
    """
    rows, dimension = tile.shape
    count = len(medoids)
    lanes = np.zeros((dimension, BLOCK), np.float32)  # some rows, transposed
    norms = np.zeros(BLOCK, np.float64)
    score = np.empty(BLOCK, np.float32)
    least = np.empty(BLOCK, np.float32)
    second = np.empty(BLOCK, np.float32)
    place = np.empty(BLOCK, np.int32)
    relative = 1.0 + 3.0 * (dimension + 4) * ROUNDING
    for start in range(0, rows, BLOCK):
        size = min(BLOCK, rows - start)
        norms[:] = 0.0
        for b in range(size):
            for j in range(dimension):
                value = (tile[start + b, j] - shift[j]) * scale
                lanes[j, b] = value
                norms[b] += abs(value) if metric == MANHATTAN else value * value
        least[:] = np.inf
        second[:] = np.inf
        place[:] = 0
        for c in range(count):
            score[:] = 0.0
            add_raw(metric, singles[c], lanes, score)
            for b in range(BLOCK):
                value = score[b]
                better = value < least[b]
                runner_up = value if value < second[b] else second[b]
                second[b] = least[b] if better else runner_up
                place[b] = c if better else place[b]
                least[b] = value if better else least[b]
        for b in range(size):
            row = start + b
            # x and the medoid were rounded, then the sum: what the true nearest may score at most
            if metric == MANHATTAN:
                norm = norms[b]
                limit = least[b] * relative + 3.0 * ROUNDING * (norm + reach)
            else:
                norm = math.sqrt(norms[b])
                limit = math.sqrt(least[b]) * relative + 3.0 * ROUNDING * (norm + reach)
                limit *= limit
            found = place[b]
            if second[b] > limit + SMALLEST and norm <= LARGEST and reach <= LARGEST:
                best = raw(metric, tile[row], medoids[found])
            else:
                best, found = np.inf, 0
                for c in range(count):
                    apart = raw(metric, tile[row], medoids[c])
                    if apart < best:
                        best, found = apart, c
            labels[row] = found
            distances[row] = finished(metric, best)


@kernel
def nearest_two(
    metric: int, tile: Floats, lanes: Floats, labels: NDArray[np.int32], found: Floats
) -> None:
    """The nearest medoid of every row, and the two smallest distances, (rows, 2).

    Args:
        lanes: (D, k) the medoids, transposed; k >= 2.
    """
    total = np.empty(lanes.shape[1], np.float64)
    for row in range(len(tile)):
        total[:] = 0.0
        add_raw(metric, tile[row], lanes, total)
        first, second, place = total[0], np.inf, 0
        for c in range(1, len(total)):
            value = total[c]
            if value < first:
                first, second, place = value, first, c
            elif value < second:
                second = value
        labels[row] = place
        found[row, 0] = finished(metric, first)
        found[row, 1] = finished(metric, second)
