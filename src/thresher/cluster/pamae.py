"""PAMAE: k-medoids of data too large for a matrix of distances, in a few passes over it.

Search globally on samples, then refine locally on everything:

    samples     m times s rows, drawn by number; equal ones become one with a weight
    search      FasterPAM on each sample: m sets of k medoids
    evaluate    φ of every set over the entire data, one pass
    pool        FasterPAM once more, from the best set, on the samples together: the seeds
    refine      in every group of the entire data, the object with the least Σ w · distance among
                the T nearest to the group's median and the seed itself; never raises φ
    label       the nearest medoid of every row

    φ(Θ) = Σ w(x) min_j distance(x, θ_j), of distances, not of their squares

Every random number is a hash of its place, every sum is made part by part in the parts' order: the
same medoids come out whatever the number of threads.

Source: Song, Lee & Han, PAMAE: Parallel k-Medoids Clustering with High Accuracy and Efficiency,
KDD 2017. Deviations: FasterPAM (Schubert & Rousseeuw 2021) instead of PAM, whose optima it reaches;
the search of the pool; medoids are always objects; one median a group, over all of it, instead of
one for each share of it.
"""

from __future__ import annotations

import itertools
import math
import threading
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.kernels import medoids as kernels
from thresher.cluster.medoid_space import NearestMedoid, embedded, lanes_of, tiles
from thresher.cluster.points import Phase, Points
from thresher.cluster.threads import each
from thresher.errors import DataError
from thresher.keyed_random import keyed_seed

__all__ = ["MedoidClusters", "automatic_sample_size", "k_medoids"]

POOLED_ROWS = 16_384  # of the samples, at most: sweeps over a pool cost its square
NEAREST_OBJECTS = 16  # T: how many near the median are tried
MEDIAN_ROWS = 20_000  # of a group, at most; its median is off by a 1/√20,000 of the spread
MEDIAN_BYTES = 32 << 20  # of the rows of all groups together
MATRIX_BYTES = 128 << 20  # of the matrices that exist at a time; larger ones are not kept
MATRIX_CHUNK = 256  # rows of a matrix that a thread fills at a time

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


class Objects(NamedTuple):
    """Distinct objects, sorted by their coordinates in the space of the metric."""

    coordinates: NDArray[Any]  # (u, d)
    rows: Numbers  # (u,) the lowest row that holds each
    weights: Floats  # (u,)


class MedoidClusters(NamedTuple):
    """What `k_medoids` returns: u = min(k, distinct objects) medoids, sorted by coordinates."""

    rows: Numbers  # (u,) which rows are the medoids, the lowest of equal ones
    medoids: NDArray[Any]  # (u, d), of the points' dtype
    labels: NDArray[np.int32]  # (N,)
    inertia: float  # φ
    seeding_inertia: float  # φ of the seeds
    sample_inertias: Floats  # (m,) φ of the medoids of every sample
    rounds: int  # refinements that lowered φ


class Assigned(NamedTuple):
    """Rows and their nearest medoids."""

    labels: NDArray[np.int32]  # (N,)
    counts: Numbers  # (k,) rows of positive weight
    first_rows: Numbers  # (k,) the lowest row of positive weight that equals each medoid
    inertia: float


def automatic_sample_size(n_clusters: int) -> int:
    """40 k, the paper's.

    >>> automatic_sample_size(50)
    2000
    """
    return 40 * n_clusters


