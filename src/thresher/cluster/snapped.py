"""Points moved to the centres of small cubes, so that many become one: DBSCAN with a tolerance.

    side   = eps / (√d · 2^(h - 1)),  h = 1 + ⌈log₂(1 / ρ)⌉
    centre = (⌊x / side⌋ + 1/2) · side

A cube's diagonal is at most ρ · eps, so a point moves by half of that at most and a distance
changes by ρ · eps at most. Clusters of the centres therefore lie between those of the points at
radius (1 - ρ) eps and at (1 + ρ) eps: whoever is core at the smaller radius is core, whoever is
core is so at the larger one, and clusters at the smaller radius stay together within those of the
larger.

Source: the sub-cells of Song & Lee, RP-DBSCAN, SIGMOD 2018; here both ends of a distance are
snapped, which is what gives the guarantee.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.metric import MappedPoints
from thresher.cluster.points import Points

__all__ = ["SnappedPoints", "cube_side", "snap"]


def cube_side(eps: float, dimension: int, rho: float) -> float:
    """The side of the cubes: the largest eps / √d over a power of two with a diagonal <= ρ · eps.

    >>> cube_side(1.0, 1, 0.25), cube_side(1.0, 1, 0.3)
    (0.25, 0.25)
    """
    _, exponent = math.frexp(rho)  # 2 ** (exponent - 1) is the largest power of two <= rho
    return math.ldexp(eps / math.sqrt(dimension), exponent - 1)


class SnappedPoints(MappedPoints):
    """Rows of other points, each coordinate at the middle of its cube, float64.

    Args:
        points: Any.
        side: Of the cubes; 0 where it is too small for a number. Coordinates beyond 2⁵² sides stay:
            their own steps are coarser.
    """

    def __init__(self, points: Points, side: float) -> None:
        super().__init__(points, points.dimension, np.dtype("f8"))
        self.side = side

    def _mapped(self, rows: NDArray[Any], numbers: NDArray[np.int64]) -> NDArray[Any]:
        return snap(rows, self.side)


def snap(rows: NDArray[Any], side: float) -> NDArray[np.float64]:
    """Each coordinate at the middle of its cube; as it is where cubes are finer than numbers."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        cube = np.floor(rows.astype(np.float64) / side)
        return np.where(np.abs(cube) < 2.0**52, (cube + 0.5) * side, rows)
