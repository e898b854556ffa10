"""Distances to the k-th nearest point: the curve from which eps is read.

A point is core at eps and min_samples = k where its distance to the k-th nearest point, itself
included, is at most eps. Inside clusters these distances are alike; towards the sparse points they
rise. eps lies where the rise begins, the knee of the curve.

points → sampled rows → nearest_squared (exact, against all rows) → distances, descending → knee

Source: Ester, Kriegel, Sander, Xu, KDD 1996 (the curve); Satopaa, Albrecht, Irwin, Raghavan,
Finding a "Kneedle" in a haystack, ICDCS workshops 2011 (the knee).
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.metric import euclidean_view
from thresher.cluster.nearest_distances import nearest_squared
from thresher.cluster.open_points import check_finite, open_points
from thresher.cluster.points import Phase, Points
from thresher.cluster.threads import jobs_of
from thresher.errors import DataError, ParameterError
from thresher.keyed_random import keyed_seed

__all__ = [
    "KDistances",
    "four_digits",
    "k_distance",
    "knee",
    "sampled_distances",
    "sampled_rows",
]

UNITS = {"euclidean": "", "haversine": "radians", "cosine": "1 - cos of the angle"}
HASHED = 1 << 20  # rows at once
FARTHEST, MEDIAN = 0.02, 0.5  # of the curve: the part that has the knee


@dataclass(frozen=True, eq=False)
class KDistances:
    """The distances of a sample of points to their k-th nearest among all points.

    Args:
        distances: (M,) float64, descending, in ``unit``.
        k: Which neighbour; the point itself is the first.
        rows: N, of all points.
        unit: "radians" for "haversine", "1 - cos of the angle" for "cosine", "" for "euclidean":
            that of the coordinates.
    """

    distances: NDArray[np.float64]
    k: int
    rows: int
    unit: str = ""

    @property
    def suggested_eps(self) -> float:
        """An eps to start with, see `knee`; NaN where all distances are 0."""
        return knee(self.distances)

    def core_share(self, eps: float) -> float:
        """The share of the sample that is core at this eps and min_samples = k."""
        return float(np.mean(self.distances <= eps))

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the curve and the suggested eps into a PNG.

        Raises:
            RunError: the picture cannot be written.
        """
        from thresher.cluster.k_distance_plot import draw

        draw(self, path)


def k_distance(
    X: Any,
    k: int = 5,
    sample: int = 10_000,
    *,
    metric: str = "euclidean",
    random_state: int = 0,
    n_jobs: int | None = None,
) -> KDistances:
    """Measure how far the k-th nearest point is, to choose eps of `DBSCAN` with min_samples = k.

    >>> found = k_distance([[0.0], [1.0], [2.0], [3.0], [30.0]], k=2)
    >>> found.distances, found.suggested_eps
    (array([27.,  1.,  1.,  1.,  1.]), 1.0)

    Args:
        X: (N, d) points, or whatever else `DBSCAN` is fitted to.
        k: Which neighbour, 1 <= k <= N; the point itself is the first, as in min_samples.
        sample: Points that are measured, >= 1; all where there are fewer. Each is compared with all
            N, so its distance is that of the whole.
        metric: "euclidean", "haversine" (radians) or "cosine", as of `DBSCAN`.
        random_state: Seed of the sample. A row is drawn by a hash of the seed and its number.
        n_jobs: Threads; None and -1 take every processor. The result is the same.

    Raises:
        ParameterError: a setting out of range, or k above N.
        DataError: points that cannot be used.

    Cost: up to 10 dimensions about a kd-tree of N points, made in blocks; above, a product of
    (sample, d) and (d, N). Memory does not grow with N.
    """
    points, jobs = open_points(X), jobs_of(n_jobs)
    check_finite(points, jobs)
    return sampled_distances(points, k, sample, metric=metric, seed=random_state, jobs=jobs)


