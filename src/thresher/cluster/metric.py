"""Metrics as Euclidean distances of other points, so that one exact engine serves them all.

    haversine   (lat, lon) → (cos lat · cos lon, cos lat · sin lon, sin lat);  eps → 2 sin(eps / 2)
    cosine      x → x / |x|;                                                  eps → √(2 · eps)

Both maps keep the order of distances, so neighbours within the one radius are neighbours within the
other. Points are mapped part by part, when an engine asks for them.

Source: clustering of positions through chords of the unit sphere and of directions through unit
vectors are old tricks; the identities are those of the chord, |u − v| = 2 sin(angle / 2), and
|u − v|² = 2 (1 − cos angle) for unit vectors u, v.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.kernels.sphere import sines_and_cosines
from thresher.cluster.names import METRICS
from thresher.cluster.points import Points
from thresher.errors import DataError, ParameterError, nearest

__all__ = [
    "EARTH_RADIUS",
    "METRICS",
    "POLE",
    "TURN",
    "DirectionPoints",
    "RadianPoints",
    "SpherePoints",
    "check_degrees",
    "directions",
    "euclidean_view",
    "on_sphere",
]

EARTH_RADIUS = 6_371_008.8  # metres; mean radius R₁ of the IUGG
EVERYTHING = 2.5  # no two points of the unit sphere are farther apart, whatever the rounding

POLE = math.pi / 2 * (1 + 1e-7)  # float32 rounds π/2 up
TURN = 2 * math.pi * (1 + 1e-7)
EXTREME = 1e150  # beyond it, and below its inverse, squares leave float64's range


def euclidean_view(points: Points, metric: str, eps: float) -> tuple[Points, float]:
    """Points and radius whose Euclidean neighbours are the given points' neighbours.

    Args:
        points: Finite. "haversine": latitude and longitude in radians, in this order.
        metric: One of `METRICS`.
        eps: Radius in that metric: radians for "haversine", 1 − cos of the angle for "cosine".

    Returns:
        The points themselves, or a view that maps them part by part: (N, 3) float64 on the unit
        sphere for "haversine"; rows of length 1 for "cosine", of the type that the points have.

    Raises:
        ParameterError: the metric is unknown.
        DataError: "haversine" with other than two columns. Its parts raise it for a latitude beyond
            ±π/2, those of "cosine" for a row of zeros; both name the row.

    Accuracy: distances on the sphere are right to some 1e-15 radians (nanometres on the Earth); to
    1e-8 radians only for pairs at the opposite ends of a diameter, where the chord hardly changes.
    """
    if metric == "euclidean":
        return points, eps
    if metric == "haversine":
        radius = 2 * math.sin(eps / 2) if eps < math.pi else EVERYTHING
        return SpherePoints(points), radius
    if metric == "cosine":
        radius = math.sqrt(2 * eps)
        if radius * radius < 2 * eps:  # a right angle at eps = 1 is a neighbour
            radius = math.nextafter(radius, math.inf)
        return DirectionPoints(points), radius if eps < 2 else EVERYTHING
    raise ParameterError(f'metric "{metric}" is unknown.', nearest(metric, METRICS))


def check_degrees(metric: str, *, degrees: bool) -> None:
    """Refuse degrees of a metric that knows no angles of positions.

    Raises:
        ParameterError: names the metric.
    """
    if degrees and metric != "haversine":
        raise ParameterError(
            f"degrees are of haversine, and the metric is {metric!r}.", "Leave degrees out."
        )


def on_sphere(radians: NDArray[Any]) -> NDArray[np.float64]:
    """Latitudes and longitudes (n, 2) as points of the unit sphere, (n, 3)."""
    angles = np.array(radians.T, np.float64, order="C")
    sines, cosines = np.empty_like(angles), np.empty_like(angles)
    sines_and_cosines(angles[0], sines[0], cosines[0])
    sines_and_cosines(angles[1], sines[1], cosines[1])
    mapped = np.empty((len(radians), 3))
    np.multiply(cosines[0], cosines[1], out=mapped[:, 0])
    np.multiply(cosines[0], sines[1], out=mapped[:, 1])
    mapped[:, 2] = sines[0]
    return mapped


def directions(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows (n, d), none of them all zeros, divided by their lengths."""
    largest = np.abs(rows).max(axis=1)
    extreme = (largest > EXTREME) | (largest < 1 / EXTREME)
    if extreme.any():
        rows = rows.copy()
        rows[extreme] /= largest[extreme, None]
    # a row's sum must not depend on the rows around it: a sum along contiguous rows does not
    lengths: NDArray[np.float64] = np.sqrt(np.add.reduce(rows * rows, axis=1))
    return rows / lengths[:, None]


