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

Every random number is a hash of its place, every sum over the rows is exact: the same medoids come
out whatever the number of threads, the parts of a file or the partitions of a cluster.

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
from thresher.cluster.medoid_passes import Assigned, completed, evaluate, labelled
from thresher.cluster.medoid_refinement import refine
from thresher.cluster.medoid_rows import MedoidRows, PointRows
from thresher.cluster.medoid_search import draw_samples, search, search_pool, search_samples
from thresher.cluster.points import Phase, Points
from thresher.keyed_random import keyed_seed

__all__ = [
    "FoundMedoids",
    "MedoidClusters",
    "automatic_sample_size",
    "find_medoids",
    "k_medoids",
]

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


class FoundMedoids(NamedTuple):
    """What `find_medoids` returns."""

    assigned: Assigned  # the medoids and what they cost
    seeding_inertia: float
    sample_inertias: Floats  # (m,)
    rounds: int


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
    data = PointRows(points, metric, weights, jobs, phase)
    found = find_medoids(
        data,
        n_clusters,
        n_samples=n_samples,
        sample_size=sample_size,
        pooled_rows=pooled_rows,
        refine_rounds=refine_rounds,
        seed=seed,
    )
    assigned = labelled(data, found.assigned)
    assert assigned.labels is not None
    return MedoidClusters(
        assigned.first_rows,
        assigned.medoids.coordinates,
        assigned.labels,
        assigned.inertia,
        found.seeding_inertia,
        found.sample_inertias,
        found.rounds,
    )


def find_medoids(
    data: MedoidRows,
    n_clusters: int,
    *,
    n_samples: int = 5,
    sample_size: int | None = None,
    pooled_rows: int = POOLED_ROWS,
    refine_rounds: int = 1,
    seed: int = 0,
) -> FoundMedoids:
    """The medoids of rows that lie anywhere.

    Args:
        data: The rows, N >= 1, of which one at least weighs more than 0.
        n_clusters: As of `k_medoids`, like the rest.
        n_samples: As there.
        sample_size: As there.
        pooled_rows: As there.
        refine_rounds: As there.
        seed: As there.

    Raises:
        DataError: coordinates are so large that their squares overflow.
    """
    size = automatic_sample_size(n_clusters) if sample_size is None else sample_size
    if data.count <= size:
        whole = data.take(np.arange(data.count, dtype=np.int64))
        objects = distinct(data.metric, whole.rows, whole.numbers, whole.weights)
        key = keyed_seed(seed, "search", 0)
        data.phase("searching the rows", 0.0)
        seeds = search(data.metric, objects, n_clusters, key, data.jobs, data.phase)
        assigned = evaluate(data, [seeds])[0]
        inertias = np.array([assigned.inertia])
        refine_rounds = 0  # no single swap is left that lowers φ, so no refinement does
    else:
        samples = draw_samples(data, n_samples, size, seed)
        sets = search_samples(data, n_clusters, samples, seed)
        evaluated = evaluate(data, sets)
        inertias = np.array([each.inertia for each in evaluated])
        best = int(inertias.argmin())
        assigned = evaluated[best]
        if len(sets[best].rows) < n_clusters:
            assigned = evaluate(data, [completed(data, sets, best, n_clusters)])[0]
        if n_samples > 1 and size < pooled_rows:
            pool, key = [*samples[best:], *samples[:best]], keyed_seed(seed, "pool")
            swapped = search_pool(data, assigned.medoids, pool, pooled_rows, key)
            pooled = evaluate(data, [swapped])[0]
            if pooled.inertia < assigned.inertia:
                assigned = pooled
    seeding_inertia, rounds = assigned.inertia, 0
    while rounds < refine_rounds:
        assigned = labelled(data, assigned)
        moved = refine(data, assigned, keyed_seed(seed, "refine", rounds))
        if np.array_equal(moved.rows, assigned.medoids.rows):
            break
        refined = evaluate(data, [moved])[0]
        if refined.inertia >= assigned.inertia:  # a gain that rounding has eaten
            break
        assigned, rounds = refined, rounds + 1
    return FoundMedoids(assigned, seeding_inertia, inertias, rounds)
