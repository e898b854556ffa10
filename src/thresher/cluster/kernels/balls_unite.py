"""Clusters: core points within eps of each other get one root.

A tile is computed only where it can unite something: rows and columns that already share one root
are left out, and a tile ends as soon as all its points do. A parent array is the whole memory of a
task; two of them are merged by uniting every element with its parent in the other.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.kernels.balls_tile import (
    BLOCK,
    OUTSIDE,
    ROUNDED,
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
from thresher.cluster.kernels.disjoint import find, unite

__all__ = ["Forest", "merge", "unite_ball"]

FIRST_BLOCK = BLOCK // 8  # rows of the first block of a tile, which often unites all there is


class Forest(NamedTuple):
    """Which points are known to be connected."""

    components: NDArray[np.int32]  # (N,): the element of every core point
    parents: NDArray[np.int32]  # (elements,)


@kernel
def join(parents: NDArray[np.int32], one: int, other: int) -> None:
    """Unite the sets of two elements."""
    one_root, other_root = find(parents, one), find(parents, other)
    if one_root != other_root:
        unite(parents, one_root, other_root)


@kernel
def merge(parents: NDArray[np.int32], found: NDArray[np.int32]) -> None:
    """Unite in ``parents`` what is united in ``found``."""
    for element in range(found.size):
        if found[element] != element:
            join(parents, element, found[element])


@kernel
def root_at(forest: Forest, position: int) -> int:
    """The root of a point's element."""
    return find(forest.parents, forest.components[position])


@kernel
def shared_root(
    forest: Forest, positions: NDArray[np.int64], chosen: NDArray[np.int64], count: int
) -> int:
    """The root that all chosen points share, or -1."""
    root = root_at(forest, positions[chosen[0]])
    for index in range(1, count):
        if root_at(forest, positions[chosen[index]]) != root:
            return -1
    return root


@kernel
def without(
    forest: Forest,
    root: int,
    positions: NDArray[np.int64],
    chosen: NDArray[np.int64],
    count: int,
) -> int:
    """Keep the chosen points that have another root; how many are kept."""
    kept = 0
    for index in range(count):
        if root < 0 or root_at(forest, positions[chosen[index]]) != root:
            chosen[kept] = chosen[index]
            kept += 1
    return kept


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
    return bool(found != 0)


