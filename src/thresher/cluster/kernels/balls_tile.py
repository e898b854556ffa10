"""Tiles of distances in single precision, and the bounds that keep them exact.

The points of a tile are moved to a centre close by and scaled by a power of two, both in double
precision, so that their lengths are about 1; then they are rounded to x̂ and ŷ, and

    |x̂ - ŷ|² = |x̂|² + |ŷ|² - 2 x̂·ŷ          with the product x̂·ŷ from the matrix multiplication

With u = 2⁻²⁴ and γ = d u / (1 - d u), whatever the order of its sum, the product is off by at most
γ |x̂| |ŷ| ≤ γ/2 (|x̂|² + |ŷ|²) (Higham, Accuracy and Stability of Numerical Algorithms, 2002, 3.1).
The rounding to x̂ moves a point by at most u |x|, which changes half a squared distance by at most
u (|x| + |y|)² ≤ 2u (|x|² + |y|²). The remaining steps, half a squared length rounded, subtracted
and compared with a rounded threshold, lose at most u (|x̂|² + 2 |ŷ|² + eps²). A pair whose half
squared distance differs from eps²/2 by more than the sum of the three is decided; the others are
decided by the definition, in double precision. Infinite radii make every pair such a one: this is
how coordinates are treated whose squares overflow or vanish.

Which points two balls need to compare is told by two lower bounds of the distance: from a point to
the other ball, and along the axis from one centre to the other. The second is the stronger one in
many dimensions, where most of a radius is perpendicular to any axis.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.kernels.compiled import kernel

__all__ = [
    "BLOCK",
    "OUTSIDE",
    "PARTLY",
    "ROUNDED",
    "ROUNDING",
    "VANISHED",
    "WHOLE",
    "Balls",
    "Placed",
    "ahead",
    "empty",
    "farthest",
    "gap_to",
    "narrow_rows",
    "near_balls",
    "pick",
    "place",
    "place_ball",
    "place_centres",
    "place_columns",
    "product",
    "scale_for",
    "side_of",
    "slack",
    "squared_distance",
]

BLOCK = 128  # rows of a tile: with 1024 columns it stays in the second-level cache
UNIT = 2.0**-24  # largest relative error of rounding to single precision
ROUNDING = 1e-9  # relative; above every error of a length or radius in double precision
ROUNDED = 1e-6  # relative; above the error of a squared length after rounding to single precision
VANISHED = 1e-30  # above what is lost when products too small for single precision become 0
OUTSIDE, PARTLY, WHOLE = 0, 1, 2


class Balls(NamedTuple):
    """Points in groups that lie around a centre each."""

    points: NDArray[Any]  # (N, d) float32 or float64, ball after ball
    starts: NDArray[np.int64]  # (balls + 1,): first position of every ball
    centres: NDArray[np.float64]  # (balls, d)
    radii: NDArray[np.float64]  # (balls,): no member lies farther from its centre
    # (balls, balls): no member of the first lies farther from its centre towards that of the second
    facing: NDArray[np.float32]


class Placed(NamedTuple):
    """Points around a centre, scaled and rounded."""

    positions: NDArray[np.int64]  # (m,) in ``Balls.points``
    coordinates: NDArray[np.float32]  # (m, d)
    squares: NDArray[np.float64]  # (m,): their squared lengths


@kernel
def squared_distance(points: NDArray[Any], one: int, other: int) -> float:
    """The definition: Σ_j (x_j - y_j)², in double precision, columns in order."""
    total = 0.0
    for column in range(points.shape[1]):
        difference = np.float64(points[one, column]) - np.float64(points[other, column])
        total += difference * difference
    return total


@kernel
def scale_for(length: float) -> float:
    """The power of two that brings a length into [0.5, 1); 0 for an infinite one."""
    if not length < math.inf:
        return 0.0
    return math.ldexp(1.0, -math.frexp(length)[1])


@kernel
def slack(dimension: int) -> float:
    """What |x̂|² + |ŷ|² + eps² is multiplied by to bound the error of half a squared distance."""
    gamma = dimension * UNIT / max(0.01, 1.0 - dimension * UNIT)
    return 1.01 * (0.5 * gamma + 5.0 * UNIT)


@kernel
def empty(count: int, dimension: int) -> Placed:
    """Room for so many points."""
    return Placed(
        np.empty(count, np.int64),
        np.empty((count, dimension), np.float32),
        np.empty(count, np.float64),
    )


@kernel
def place(
    points: NDArray[Any],
    centre: NDArray[np.float64],
    scale: float,
    limit: float,
    count: int,
    placed: Placed,
) -> int:
    """Move, scale and round points; keep those whose squared length is at most ``limit``.

    Args:
        points: (N, d).
        centre: (d,).
        scale: 0 places every point at the centre.
        limit: Squared, after scaling.
        count: The points are those at the first so many positions of ``placed``.
        placed: Receives the points at its front.

    Returns:
        How many are kept.
    """
    positions, coordinates, squares = placed
    dimension = points.shape[1]
    quarter = dimension - dimension % 4
    kept = 0
    for index in range(count):
        position = positions[index]
        for column in range(dimension):
            moved = np.float64(points[position, column]) - centre[column]
            coordinates[kept, column] = np.float32(moved * scale)
        # Four sums at once: a single one would wait for each addition.
        first = second = third = fourth = 0.0
        for column in range(0, quarter, 4):
            a = np.float64(coordinates[kept, column])
            b = np.float64(coordinates[kept, column + 1])
            c = np.float64(coordinates[kept, column + 2])
            d = np.float64(coordinates[kept, column + 3])
            first += a * a
            second += b * b
            third += c * c
            fourth += d * d
        for column in range(quarter, dimension):
            a = np.float64(coordinates[kept, column])
            first += a * a
        square = (first + second) + (third + fourth)
        if not square > limit:
            positions[kept] = position
            squares[kept] = square
            kept += 1
    return kept


@kernel
def place_ball(
    points: NDArray[Any], positions: NDArray[np.int64], centre: NDArray[np.float64], scale: float
) -> Placed:
    """Place the points of a task around their own centre."""
    placed = empty(positions.size, points.shape[1])
    for index in range(positions.size):  # assigning a slice takes seconds to compile
        placed.positions[index] = positions[index]
    place(points, centre, scale, math.inf, positions.size, placed)
    return placed


@kernel
def place_centres(
    placed: Placed,
    centres: NDArray[np.float64],
    others: NDArray[np.int64],
    centre: NDArray[np.float64],
    scale: float,
) -> tuple[Placed, NDArray[np.float32]]:
    """Place the centres of other balls among the points of one.

    Returns:
        The axes to them, and their inner products with the points (others, m) float32.
    """
    axes = place_ball(centres, others, centre, scale)
    size = placed.positions.size
    space = np.empty(others.size * size, np.float32)
    return axes, product(axes.coordinates, 0, others.size, placed.coordinates, size, space)


@kernel
def pick(source: Placed, chosen: NDArray[np.int64], count: int, target: Placed) -> None:
    """Copy chosen points, which ascend, to the front of ``target``, which may be ``source``."""
    for index in range(count):
        point = chosen[index]
        target.positions[index] = source.positions[point]
        target.squares[index] = source.squares[point]
        for column in range(source.coordinates.shape[1]):
            target.coordinates[index, column] = source.coordinates[point, column]


@kernel
def product(
    rows: NDArray[np.float32],
    first: int,
    last: int,
    columns: NDArray[np.float32],
    count: int,
    space: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Inner products of rows ``first`` to ``last`` with ``count`` columns, kept in ``space``."""
    tile = space[: (last - first) * count].reshape(last - first, count)
    if tile.size:
        np.dot(rows[first:last], columns[:count].T, tile)
    return tile


