"""The search of samples for medoids: PAMAE's first phase, and that of all samples together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.kernels import medoids as kernels
from thresher.cluster.kernels.keyed_uniforms import keyed_uniforms
from thresher.cluster.kernels.medoid_search import fasterpam, lab
from thresher.cluster.medoid_objects import Objects, chosen, distinct, places_of
from thresher.cluster.medoid_space import embedded, lanes_of
from thresher.cluster.points import Phase, Points
from thresher.cluster.threads import each
from thresher.keyed_random import keyed_seed

__all__ = ["draw_samples", "search", "search_pool", "search_samples"]

MATRIX_BYTES = 128 << 20  # of the matrices that exist at a time; larger ones are not kept
MATRIX_CHUNK = 256  # rows of a matrix that a thread fills at a time

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


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
    uniforms = keyed_uniforms(key, 0, size)
    if cumulated is None:
        drawn: Numbers = np.minimum((uniforms * count).astype(np.int64), count - 1)
        return drawn
    places = np.searchsorted(cumulated, uniforms * cumulated[-1], side="right")
    last = np.searchsorted(cumulated, cumulated[-1])  # the last row of positive weight
    heavy: Numbers = np.minimum(places, last).astype(np.int64)
    return heavy


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
    order = np.argsort(keyed_uniforms(key, 0, size), kind="stable")
    weights = sample.weights[order]
    inside = centred(metric, sample.coordinates[order])
    medoids = np.empty(n_clusters, np.int64)
    if start is None:
        looked = 10 + math.isqrt(size)
        uniforms = keyed_uniforms(key, size, n_clusters * looked)
        lab(metric, inside, weights, uniforms.reshape(n_clusters, looked), medoids)
    else:
        medoids[:] = np.argsort(order)[places_of(metric, start, sample)]
    matrix = None
    if 4 * size * size <= MATRIX_BYTES:
        matrix = distance_matrix(metric, inside, jobs, phase)
    fasterpam(metric, inside, matrix, weights, medoids)
    return chosen(sample, np.sort(order[medoids]))


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
