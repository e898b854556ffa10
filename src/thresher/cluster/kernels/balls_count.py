"""Neighbours of the points of a ball, counted or weighed until it is clear who is a core point.

A pair of points is looked at once, for both, and only while one of them is undecided. In dense
data the points of its own ball decide nearly every point; what remains are outliers and borders.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.kernels.balls_tile import (
    BLOCK,
    OUTSIDE,
    VANISHED,
    WHOLE,
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
    rows: Placed,
    count: int,
    columns: Placed,
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
        rows, count: The first so many.
        columns, width: The first so many.
        eps: Unscaled.
        scale: Of the placed coordinates.
        weights: (N,), or (0,): every point counts 1.
        space: Room for a tile.
        row_found: (count,) receives the weight of the neighbours of every row.
        column_found: (width,), likewise.
    """
    error = slack(balls.points.shape[1])
    limit = eps * eps
    scaled = (eps * scale) * (eps * scale)
    halves = np.empty(width, np.float32)
    hits = np.zeros(width, np.int32)
    longest = 0.0
    for column in range(width):
        halves[column] = np.float32(0.5 * columns.squares[column])
        longest = max(longest, columns.squares[column])
        column_found[column] = 0.0
    for first in range(0, count, BLOCK):
        last = min(count, first + BLOCK)
        tile = product(rows.coordinates, first, last, columns.coordinates, width, space)
        for row in range(first, last):
            products = tile[row - first]
            position = rows.positions[row]
            unsure = error * (rows.squares[row] + longest + scaled) + VANISHED
            middle = 0.5 * (rows.squares[row] - scaled)
            low = np.float32(middle - unsure)
            high = np.float32(middle + unsure)
            if weights.size:
                total = 0.0
                for column in range(width):
                    value = products[column] - halves[column]
                    other = columns.positions[column]
                    if value >= low and (
                        value > high or squared_distance(balls.points, position, other) <= limit
                    ):
                        total += weights[other]
                        column_found[column] += weights[position]
                row_found[row] = total
                continue
            within, certain = np.int32(0), np.int32(0)
            for column in range(width):
                value = products[column] - halves[column]
                hit = np.int32(value >= low)
                within = np.int32(within + hit)
                certain = np.int32(certain + np.int32(value > high))
                hits[column] = np.int32(hits[column] + hit)
            if within != certain:
                for column in range(width):
                    value = products[column] - halves[column]
                    if not value >= low or value > high:
                        continue
                    other = columns.positions[column]
                    if squared_distance(balls.points, position, other) > limit:
                        within = np.int32(within - np.int32(1))
                        hits[column] = np.int32(hits[column] - np.int32(1))
            row_found[row] = within
    if weights.size == 0:
        for column in range(width):
            column_found[column] = hits[column]


@kernel
def sort_rows(
    rows: Placed,
    products: NDArray[np.float32],
    centre_square: float,
    error: float,
    near: float,
    far: float,
    gap: float,
    mass: float,
    enough: float,
    decided_too: bool,
    weights: NDArray[np.float64],
    totals: NDArray[np.float64],
    undecided: NDArray[np.int64],
    decided: NDArray[np.int64],
) -> tuple[int, int, float]:
    """List the rows by how they lie to a ball, and add the whole of it where it is near enough.

    Args:
        rows: All rows.
        products, centre_square, error, near, far, gap: See ``side_of``.
        mass: Weight of the ball's points.
        enough: Rows that have reached it are decided.
        decided_too: Whether they matter.
        weights: (N,), or (0,): every point counts 1.
        totals: (m,): weight of the rows' neighbours so far.
        undecided, decided: (m,) receive the rows to compare with the ball's points.

    Returns:
        How many of either, and the weight of the rows that are near to the whole ball.
    """
    few, many, near_mass = 0, 0, 0.0
    for row in range(totals.size):
        is_open = totals[row] < enough
        if not is_open and not decided_too:
            continue
        side = side_of(products[row], rows.squares[row], centre_square, error, near, far, gap)
        if side == WHOLE:
            totals[row] += mass
            near_mass += weights[rows.positions[row]] if weights.size else 1.0
        elif side != OUTSIDE and is_open:
            undecided[few] = row
            few += 1
        elif side != OUTSIDE:
            decided[many] = row
            many += 1
    return few, many, near_mass


