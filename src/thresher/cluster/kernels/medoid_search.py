"""The search for medoids on a sample: LAB to begin with, then FasterPAM's swaps.

Source: Schubert & Rousseeuw, Fast and eager k-medoids clustering, Information Systems 2021.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.kernels.compiled import kernel
from thresher.cluster.kernels.medoids import distances_to_all

__all__ = ["fasterpam", "lab"]

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Numbers = NDArray[np.int64]

IMPROVES = 1e-12  # of what was summed: a swap that gains less may be rounding


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
