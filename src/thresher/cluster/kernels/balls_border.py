"""Border points: the nearest core point within eps, if there is one."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.kernels.balls_tile import (
    BLOCK,
    OUTSIDE,
    VANISHED,
    Balls,
    Placed,
    ahead,
    empty,
    farthest,
    gap_to,
    narrow_rows,
    pick,
    place_ball,
    place_centres,
    place_columns,
    product,
    scale_for,
    side_of,
    slack,
    squared_distance,
)
from thresher.cluster.kernels.compiled import kernel
from thresher.cluster.kernels.distance import precedes

__all__ = ["border_ball"]


@kernel
def nearest_in_tile(
    balls: Balls,
    rows: Placed,
    chosen: NDArray[np.int64],
    count: int,
    columns: Placed,
    width: int,
    scale: float,
    space: NDArray[np.float32],
    best: NDArray[np.float64],
    nearest: NDArray[np.int64],
) -> None:
    """Replace the nearest core point of every row where a column is nearer.

    Args:
        balls: The points.
        rows, count: The first so many.
        chosen: (count,): the places of the rows in ``best`` and ``nearest``.
        columns, width: The first so many, core points.
        scale: Of the placed coordinates.
        space: Room for a tile.
        best: Squared distance of the nearest so far, eps² at first.
        nearest: Its position, -1 at first.
    """
    error = slack(balls.points.shape[1])
    halves = np.empty(width, np.float32)
    longest = 0.0
    for column in range(width):
        halves[column] = np.float32(0.5 * columns.squares[column])
        longest = max(longest, columns.squares[column])
    for first in range(0, count, BLOCK):
        last = min(count, first + BLOCK)
        tile = product(rows.coordinates, first, last, columns.coordinates, width, space)
        for row in range(first, last):
            products = tile[row - first]
            here = chosen[row]
            scaled = best[here] * scale * scale
            unsure = error * (rows.squares[row] + longest + scaled) + VANISHED
            low = np.float32(0.5 * (rows.squares[row] - scaled) - unsure)
            within = np.int32(0)
            for column in range(width):
                within = np.int32(within + np.int32(products[column] - halves[column] >= low))
            if within == 0:
                continue
            for column in range(width):
                if not products[column] - halves[column] >= low:
                    continue
                other = columns.positions[column]
                square = squared_distance(balls.points, rows.positions[row], other)
                if square > best[here] or (
                    square == best[here]
                    and nearest[here] >= 0
                    and not precedes(balls.points.T, other, nearest[here])
                ):
                    continue
                best[here] = square
                nearest[here] = other
                scaled = square * scale * scale  # fewer columns can still be nearer
                unsure = error * (rows.squares[row] + longest + scaled) + VANISHED
                low = np.float32(0.5 * (rows.squares[row] - scaled) - unsure)


@kernel
def border_ball(
    balls: Balls,
    core: NDArray[np.int64],
    core_starts: NDArray[np.int64],
    core_radii: NDArray[np.float64],
    others: NDArray[np.int64],
    other_starts: NDArray[np.int64],
    other_radii: NDArray[np.float64],
    ball: int,
    near: NDArray[np.int64],
    eps: float,
    nearest: NDArray[np.int64],
) -> None:
    """Find the nearest core point of the other points of one ball.

    Args:
        balls: All of them.
        core: Positions of the core points, ascending.
        core_starts: (balls + 1,): the first of each ball in ``core``.
        core_radii: (balls,): reach of the core points around the centre; -1 where there is none.
        others, other_starts, other_radii: The same of the points that are not core points.
        ball: Its number; it has such points.
        near: Numbers of the balls that may hold a core point within eps, its own among them.
        eps: Positive.
        nearest: (N,): where the ball's other points receive the position of their nearest core
            point; the lexicographically first of several. Nothing is written where there is none.
    """
    positions = others[other_starts[ball] : other_starts[ball + 1]]
    size, dimension = positions.size, balls.points.shape[1]
    centre, reach = balls.centres[ball], other_radii[ball] + eps
    widest = 1
    for other in near:
        widest = max(widest, core_starts[other + 1] - core_starts[other])
    scale = scale_for(reach)
    error = slack(dimension)
    placed = place_ball(balls.points, positions, centre, scale)
    axes, products = place_centres(placed, balls.centres, near, centre, scale)
    best, found = np.full(size, eps * eps), np.full(size, -1)
    chosen = np.empty(size, np.int64)
    rows, columns = empty(size, dimension), empty(widest, dimension)
    space = np.empty(BLOCK * widest, np.float32)

    for index in range(near.size):
        other = near[index]
        centre_square = axes.squares[index]
        count = 0
        for row in range(size):
            within = math.sqrt(best[row])
            far = (within + core_radii[other]) * scale
            gap = gap_to(balls.facing[other, ball], within, scale, centre_square)
            side = side_of(
                products[index, row],
                placed.squares[row],
                centre_square,
                error,
                -1.0,
                far,
                gap,
            )
            if side != OUTSIDE:
                chosen[count] = row
                count += 1
        if count == 0:
            continue
        most = math.inf
        step = ahead(eps, scale, centre_square)
        if other != ball:
            most = step + farthest(
                products[index], centre_square, error, placed.squares, chosen, count
            )
        width = core_starts[other + 1] - core_starts[other]
        for column in range(width):
            columns.positions[column] = core[core_starts[other] + column]
        width, least = place_columns(
            balls.points, centre, scale, reach, axes, index, most, error, width, columns, space
        )
        count = narrow_rows(
            products[index], centre_square, least - step, error, placed.squares, chosen, count
        )
        if width == 0 or count == 0:
            continue
        pick(placed, chosen, count, rows)
        nearest_in_tile(balls, rows, chosen, count, columns, width, scale, space, best, found)
    for row in range(size):
        if found[row] >= 0:
            nearest[positions[row]] = found[row]
