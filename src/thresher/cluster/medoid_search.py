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
from thresher.cluster.medoid_rows import MedoidRows, Taken
from thresher.cluster.medoid_space import embedded, lanes_of
from thresher.cluster.points import Phase
from thresher.cluster.threads import each
from thresher.keyed_random import keyed_seed

__all__ = ["draw_samples", "search", "search_pool", "search_samples"]

MATRIX_BYTES = 128 << 20  # of the matrices that exist at a time; larger ones are not kept
MATRIX_CHUNK = 256  # rows of a matrix that a thread fills at a time


def draw_samples(data: MedoidRows, n_samples: int, size: int, seed: int) -> list[Taken]:
    """The rows of every sample, s each."""
    keys = [keyed_seed(seed, "sample", number) for number in range(n_samples)]
    drawn = data.draw(np.concatenate([keyed_uniforms(key, 0, size) for key in keys]))
    bounds = [slice(number * size, (number + 1) * size) for number in range(n_samples)]
    return [Taken(drawn.numbers[here], drawn.rows[here], None) for here in bounds]


def search_samples(
    data: MedoidRows, n_clusters: int, samples: list[Taken], seed: int
) -> list[Objects]:
    """The medoids of every sample."""
    found: dict[int, Objects] = {}

    def task(number: int) -> None:
        drawn = samples[number]
        sample = distinct(data.metric, drawn.rows, drawn.numbers, None)
        key = keyed_seed(seed, "search", number)
        found[number] = search(data.metric, sample, n_clusters, key, 1, lambda name, share: None)

    matrix = 4 * len(samples[0].numbers) ** 2
    at_once = max(1, MATRIX_BYTES // matrix) if matrix <= MATRIX_BYTES else data.jobs
    data.phase("searching samples", 0.0)
    jobs = min(data.jobs, at_once)
    each(task, len(samples), jobs, lambda share: data.phase("searching samples", share))
    return [found[number] for number in range(len(samples))]


def search_pool(
    data: MedoidRows, seeds: Objects, drawn: list[Taken], most: int, key: int
) -> Objects:
    """The medoids of the samples together, starting from the best of them.

    One sample must be good for all groups at once, and the best of few is not. Their union errs as
    a sample of m times the size would, and few swaps lead there.

    Args:
        data: All rows.
        seeds: To start from.
        drawn: The samples.
        most: Rows of them that are searched.
        key: Of the search.
    """
    data.phase("searching the pool", 0.0)
    numbers = np.concatenate([each.numbers for each in drawn])[:most]
    rows = np.concatenate([each.rows for each in drawn])[:most]
    pool = distinct(
        data.metric,
        np.concatenate([rows, seeds.coordinates]),
        np.concatenate([numbers, seeds.rows]),
        np.concatenate([np.ones(len(rows)), np.full(len(seeds.rows), 1e-9)]),  # may be new to it
    )
    swapped = search(data.metric, pool, len(seeds.rows), key, data.jobs, data.phase, seeds)
    data.phase("searching the pool", 1.0)
    return swapped


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
