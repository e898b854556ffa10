"""DBSCAN: clusters are what is connected through dense neighbourhoods; the rest is noise.

    core    a point with at least min_samples neighbours within eps, itself included
    cluster core points connected by steps of at most eps
    border  another point within eps of a core point: it goes to the nearest one's cluster

All engines give the answer of this definition, which no approximation, no number of threads and no
order of rows changes.
"""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils.validation import check_is_fitted

from thresher.cluster.forecast import check_memory, pair_seconds
from thresher.cluster.metric import euclidean_view
from thresher.cluster.names import ALGORITHMS, METRICS
from thresher.cluster.open_points import check_finite, open_points
from thresher.cluster.points import ArrayPoints, Clustered, Phase, Points, held
from thresher.cluster.threads import jobs_of
from thresher.cluster.weights import checked_weights, whole_where_they_can_be
from thresher.errors import DataError, ParameterError, nearest

__all__ = ["ALGORITHMS", "DBSCAN", "cluster_points"]

GRID_DIMENSIONS = 3
TREE_DIMENSIONS = 16
SLOW = 600  # seconds from which on a forecast is told
MANY_SAMPLES = 256  # neighbours to count from which on equal rows cost a grid time
REPEATED = 0.75  # share of distinct rows below which merging pays

Array = NDArray[Any]


class CorePoints:
    """Rows of points, which are read when they are first asked for, and go where this goes."""

    def __init__(self, points: Points, rows: NDArray[np.int64]) -> None:
        self.points, self.rows = points, rows

    @cached_property
    def coordinates(self) -> Array:
        """(rows, d)."""
        return self.points.take(self.rows)

    def __getstate__(self) -> dict[str, Any]:
        return {"coordinates": self.coordinates}