def sampled_distances(
    points: Points,
    k: int,
    sample: int,
    *,
    metric: str = "euclidean",
    seed: int = 0,
    jobs: int = 1,
    phase: Phase | None = None,
) -> KDistances:
    """Measure the k-distances of points wherever they lie; behind the function and the command.

    Args:
        points: Finite.
        k: As of `k_distance`.
        sample: As of `k_distance`.
        metric: As of `k_distance`.
        seed: As of `k_distance`.
        jobs: Threads.
        phase: Is told how far it is, as "distances".

    Raises:
        ParameterError: a setting out of range.
        DataError: fewer than k points, or points that the metric cannot measure.
    """
    for name, value in (("k", k), ("sample", sample)):
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
            raise ParameterError(
                f"{name} must be a whole number of at least 1, got {value!r}.",
                f"Leave it out for {5 if name == 'k' else '10,000'}.",
            )
    view, _ = euclidean_view(points, metric, 1.0)
    if points.rows < k:
        raise DataError(
            f"There is no nearest point number {k} among {points.rows:,}: the point itself is the "
            "first.",
            f"Pass k of at most {points.rows}." if points.rows else "Pass some rows.",
        )
    asked = np.ascontiguousarray(view.take(sampled_rows(points.rows, sample, seed)), np.float64)
    done = None if phase is None else lambda share: phase("distances", share)
    squared = nearest_squared(view, asked, k, jobs, done)[:, -1]
    distances = np.sort(_in_metric(squared, metric))[::-1].copy()
    return KDistances(distances, int(k), points.rows, UNITS[metric])


def _in_metric(squared: NDArray[np.float64], metric: str) -> NDArray[np.float64]:
    """Distances of the metric from squares of those in the view."""
    if metric == "cosine":
        return squared / 2
    lengths = np.sqrt(squared)
    if metric == "haversine":
        return 2 * np.arcsin(np.minimum(lengths / 2, 1.0))
    # at eps = its distance, a point must be core: eps² may not be rounded below the square
    return np.where(lengths * lengths < squared, np.nextafter(lengths, np.inf), lengths)


def sampled_rows(rows: int, sample: int, seed: int) -> NDArray[np.int64]:
    """The row numbers of a sample, ascending: those whose hash with the seed is smallest.

    Of more rows, or a larger sample, most or all of these are drawn again.

    Source: the hash is SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), which repeats no number.
    """
    if sample >= rows:
        return np.arange(rows, dtype=np.int64)
    start = np.uint64(keyed_seed(seed, "k-distance"))
    hashes, numbers = np.empty(0, np.uint64), np.empty(0, np.int64)
    for first in range(0, rows, HASHED):
        new = np.arange(first, min(first + HASHED, rows), dtype=np.int64)
        mixed = new.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + start
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
        hashes, numbers = np.append(hashes, mixed), np.append(numbers, new)
        if len(hashes) > sample:
            smallest = np.argpartition(hashes, sample - 1)[:sample]
            hashes, numbers = hashes[smallest], numbers[smallest]
    numbers.sort()
    return numbers


def knee(distances: NDArray[np.float64]) -> float:
    """The distance at which a descending curve turns from steep to flat.

    On a logarithmic scale, between the 2 % of the points with the largest distances and the point
    in the middle: the distance farthest below the chord of this part.

        y = log distance, from 1 at its beginning to 0 at its end;  x = place, from 0 to 1
        knee = argmax (1 - x - y)

    >>> knee(np.array([900.0, 90.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0]))
    9.0

    Args:
        distances: (M,) descending. What is 0 has no logarithm, and is passed over.

    Returns:
        One of them; NaN where none is above 0.

    Deviations: Kneedle takes the whole curve as it is. Then a single far outlier, or a few rows
    that almost repeat, are an end of the chord and move the knee anywhere. On the 22 labelled sets
    of points/clustering_benchmark.npz, for k = 5 and 10, this rule is within a factor of 2 of an
    eps whose adjusted Rand index is at most 0.02 below the best one's in all 44 cases, and stays
    so with 1 % of far outliers added; Kneedle is in 41, and 22. The part and the scale were chosen
    by these sets. `pytest -m slow tests/cluster/test_k_distance.py` tries the 44 cases again.
    """
    curve = distances[(distances > 0) & np.isfinite(distances)]
    if not len(curve):
        return math.nan
    first = int(FARTHEST * len(curve))
    curve = curve[first : max(first + 1, math.ceil(MEDIAN * len(curve)))]
    heights = np.log(curve)
    if heights[0] == heights[-1]:
        return float(curve[0])
    heights = (heights - heights[-1]) / (heights[0] - heights[-1])
    return float(curve[np.argmax(1 - np.linspace(0, 1, len(curve)) - heights)])


def four_digits(value: float) -> float:
    """A number as people are told it.

    >>> four_digits(36711.5916), four_digits(0.000123456)
    (36710.0, 0.0001235)
    """
    return float(f"{value:.4g}")
