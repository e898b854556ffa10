"""Candidates in scratch: few, contiguous, float32, and yet exact.

For a group of points the candidates within eps of its box are copied once, as

    y_j = float32((x_j - c_j) / eps)        c the centre of the group's box

so that sixteen distances fit where eight did, and the numbers are small. On the way down the
group's subtree the list is narrowed again and again to what is within eps of the smaller box.

With |x_j - c_j| / eps <= R for all of them, each y_j is off by at most v R, v = 2^-24 and a little,
so the vector between two points is off by at most E = 2 v R √d, and the float32 sum s of its
squares by a factor of at most 1 ± (d + 8) 2^-24 more. Hence

    s <= low  = (1 - E)² (1 - (d + 8) 2^-24)    means: within eps
    s >  high = (1 + E)² (1 + (d + 8) 2^-24)    means: not within eps

and only what lies between is decided by the distance itself, in float64, columns in order. The
error of that sum, (d + 3) 2^-53, is far below the slack. Where R is so large that E >= 1/4, or eps²
leaves float64's range, the group is called rough and float32 is not used at all.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.kernels.compiled import kernel
from thresher.cluster.kernels.tree_build import Tree, diagonal_squared

__all__ = [
    "BLOCK",
    "FEW",
    "LEVELS",
    "ROUNDING",
    "SHRINK",
    "SLACK",
    "ZERO",
    "Frame",
    "Scratch",
    "doubled",
    "frame_of",
    "gap_squared",
    "gather",
    "narrow",
    "near_runs",
    "new_scratch",
    "pair_squared",
    "reach_squared",
    "squares",
    "tally",
    "to_frame",
    "write_box",
]

BLOCK = 256
MOST = 65_000  # candidates in a level; columns a power of two apart would share their cache lines
LEVELS = 8
SHRINK = 3  # a list is narrowed for subtrees this many times smaller than the one it was made for
FEW = 32  # candidates that are not worth narrowing
ROUNDING = 2.0**-24
SLACK = 8  # roundings of a float32 sum beyond one for each column
ROUGH = 0.25
ZERO = np.int64(0)  # numba compiles a function anew for every number written as it is
U = np.uintp  # a signed index might mean "from the end", and keeps loops off the vector registers


class Scratch(NamedTuple):
    """Levels of candidates, each a part of the one before; one for every call of a kernel."""

    near: NDArray[np.float32]  # (LEVELS, d, capacity) coordinates in the group's frame
    at: NDArray[Any]  # (LEVELS, capacity) positions in tree order
    kept: NDArray[Any]  # (capacity,)
    sums: NDArray[np.float32]  # (BLOCK,)
    farthest: NDArray[np.float32]  # (BLOCK,)
    exact: NDArray[np.float64]  # (BLOCK,)
    point: NDArray[np.float32]  # (d,)
    box: NDArray[np.float32]  # (2 d,)


class Frame(NamedTuple):
    """Where scratch coordinates are measured from, and what their sums of squares prove."""

    centre: NDArray[np.float64]  # (d,)
    scale: float
    low: np.float32
    high: np.float32
    error: float  # E
    rough: bool


def new_scratch(tree: Tree) -> Scratch:
    """Scratch for one thread. A level takes memory as it is used; the deeper, the less."""
    dimension, n = tree.columns.shape
    capacity = min(MOST, 4 * BLOCK + n // 4)
    return Scratch(
        np.empty((LEVELS, dimension, capacity), np.float32),
        np.empty((LEVELS, capacity), tree.rows.dtype),
        np.empty(capacity, np.int32),
        np.empty(BLOCK, np.float32),
        np.empty(BLOCK, np.float32),
        np.empty(BLOCK, np.float64),
        np.empty(dimension, np.float32),
        np.empty(2 * dimension, np.float32),
    )


@kernel
def frame_of(boxes: Any, node: int, eps: float) -> Frame:
    """The frame for the points of a node and all within eps of its box."""
    dimension = boxes.shape[1] // 2
    centre = np.empty(dimension)
    reach = 0.0
    for j in range(dimension):
        low, high = np.float64(boxes[node, j]), np.float64(boxes[node, dimension + j])
        centre[j] = low / 2 + high / 2
        reach = max(reach, high - centre[j], centre[j] - low)
    reach = (reach / eps + 1) * 1.000001
    error = 2 * 1.000001 * ROUNDING * reach * np.sqrt(dimension)
    slack = (dimension + SLACK) * ROUNDING
    rough = not (error < ROUGH and 1e-140 < eps < 1e140)
    low = np.float32((1 - error) * (1 - error) * (1 - slack)) if not rough else np.float32(-1)
    high = np.float32((1 + error) * (1 + error) * (1 + slack)) if not rough else np.float32(4)
    return Frame(centre, 1 / eps, low, high, error, rough)


@kernel
def to_frame(columns: Any, position: int, frame: Frame, point: Any) -> None:
    """Write a point's scratch coordinates to ``point``."""
    for j in range(U(columns.shape[0])):
        offset = np.float64(columns[j, U(position)]) - frame.centre[j]
        point[j] = np.float32(offset * frame.scale)