class DBSCAN(ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """Cluster by density, exactly, with a few dozen bytes a point.

    Args:
        eps: Radius of a neighbourhood, > 0, in the metric's unit. Default 0.5, as scikit-learn's.
        min_samples: Neighbours that make a point core, itself included, > 0; with weights the sum
            of theirs. Default 5.
        metric: "euclidean"; "haversine": two columns, latitude and longitude in radians, eps in
            radians; "cosine": eps is 1 - cos of the angle.
        rho: 0 is exact, the default. Above it, below 1: points are moved to the centres of cubes of
            diagonal rho · eps, and the clusters lie between those at (1 - rho) eps and (1 + rho)
            eps.
        algorithm: "auto"; "grid" (up to 3 dimensions), "tree" (a kd-tree) or "balls" (blocks of
            matrix products). The answer is the same.
        n_jobs: Threads; None and -1 take every processor.

    Attributes:
        labels_: (N,) int32; -1 is noise. Clusters are numbered by their lowest core row.
        core_sample_indices_: Row numbers of core points, ascending.
        components_: (core points, d) coordinates of the core points, read from X, which must not be
            changed before, when they or ``predict`` are first used.
        n_clusters_: Clusters.
        n_features_in_: Columns.
        statistics_: What the run took: engine, cells, core cells, bytes, distinct rows.

    ``predict`` gives new points the cluster of the nearest core point within eps, or -1. That is an
    extension: DBSCAN itself says nothing of points it has not seen, and new points make no other
    point core.

    Raises:
        ParameterError: a value out of range.
        DataError: points that are not finite, no table of numbers, or too many for the memory.

    Source: Ester, Kriegel, Sander, Xu, KDD 1996; engines after Song & Lee, RP-DBSCAN, SIGMOD 2018.

    >>> import numpy as np
    >>> DBSCAN(eps=1.5, min_samples=2).fit_predict(np.array([[0.0], [1.0], [9.0]]))
    array([ 0,  0, -1], dtype=int32)
    """

    def __init__(
        self,
        eps: float = 0.5,
        *,
        min_samples: float = 5,
        metric: str = "euclidean",
        rho: float = 0.0,
        algorithm: str = "auto",
        n_jobs: int | None = None,
    ) -> None:
        self.eps = eps
        self.min_samples = min_samples
        self.metric = metric
        self.rho = rho
        self.algorithm = algorithm
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> DBSCAN:
        """Cluster points.

        Args:
            X: (N, d) array or data frame, anything that hands out Arrow data, or a path of a
                .parquet, a folder of them, a .csv or a .npy; files are read by parts.
            y: Ignored.
            sample_weight: (N,) >= 0, or None for 1 each.
        """
        points = open_points(X)
        check_enough(points)
        found = cluster_points(
            points,
            self.eps,
            self.min_samples,
            metric=self.metric,
            rho=self.rho,
            algorithm=self.algorithm,
            weights=sample_weight,
            jobs=jobs_of(self.n_jobs),
            tell=lambda sentence: warnings.warn(sentence, UserWarning, stacklevel=5),  # who fits
        )
        self.labels_ = found.labels
        self.core_sample_indices_ = np.flatnonzero(found.core)
        self.n_features_in_ = points.dimension
        self.__dict__.pop("feature_names_in_", None)
        if (names := names_of(X)) is not None:
            self.feature_names_in_ = names
        self.statistics_ = found.statistics
        self.n_clusters_ = int(found.labels.max()) + 1
        self._core_points = CorePoints(points, self.core_sample_indices_)
        return self

    def predict(self, X: Any) -> NDArray[np.int32]:
        """The cluster of the nearest core point within eps, or -1, of new points (M, d)."""
        from thresher.cluster.nearest_core import nearest_labels

        check_is_fitted(self)
        points = open_points(X)
        if points.dimension != self.n_features_in_:
            raise DataError(
                f"X has {points.dimension} features, but DBSCAN is expecting "
                f"{self.n_features_in_} features as input.",
                "Pass the columns that it was fitted on.",
            )
        names, known = names_of(X), getattr(self, "feature_names_in_", None)
        if names is not None and known is not None and list(names) != list(known):
            raise DataError(
                f"The columns are {', '.join(names)}; DBSCAN was fitted on {', '.join(known)}.",
                "Pass the same columns in the same order.",
            )
        check_finite(points, jobs_of(self.n_jobs))
        core = ArrayPoints(self.components_)
        labels = self.labels_[self.core_sample_indices_]
        return nearest_labels(core, labels, points, self.metric, self.eps, jobs_of(self.n_jobs))

    @property
    def components_(self) -> Array:
        """Coordinates of the core points, (core points, d)."""
        check_is_fitted(self)
        return self._core_points.coordinates


def names_of(X: Any) -> Array | None:
    """The names of the columns, if X has any and all are text."""
    names = getattr(X, "columns", None)
    if names is None or not all(isinstance(name, str) for name in names):
        return None
    return np.asarray(names, dtype=object)


def check_enough(points: Points) -> None:
    """Refuse no rows, or no columns, as scikit-learn does."""
    if points.rows == 0:
        raise DataError(
            f"Found array with 0 sample(s) (shape=(0, {points.dimension})) while a minimum of 1 is "
            "required.",
            "Pass at least one row.",
        )
    if points.dimension == 0:
        raise DataError(
            f"0 feature(s) (shape=({points.rows}, 0)) while a minimum of 1 is required.",
            "Pass at least one column.",
        )


def cluster_points(
    points: Points,
    eps: float,
    min_samples: float,
    *,
    metric: str = "euclidean",
    rho: float = 0.0,
    algorithm: str = "auto",
    weights: Any = None,
    jobs: int = 1,
    phase: Phase | None = None,
    tell: Callable[[str], None] | None = None,
) -> Clustered:
    """DBSCAN of points wherever they lie; the function behind the class and the command.

    Args:
        points: At least one row.
        eps: As of `DBSCAN`.
        min_samples: As of `DBSCAN`.
        metric: As of `DBSCAN`.
        rho: As of `DBSCAN`.
        algorithm: As of `DBSCAN`.
        weights: (N,) >= 0, or None.
        jobs: Threads.
        phase: Is told how far the work is.
        tell: Is told what a user should know beforehand, in a sentence.

    Raises:
        ParameterError: a value out of range, or an engine that cannot do it.
        DataError: points or weights that cannot be used.
    """
    check_settings(eps, min_samples, metric, rho, algorithm)
    eps, min_samples, rho = float(eps), float(min_samples), float(rho)  # as kernels are compiled
    hear: Phase = phase or (lambda name, share: None)
    heavy = whole_where_they_can_be(checked_weights(weights, points.rows))
    view, radius = euclidean_view(points, metric, eps)
    if view is not points or rho or algorithm != "auto" or not grid_comes_first(view, min_samples):
        check_finite(points, jobs, phase)  # else the grid's own survey looks at every coordinate
    on_sphere = metric == "haversine" and not rho
    if on_sphere:
        view = held(view, jobs)  # sines and cosines once, not at each of the grid's three passes
    if rho:
        from thresher.cluster.snapped import SnappedPoints, cube_side

        view = SnappedPoints(view, cube_side(radius, view.dimension, rho))
    if rho or merging_pays(view, min_samples, jobs):
        from thresher.cluster.distinct import merge_equal_rows

        merged = merge_equal_rows(view, heavy, jobs, hear)
        found = run_engine(
            merged.points,
            radius,
            min_samples,
            merged.weights,
            algorithm,
            on_sphere,
            jobs,
            hear,
            tell,
        )
        return Clustered(
            found.labels[merged.same],
            found.core[merged.same],
            {**found.statistics, "distinct_rows": merged.points.rows},
        )
    return run_engine(view, radius, min_samples, heavy, algorithm, on_sphere, jobs, hear, tell)


def check_settings(eps: float, min_samples: float, metric: str, rho: float, algorithm: str) -> None:
    """Refuse values out of range.

    Raises:
        ParameterError: names the value and the range.
    """
    for name, value, example in (("eps", eps, "0.5"), ("min_samples", min_samples, "5")):
        if not is_number(value) or not 0 < value < math.inf:
            raise ParameterError(
                f"{name} must be a number above 0, got {value!r}.", f"Example: {name}={example}."
            )
    if not is_number(rho) or not 0 <= rho < 1:
        raise ParameterError(f"rho must be in [0, 1), got {rho!r}.", "0 is exact.")
    if metric not in METRICS:
        raise ParameterError(f'metric "{metric}" is unknown.', nearest(str(metric), METRICS))
    if algorithm not in ALGORITHMS:
        raise ParameterError(
            f'algorithm "{algorithm}" is unknown.', nearest(str(algorithm), ALGORITHMS)
        )


def is_number(value: Any) -> bool:
    """Whether it is a number that float64 holds: no truth value, no text, no array."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        return False
    try:
        return float(value) != 0 or value == 0
    except OverflowError:
        return False


def grid_comes_first(points: Points, min_samples: float) -> bool:
    """Whether the first to go over the points is a grid, if the engine may be chosen."""
    return points.dimension <= GRID_DIMENSIONS and min_samples <= MANY_SAMPLES


def merging_pays(points: Points, min_samples: float, jobs: int) -> bool:
    """Whether enough rows are equal. A grid minds equal rows only where many are counted."""
    from thresher.cluster.distinct import distinct_share

    if grid_comes_first(points, min_samples):
        return False
    return distinct_share(points, jobs) < REPEATED


def run_engine(
    points: Points,
    eps: float,
    min_samples: float,
    weights: Array | None,
    algorithm: str,
    on_sphere: bool,
    jobs: int,
    phase: Phase,
    tell: Callable[[str], None] | None,
) -> Clustered:
    """Let the engine that suits the dimension do the work."""
    if algorithm == "grid" and points.dimension > GRID_DIMENSIONS:
        raise ParameterError(
            f'algorithm="grid" takes up to {GRID_DIMENSIONS} dimensions, got {points.dimension}.',
            'Leave it at "auto".',
        )
    if algorithm == "grid" or (algorithm == "auto" and points.dimension <= GRID_DIMENSIONS):
        from thresher.cluster import grid

        check_memory("grid", points, jobs)
        try:
            return grid.cluster(points, eps, min_samples, weights, jobs, phase, on_sphere=on_sphere)
        except ParameterError:
            if algorithm == "grid":
                raise
            algorithm = "tree"  # eps is too small for cells to have numbers
    if algorithm == "tree" or (algorithm == "auto" and points.dimension <= TREE_DIMENSIONS):
        from thresher.cluster import tree

        check_memory("tree", points, jobs)
        return tree.cluster(points, eps, min_samples, weights, jobs, phase)
    from thresher.cluster import balls

    check_memory("balls", points, jobs)
    seconds = pair_seconds(points.rows, points.dimension, jobs)
    if tell is not None and seconds > SLOW:
        tell(
            f"{points.rows:,} points in {points.dimension} dimensions may take up to "
            f"{seconds / 60:,.0f} minutes, if they do not fall into clusters far apart."
        )
    return balls.cluster(points, eps, min_samples, weights, jobs, phase)