@kernel
def near_balls(
    centres: NDArray[np.float64],
    radii: NDArray[np.float64],
    facing: NDArray[np.float32],
    ball: int,
    radius: float,
    first: int,
    eps: float,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Balls from ``first`` on that may hold a point within eps of a point of a ball.

    Args:
        centres: (balls, d).
        radii: (balls,); negative for a ball without members of interest.
        facing: (balls, balls), or (0, 0) while it is not known: see ``Balls``.
        ball: Its number; it is among the answers if ``first`` allows.
        radius: Of the members of that ball which matter.
        first: Number of the first ball looked at.
        eps: Positive.

    Returns:
        Their numbers, and the distances of their centres.
    """
    count = centres.shape[0]
    found = np.empty(count - first, np.int64)
    distances = np.empty(count - first, np.float64)
    size = 0
    for other in range(first, count):
        if radii[other] < 0.0:
            continue
        distance = math.sqrt(squared_distance(centres, ball, other))
        if distance * (1.0 - ROUNDING) > (eps + radius + radii[other]) * (1.0 + ROUNDING):
            continue
        if facing.size:
            towards = np.float64(facing[ball, other]) + np.float64(facing[other, ball])
            if distance * (1.0 - ROUNDED) > eps * (1.0 + ROUNDED) + towards:
                continue
        found[size] = other
        distances[size] = distance
        size += 1
    return found[:size], distances[:size]


@kernel
def side_of(
    product: float,
    row_square: float,
    centre_square: float,
    error: float,
    near: float,
    far: float,
    gap: float,
) -> int:
    """How a row lies to a ball: ``OUTSIDE`` its reach, ``PARTLY``, or close to the ``WHOLE`` of it.

    Args:
        product: Inner product of the row and the axis to the ball's centre.
        row_square: Squared length of the row.
        centre_square: Squared length of the axis.
        error: ``slack`` of the dimension.
        near: eps less the radius, scaled.
        far: eps and the radius, scaled.
        gap: ``gap_to`` the ball.
    """
    unsure = error * (row_square + centre_square) + VANISHED
    square = row_square + centre_square - 2.0 * product
    if square - 2.0 * unsure > far * far * (1.0 + 4.0 * ROUNDING):
        return OUTSIDE
    if centre_square * (1.0 - ROUNDED) - product - unsure > gap:
        return OUTSIDE
    if near >= 0.0 and square + 2.0 * unsure <= near * near * (1.0 - 4.0 * ROUNDING):
        return WHOLE
    return PARTLY


@kernel
def gap_to(facing: float, eps: float, scale: float, centre_square: float) -> float:
    """How far before the other centre a row may lie on the axis; times the axis' length, scaled.

    Args:
        facing: Of the other ball towards the row's, see ``Balls``.
        eps: Positive.
        scale: Of the row.
        centre_square: Squared length of the axis.
    """
    return (eps * (1.0 + ROUNDED) + np.float64(facing)) * scale * math.sqrt(centre_square)


@kernel
def ahead(eps: float, scale: float, centre_square: float) -> float:
    """eps along an axis: how much products with it may differ, see ``gap_to``."""
    return eps * (1.0 + ROUNDED) * scale * math.sqrt(centre_square)


@kernel
def farthest(
    products: NDArray[np.float32],
    centre_square: float,
    error: float,
    squares: NDArray[np.float64],
    chosen: NDArray[np.int64],
    count: int,
) -> float:
    """The greatest product with the axis that one of the chosen rows may have."""
    most = -math.inf
    for index in range(count):
        row = chosen[index]
        unsure = error * (squares[row] + centre_square) + VANISHED
        most = max(most, products[row] + unsure)
    return most


@kernel
def place_columns(
    points: NDArray[Any],
    centre: NDArray[np.float64],
    scale: float,
    reach: float,
    axes: Placed,
    axis: int,
    most: float,
    error: float,
    count: int,
    columns: Placed,
    space: NDArray[np.float32],
) -> tuple[int, float]:
    """Place columns around the rows' centre; keep those near enough to it and along the axis.

    Args:
        points: (N, d).
        centre, scale: Of the rows.
        reach: eps and the radius of the rows, unscaled.
        axes, axis: The axis from the rows' centre to that of the columns, and its place.
        most: What the inner product with the axis may be; infinite to keep all.
        error: ``slack`` of the dimension.
        count: The columns are the points at the first so many positions of ``columns``.
        columns: Receives those kept at its front.
        space: Room for a tile.

    Returns:
        How many are kept, and the least inner product that one of them may have.
    """
    limit = (reach * scale) ** 2 * (1.0 + ROUNDED) if scale > 0.0 else 0.0
    count = place(points, centre, scale, limit, count, columns)
    if most == math.inf:
        return count, -math.inf
    positions, coordinates, squares = columns
    products = product(axes.coordinates, axis, axis + 1, coordinates, count, space)
    kept, least = 0, math.inf
    for column in range(count):
        unsure = error * (squares[column] + axes.squares[axis]) + VANISHED
        if products[0, column] - unsure > most:
            continue
        least = min(least, products[0, column] - unsure)
        if kept != column:
            positions[kept] = positions[column]
            squares[kept] = squares[column]
            for coordinate in range(coordinates.shape[1]):
                coordinates[kept, coordinate] = coordinates[column, coordinate]
        kept += 1
    return kept, least


@kernel
def narrow_rows(
    products: NDArray[np.float32],
    centre_square: float,
    least: float,
    error: float,
    squares: NDArray[np.float64],
    chosen: NDArray[np.int64],
    count: int,
) -> int:
    """Keep the chosen rows whose product with the axis may reach ``least``; how many are kept."""
    kept = 0
    for index in range(count):
        row = chosen[index]
        unsure = error * (squares[row] + centre_square) + VANISHED
        if not products[row] + unsure < least:
            chosen[kept] = row
            kept += 1
    return kept
