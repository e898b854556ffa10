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

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.kernels import medoids as kernels
from thresher.cluster.medoid_objects import distinct
from thresher.cluster.medoid_passes import assign, completed, evaluate
from thresher.cluster.medoid_refinement import refine
from thresher.cluster.medoid_search import draw_samples, search, search_pool, search_samples
from thresher.cluster.points import Phase, Points
from thresher.keyed_random import keyed_seed

__all__ = ["MedoidClusters", "automatic_sample_size", "k_medoids"]

POOLED_ROWS = 16_384  # of the samples, at most: sweeps over a pool cost its square

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


class MedoidClusters(NamedTuple):
    """What `k_medoids` returns: u = min(k, distinct objects) medoids, sorted by coordinates."""

    rows: Numbers  # (u,) which rows are the medoids, the lowest of equal ones
    medoids: NDArray[Any]  # (u, d), of the points' dtype
    labels: NDArray[np.int32]  # (N,)
    inertia: float  # φ
    seeding_inertia: float  # φ of the seeds
    sample_inertias: Floats  # (m,) φ of the medoids of every sample
    rounds: int  # refinements that lowered φ


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