def k_medoids(
    points: Points,
    n_clusters: int,
    *,
    metric: int = kernels.EUCLIDEAN,
    n_samples: int = 5,
    sample_size: int | None = None,
    pooled_rows: int = POOLED_ROWS,
    refine_rounds: int = 1,
    weights: Floats | None = None,
    seed: int = 0,
    jobs: int = 1,
    phase: Phase = lambda name, share: None,
) -> MedoidClusters:
    """Cluster points around medoids.

    Args:
        points: Rows, N >= 1, finite.
        n_clusters: k >= 1.
        metric: The kernels' number.
        n_samples: m >= 1. Default 5 (Song et al. 2017).
        sample_size: s >= 1; None = `automatic_sample_size`. N <= s is searched as a whole.
        pooled_rows: Of the samples, at most so many are searched together; 0 = none.
        refine_rounds: At most so many refinements. Default 1 (Song et al. 2017).
        weights: (N,) >= 0, not all 0; a row of weight 0 is labelled and else ignored.
        seed: Of the samples and of the searches.
        jobs: Threads.
        phase: Is told how far it has come.

    Raises:
        DataError: coordinates are so large that their squares overflow.
    """
    size = automatic_sample_size(n_clusters) if sample_size is None else sample_size
    if points.rows <= size:
        numbers = np.arange(points.rows, dtype=np.int64)
        whole = distinct(metric, points.take(numbers), numbers, weights)
        seeds = search(metric, whole, n_clusters, keyed_seed(seed, "search", 0), jobs, phase)
        inertias = evaluate(points, metric, [seeds], weights, jobs, phase)
        assigned = assign(points, metric, seeds, weights, jobs, phase)
        refine_rounds = 0  # no single swap is left that lowers φ, so no refinement does
    else:
        samples = draw_samples(points.rows, n_samples, size, weights, seed)
        sets = search_samples(points, n_clusters, metric, samples, seed, jobs, phase)
        inertias = evaluate(points, metric, sets, weights, jobs, phase)
        best = int(inertias.argmin())
        seeds = sets[best]
        if len(seeds.rows) < n_clusters:
            seeds = completed(points, metric, sets, best, n_clusters, weights, jobs)
        assigned = assign(points, metric, seeds, weights, jobs, phase)
        if n_samples > 1 and size < pooled_rows:
            pool = np.concatenate([*samples[best:], *samples[:best]])[:pooled_rows]
            key = keyed_seed(seed, "pool")
            swapped = search_pool(points, metric, seeds, pool, key, jobs, phase)
            labelled = assign(points, metric, swapped, weights, jobs, phase)
            if labelled.inertia < assigned.inertia:
                seeds, assigned = swapped, labelled
    medoids, seeding_inertia, rounds = seeds, assigned.inertia, 0
    while rounds < refine_rounds:
        key = keyed_seed(seed, "refine", rounds)
        moved = refine(points, metric, medoids, assigned, weights, key, jobs, phase)
        if np.array_equal(moved.rows, medoids.rows):
            break
        labelled = assign(points, metric, moved, weights, jobs, phase)
        if labelled.inertia >= assigned.inertia:  # a gain that rounding has eaten
            break
        medoids, assigned, rounds = moved, labelled, rounds + 1
    return MedoidClusters(
        assigned.first_rows,
        medoids.coordinates,
        assigned.labels,
        assigned.inertia,
        seeding_inertia,
        inertias,
        rounds,
    )


# ---------------------------------------------------------------------- search on samples
def draw_samples(
    count: int, n_samples: int, size: int, weights: Floats | None, seed: int
) -> list[Numbers]:
    """The rows of every sample, (s,) each."""
    cumulated = None if weights is None else np.cumsum(weights)
    keys = [keyed_seed(seed, "sample", number) for number in range(n_samples)]
    return [drawn_rows(count, size, key, cumulated) for key in keys]


