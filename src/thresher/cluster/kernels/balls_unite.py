"""Clusters: core points within eps of each other get one root.

A tile is computed only where it can unite something: rows and columns that already share one root
are left out, and a tile ends as soon as all its points do. A parent array is the whole memory of a
task; two of them are merged by uniting every element with its parent in the other.
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
from thresher.cluster.kernels.disjoint import find, unite

__all__ = ["merge", "unite_ball"]

SHORT_BLOCK = BLOCK // 8  # rows of the first block of a tile, which often unites all there is


@kernel
def join(parents: NDArray[np.int32], one: int, other: int) -> None:
    """Unite the sets of two elements."""
    one, other = find(parents, one), find(parents, other)
    if one != other:
        unite(parents, one, other)


@kernel
def merge(parents: NDArray[np.int32], found: NDArray[np.int32]) -> None:
    """Unite in ``parents`` what is united in ``found``."""
    for element in range(found.size):
        if found[element] != element:
            join(parents, element, found[element])


@kernel
def shared(roots: NDArray[np.int64], chosen: NDArray[np.int64], count: int) -> int:
    """The root that all chosen rows share, or -1."""
    root = roots[chosen[0]]
    for index in range(1, count):
        if roots[chosen[index]] != root:
            return -1
    return root


@kernel
def meets_another(
    products: NDArray[np.float32],
    halves: NDArray[np.float32],
    low: np.float32,
    roots: NDArray[np.int32],
    root: np.int32,
) -> bool:
    """Whether a row may be within eps of a column that has another root; without branches."""
    found = np.int32(0)
    for column in range(halves.size):
        near = np.int32(products[column] - halves[column] >= low)
        found = np.int32(found | (near & np.int32(roots[column] != root)))
    return found != 0


@kernel
def unite_tile(
    balls: Balls,
    components: NDArray[np.int32],
    parents: NDArray[np.int32],
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
    marks: NDArray[np.int32],
    offset: int,
    mark: int,
    space: NDArray[np.float32],
) -> None:
    """Unite the elements of rows and columns within eps, until all are one.

    Args:
        balls: The points.
        components, parents: The element of every point, and the forest over the elements.
        positions, rows, row_squares: Of the ``count`` rows: in the points, placed, squared lengths.
        members, columns, column_squares: Of the ``width`` columns.
        eps: Unscaled.
        scale: Of the placed coordinates.
        marks, offset: One for each element from ``offset`` on.
        mark: Is written into ``marks`` and stands nowhere yet.
        space: Room for a tile.
    """
    error = slack(rows.shape[1])
    limit = eps * eps
    scaled = (eps * scale) * (eps * scale)
    halves = np.empty(width, np.float32)
    roots = np.empty(width, np.int32)
    longest = 0.0
    separate = 0
    for row in range(count):
        root = find(parents, components[positions[row]])
        if marks[root - offset] != mark:
            marks[root - offset] = mark
            separate += 1
    for column in range(width):
        halves[column] = np.float32(0.5 * column_squares[column])
        longest = max(longest, column_squares[column])
        root = find(parents, components[members[column]])
        roots[column] = root
        if marks[root - offset] != mark:
            marks[root - offset] = mark
            separate += 1
    last = 0
    while last < count and separate > 1:
        first, last = last, min(count, max(SHORT_BLOCK, 2 * last), last + BLOCK)
        tile = product(rows, first, last, columns, width, space)
        for row in range(first, last):
            products = tile[row - first]
            unsure = error * (row_squares[row] + longest + scaled) + VANISHED
            middle = 0.5 * (row_squares[row] - scaled)
            low = np.float32(middle - unsure)
            high = np.float32(middle + unsure)
            root = find(parents, components[positions[row]])
            if not meets_another(products, halves, low, roots, np.int32(root)):
                continue
            for column in range(width):
                value = products[column] - halves[column]
                if (
                    not value >= low
                    or roots[column] == root
                    or find(parents, roots[column]) == root
                ):
                    continue
                if (
                    not value > high
                    and squared_distance(balls.points, positions[row], members[column]) > limit
                ):
                    continue
                root = unite(parents, root, find(parents, roots[column]))
                separate -= 1
                if separate == 1:
                    return
            for column in range(width):
                roots[column] = find(parents, roots[column])


@kernel
def unite_ball(
    balls: Balls,
    core: NDArray[np.int64],
    core_starts: NDArray[np.int64],
    core_radii: NDArray[np.float64],
    ball: int,
    own: bool,
    eps: float,
    components: NDArray[np.int32],
    parents: NDArray[np.int32],
) -> None:
    """Unite the core points of one ball with each other, or with those of later balls.

    Args:
        balls: All of them.
        core: Positions of the core points, ascending.
        core_starts: (balls + 1,): the first of each ball in ``core``.
        core_radii: (balls,): reach of the core points around the centre; -1 where there is none.
        ball: Its number.
        own: Unite within the ball, not with others. The elements are then the places in ``core``,
            and only those of the ball are written.
        eps: Positive.
        components: (N,): the element of every core point.
        parents: A forest over the elements.
    """
    start, stop = core_starts[ball], core_starts[ball + 1]
    centre, radius = balls.centres[ball], core_radii[ball]
    if start == stop:
        return
    if own and 2.0 * radius * (1.0 + ROUNDED) <= eps:
        for index in range(start + 1, stop):
            join(parents, start, index)
        return
    positions = core[start:stop]
    size, dimension = stop - start, balls.points.shape[1]
    if own:
        others = np.full(1, ball)
    else:
        others = near_balls(balls.centres, core_radii, balls.facing, ball, radius, ball + 1, eps)
    widest = 1
    for other in others:
        widest = max(widest, core_starts[other + 1] - core_starts[other])
    scale = scale_for(radius + eps)
    error = slack(dimension)
    reach = (radius + eps) * scale if scale > 0.0 else 0.0
    reach *= reach * (1.0 + ROUNDED)

    placed, squares = place_ball(balls.points, positions.copy(), centre, scale)
    axes, centre_squares, products = place_centres(placed, balls.centres, others, centre, scale)
    row_roots = np.empty(size, np.int64)
    chosen = np.empty(size, np.int64)
    rows = np.empty((size, dimension), np.float32)
    row_squares = np.empty(size, np.float64)
    row_positions = np.empty(size, np.int64)
    members = np.empty(widest, np.int64)
    columns = np.empty((widest, dimension), np.float32)
    column_squares = np.empty(widest, np.float64)
    space = np.empty(BLOCK * widest, np.float32)
    offset = start if own else 0
    marks = np.full(size if own else parents.size, -1, np.int32)

    for index in range(others.size):
        other = others[index]
        begin, end = core_starts[other], core_starts[other + 1]
        centre_square = centre_squares[index]
        near, far = (eps - core_radii[other]) * scale, (eps + core_radii[other]) * scale
        gap = gap_to(balls.facing[other, ball], eps, scale, centre_square)
        count = 0
        for row in range(size):
            side = side_of(products[index, row], squares[row], centre_square, error, near, far, gap)
            if side == OUTSIDE:
                continue
            if side == WHOLE:
                for column in range(begin, end):
                    join(parents, components[positions[row]], components[core[column]])
            chosen[count] = row
            count += 1
        if count == 0:
            continue
        for row in range(size):
            row_roots[row] = find(parents, components[positions[row]])

        # Columns without the root that all rows share, then rows without that of all columns.
        root = shared(row_roots, chosen, count)
        width = 0
        for column in range(begin, end):
            if root < 0 or find(parents, components[core[column]]) != root:
                members[width] = core[column]
                width += 1
        if width == 0:
            continue
        width = place(balls.points, members, width, centre, scale, reach, columns, column_squares)
        if width == 0:
            continue
        if not own:
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
        root = find(parents, components[members[0]])
        for column in range(1, width):
            if find(parents, components[members[column]]) != root:
                root = -1
                break
        kept = 0
        for row in range(count):
            if root < 0 or row_roots[chosen[row]] != root:
                chosen[kept] = chosen[row]
                kept += 1
        count = kept
        pick(positions, placed, squares, chosen, count, row_positions, rows, row_squares)
        unite_tile(
            balls,
            components,
            parents,
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
            marks,
            offset,
            index,
            space,
        )