@kernel
def unite_tile(
    balls: Balls,
    forest: Forest,
    rows: Placed,
    count: int,
    columns: Placed,
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
        balls, forest: The points, and what is known of them.
        rows, count: The first so many.
        columns, width: The first so many.
        eps: Unscaled.
        scale: Of the placed coordinates.
        marks, offset: One for each element from ``offset`` on.
        mark: Is written into ``marks`` and stands nowhere yet.
        space: Room for a tile.
    """
    error = slack(balls.points.shape[1])
    limit = eps * eps
    scaled = (eps * scale) * (eps * scale)
    halves = np.empty(width, np.float32)
    roots = np.empty(width, np.int32)
    longest = 0.0
    separate = 0
    for row in range(count):
        root = root_at(forest, rows.positions[row])
        if marks[root - offset] != mark:
            marks[root - offset] = mark
            separate += 1
    for column in range(width):
        halves[column] = np.float32(0.5 * columns.squares[column])
        longest = max(longest, columns.squares[column])
        root = root_at(forest, columns.positions[column])
        roots[column] = root
        if marks[root - offset] != mark:
            marks[root - offset] = mark
            separate += 1
    last = 0
    while last < count and separate > 1:
        first, last = last, min(count, max(FIRST_BLOCK, 2 * last), last + BLOCK)
        tile = product(rows.coordinates, first, last, columns.coordinates, width, space)
        for row in range(first, last):
            products = tile[row - first]
            unsure = error * (rows.squares[row] + longest + scaled) + VANISHED
            middle = 0.5 * (rows.squares[row] - scaled)
            low = np.float32(middle - unsure)
            high = np.float32(middle + unsure)
            position = rows.positions[row]
            root = root_at(forest, position)
            if not meets_another(products, halves, low, roots, np.int32(root)):
                continue
            for column in range(width):
                value = products[column] - halves[column]
                if not value >= low or roots[column] == root:
                    continue
                other = find(forest.parents, roots[column])
                if other == root or (
                    not value > high
                    and squared_distance(balls.points, position, columns.positions[column]) > limit
                ):
                    continue
                root = unite(forest.parents, root, other)
                separate -= 1
                if separate == 1:
                    return
            for column in range(width):
                roots[column] = find(forest.parents, roots[column])


@kernel
def unite_ball(
    balls: Balls,
    core: NDArray[np.int64],
    core_starts: NDArray[np.int64],
    core_radii: NDArray[np.float64],
    ball: int,
    others: NDArray[np.int64],
    eps: float,
    forest: Forest,
) -> None:
    """Unite the core points of one ball with each other, or with those of other balls.

    Args:
        balls: All of them.
        core: Positions of the core points, ascending.
        core_starts: (balls + 1,): the first of each ball in ``core``.
        core_radii: (balls,): reach of the core points around the centre; -1 where there is none.
        ball: Its number; it has core points.
        others: Numbers of the others to unite with. If it is only its own, the elements are the
            places in ``core``, and no others than the ball's are written.
        eps: Positive.
        forest: What is known, and receives what is found.
    """
    start, stop = core_starts[ball], core_starts[ball + 1]
    own = others.size == 1 and others[0] == ball
    if own and 2.0 * core_radii[ball] * (1.0 + ROUNDED) <= eps:
        for index in range(start + 1, stop):
            join(forest.parents, start, index)
        return
    size, dimension = stop - start, balls.points.shape[1]
    centre, reach = balls.centres[ball], core_radii[ball] + eps
    widest = 1
    for other in others:
        widest = max(widest, core_starts[other + 1] - core_starts[other])
    scale = scale_for(reach)
    error = slack(dimension)
    placed = place_ball(balls.points, core[start:stop], centre, scale)
    axes, products = place_centres(placed, balls.centres, others, centre, scale)
    chosen, listed = np.empty(size, np.int64), np.empty(widest, np.int64)
    rows, columns = empty(size, dimension), empty(widest, dimension)
    space = np.empty(BLOCK * widest, np.float32)
    offset = start if own else 0
    marks = np.full(size if own else forest.parents.size, -1, np.int32)

    for index in range(others.size):
        other = others[index]
        begin, end = core_starts[other], core_starts[other + 1]
        centre_square = axes.squares[index]
        near, far = (eps - core_radii[other]) * scale, (eps + core_radii[other]) * scale
        gap = gap_to(balls.facing[other, ball], eps, scale, centre_square)
        count, one = 0, False
        for row in range(size):
            side = side_of(
                products[index, row], placed.squares[row], centre_square, error, near, far, gap
            )
            if side == WHOLE:
                element = forest.components[placed.positions[row]]
                # the first such row has made one of all columns: a later one joins any of them
                for column in range(begin, begin + 1 if one else end):
                    join(forest.parents, element, forest.components[core[column]])
                one = True
            if side != OUTSIDE:
                chosen[count] = row
                count += 1
        if count == 0:
            continue

        # Columns without the root that all rows share, then rows without that of all columns.
        for column in range(begin, end):
            listed[column - begin] = column
        root = shared_root(forest, placed.positions, chosen, count)
        width = without(forest, root, core, listed, end - begin)
        if width == 0:
            continue
        for column in range(width):
            columns.positions[column] = core[listed[column]]
        most = math.inf
        step = ahead(eps, scale, centre_square)
        if not own:
            most = step + farthest(
                products[index], centre_square, error, placed.squares, chosen, count
            )
        width, least = place_columns(
            balls.points, centre, scale, reach, axes, index, most, error, width, columns, space
        )
        count = narrow_rows(
            products[index], centre_square, least - step, error, placed.squares, chosen, count
        )
        if width == 0 or count == 0:
            continue
        for column in range(width):
            listed[column] = column
        root = shared_root(forest, columns.positions, listed, width)
        count = without(forest, root, placed.positions, chosen, count)
        pick(placed, chosen, count, rows)
        unite_tile(
            balls, forest, rows, count, columns, width, eps, scale, marks, offset, index, space
        )
