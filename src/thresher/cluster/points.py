"""Points by parts: what an engine reads, wherever the rows lie.

An engine goes over the parts a few times, each part by one thread, and keeps its own copy of the
coordinates in the order it needs. Nobody holds all rows as they came but the caller who has them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.threads import each

__all__ = ["ArrayPoints", "Clustered", "Phase", "Points", "held"]

PART_ROWS = 65_536

Phase = Callable[[str, float], None]
"""Is told the name of what is going on and the share of it that is done, 0 to 1."""


class Points(Protocol):
    """Rows of finite float32 or float64 coordinates, by parts; parts may be read by any thread."""

    rows: int
    dimension: int
    dtype: np.dtype[Any]
    starts: NDArray[np.int64]  # first row of every part, and the number of rows: (parts + 1,)

    def part(self, number: int) -> NDArray[Any]:
        """The rows of one part, (rows, dimension), of ``dtype``; with any strides."""
        ...

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Some rows by their numbers, (len(rows), dimension)."""
        ...


class ArrayPoints:
    """The rows of an array in memory, which is neither copied nor changed.

    Args:
        array: (N, d) float32 or float64.
        part_rows: Rows of a part.
    """

    def __init__(self, array: NDArray[Any], part_rows: int = PART_ROWS) -> None:
        self.array = array
        self.rows, self.dimension = array.shape
        self.dtype = array.dtype
        self.starts = np.append(np.arange(0, self.rows, part_rows), self.rows).astype(np.int64)

    def part(self, number: int) -> NDArray[Any]:
        """A view of the rows of one part."""
        return self.array[self.starts[number] : self.starts[number + 1]]

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """A copy of some rows."""
        return self.array[rows]


def held(points: Points, jobs: int) -> ArrayPoints:
    """The rows in memory, for points whose parts cost much to make."""
    rows = np.empty((points.rows, points.dimension), points.dtype)

    def copy(number: int) -> None:
        rows[points.starts[number] : points.starts[number + 1]] = points.part(number)

    each(copy, len(points.starts) - 1, jobs)
    return ArrayPoints(rows)


class Clustered(NamedTuple):
    """What an engine returns."""

    labels: NDArray[np.int32]  # (N,), -1 for noise; clusters numbered by their lowest core row
    core: NDArray[np.bool_]  # (N,)
    statistics: dict[str, int | float | str]