@kernel
def write_box(boxes: Any, node: int, frame: Frame, box: Any) -> None:
    """Write a node's box in scratch coordinates to ``box``."""
    dimension = boxes.shape[1] // 2
    for j in range(2 * dimension):
        offset = np.float64(boxes[node, j]) - frame.centre[j % dimension]
        box[j] = np.float32(offset * frame.scale)


@kernel
def pair_squared(columns: Any, p: int, q: int) -> float:
    """The squared distance of two points: float64, columns in order."""
    total = 0.0
    for j in range(U(columns.shape[0])):
        difference = np.float64(columns[j, U(p)]) - np.float64(columns[j, U(q)])
        total += difference * difference
    return total


@kernel
def gap_squared(first_boxes: Any, a: int, second_boxes: Any, b: int) -> float:
    """The least squared distance of points in two boxes."""
    dimension = U(first_boxes.shape[1] // 2)
    a, b = U(a), U(b)
    total = 0.0
    for j in range(dimension):
        above = np.float64(first_boxes[a, j]) - np.float64(second_boxes[b, dimension + j])
        below = np.float64(second_boxes[b, j]) - np.float64(first_boxes[a, dimension + j])
        gap = above if above > below else below
        gap = gap if gap > 0.0 else 0.0
        total += gap * gap
    return total


@kernel
def reach_squared(first_boxes: Any, a: int, second_boxes: Any, b: int) -> float:
    """The greatest squared distance of points in two boxes."""
    dimension = U(first_boxes.shape[1] // 2)
    a, b = U(a), U(b)
    total = 0.0
    for j in range(dimension):
        above = np.float64(first_boxes[a, dimension + j]) - np.float64(second_boxes[b, j])
        below = np.float64(second_boxes[b, dimension + j]) - np.float64(first_boxes[a, j])
        reach = above if above > below else below
        total += reach * reach
    return total


# ---------------------------------------------------------------------- filling
@kernel
def near_runs(tree: Tree, box: Any, squared: float, avoid: int) -> tuple[Any, int, Any, int]:
    """Where in tree order the points are that may be within eps of some place of a box.

    Args:
        tree: All points.
        box: (1, 2 d) float64.
        squared: eps².
        avoid: A node whose points are left out, or -1.

    Returns:
        First and last positions, (…, 2), of the leaves near the box, those side by side as one, and
        how many; the same of the subtrees wholly within eps of every place of the box.
    """
    runs, wholes = np.empty((64, 2), dtype=np.int64), np.empty((64, 2), dtype=np.int64)
    count, whole_count = 0, 0
    node = ZERO
    small = diagonal_squared(box, ZERO) <= squared
    while node < len(tree.skip):
        after = np.int64(tree.skip[node])
        if node == avoid or gap_squared(tree.boxes, node, box, ZERO) > squared:
            node = after
        elif (
            small
            and not node < avoid < after
            and reach_squared(tree.boxes, node, box, ZERO) <= squared
        ):
            if whole_count == len(wholes):
                wholes = doubled(wholes)
            wholes[whole_count, 0], wholes[whole_count, 1] = tree.starts[node], tree.stops[node]
            whole_count += 1
            node = after
        else:
            if after == node + 1:
                if count == 0 or tree.starts[node] != runs[count - 1, 1]:
                    if count == len(runs):
                        runs = doubled(runs)
                    runs[count, 0] = tree.starts[node]
                    count += 1
                runs[count - 1, 1] = tree.stops[node]
            node += 1
    return runs, count, wholes, whole_count


@kernel
def doubled(table: Any) -> Any:
    """A table with twice the rows, beginning with these."""
    larger = np.empty((2 * table.shape[0], table.shape[1]), dtype=table.dtype)
    for i in range(table.shape[0]):
        for j in range(table.shape[1]):
            larger[i, j] = table[i, j]
    return larger


@kernel
def gather(
    columns: Any,
    first: int,
    last: int,
    box: Any,
    squared: float,
    flags: Any,
    least: int,
    frame: Frame,
    scratch: Scratch,
    length: int,
) -> int:
    """Append the points first, …, last - 1 that are within eps of a box; the new length.

    Args:
        columns: (d, n).
        first: Position.
        last: Position; at most so many more that they all fit than ``first``.
        box: (1, 2 d) float64.
        squared: eps².
        flags: (n,) uint8 of the points.
        least: The smallest flag of points that count.
        frame: Of the group.
        scratch: Its level 0 is written.
        length: Candidates in level 0.
    """
    dimension = columns.shape[0]
    near, at = scratch.near[0], scratch.at[0]
    kept, exact = scratch.kept, scratch.exact
    for start in range(first, last, BLOCK):
        size = U(min(BLOCK, last - start))
        for j in range(U(dimension)):
            low, high = box[0, j], box[0, U(dimension) + j]
            if j == 0:
                for i in range(size):
                    value = np.float64(columns[j, U(start) + i])
                    gap = low - value if low - value > value - high else value - high
                    gap = gap if gap > 0.0 else 0.0
                    exact[i] = gap * gap
            else:
                for i in range(size):
                    value = np.float64(columns[j, U(start) + i])
                    gap = low - value if low - value > value - high else value - high
                    gap = gap if gap > 0.0 else 0.0
                    exact[i] += gap * gap
        found = U(0)
        for i in range(size):
            kept[found] = i
            found += U((exact[i] <= squared) & (flags[U(start) + i] >= least))
        for j in range(U(dimension)):
            centre = frame.centre[j]
            for k in range(found):
                value = np.float64(columns[j, U(start) + U(kept[k])])
                near[j, U(length) + k] = np.float32((value - centre) * frame.scale)
        for k in range(found):
            at[U(length) + k] = U(start) + U(kept[k])
        length += np.int64(found)
    return length


@kernel
def narrow(
    scratch: Scratch, level: int, length: int, frame: Frame, surely: bool
) -> tuple[int, int]:
    """Copy to the next level what may be within eps of some point of ``scratch.box``.

    Args:
        scratch: Its level + 1 is written.
        level: The level to read.
        length: Candidates in it.
        frame: Of the group.
        surely: Leave out, and put at the end of ``scratch.kept``, those within eps of every point
            of the box.

    Returns:
        How many were copied, and how many were left out for being near for sure.
    """
    dimension = scratch.near.shape[1]
    near, at, box = scratch.near[level], scratch.at[level], scratch.box
    further, further_at = scratch.near[level + 1], scratch.at[level + 1]
    kept, sums, farthest = scratch.kept, scratch.sums, scratch.farthest
    found, sure = U(0), U(0)
    for start in range(0, length, BLOCK):
        first, size = U(start), U(min(BLOCK, length - start))
        outside(near, first, size, box, sums)
        if surely:
            across(near, first, size, box, farthest)
            for i in range(size):
                inside = farthest[i] <= frame.low
                kept[found] = first + i
                found += U((sums[i] <= frame.high) & (not inside))
                if inside:
                    sure += U(1)
                    kept[U(len(kept)) - sure] = first + i
        else:
            for i in range(size):
                kept[found] = first + i
                found += U(sums[i] <= frame.high)
    for j in range(U(dimension)):
        for k in range(found):
            further[j, k] = near[j, U(kept[k])]
    for k in range(found):
        further_at[k] = at[U(kept[k])]
    return np.int64(found), np.int64(sure)


@kernel
def outside(near: Any, first: Any, size: Any, box: Any, sums: Any) -> None:
    """Squared distances of some candidates from the nearest place of a box."""
    dimension = U(near.shape[0])
    j = U(0)
    if dimension >= U(4):
        a0, a1, a2, a3 = box[0], box[1], box[2], box[3]
        b0, b1 = box[dimension], box[dimension + U(1)]
        b2, b3 = box[dimension + U(2)], box[dimension + U(3)]
        for i in range(size):
            k = first + i
            total = beyond(a0, near[U(0), k], b0) + beyond(a1, near[U(1), k], b1)
            total += beyond(a2, near[U(2), k], b2)
            sums[i] = total + beyond(a3, near[U(3), k], b3)
        j = U(4)
    else:
        for i in range(size):
            sums[i] = np.float32(0)
    while j + U(2) <= dimension:
        a0, a1 = box[j], box[j + U(1)]
        b0, b1 = box[dimension + j], box[dimension + j + U(1)]
        for i in range(size):
            k = first + i
            sums[i] += beyond(a0, near[j, k], b0) + beyond(a1, near[j + U(1), k], b1)
        j += U(2)
    if j < dimension:
        a0, b0 = box[j], box[dimension + j]
        for i in range(size):
            sums[i] += beyond(a0, near[j, first + i], b0)


@kernel
def beyond(low: Any, value: Any, high: Any) -> Any:
    """The square of how far a value is outside of an interval."""
    below, above = low - value, value - high
    gap = below if below > above else above
    gap = gap if gap > np.float32(0) else np.float32(0)
    return gap * gap


@kernel
def across(near: Any, first: Any, size: Any, box: Any, sums: Any) -> None:
    """Squared distances of some candidates from the farthest place of a box."""
    dimension = U(near.shape[0])
    for j in range(dimension):
        low, high = box[j], box[dimension + j]
        if j == U(0):
            for i in range(size):
                above, below = near[j, first + i] - low, high - near[j, first + i]
                reach = above if above > below else below
                sums[i] = reach * reach
        else:
            for i in range(size):
                above, below = near[j, first + i] - low, high - near[j, first + i]
                reach = above if above > below else below
                sums[i] += reach * reach


# ---------------------------------------------------------------------- distances
@kernel
def squares(near: Any, first: Any, size: Any, point: Any, sums: Any) -> None:
    """Squared distances of some candidates from a point."""
    dimension = U(near.shape[0])
    j = U(0)
    if dimension >= U(4):
        p0, p1, p2, p3 = point[0], point[1], point[2], point[3]
        for i in range(size):
            k = first + i
            t0, t1 = near[U(0), k] - p0, near[U(1), k] - p1
            t2, t3 = near[U(2), k] - p2, near[U(3), k] - p3
            sums[i] = t0 * t0 + t1 * t1 + t2 * t2 + t3 * t3
        j = U(4)
    else:
        for i in range(size):
            sums[i] = np.float32(0)
    while j + U(4) <= dimension:
        p0, p1, p2, p3 = point[j], point[j + U(1)], point[j + U(2)], point[j + U(3)]
        for i in range(size):
            k = first + i
            t0, t1 = near[j, k] - p0, near[j + U(1), k] - p1
            t2, t3 = near[j + U(2), k] - p2, near[j + U(3), k] - p3
            sums[i] += t0 * t0 + t1 * t1 + t2 * t2 + t3 * t3
        j += U(4)
    while j < dimension:
        p0 = point[j]
        for i in range(size):
            t0 = near[j, first + i] - p0
            sums[i] += t0 * t0
        j += U(1)


@kernel
def tally(
    near: Any, first: Any, size: Any, point: Any, low: Any, high: Any, sums: Any
) -> tuple[int, int]:
    """How many of some candidates are within eps of a point for sure, and how many may be.

    Four to seven columns are written out, which keeps the sums in registers: measured 1.6 times as
    fast as adding up in memory.
    """
    dimension = near.shape[0]
    sure, maybe = np.uint32(0), np.uint32(0)
    if dimension == 4:
        p0, p1, p2, p3 = point[0], point[1], point[2], point[3]
        for k in range(first, first + size):
            t0, t1 = near[U(0), k] - p0, near[U(1), k] - p1
            t2, t3 = near[U(2), k] - p2, near[U(3), k] - p3
            total = t0 * t0 + t1 * t1 + t2 * t2 + t3 * t3
            sure += np.uint32(total <= low)
            maybe += np.uint32(total <= high)
    elif dimension == 5:
        p0, p1, p2, p3, p4 = point[0], point[1], point[2], point[3], point[4]
        for k in range(first, first + size):
            t0, t1 = near[U(0), k] - p0, near[U(1), k] - p1
            t2, t3 = near[U(2), k] - p2, near[U(3), k] - p3
            t4 = near[U(4), k] - p4
            total = t0 * t0 + t1 * t1 + t2 * t2 + t3 * t3 + t4 * t4
            sure += np.uint32(total <= low)
            maybe += np.uint32(total <= high)
    elif dimension == 6:
        p0, p1, p2, p3, p4, p5 = point[0], point[1], point[2], point[3], point[4], point[5]
        for k in range(first, first + size):
            t0, t1 = near[U(0), k] - p0, near[U(1), k] - p1
            t2, t3 = near[U(2), k] - p2, near[U(3), k] - p3
            t4, t5 = near[U(4), k] - p4, near[U(5), k] - p5
            total = t0 * t0 + t1 * t1 + t2 * t2 + t3 * t3 + t4 * t4 + t5 * t5
            sure += np.uint32(total <= low)
            maybe += np.uint32(total <= high)
    elif dimension == 7:
        p0, p1, p2, p3 = point[0], point[1], point[2], point[3]
        p4, p5, p6 = point[4], point[5], point[6]
        for k in range(first, first + size):
            t0, t1 = near[U(0), k] - p0, near[U(1), k] - p1
            t2, t3 = near[U(2), k] - p2, near[U(3), k] - p3
            t4, t5 = near[U(4), k] - p4, near[U(5), k] - p5
            t6 = near[U(6), k] - p6
            total = t0 * t0 + t1 * t1 + t2 * t2 + t3 * t3 + t4 * t4 + t5 * t5 + t6 * t6
            sure += np.uint32(total <= low)
            maybe += np.uint32(total <= high)
    else:
        squares(near, first, size, point, sums)
        for i in range(size):
            sure += np.uint32(sums[i] <= low)
            maybe += np.uint32(sums[i] <= high)
    return np.int64(sure), np.int64(maybe)
