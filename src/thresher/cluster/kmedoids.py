"""KMedoids: k rows that stand for all others, behind scikit-learn's door.

fit      X → points → k_medoids: samples → seeds → refinement → labels
predict  X → points → the nearest medoid
"""

from __future__ import annotations

import os
import warnings
from numbers import Integral
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClusterMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from thresher.cluster.kernels import medoids as kernels
from thresher.cluster.medoid_space import (
    Metric,
    NearestMedoid,
    code_of,
    embedded,
    tiles,
)
from thresher.cluster.open_points import check_finite, open_points
from thresher.cluster.pamae import k_medoids
from thresher.cluster.points import Points
from thresher.cluster.threads import each, jobs_of
from thresher.cluster.weights import checked_weights
from thresher.errors import DataError, ParameterError

__all__ = ["KMedoids"]


class KMedoids(TransformerMixin, ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """Choose k rows, the medoids, so that the rows are near to them; for millions of rows.

    The sum φ of the distances (not of their squares) to the nearest medoid is what is minimised. A
    matrix of the distances of all pairs is never made.

    >>> X = np.array([[1.0], [2.0], [3.0], [10.0], [11.0], [12.0]])
    >>> found = KMedoids(n_clusters=2, random_state=0).fit(X)
    >>> found.cluster_centers_.ravel(), found.labels_, found.inertia_
    (array([ 2., 11.]), array([0, 0, 0, 1, 1, 1], dtype=int32), 4.0)

    Args:
        n_clusters: k, >= 1.
        n_samples: m, how many samples are searched, >= 1. Default 5 (Song et al. 2017).
        sample_size: s, rows of a sample, >= 1; "auto" = 40 k (Song et al. 2017). Up to s rows are
            searched as a whole: this is FasterPAM, and n_samples and refine_rounds do not matter.
        refine_rounds: At most so many refinements on the entire data, >= 0. Default 1 (Song et al.
            2017); it stops by itself where one changes nothing.
        metric: "euclidean", "manhattan", "cosine", or "haversine" of latitude and longitude in
            radians.
        random_state: A number gives the same medoids for any number of threads; a `RandomState`, or
            None for NumPy's own, draws a seed at every fit.
        n_jobs: Threads; None = all processors.

    Attributes:
        cluster_centers_: (k, d) the medoids, sorted by their coordinates, of X's type.
        medoid_indices_: (k,) which rows they are; the lowest where several are equal.
        labels_: (N,) int32, the nearest medoid of every row; ties to the first of them.
        inertia_: φ.
        seeding_inertia_: φ before refinement.
        n_iter_: Refinements that lowered φ.
        n_features_in_: Columns of X.
        feature_names_in_: (n_features_in_,) their names, where X names them.

    Raises:
        ParameterError: fit, where a setting is out of its range.
        DataError: fit and the predictions, where X cannot be used; it is a ValueError.

    Cost: about n · m · k · d operations, 4 bytes a row for labels, and some 100 MiB. Hurts when: k
    is in the thousands, as the samples grow with it and their searches with its square.
    Source: Song, Lee & Han, PAMAE, KDD 2017; Schubert & Rousseeuw, Fast and eager k-medoids
    clustering, Information Systems 2021. With fewer than k distinct rows, a warning is given, and
    the medoids repeat.
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        n_samples: int = 5,
        sample_size: int | Literal["auto"] = "auto",
        refine_rounds: int = 1,
        metric: Metric = "euclidean",
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.n_samples = n_samples
        self.sample_size = sample_size
        self.refine_rounds = refine_rounds
        self.metric = metric
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Find the medoids of X.

        Args:
            X: (N, d) numbers, a data frame, an Arrow table or dataset, the name of a Parquet, CSV
                or .npy file, or points. float32 stays float32.
            y: Ignored.
            sample_weight: (N,) >= 0; rows of weight 0 get labels and do not count.
        """
        check_whole("n_clusters", self.n_clusters, 1)
        check_whole("n_samples", self.n_samples, 1)
        check_whole("refine_rounds", self.refine_rounds, 0)
        if self.sample_size != "auto":
            check_whole("sample_size", self.sample_size, 1)
        jobs = jobs_of(self.n_jobs)
        points = self._points(X, jobs, reset=True)
        found = k_medoids(
            points,
            self.n_clusters,
            metric=code_of(self.metric, points.dimension),
            n_samples=self.n_samples,
            sample_size=None if self.sample_size == "auto" else int(self.sample_size),
            refine_rounds=self.refine_rounds,
            weights=checked_weights(sample_weight, points.rows),
            seed=drawn_seed(self.random_state),
            jobs=jobs,
        )
        distinct = len(found.rows)
        if distinct < self.n_clusters:
            warnings.warn(
                f"There are {distinct} distinct rows, fewer than n_clusters = {self.n_clusters}: "
                f"each is a medoid, and medoids repeat. Set n_clusters to {distinct} at most.",
                ConvergenceWarning,
                stacklevel=2,
            )
        padded = np.arange(self.n_clusters) % distinct
        self.cluster_centers_: NDArray[Any] = found.medoids[padded]
        self.medoid_indices_: NDArray[np.int64] = found.rows[padded]
        self.labels_ = found.labels
        self.inertia_ = found.inertia
        self.seeding_inertia_ = found.seeding_inertia
        self.n_iter_ = found.rounds
        return self

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> NDArray[np.int32]:
        """Find the medoids of X, and give the nearest one of every row, (N,)."""
        return self.fit(X, sample_weight=sample_weight).labels_

    def predict(self, X: Any) -> NDArray[np.int32]:
        """The nearest medoid (n,) of each of n rows like those of fit."""
        check_is_fitted(self)
        jobs = jobs_of(self.n_jobs)
        points = self._points(X, jobs, reset=False)
        code = code_of(self.metric, points.dimension)
        find = NearestMedoid(code, embedded(code, self.cluster_centers_))
        labels = np.empty(points.rows, np.int32)

        def task(part: int) -> None:
            for first, rows in tiles(points, part):
                labels[first : first + len(rows)] = find(embedded(code, rows))[0]

        each(task, len(points.starts) - 1, jobs)
        return labels

    def transform(self, X: Any) -> NDArray[Any]:
        """The distances (n, k) of n rows to all medoids, of X's type."""
        check_is_fitted(self)
        jobs = jobs_of(self.n_jobs)
        points = self._points(X, jobs, reset=False)
        code = code_of(self.metric, points.dimension)
        medoids = embedded(code, self.cluster_centers_)
        found = np.empty((points.rows, len(medoids)), points.dtype)

        def task(part: int) -> None:
            for first, rows in tiles(points, part):
                distances = np.empty((len(rows), len(medoids)))
                kernels.all_distances(code, embedded(code, rows), medoids, distances)
                found[first : first + len(rows)] = distances

        each(task, len(points.starts) - 1, jobs)
        return found

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Names of the columns of `transform`."""
        check_is_fitted(self)
        return np.array([f"kmedoids{c}" for c in range(len(self.cluster_centers_))], object)

    # ------------------------------------------------------------------ checks
    def _points(self, X: Any, jobs: int, *, reset: bool) -> Points:
        """Check X, and keep or compare the number and names of its columns."""
        if has_reader(X):
            points = open_points(X)
            if reset:
                self.n_features_in_ = points.dimension
            elif points.dimension != self.n_features_in_:
                raise DataError(
                    f"X has {points.dimension} columns, and was fitted with {self.n_features_in_}.",
                    "Pass the same columns.",
                )
        else:
            array = validate_data(self, X, reset=reset, dtype="numeric", ensure_all_finite=False)
            points = open_points(array)
        if points.rows == 0:
            raise DataError("X has no rows.", "Pass one row at least.")
        check_finite(points, jobs)
        return points

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def has_reader(X: Any) -> bool:
    """Whether X is a name, points, or Arrow, which scikit-learn's checks do not read."""
    if isinstance(X, str | os.PathLike) or hasattr(X, "starts"):
        return True
    return type(X).__module__.partition(".")[0] == "pyarrow"


def check_whole(name: str, value: Any, least: int) -> None:
    """Refuse what is no whole number of at least ``least``.

    Raises:
        ParameterError: names the setting.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ParameterError(
            f"{name} must be a whole number of at least {least}, got {value!r}.",
            "Leave it out to use the default.",
        )


def drawn_seed(random_state: int | np.random.RandomState | None) -> int:
    """The seed that a random state stands for."""
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31))