class MappedPoints:
    """Rows of other points, mapped when they are asked for."""

    def __init__(self, points: Points, dimension: int, dtype: np.dtype[Any]) -> None:
        self._points = points
        self.rows, self.starts = points.rows, points.starts
        self.dimension, self.dtype = dimension, dtype

    def part(self, number: int) -> NDArray[Any]:
        """The rows of one part, made anew."""
        first = int(self.starts[number])
        numbers = np.arange(first, int(self.starts[number + 1]))
        return self._mapped(self._points.part(number), numbers)

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Some rows by their numbers."""
        return self._mapped(self._points.take(rows), rows)

    def _mapped(self, rows: NDArray[Any], numbers: NDArray[np.int64]) -> NDArray[Any]:
        raise NotImplementedError


class RadianPoints(MappedPoints):
    """Latitudes and longitudes in degrees as radians.

    Args:
        points: Two columns, latitude first.

    Raises:
        DataError: not two columns; reading a latitude beyond ±90, or a longitude beyond ±360, which
            says whether the columns are swapped.
    """

    def __init__(self, points: Points) -> None:
        _check_two(points, "degrees")
        super().__init__(points, 2, np.dtype("f8"))

    def _mapped(self, rows: NDArray[Any], numbers: NDArray[np.int64]) -> NDArray[Any]:
        degrees = np.ascontiguousarray(rows, dtype=np.float64)
        if (np.abs(degrees) > (90.0, 360.0)).any():
            raise _misplaced(self._points, 90.0, 360.0, "degrees")
        return np.deg2rad(degrees)


class SpherePoints(MappedPoints):
    """Latitudes and longitudes in radians as points of the unit sphere, (N, 3) float64.

    Args:
        points: Two columns, latitude first.

    Raises:
        DataError: not two columns; reading a latitude beyond ±π/2, or a longitude beyond ±2π, which
            says whether they look like degrees, or swapped.
    """

    def __init__(self, points: Points) -> None:
        _check_two(points, "radians")
        super().__init__(points, 3, np.dtype("f8"))

    def _mapped(self, rows: NDArray[Any], numbers: NDArray[np.int64]) -> NDArray[Any]:
        if (np.abs(rows) > (POLE, TURN)).any():
            raise _misplaced(self._points, POLE, TURN, "radians")
        return on_sphere(rows)


class DirectionPoints(MappedPoints):
    """Rows divided by their length, which is summed in float64.

    Args:
        points: Any dimension.

    Raises:
        DataError: reading a row of zeros, which has no direction. (scikit-learn takes it to be at a
            distance of 1 from all others.)
    """

    def __init__(self, points: Points) -> None:
        super().__init__(points, points.dimension, points.dtype)

    def _mapped(self, rows: NDArray[Any], numbers: NDArray[np.int64]) -> NDArray[Any]:
        values = np.ascontiguousarray(rows, np.float64)
        directed = values.any(axis=1)
        if not directed.all():
            row = int(numbers[np.argmin(directed)])
            raise DataError(
                f"Row {row:,} (counting from 0) is all zeros: it has no direction, and no cosine "
                "distance to others.",
                'Remove such rows, or use metric="euclidean".',
            )
        return directions(values).astype(self.dtype, copy=False)


def _check_two(points: Points, unit: str) -> None:
    if points.dimension != 2:
        raise DataError(
            f'metric="haversine" needs two columns, latitude and longitude in {unit}, got '
            f"{points.dimension}.",
            "Choose them in this order: columns=[latitude, longitude].",
        )


def _misplaced(points: Points, pole: float, turn: float, unit: str) -> DataError:
    """Look at all rows again to say which one is wrong, and what was probably meant."""
    row = -1
    first = np.zeros(2)
    most = np.zeros(2)
    for number in range(len(points.starts) - 1):
        size = np.abs(points.part(number).astype(np.float64))
        most = np.maximum(most, size.max(axis=0))
        bad = (size > (pole, turn)).any(axis=1)
        if row < 0 and bad.any():
            row = int(points.starts[number]) + int(np.argmax(bad))
            first = points.take(np.array([row], np.int64))[0].astype(np.float64)
    which = 0 if abs(first[0]) > pole else 1
    name = ("latitude", "longitude")[which]
    limit = {"degrees": ("90", "360"), "radians": ("π/2", "2π")}[unit][which]
    cause = (
        f"Row {row:,} (counting from 0) has a {name} of {first[which]:.10g} {unit}, beyond "
        f"±{limit}."
    )
    if most[0] <= turn and most[1] <= pole:
        return DataError(
            cause,
            "The columns are probably swapped: latitude comes first, then longitude.",
        )
    if unit == "radians" and most[0] <= 90 and most[1] <= 360:
        return DataError(
            cause,
            "These are probably degrees: pass numpy.radians(X), and eps in radians as well "
            "(metres / 6371008.8).",
        )
    if unit == "radians" and most[0] <= 360 and most[1] <= 90:
        return DataError(
            cause,
            "These are probably degrees with the columns swapped: pass numpy.radians of latitude "
            "and longitude, in this order.",
        )
    scale = next(
        (10**power for power in range(1, 10) if (most / 10**power <= (90, 360)).all()), None
    )
    if unit == "degrees" and scale is not None and scale >= 1000:
        return DataError(
            cause, f"These are probably degrees × {scale:,}: divide both columns by {scale:,}."
        )
    return DataError(cause, "Correct or remove such rows; latitude comes first, then longitude.")
