"""Neighbours of the points of a ball, counted or weighed until it is clear who is a core point.

A pair of points is looked at once, for both, and only while one of them is undecided. In dense
data the points of its own ball decide nearly every point; what remains are outliers and borders.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.kernels.balls_tile import (
    BLOCK,
    OUTSIDE,
    ROUNDED,
    VANISHED,
    WHOLE,
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

__all__ = ["add", "count_ball"]


@kernel
def add(
    counts: NDArray[np.float64],
    found: NDArray[np.float64],
    starts: NDArray[np.int64],
    touched: NDArray[np.int64],
) -> None:
    """Add what a task found in the balls it touched, and clear it for the next task."""
    for ball in touched:
        for position in range(starts[ball], starts[ball + 1]):
            counts[position] += found[position]
            found[position] = 0.0


@kernel
def count_tile(
    balls: Balls,
    positions: NDArray[np.int64],
    rows: NDArray[np.float32],
    row_squares: NDArray[np.float64],
    count: int,
    members: NDArray[np.int64],
    columns: NDArray[np.float32],
    column_squares: NDArray[np.float64],
    width: int,
    eps: float,
    scale: float,
    weights: NDArray[np.float64],
    space: NDArray[np.float32],
    row_found: NDArray[np.float64],
    column_found: NDArray[np.float64],
) -> None:
    """Count the neighbours of every row among the columns and of every column among the rows.

    Args:
        balls: The points.
        positions, rows, row_squares: Of the ``count`` rows: in the points, placed, squared lengths.
        members, columns, column_squares: Of the ``width`` columns.
        eps: Unscaled.
        scale: Of the placed coordinates.
        weights: (N,), or (0,): every point counts 1.
        space: Room for a tile.
        row_found: (count,) receives the weight of the neighbours of every row.
        column_found: (width,), likewise.
    """
    error = slack(rows.shape[1])
    limit = eps * eps
    scaled = (eps * scale) * (eps * scale)
    halves = np.empty(width, np.float32)
    hits = np.zeros(width, np.int32)
    longest = 0.0
    for column in range(width):
        halves[column] = np.float32(0.5 * column_squares[column])
        longest = max(longest, column_squares[column])
        column_found[column] = 0.0
    for first in range(0, count, BLOCK):
        last = min(count, first + BLOCK)
        tile = product(rows, first, last, columns, width, space)
        for row in range(first, last):
            products = tile[row - first]
            unsure = error * (row_squares[row] + longest + scaled) + VANISHED
            middle = 0.5 * (row_squares[row] - scaled)
            low = np.float32(middle - unsure)
            high = np.float32(middle + unsure)
            if weights.size == 0:
                within = np.int32(0)
                certain = np.int32(0)
                for column in range(width):
                    value = products[column] - halves[column]
                    hit = np.int32(value >= low)
                    within = np.int32(within + hit)
                    certain = np.int32(certain + np.int32(value > high))
                    hits[column] = np.int32(hits[column] + hit)
                if within != certain:
                    for column in range(width):
                        value = products[column] - halves[column]
                        if (
                            value >= low
                            and not value > high
                            and squared_distance(balls.points, positions[row], members[column])
                            > limit
                        ):
                            within = np.int32(within - np.int32(1))
                            hits[column] = np.int32(hits[column] - np.int32(1))
                row_found[row] = within
                continue
            weight = weights[positions[row]]
            total = 0.0
            for column in range(width):
                value = products[column] - halves[column]
                if value >= low and (
                    value > high
                    or squared_distance(balls.points, positions[row], members[column]) <= limit
                ):
                    total += weights[members[column]]
                    column_found[column] += weight
            row_found[row] = total
    if weights.size == 0:
        for column in range(width):
            column_found[column] = hits[column]


@kernel
def count_ball(
    balls: Balls,
    masses: NDArray[np.float64],
    unclear: NDArray[np.bool_],
    ball: int,
    own: bool,
    both: bool,
    eps: float,
    enough: float,
    weights: NDArray[np.float64],
    counts: NDArray[np.float64],
    found: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Count the neighbours of the points of one ball in its own ball or in the others.

    Args:
        balls: All of them.
        masses: (balls,): weight of their points.
        unclear: (balls,): whether a ball has points that may not have enough neighbours yet.
        ball: Whose points are the rows.
        own: Look at the ball itself, not at others.
        both: Count for the other balls' points as well, and look at later balls only. Sums then
            come in any order, so weights must be whole numbers.
        eps: Positive.
        enough: ``min_samples``; what has reached it is counted no further.
        weights: (N,) in the order of the points, or (0,): every point counts 1.
        counts: (N,), what is known so far. Only the rows' are written, and only without ``both``.
        found: (N,) of zeros, receives what is to be added to ``counts`` with ``both``.

    Returns:
        The balls whose ``found`` has been written.
    """
    start, stop = balls.starts[ball], balls.starts[ball + 1]
    size, dimension = stop - start, balls.points.shape[1]
    centre, radius = balls.centres[ball], balls.radii[ball]
    if own:
        others = np.full(1, ball)
    else:
        others = near_balls(
            balls.centres, balls.radii, balls.facing, ball, radius, ball + 1 if both else 0, eps
        )
        if not unclear[ball]:
            others = others[unclear[others]] if both else others[:0]
    widest = 1
    for other in others:
        widest = max(widest, balls.starts[other + 1] - balls.starts[other])
    scale = scale_for(radius + eps)
    error = slack(dimension)
    reach = (radius + eps) * scale if scale > 0.0 else 0.0
    reach *= reach * (1.0 + ROUNDED)

    positions = np.arange(start, stop)
    placed, squares = place_ball(balls.points, positions, centre, scale)
    axes, centre_squares, products = place_centres(placed, balls.centres, others, centre, scale)
    before = counts[start:stop].copy()
    totals = before.copy()
    undecided = np.empty(size, np.int64)
    decided = np.empty(size, np.int64)
    rows = np.empty((size, dimension), np.float32)
    row_squares = np.empty(size, np.float64)
    row_positions = np.empty(size, np.int64)
    row_found = np.empty(size, np.float64)
    members = np.empty(widest, np.int64)
    wanted = np.empty(widest, np.int64)
    columns = np.empty((widest, dimension), np.float32)
    column_squares = np.empty(widest, np.float64)
    column_found = np.empty(widest, np.float64)
    space = np.empty(BLOCK * widest, np.float32)
    touched = np.empty(others.size + 1, np.int64)
    touched[0] = ball
    touches = 1

    for index in range(others.size):
        other = others[index]
        if other == ball and not own:
            continue
        begin, end = balls.starts[other], balls.starts[other + 1]
        width = 0
        if both and unclear[other]:
            for position in range(begin, end):
                if counts[position] + found[position] < enough:
                    members[width] = position
                    width += 1

        # Rows by how they lie to the ball: near to the whole of it, undecided, decided.
        centre_square = centre_squares[index]
        near, far = (eps - balls.radii[other]) * scale, (eps + balls.radii[other]) * scale
        gap = gap_to(balls.facing[other, ball], eps, scale, centre_square)
        few, many, mass = 0, 0, 0.0
        for row in range(size):
            open_row = totals[row] < enough
            if not open_row and width == 0:
                continue
            side = side_of(products[index, row], squares[row], centre_square, error, near, far, gap)
            if side == WHOLE:
                totals[row] += masses[other]
                mass += 1.0 if weights.size == 0 else weights[start + row]
            elif side != OUTSIDE and open_row:
                undecided[few] = row
                few += 1
            elif side != OUTSIDE:
                decided[many] = row
                many += 1
        if both and mass > 0.0:
            for position in range(begin, end):
                found[position] += mass

        # Undecided rows meet all columns, decided rows those that still need their neighbours.
        if few > 0:
            width = end - begin
            for column in range(width):
                members[column] = begin + column
        if few + many > 0 and width > 0:
            width = place(
                balls.points, members, width, centre, scale, reach, columns, column_squares
            )
        if few + many > 0 and width > 0 and not own:
            most = farthest(products[index], centre_square, error, squares, undecided, few)
            if many > 0:
                most = max(
                    most, farthest(products[index], centre_square, error, squares, decided, many)
                )
            ahead = eps * scale * np.sqrt(centre_square) * (1.0 + ROUNDED)
            width, least = narrow_columns(
                axes[index],
                centre_square,
                most + ahead,
                error,
                members,
                columns,
                column_squares,
                width,
            )
            least -= ahead
            few = narrow_rows(products[index], centre_square, least, error, squares, undecided, few)
            many = narrow_rows(products[index], centre_square, least, error, squares, decided, many)
        if both and (mass > 0.0 or (width > 0 and few + many > 0)):
            touched[touches] = other
            touches += 1
        for turn in range(2):
            chosen, count = (undecided, few) if turn == 0 else (decided, many)
            if count == 0 or width == 0:
                continue
            if turn == 1 and few > 0:
                kept = 0
                for column in range(width):
                    if counts[members[column]] + found[members[column]] < enough:
                        wanted[kept] = column
                        kept += 1
                pick(
                    members,
                    columns,
                    column_squares,
                    wanted,
                    kept,
                    members,
                    columns,
                    column_squares,
                )
                width = kept
                if width == 0:
                    continue
            pick(positions, placed, squares, chosen, count, row_positions, rows, row_squares)
            count_tile(
                balls,
                row_positions,
                rows,
                row_squares,
                count,
                members,
                columns,
                column_squares,
                width,
                eps,
                scale,
                weights,
                space,
                row_found,
                column_found,
            )
            for row in range(count):
                totals[chosen[row]] += row_found[row]
            if both:
                for column in range(width):
                    found[members[column]] += column_found[column]

    for row in range(size):
        if both:
            found[start + row] += totals[row] - before[row]
        else:
            counts[start + row] = totals[row]
    return touched[:touches]