def search_samples(
    points: Points,
    n_clusters: int,
    metric: int,
    samples: list[Numbers],
    seed: int,
    jobs: int,
    phase: Phase,
) -> list[Objects]:
    """The medoids of every sample."""
    found: dict[int, Objects] = {}

    def task(number: int) -> None:
        rows = samples[number]
        sample = distinct(metric, points.take(rows), rows, None)
        key = keyed_seed(seed, "search", number)
        found[number] = search(metric, sample, n_clusters, key, 1, lambda name, share: None)

    matrix = 4 * len(samples[0]) ** 2
    at_once = max(1, MATRIX_BYTES // matrix) if matrix <= MATRIX_BYTES else jobs
    each(task, len(samples), min(jobs, at_once), lambda share: phase("searching samples", share))
    return [found[number] for number in range(len(samples))]


def search_pool(
    points: Points,
    metric: int,
    seeds: Objects,
    rows: Numbers,
    key: int,
    jobs: int,
    phase: Phase,
) -> Objects:
    """The medoids of the samples together, starting from the best of them.

    One sample must be good for all groups at once, and the best of few is not. Their union errs as
    a sample of m times the size would, and few swaps lead there.
    """
    phase("searching the pool", 0.0)
    drawn = points.take(rows)
    pool = distinct(
        metric,
        np.concatenate([drawn, seeds.coordinates]),
        np.concatenate([rows, seeds.rows]),
        np.concatenate([np.ones(len(rows)), np.full(len(seeds.rows), 1e-9)]),  # may be new to it
    )
    swapped = search(metric, pool, len(seeds.rows), key, jobs, phase, seeds)
    phase("searching the pool", 1.0)
    return swapped


def drawn_rows(count: int, size: int, key: int, cumulated: Floats | None) -> Numbers:
    """Draw rows by their numbers, with replacement, in proportion to their weights, if any."""
    uniforms = kernels.keyed_uniforms(key, 0, size)
    if cumulated is None:
        drawn: Numbers = np.minimum((uniforms * count).astype(np.int64), count - 1)
        return drawn
    places = np.searchsorted(cumulated, uniforms * cumulated[-1], side="right")
    last = np.searchsorted(cumulated, cumulated[-1])  # the last row of positive weight
    heavy: Numbers = np.minimum(places, last).astype(np.int64)
    return heavy


def distinct(
    metric: int, coordinates: NDArray[Any], rows: Numbers, weights: Floats | None
) -> Objects:
    """Merge rows that are equal in the metric's space into one object, with the sum of their
    weights; leave out weights of 0.
    """
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


def search(
    metric: int,
    sample: Objects,
    n_clusters: int,
    key: int,
    jobs: int,
    phase: Phase,
    start: Objects | None = None,
) -> Objects:
    """The medoids of a sample, by FasterPAM; all objects where there are no more than k.

    Args:
        start: k objects of the sample to start from; None = LAB's.
    """
    size = len(sample.rows)
    if size <= n_clusters:
        return sample
    # Swaps are tried object by object; in the order of the coordinates that would be one-sided.
    order = np.argsort(kernels.keyed_uniforms(key, 0, size), kind="stable")
    weights = sample.weights[order]
    inside = centred(metric, sample.coordinates[order])
    medoids = np.empty(n_clusters, np.int64)
    if start is None:
        looked = 10 + math.isqrt(size)
        uniforms = kernels.keyed_uniforms(key, size, n_clusters * looked)
        kernels.lab(metric, inside, weights, uniforms.reshape(n_clusters, looked), medoids)
    else:
        medoids[:] = np.argsort(order)[places_of(metric, start, sample)]
    matrix = None
    if 4 * size * size <= MATRIX_BYTES:
        matrix = distance_matrix(metric, inside, jobs, phase)
    kernels.fasterpam(metric, inside, matrix, weights, medoids)
    return chosen(sample, np.sort(order[medoids]))


def places_of(metric: int, some: Objects, objects: Objects) -> Numbers:
    """Where among distinct objects some of them stand."""
    here = embedded(metric, objects.coordinates) + 0  # -0 becomes 0
    known = {row.tobytes(): place for place, row in enumerate(here)}
    sought = embedded(metric, some.coordinates) + 0
    return np.array([known[row.tobytes()] for row in sought], np.int64)


def chosen(objects: Objects, places: NDArray[Any]) -> Objects:
    """Some of the objects."""
    return Objects(*(values[places] for values in objects))


def centred(
    metric: int, coordinates: NDArray[Any]
) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """A sample as its kernels take it: objects (s, D), their transpose, the scale."""
    rows = embedded(metric, coordinates)
    lanes, scale = lanes_of(rows - rows.mean(axis=0))
    return np.ascontiguousarray(lanes.T), lanes, scale


def distance_matrix(metric: int, inside: Any, jobs: int, phase: Phase) -> NDArray[np.float32]:
    """Distances of all objects from one another, (s, s) float32."""
    size = len(inside[0])
    matrix = np.empty((size, size), np.float32)

    def task(number: int) -> None:
        first = number * MATRIX_CHUNK
        block = matrix[first : first + MATRIX_CHUNK]
        kernels.distance_rows(metric, inside, first, block)

    chunks = -(-size // MATRIX_CHUNK)
    each(task, chunks, jobs, lambda share: phase("measuring distances", share))
    return matrix


# ---------------------------------------------------------------------- passes over the data
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


def weighted_sum(distances: Floats, first: int, weights: Floats | None) -> float:
    """Σ w d of consecutive rows."""
    if weights is not None:
        distances = distances * weights[first : first + len(distances)]
    return float(distances.sum())


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


def united(metric: int, some: list[Objects], most: int) -> Objects:
    """The distinct objects of several, of which those in the lowest rows are kept."""
    both = distinct(
        metric,
        np.concatenate([each.coordinates for each in some]),
        np.concatenate([each.rows for each in some]),
        None,
    )
    return chosen(both, np.sort(np.argsort(both.rows)[:most]))


# ---------------------------------------------------------------------- refinement
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
            lot = kernels.keyed_uniforms(key, first, len(rows)) < share[labels]
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
    return kernels.median_in_space(metric, rows, weights, start, 1e-6, 200)


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
            kernels.keep_nearest(metric, tile, first, labels, heavy, centres, *here)
        with merging:  # in any order: what is kept does not depend on it
            kernels.merge_nearest(*kept, *here)

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
            kernels.add_costs(metric, embedded(metric, rows), labels, heavy, lanes, costs[part])

    each(task, parts, jobs, lambda share: phase("comparing medoids", share))
    summed: Floats = np.add.reduce(costs, axis=0)
    return summed


def weights_of(weights: Floats | None, first: int, count: int) -> Floats:
    """The weights of consecutive rows, 1 each where there are none."""
    return np.ones(count) if weights is None else weights[first : first + count]
