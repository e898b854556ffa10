"""The space in which k-medoids measures: every metric as a function of plain coordinates.

Rows on a sphere stand for angles, so cosine and haversine need no kernels of their own:

    metric      rows become                       distance of two of them
    euclidean   themselves                        √Σ(x - y)²
    manhattan   themselves                        Σ|x - y|
    cosine      unit vectors                      1 - cos = Σ(x - y)² / 2
    haversine   points of the unit sphere, 3-D    the angle, 2 asin(√Σ(x - y)² / 2)

Tiles of rows are converted to float64 as they are needed; the whole never is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.kernels import medoids as kernels
from thresher.cluster.metric import POLE, TURN, directions, on_sphere
from thresher.cluster.names import MEDOID_METRICS
from thresher.cluster.points import Points
from thresher.errors import DataError, ParameterError, nearest

__all__ = ["METRICS", "Metric", "NearestMedoid", "code_of", "embedded", "tiles"]

Metric = Literal["euclidean", "manhattan", "cosine", "haversine"]

CODES = (kernels.EUCLIDEAN, kernels.MANHATTAN, kernels.COSINE, kernels.HAVERSINE)
METRICS = dict(zip(MEDOID_METRICS, CODES, strict=True))
TILE_ROWS = 8192


def code_of(metric: str, dimension: int) -> int:
    """The kernels' number of a metric.

    Raises:
        ParameterError: it is unknown, or is haversine and the rows are not latitude, longitude.
    """
    if not isinstance(metric, str) or metric not in METRICS:
        raise ParameterError(f"metric {metric!r} is unknown.", nearest(str(metric), METRICS))
    if metric == "haversine" and dimension != 2:
        raise ParameterError(
            f"haversine needs two columns, latitude and longitude in radians, got {dimension}.",
            "Pass these two alone, or take another metric.",
        )
    return METRICS[metric]


def embedded(metric: int, rows: NDArray[Any]) -> NDArray[np.float64]:
    """Rows in the space of the metric, (r, D) float64, contiguous; D = d, or 3 for haversine.

    Raises:
        DataError: cosine of a row of zeros; a latitude beyond a pole.
    """
    found = np.ascontiguousarray(rows, dtype=np.float64)
    if metric == kernels.COSINE:
        if not found.any(axis=1).all():
            raise DataError(
                "A row of zeros has no direction, so its cosine distance is not defined.",
                "Leave such rows out, or take another metric.",
            )
        return directions(found)
    if metric == kernels.HAVERSINE:
        for column, name, most, limit in (
            (0, "latitude", POLE, "π/2"),
            (1, "longitude", TURN, "2π"),
        ):
            beyond = np.abs(found[:, column]) > most
            if beyond.any():
                raise DataError(
                    f"A {name} of {found[beyond, column][0]:g} is beyond ±{limit}.",
                    "Pass latitude, then longitude, both in radians: numpy.radians(degrees).",
                )
        return on_sphere(found)
    return found


def tiles(points: Points, part: int) -> Iterator[tuple[int, NDArray[Any]]]:
    """The rows of a part a few thousand at a time, each with the number of its first row."""
    rows, first = points.part(part), int(points.starts[part])
    for start in range(0, len(rows), TILE_ROWS):
        yield first + start, rows[start : start + TILE_ROWS]


class NearestMedoid:
    """Finds the nearest of some medoids; ties go to the first of them.

    Args:
        metric: The kernels' number.
        medoids: (k, D) in the space of the metric.
    """

    def __init__(self, metric: int, medoids: NDArray[np.float64]) -> None:
        self.metric, self.medoids = metric, medoids
        self.shift = medoids.mean(axis=0)
        lanes, self.scale = lanes_of(medoids - self.shift)
        self.singles = np.ascontiguousarray(lanes.T)
        norm = 1 if metric == kernels.MANHATTAN else 2
        self.reach = float(np.linalg.norm(self.singles.astype(np.float64), norm, axis=1).max())

    def __call__(self, rows: NDArray[np.float64]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """The label and the distance of every row, (r, D) in the space of the metric."""
        labels, distances = np.empty(len(rows), np.int32), np.empty(len(rows))
        kernels.nearest(
            self.metric,
            rows,
            self.medoids,
            self.singles,
            self.shift,
            self.scale,
            self.reach,
            labels,
            distances,
        )
        return labels, distances


def lanes_of(centred: NDArray[np.float64]) -> tuple[NDArray[np.float32], float]:
    """Centred rows as float32 whose squares neither overflow nor vanish, (D, r), and the scale."""
    largest = float(np.abs(centred).max())
    scale = 1.0 / largest if 1e-290 < largest < 1e290 else 1.0
    with np.errstate(over="ignore"):
        return np.ascontiguousarray((centred * scale).T, dtype=np.float32), scale
