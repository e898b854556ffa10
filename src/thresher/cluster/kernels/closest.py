"""Is any point of one set within a radius of any point of another?

Answered without comparing all pairs: only points near the other set's box matter; small sets are
compared, large ones halved along their widest side, and the two halves asked in turn.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from thresher.cluster.kernels.compiled import kernel
from thresher.cluster.kernels.distance import Columns, count_within, fetch

__all__ = ["any_within", "halved"]

FEW = 4096  # pairs that are compared at once
PROBES = 16  # points that are tried before anything else
BLOCK = 256  # points between two looks whether one was found


@kernel
def any_within(
    columns: Columns, a_first: int, a_last: int, b_first: int, b_last: int, squared: float
) -> bool:
    """Whether a point of a_first … a_last - 1 has a neighbour in b_first … b_last - 1."""
    if (a_last - a_first) * (b_last - b_first) <= FEW:
        return _compare(columns, a_first, a_last, 1, b_first, b_last, squared)
    step = max(1, (a_last - a_first) // PROBES)  # dense neighbours meet at the first few tries
    if _compare(columns, a_first, a_last, step, b_first, b_last, squared):
        return True
    d = len(columns)
    a, b = np.empty((a_last - a_first, d)), np.empty((b_last - b_first, d))
    _copy(columns, a_first, a_last, a)
    _copy(columns, b_first, b_last, b)
    return halved(a, b, squared)


@kernel
def _compare(
    columns: Columns,
    a_first: int,
    a_last: int,
    a_step: int,
    b_first: int,
    b_last: int,
    squared: float,
) -> bool:
    point = np.empty(len(columns))
    for i in range(a_first, a_last, a_step):
        fetch(columns, np.uintp(i), point)
        for start in range(b_first, b_last, BLOCK):
            if count_within(columns, start, min(start + BLOCK, b_last), point, squared) > 0:
                return True
    return False


@kernel
def _copy(columns: Columns, first: int, last: int, copy: Any) -> None:
    for k in range(len(columns)):
        for i in range(last - first):
            copy[i, k] = columns[k][first + i]


@kernel
def _box(points: Any, first: int, last: int, box: Any) -> None:
    for k in range(points.shape[1]):
        low = high = points[first, k]
        for i in range(first, last):
            low, high = min(low, points[i, k]), max(high, points[i, k])
        box[0, k], box[1, k] = low, high


@kernel
def halved(a: Any, b: Any, squared: float) -> bool:
    """The question for two sets of points, (n, d), which are put in another order."""
    d = a.shape[1]
    box_a, box_b = np.empty((2, d)), np.empty((2, d))
    margin = 1 + 1e-9  # of box distances: what they decide must not hang on rounding
    stack = [(0, len(a), 0, len(b))]
    while len(stack) > 0:
        a_first, a_last, b_first, b_last = stack.pop()
        _box(a, a_first, a_last, box_a)
        _box(b, b_first, b_last, box_b)
        near = far = 0.0
        for k in range(d):
            gap = max(box_a[0, k] - box_b[1, k], box_b[0, k] - box_a[1, k], 0.0)
            span = max(box_a[1, k] - box_b[0, k], box_b[1, k] - box_a[0, k])
            near, far = near + gap * gap, far + span * span
        if near > squared * margin:
            continue
        if far * margin <= squared:
            return True
        size_a, size_b = a_last - a_first, b_last - b_first
        width_a, width_b = _widest(box_a)[1], _widest(box_b)[1]
        if width_a == 0 and width_b == 0:  # equal points: one stands for all
            size_a = size_b = 1
            a_last, b_last = a_first + 1, b_first + 1
        if size_a * size_b <= FEW:
            if _pairs(a, a_first, a_last, b, b_first, b_last, squared):
                return True
        elif width_a >= width_b:
            middle = _split(a, a_first, a_last, box_a)
            stack.append((a_first, middle, b_first, b_last))
            stack.append((middle, a_last, b_first, b_last))
        else:
            middle = _split(b, b_first, b_last, box_b)
            stack.append((a_first, a_last, b_first, middle))
            stack.append((a_first, a_last, middle, b_last))
    return False


@kernel
def _pairs(
    a: Any, a_first: int, a_last: int, b: Any, b_first: int, b_last: int, squared: float
) -> bool:
    for i in range(a_first, a_last):
        for j in range(b_first, b_last):
            total = 0.0
            for k in range(a.shape[1]):
                difference = a[i, k] - b[j, k]
                total += difference * difference
            if total <= squared:
                return True
    return False


@kernel
def _widest(box: Any) -> Any:
    """The dimension in which a box is widest, and how wide."""
    found, width = 0, box[1, 0] - box[0, 0]
    for k in range(1, box.shape[1]):
        if box[1, k] - box[0, k] > width:
            found, width = k, box[1, k] - box[0, k]
    return found, width


@kernel
def _split(points: Any, first: int, last: int, box: Any) -> int:
    """Put the points below the middle of the widest side first; returns where the others begin."""
    k, _ = _widest(box)
    middle = box[0, k] + (box[1, k] - box[0, k]) / 2
    if middle <= box[0, k]:  # two numbers without one between them
        middle = box[1, k]
    low, high = first, last
    while low < high:
        if points[low, k] < middle:
            low += 1
        else:
            high -= 1
            for j in range(points.shape[1]):
                points[low, j], points[high, j] = points[high, j], points[low, j]
    return low
