"""The medoid silhouette: how much nearer a point is to its own medoid than to the next one.

    s(x) = 1 - d1 / d2        d1, d2: distances to the nearest and the second nearest medoid

1 = on its medoid, 0 = half way between two. One pass over the data and k distances a row, where the
silhouette of all pairs takes the square of the rows. It has a peak where k fits the data.

Source: Van der Laan, Pollard & Bryan, A new partitioning around medoids algorithm, 2003; Lenssen &
Schubert, Clustering by direct optimization of the medoid silhouette, SISAP 2022.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.kernels import medoids as kernels
from thresher.cluster.medoid_space import code_of, embedded, tiles
from thresher.cluster.open_points import check_finite, open_points
from thresher.cluster.threads import each, jobs_of
from thresher.cluster.weights import checked_weights
from thresher.errors import DataError, ParameterError

__all__ = ["MedoidSilhouette", "medoid_silhouette"]


class MedoidSilhouette(NamedTuple):
    """Silhouettes in [0, 1]."""

    average: float  # over the weights of all points
    clusters: NDArray[np.float64]  # (k,) of every cluster; NaN where nothing is in it
    samples: NDArray[np.float32]  # (N,) of every point


def medoid_silhouette(
    X: Any,
    medoids: Any,
    *,
    metric: str = "euclidean",
    sample_weight: Any = None,
    n_jobs: int | None = None,
) -> MedoidSilhouette:
    """Silhouettes of points around medoids.

    >>> medoid_silhouette([[0.0], [1.0], [9.0], [10.0]], [[0.0], [10.0]]).samples.round(2)
    array([1.  , 0.89, 0.89, 1.  ], dtype=float32)

    Args:
        X: (N, d) points, or whatever else `KMedoids` is fitted to.
        medoids: (k, d) with k >= 2: `cluster_centers_` of a fitted `KMedoids`.
        metric: "euclidean", "manhattan", "cosine" or "haversine".
        sample_weight: (N,) >= 0; None = 1 each.
        n_jobs: Threads; None = all processors.

    Raises:
        ParameterError: fewer than two medoids, or a setting out of range.
        DataError: coordinates that cannot be used.
    """
    points, jobs = open_points(X), jobs_of(n_jobs)
    check_finite(points, jobs)
    centres = np.asarray(medoids)
    code = code_of(metric, points.dimension)
    if centres.ndim != 2 or centres.shape[1] != points.dimension:
        raise DataError(
            f"The medoids are {centres.shape}, and the points have {points.dimension} columns.",
            "Pass cluster_centers_ of a model fitted to points like these.",
        )
    if len(centres) < 2:
        raise ParameterError(
            f"A silhouette compares two medoids at least, got {len(centres)}.",
            "Cluster with n_clusters of 2 or more.",
        )
    weights = checked_weights(sample_weight, points.rows)
    count, parts = len(centres), len(points.starts) - 1
    lanes = np.ascontiguousarray(embedded(code, centres).T)
    samples = np.empty(points.rows, np.float32)
    sums, masses = np.zeros((parts, count)), np.zeros((parts, count))

    def task(part: int) -> None:
        for first, rows in tiles(points, part):
            labels, distances = np.empty(len(rows), np.int32), np.empty((len(rows), 2))
            kernels.nearest_two(code, embedded(code, rows), lanes, labels, distances)
            apart = distances[:, 1]
            share = np.divide(distances[:, 0], apart, out=np.ones(len(rows)), where=apart > 0)
            samples[first : first + len(rows)] = 1 - share
            heavy = np.ones(len(rows)) if weights is None else weights[first : first + len(rows)]
            sums[part] += np.bincount(labels, heavy * (1 - share), minlength=count)
            masses[part] += np.bincount(labels, heavy, minlength=count)

    each(task, parts, jobs)
    total, mass = np.add.reduce(sums, axis=0), np.add.reduce(masses, axis=0)
    clusters = np.divide(total, mass, out=np.full(count, np.nan), where=mass > 0)
    return MedoidSilhouette(float(total.sum() / mass.sum()), clusters, samples)