@kernel
def list_open(
    counts: NDArray[np.float64],
    found: NDArray[np.float64],
    enough: float,
    positions: NDArray[np.int64],
    count: int,
    chosen: NDArray[np.int64],
) -> int:
    """List the places of the positions that still lack neighbours; how many there are."""
    kept = 0
    for index in range(count):
        if counts[positions[index]] + found[positions[index]] < enough:
            chosen[kept] = index
            kept += 1
    return kept


@kernel
def count_ball(
    balls: Balls,
    masses: NDArray[np.float64],
    ball: int,
    others: NDArray[np.int64],
    both: bool,
    eps: float,
    enough: float,
    weights: NDArray[np.float64],
    counts: NDArray[np.float64],
    found: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Count the neighbours of the points of one ball in its own ball or in others.

    Args:
        balls: All of them.
        masses: (balls,): weight of their points.
        ball: Whose points are the rows.
        others: Numbers of the others, or only its own.
        both: Count for the other balls' points as well. Sums then come in any order, so weights
            must be whole numbers.
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
    centre, reach = balls.centres[ball], balls.radii[ball] + eps
    widest = 1
    for other in others:
        widest = max(widest, balls.starts[other + 1] - balls.starts[other])
    scale = scale_for(reach)
    error = slack(dimension)
    placed = place_ball(balls.points, np.arange(start, stop), centre, scale)
    axes, products = place_centres(placed, balls.centres, others, centre, scale)
    before = counts[start:stop].copy()
    totals = before.copy()
    undecided, decided = np.empty(size, np.int64), np.empty(size, np.int64)
    wanting = np.empty(widest, np.int64)
    rows, columns = empty(size, dimension), empty(widest, dimension)
    row_found, column_found = np.empty(size, np.float64), np.empty(widest, np.float64)
    space = np.empty(BLOCK * widest, np.float32)
    touched = np.empty(others.size + 1, np.int64)
    touched[0] = ball
    touches = 1

    for index in range(others.size):
        other = others[index]
        begin, end = balls.starts[other], balls.starts[other + 1]
        width = end - begin
        for column in range(width):
            columns.positions[column] = begin + column
        wanted = (
            list_open(counts, found, enough, columns.positions, width, wanting) if both else width
        )
        centre_square = axes.squares[index]
        few, many, near_mass = sort_rows(
            placed,
            products[index],
            centre_square,
            error,
            (eps - balls.radii[other]) * scale,
            (eps + balls.radii[other]) * scale,
            gap_to(balls.facing[other, ball], eps, scale, centre_square),
            masses[other],
            enough,
            both and wanted > 0,
            weights,
            totals,
            undecided,
            decided,
        )
        if both and near_mass > 0.0:
            for position in range(begin, end):
                found[position] += near_mass
        # Undecided rows meet all columns, decided rows those that still lack neighbours.
        if few == 0 and many > 0:
            for column in range(wanted):
                columns.positions[column] = begin + wanting[column]
            width = wanted
        if few + many > 0:
            most = math.inf
            step = ahead(eps, scale, centre_square)
            if other != ball:
                most = step + max(
                    farthest(products[index], centre_square, error, placed.squares, undecided, few),
                    farthest(products[index], centre_square, error, placed.squares, decided, many),
                )
            width, least = place_columns(
                balls.points,
                centre,
                scale,
                reach,
                axes,
                index,
                most,
                error,
                width,
                columns,
                space,
            )
            least -= step
            few = narrow_rows(
                products[index], centre_square, least, error, placed.squares, undecided, few
            )
            many = narrow_rows(
                products[index], centre_square, least, error, placed.squares, decided, many
            )
        if both and (near_mass > 0.0 or few + many > 0):
            touched[touches] = other
            touches += 1
        for turn in range(2):
            chosen, count = (undecided, few) if turn == 0 else (decided, many)
            if turn == 1 and few > 0 and many > 0:
                kept = list_open(counts, found, enough, columns.positions, width, wanting)
                pick(columns, wanting, kept, columns)
                width = kept
            if count == 0 or width == 0:
                continue
            pick(placed, chosen, count, rows)
            count_tile(
                balls,
                rows,
                count,
                columns,
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
                    found[columns.positions[column]] += column_found[column]

    for row in range(size):
        if both:
            found[start + row] += totals[row] - before[row]
        else:
            counts[start + row] = totals[row]
    return touched[:touches]
