"""Border points: the nearest core point within eps, if there is one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.kernels.balls_tile import (
    BLOCK,
    OUTSIDE,
    ROUNDED,
    VANISHED,
    Balls,
    farthest,
    gap_to,
    narrow_columns,
    narrow_rows,
    near_balls,
    pick,
    place,
    place_ball,
    place_centres,
    product,
    scale_for,
    side_of,
    slack,
    squared_distance,
)
from thresher.cluster.kernels.compiled import kernel

__all__ = ["border_ball"]


@kernel
def precedes(balls: Balls, one: int, other: int) -> bool:
    """Whether the coordinates of one point come lexicographically before those of another."""
    for column in range(balls.points.shape[1]):
        if balls.points[one, column] != balls.points[other, column]:
            return bool(balls.points[one, column] < balls.points[other, column])
    return False


@kernel
def nearest_in_tile(
    balls: Balls,
    positions: NDArray[np.int64],
    rows: NDArray[np.float32],
    row_squares: NDArray[np.float64],
    count: int,
    members: NDArray[np.int64],
    columns: NDArray[np.float32],
    column_squares: NDArray[np.float64],
    width: int,
    scale: float,
    space: NDArray[np.float32],
    best: NDArray[np.float64],
    nearest: NDArray[np.int64],
) -> None:
    """Replace the nearest core point of every row where a column is nearer.

    Args:
        balls: The points.
        positions, rows, row_squares: Of the ``count`` rows: in the points, placed, squared lengths.
        members, columns, column_squares: Of the ``width`` columns, core points.
        scale: Of the placed coordinates.
        space: Room for a tile.
        best: (count,): squared distance of the nearest so far, eps² at first.
        nearest: (count,): its position, -1 at first.
    """
    error = slack(rows.shape[1])
    halves = np.empty(width, np.float32)
    longest = 0.0
    for column in range(width):
        halves[column] = np.float32(0.5 * column_squares[column])
        longest = max(longest, column_squares[column])
    for first in range(0, count, BLOCK):
        last = min(count, first + BLOCK)
        tile = product(rows, first, last, columns, width, space)
        for row in range(first, last):
            products = tile[row - first]
            scaled = best[row] * scale * scale
            unsure = error * (row_squares[row] + longest + scaled) + VANISHED
            low = np.float32(0.5 * (row_squares[row] - scaled) - unsure)
            within = np.int32(0)
            for column in range(width):
                within = np.int32(within + np.int32(products[column] - halves[column] >= low))
            if within == 0:
                continue
            for column in range(width):
                if not products[column] - halves[column] >= low:
                    continue
                square = squared_distance(balls.points, positions[row], members[column])
                if square > best[row] or (
                    square == best[row]
                    and nearest[row] >= 0
                    and not precedes(balls, members[column], nearest[row])
                ):
                    continue
                best[row] = square
                nearest[row] = members[column]
                scaled = square * scale * scale  # fewer columns can still be nearer
                unsure = error * (row_squares[row] + longest + scaled) + VANISHED
                low = np.float32(0.5 * (row_squares[row] - scaled) - unsure)


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
        ball: Its number.
        eps: Positive.
        nearest: (N,): where the ball's other points receive the position of their nearest core
            point; the lexicographically first of several. Nothing is written where there is none.
    """
    start, stop = other_starts[ball], other_starts[ball + 1]
    centre, radius = balls.centres[ball], other_radii[ball]
    if start == stop:
        return
    positions = others[start:stop]
    size, dimension = stop - start, balls.points.shape[1]
    near = near_balls(balls.centres, core_radii, balls.facing, ball, radius, 0, eps)
    widest = 1
    for other in near:
        widest = max(widest, core_starts[other + 1] - core_starts[other])
    scale = scale_for(radius + eps)
    error = slack(dimension)
    reach = (radius + eps) * scale if scale > 0.0 else 0.0
    reach *= reach * (1.0 + ROUNDED)

    placed, squares = place_ball(balls.points, positions.copy(), centre, scale)
    axes, centre_squares, products = place_centres(placed, balls.centres, near, centre, scale)
    best = np.full(size, eps * eps)
    found = np.full(size, -1)
    chosen = np.empty(size, np.int64)
    rows = np.empty((size, dimension), np.float32)
    row_squares = np.empty(size, np.float64)
    row_positions = np.empty(size, np.int64)
    row_best = np.empty(size, np.float64)
    row_found = np.empty(size, np.int64)
    members = np.empty(widest, np.int64)
    columns = np.empty((widest, dimension), np.float32)
    column_squares = np.empty(widest, np.float64)
    space = np.empty(BLOCK * widest, np.float32)

    for index in range(near.size):
        other = near[index]
        centre_square = centre_squares[index]
        count = 0
        for row in range(size):
            within = np.sqrt(best[row])
            far = (within + core_radii[other]) * scale
            gap = gap_to(balls.facing[other, ball], within, scale, centre_square)
            side = side_of(products[index, row], squares[row], centre_square, error, -1.0, far, gap)
            if side != OUTSIDE:
                chosen[count] = row
                count += 1
        if count == 0:
            continue
        width = core_starts[other + 1] - core_starts[other]
        for column in range(width):
            members[column] = core[core_starts[other] + column]
        width = place(balls.points, members, width, centre, scale, reach, columns, column_squares)
        if width > 0 and other != ball:
            ahead = eps * scale * np.sqrt(centre_square) * (1.0 + ROUNDED)
            most = farthest(products[index], centre_square, error, squares, chosen, count) + ahead
            width, least = narrow_columns(
                axes[index], centre_square, most, error, members, columns, column_squares, width
            )
            count = narrow_rows(
                products[index], centre_square, least - ahead, error, squares, chosen, count
            )
        if width == 0 or count == 0:
            continue
        pick(positions, placed, squares, chosen, count, row_positions, rows, row_squares)
        for row in range(count):
            row_best[row] = best[chosen[row]]
            row_found[row] = found[chosen[row]]
        nearest_in_tile(
            balls,
            row_positions,
            rows,
            row_squares,
            count,
            members,
            columns,
            column_squares,
            width,
            scale,
            space,
            row_best,
            row_found,
        )
        for row in range(count):
            best[chosen[row]] = row_best[row]
            found[chosen[row]] = row_found[row]
    for row in range(size):
        if found[row] >= 0:
            nearest[positions[row]] = found[row]
