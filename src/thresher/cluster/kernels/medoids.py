"""Kernels of k-medoids: the search on a sample, and the passes over the entire data.

Rows come as tiles of float64 in the space of `thresher.cluster.medoid_space`, where a distance is a
function of the squared Euclidean or of the Manhattan distance, summed in the order of the columns:

    EUCLIDEAN √v    MANHATTAN Σ|·|    COSINE v / 2 of unit rows    HAVERSINE 2 asin(√v / 2) of them

Sources: the search is FasterPAM, Schubert & Rousseeuw, Fast and eager k-medoids clustering,
Information Systems 2021, with its initialisation LAB; the geometric median is Weiszfeld's with the
correction of Vardi & Zhang, PNAS 2000; numbers by key are SplitMix64's, Steele et al., OOPSLA 2014.
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
    "add_costs",
    "all_distances",
    "distance_rows",
    "distances_to_all",
    "fasterpam",
    "keep_nearest",
    "keyed_uniforms",
    "lab",
    "median_in_space",
    "merge_nearest",
    "nearest",
    "nearest_two",
]

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Numbers = NDArray[np.int64]

EUCLIDEAN, MANHATTAN, COSINE, HAVERSINE = 0, 1, 2, 3

ROUNDING = 2.0**-24  # of float32, relative
LARGEST = 1e15  # a float32 whose square is still far from overflowing
BLOCK = 128  # rows that are scored together, in the nearest cache
SMALLEST = 1e-30  # scaled values below may be what underflow left of different ones
IMPROVES = 1e-12  # of what was summed: a swap that gains less may be rounding


# ---------------------------------------------------------------------- numbers by key
@kernel
def keyed_uniforms(seed: int, first: int, count: int) -> Floats:
    """Numbers first, first + 1, … of a stream, in [0, 1): a hash of (seed, number) each."""
    found = np.empty(count, np.float64)
    for i in range(count):
        state = np.uint64(seed) + np.uint64(first + i + 1) * np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
        found[i] = np.float64(state >> np.uint64(11)) * 2.0**-53
    return found


# ---------------------------------------------------------------------- distances
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


# ---------------------------------------------------------------------- the search on a sample
@kernel
def lab(metric: int, sample: Any, weights: Floats, uniforms: Floats, medoids: Numbers) -> None:
    """Choose medoids one by one, each the best of a few objects for the same few objects.

    Args:
        uniforms: (k, 10 + ⌈√s⌉) in [0, 1): which objects are looked at.
        medoids: (k,), written; k ≤ s.
    """
    objects = sample[0]
    size = len(objects)
    count, looked = uniforms.shape
    chosen = np.zeros(size, np.bool_)
    near = np.full(size, np.inf, np.float32)
    row = np.empty(size, np.float32)
    drawn = np.empty(looked, np.int64)
    few = np.empty((looked, objects.shape[1]), np.float32)
    apart = np.empty(looked, np.float32)
    for slot in range(count):
        for i in range(looked):
            drawn[i] = min(size - 1, int(uniforms[slot, i] * size))
            few[i] = objects[drawn[i]]
        inside = (few, np.ascontiguousarray(few.T), sample[2])
        best, place = np.inf, -1
        for i in range(looked):
            if chosen[drawn[i]]:
                continue
            distances_to_all(metric, i, inside, apart)
            total = 0.0
            for other in range(looked):
                total += weights[drawn[other]] * min(near[drawn[other]], apart[other])
            if total < best:
                best, place = total, drawn[i]
        if place < 0:  # all that were looked at are medoids
            place = 0
            while chosen[place]:
                place += 1
        medoids[slot] = place
        chosen[place] = True
        distances_to_all(metric, place, sample, row)
        for other in range(size):
            near[other] = min(near[other], row[other])


@kernel
def second_nearest(held: Singles, near: NDArray[np.int32], o: int) -> tuple[int, np.float32]:
    """The slot of the medoid nearest to o but for the nearest one, and its distance."""
    place, least = -1, np.float32(np.inf)
    for slot in range(len(held)):
        if slot != near[o]:
            value: np.float32 = held[slot, o]
            if value < least or place < 0:
                place, least = slot, value
    return place, least


@kernel
def fasterpam(
    metric: int, sample: Any, matrix: Any, weights: Floats, medoids: Numbers
) -> tuple[float, int]:
    """Swap medoids with other objects as long as a swap lowers the loss; eager, object by object.

    Args:
        sample: As `distances_to_all` takes it.
        matrix: (s, s) distances, or None to compute each row when it is looked at.
        weights: (s,) of the objects.
        medoids: (k,) objects to start from, distinct; become those of a local optimum: no single
            swap lowers Σ w d.

    Returns:
        The loss, and the number of swaps.
    """
    size, count = len(weights), len(medoids)
    swaps = 0
    row = np.empty(size, np.float32)
    if count == 1:
        best = np.inf
        for x in range(size):
            if matrix is None:
                distances_to_all(metric, x, sample, row)
            else:
                row = matrix[x]
            total = 0.0
            for o in range(size):
                total += weights[o] * row[o]
            if total < best:
                best = total
                medoids[0] = x
        return best, swaps
    is_medoid = np.zeros(size, np.bool_)
    near = np.empty(size, np.int32)
    second = np.empty(size, np.int32)
    near_distance = np.empty(size, np.float32)
    second_distance = np.empty(size, np.float32)
    held = np.empty((count, size), np.float32)  # distances of the medoids
    for slot in range(count):
        is_medoid[medoids[slot]] = True
        if matrix is None:
            distances_to_all(metric, medoids[slot], sample, held[slot])
        else:
            held[slot] = matrix[medoids[slot]]
    for o in range(size):
        near[o] = 0
        for slot in range(1, count):
            if held[slot, o] < held[near[o], o]:
                near[o] = slot
        near_distance[o] = held[near[o], o]
        second[o], second_distance[o] = second_nearest(held, near, o)
    removal = np.empty(count, np.float64)  # what the loss grows by without the medoid
    change = np.empty(count, np.float64)
    loss = removal_losses(weights, near, near_distance, second_distance, removal)
    tried = 0  # objects since the last swap
    x = -1
    while tried < size:
        x = x + 1 if x + 1 < size else 0
        tried += 1
        if is_medoid[x]:
            continue
        change[:] = removal
        gained = 0.0
        if matrix is None:
            distances_to_all(metric, x, sample, row)
        else:
            row = matrix[x]
        for o in range(size):
            d = row[o]
            if d < second_distance[o]:  # of few objects, about 2 in k
                nearer = near_distance[o]
                if d < nearer:
                    gained += weights[o] * (np.float64(d) - nearer)
                    change[near[o]] += weights[o] * (np.float64(nearer) - second_distance[o])
                else:
                    change[near[o]] += weights[o] * (np.float64(d) - second_distance[o])
        out = 0
        for slot in range(1, count):
            if change[slot] < change[out]:
                out = slot
        # removal and change were summed in different orders; NaN swaps nothing
        if not gained + change[out] < -IMPROVES * (loss + removal[out]):
            continue
        is_medoid[medoids[out]] = False
        is_medoid[x] = True
        medoids[out] = x
        held[out] = row
        for o in range(size):
            d = row[o]
            if near[o] == out:
                if d < second_distance[o]:
                    near_distance[o] = d
                else:
                    near[o], near_distance[o] = second[o], second_distance[o]
                    second[o], second_distance[o] = second_nearest(held, near, o)
            elif d < near_distance[o]:
                second[o], second_distance[o] = near[o], near_distance[o]
                near[o], near_distance[o] = out, d
            elif d < second_distance[o]:
                second[o], second_distance[o] = out, d
            elif second[o] == out:
                second[o], second_distance[o] = second_nearest(held, near, o)
        before = loss
        loss = removal_losses(weights, near, near_distance, second_distance, removal)
        swaps += 1
        tried = 0
        if not loss < before:  # rounding alone, which could go on for ever
            break
    return loss, swaps


@kernel
def removal_losses(
    weights: Floats,
    near: NDArray[np.int32],
    near_distance: Singles,
    second_distance: Singles,
    removal: Floats,
) -> float:
    """Write what the loss grows by without each medoid, and return the loss."""
    removal[:] = 0.0
    loss = 0.0
    for o in range(len(near)):
        loss += weights[o] * near_distance[o]
        removal[near[o]] += weights[o] * (np.float64(second_distance[o]) - near_distance[o])
    return loss


# ---------------------------------------------------------------------- refinement
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
    costs: Floats,
) -> None:
    """Add to ``costs`` (k, C) what every row would cost with each candidate of its group.

    Args:
        lanes: (k, D, C) the candidates of every group, transposed.
    """
    count = lanes.shape[2]
    total = np.empty(count, np.float64)
    for i in range(len(tile)):
        weight = weights[i]
        if weight == 0.0:
            continue
        group = lanes[labels[i]]
        total[:] = 0.0
        add_raw(metric, tile[i], group, total)
        cost = costs[labels[i]]
        if metric == EUCLIDEAN:
            for c in range(count):
                cost[c] += weight * np.sqrt(total[c])
        else:
            for c in range(count):
                cost[c] += weight * finished(metric, total[c])
