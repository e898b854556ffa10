"""What features say of a sample: its neighbours, outliers, near-duplicates, a left-out head.

Features are what the last layer saw of every sample, or embeddings that another model made. All
comparisons are cosines c between rows:

    neighbour agreement   share of the K nearest rows that carry the same label
    outlier score         mean cosine to the K nearest rows; low = like nothing else
    near-duplicates       pairs with c > 0.999 in the features and in the input
    ridge margin          given minus best other class, of a linear head fitted without the row

The ridge head is not fitted N times. With the hat matrix H = F (FᵀF + λI)⁻¹ Fᵀ and its predictions
Ŷ = H Y of the one-hot labels Y, leaving row i out gives (ŷ_i - h_ii y_i) / (1 - h_ii) exactly.

A row of zeros has no direction: its cosine to every row, its own copies included, is 0.

Cost: (N, d) float32 and some blocks of rows against all N; N² d multiplications for neighbours and
half of that for near-duplicates, N d² for the head. Measured by `benchmarks/audit_memory.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.errors import DataError, ParameterError
from thresher.noise_rate import Integers, rows_per_block

__all__ = [
    "NEAR_DUPLICATE_COSINE",
    "NEIGHBOURS",
    "FeatureIssues",
    "Neighbours",
    "feature_issues",
    "is_outlier",
    "near_duplicate_sets",
    "nearest_neighbours",
    "neighbour_agreement",
    "outlier_score",
    "ridge_margin",
]

Floats = NDArray[np.floating[Any]]

#: Neighbours that are asked.
NEIGHBOURS = 20
#: Rows above this cosine are near-duplicates.
NEAR_DUPLICATE_COSINE = 0.999

_FENCE = 1.0  # benchmarks/audit_memory.py outliers: 72 to 100 % of foreign rows, 1 to 3 % of others
_GROUP = 32  # columns whose maximum stands for them while the largest are searched
_SCREEN = 32  # directions by which inputs are compared before they are compared in full
_SCREEN_ROWS = 1000


@dataclass(frozen=True)
class Neighbours:
    """The nearest rows of the R rows that were asked for, nearest first.

    Attributes:
        rows: (R, K) int64; -1 where there are fewer than K others.
        cosines: (R, K) float32 in [-1, 1]; NaN there.
    """

    rows: NDArray[np.int64]
    cosines: NDArray[np.float32]


@dataclass(frozen=True)
class FeatureIssues:
    """What the features say of every row, whatever its label.

    Attributes:
        outlier_score: (N,) float32 mean cosine to the nearest rows, low = unlike all others; NaN
            without neighbours.
        is_outlier_issue: (N,) bool.
        near_duplicate_set: (N,) int32 number of its set of near-duplicates, -1 = it has none; None
            where nobody looked.
    """

    outlier_score: NDArray[np.float32]
    is_outlier_issue: NDArray[np.bool_]
    near_duplicate_set: NDArray[np.int32] | None


def feature_issues(
    features: Floats, inputs: NDArray[Any] | None = None, *, neighbours: int = NEIGHBOURS
) -> FeatureIssues:
    """Look for outliers, and for near-duplicates where the inputs are known.

    Near-duplicates in the features alone mean little: a network that has learnt its classes well
    maps all samples of a class to almost one direction.

    Args:
        features: (N, d) float.
        inputs: (N, ...) what the network was shown, numbers; None = near-duplicates are not looked
            for. Pass embeddings as both.
        neighbours: Nearest rows to ask, >= 1.

    Raises:
        DataError: numbers that are not finite.
        ParameterError: shapes that do not fit, or neighbours below 1.
    """
    score = outlier_score(nearest_neighbours(features, neighbours))
    sets = None if inputs is None else near_duplicate_sets(features, inputs)
    return FeatureIssues(score, is_outlier(score), sets)


def nearest_neighbours(
    features: Floats,
    neighbours: int = NEIGHBOURS,
    *,
    rows: Integers | None = None,
    among: NDArray[np.bool_] | None = None,
) -> Neighbours:
    """Find the rows with the largest cosine to each row, itself left out.

    Args:
        features: (N, d) float.
        neighbours: K >= 1; fewer where there are not so many other rows.
        rows: (R,) whose neighbours are looked for; None = everybody's.
        among: (N,) bool, rows that may be neighbours; None = all.

    Raises:
        DataError: features that are not finite.
        ParameterError: features of another shape, or neighbours below 1.
    """
    if neighbours < 1:
        raise ParameterError(
            f"neighbours must be at least 1, got {neighbours!r}.", "The default is 20."
        )
    units = _unit_rows("features", features)
    n = len(units)
    asked = np.arange(n) if rows is None else rows
    may = np.arange(n) if among is None else np.flatnonzero(among)
    place = np.full(n, -1)
    place[may] = np.arange(len(may))  # where a row stands among those that may
    pool = units if among is None else units[may]
    kept = min(neighbours, len(may))
    near = np.full((len(asked), neighbours), -1, dtype=np.int64)
    cosines = np.full((len(asked), neighbours), np.nan, dtype=np.float32)
    if not kept:
        return Neighbours(near, cosines)
    for here in _blocks(len(asked), len(may)):
        # a slice of all rows is a view, chosen rows are a copy
        block = units[here if rows is None else asked[here]] @ pool.T
        own = place[asked[here]]
        block[np.flatnonzero(own >= 0), own[own >= 0]] = -np.inf
        best = _largest(block, kept)
        found = np.take_along_axis(block, best, axis=1)
        order = np.lexsort((best, -found))
        best = np.take_along_axis(best, order, axis=1)
        found = np.take_along_axis(found, order, axis=1)
        missing = np.isneginf(found)  # the row itself, where there is no other
        near[here, :kept] = np.where(missing, -1, may[best])
        cosines[here, :kept] = np.where(missing, np.nan, found.clip(-1, 1))
    return Neighbours(near, cosines)


def neighbour_agreement(labels: Integers, near: Neighbours) -> NDArray[np.float32]:
    """Share of the neighbours that carry the row's own label.

    Args:
        labels: (N,) given labels, -1 = none; neighbours without a label are not counted.
        near: The neighbours.

    Returns:
        (N,) float32 in [0, 1]; NaN without a label or without labelled neighbours.
    """
    theirs = _neighbour_labels(labels, near)
    agreeing = np.count_nonzero(theirs == labels[:, None], axis=1)
    asked = np.count_nonzero(theirs >= 0, axis=1)
    share = np.full(len(labels), np.nan, dtype=np.float32)
    np.divide(agreeing, asked, out=share, where=(asked > 0) & (labels >= 0), casting="unsafe")
    return share


def outlier_score(near: Neighbours) -> NDArray[np.float32]:
    """Mean cosine to the neighbours: low = like nothing else.

    Returns:
        (N,) float32 in [-1, 1]; NaN without neighbours.
    """
    known = np.count_nonzero(near.rows >= 0, axis=1)
    total = np.nansum(near.cosines, axis=1)
    mean = np.full(len(total), np.nan, dtype=np.float32)
    np.divide(total, known, out=mean, where=known > 0, casting="unsafe")
    return mean


def is_outlier(score: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell which outlier scores stand apart.

    The distances 1 - score of ordinary rows are spread over orders of magnitude, so their
    logarithms are compared: a row stands apart above the third quartile by a quartile range.

    Args:
        score: (N,) of `outlier_score`, NaN = unknown.

    Returns:
        (N,) bool.
    """
    known = ~np.isnan(score)
    if not known.any():
        return known
    distance = np.log(np.maximum(1.0 - score.astype(np.float64), 1e-6))
    low, high = np.quantile(distance[known], (0.25, 0.75))
    apart: NDArray[np.bool_] = known & (distance > high + _FENCE * (high - low))
    return apart


def near_duplicate_sets(
    features: Floats,
    inputs: NDArray[Any] | None = None,
    *,
    cosine: float = NEAR_DUPLICATE_COSINE,
) -> NDArray[np.int32]:
    """Number the sets of rows that are linked by near-duplicate pairs.

    Args:
        features: (N, d) float.
        inputs: (N, ...) numbers in which a pair must be as close as well; None, or the features
            themselves: the features decide.
        cosine: Pairs above it are near-duplicates, in (0, 1).

    Returns:
        (N,) int32, numbered from 0 by their first row; -1 for rows without a near-duplicate.

    Raises:
        DataError: numbers that are not finite.
        ParameterError: shapes that do not fit, or cosine outside (0, 1).
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not 0 < cosine < 1:
        raise ParameterError(f"cosine must be in (0, 1), got {cosine!r}.", "The default is 0.999.")
    units = _unit_rows("features", features)
    n = len(units)
    if inputs is not None:
        _check_rows("inputs", len(inputs), n)
    if n < 2:
        return np.full(n, -1, dtype=np.int32)
    shown = None if inputs is None or inputs is features else _Shown(inputs, n, cosine)
    root = np.arange(n)
    for here in _blocks(n, n):
        close = units[here] @ units[here.start :].T > cosine  # later rows only
        if shown is not None:
            close &= shown.may_be_close(here)
        row, other = np.nonzero(close)
        row, other = row + here.start, other + here.start
        differing = root[row] != root[other]
        row, other = row[differing], other[differing]
        if shown is not None:
            close_in_input = shown.close(row, other)
            row, other = row[close_in_input], other[close_in_input]
        if len(row):
            edges = coo_array((np.ones(len(row), bool), (root[row], root[other])), shape=(n, n))
            root = connected_components(edges, directed=False)[1][root]
    return _numbered_sets(root)


def ridge_margin(
    features: Floats, labels: Integers, classes: int, *, ridge: float = 1e-2
) -> NDArray[np.float32]:
    """Margin of the given label under a linear head fitted to all other rows.

    Args:
        features: (N, d) float; rows are brought to length 1, and a constant is added.
        labels: (N,) given labels in -1..k-1; rows with -1 are not fitted.
        classes: Number of classes k, >= 2.
        ridge: Penalty in shares of N / (d + 1), > 0: λ = ridge · N / (d + 1). From 0.00001 to 0.1
            the ranking hardly changes.

    Returns:
        (N,) float32, the output for the given label minus the largest other one; NaN without label.

    Raises:
        DataError: features that are not finite.
        ParameterError: features of another shape, or ridge not above 0.
    """
    if not ridge > 0:
        raise ParameterError(f"ridge must be above 0, got {ridge!r}.", "The default is 0.01.")
    margin = np.full(len(labels), np.nan, dtype=np.float32)
    units = _unit_rows("features", features)
    _check_rows("features", len(units), len(labels))
    fitted = np.flatnonzero(labels >= 0)
    if not len(fitted):
        return margin
    width = units.shape[1] + 1
    gram = np.zeros((width, width))
    sums = np.zeros((classes, width))  # of the rows of each class
    for rows in _pieces(fitted, width):
        block = _with_constant(units[rows])
        gram += block.T @ block
        np.add.at(sums, labels[rows], block)
    gram.flat[:: width + 1] += ridge * len(fitted) / width
    inverse = np.linalg.inv(gram)
    head = inverse @ sums.T  # (d + 1, k)
    for rows in _pieces(fitted, max(width, classes)):
        block, number, given = _with_constant(units[rows]), np.arange(len(rows)), labels[rows]
        leverage = np.einsum("ij,ij->i", block @ inverse, block)  # h_ii, below 1 as λ > 0
        output = block @ head
        output[number, given] -= leverage
        output /= (1.0 - leverage)[:, None]
        own = output[number, given]
        output[number, given] = -np.inf
        margin[rows] = own - output.max(axis=1)
    return margin


class _Shown:
    """Inputs to compare: all by a few directions, which never make a distance longer, few in full.

    Args:
        inputs: (N, ...) numbers.
        rows: N, >= 1.
        cosine: What is close.
    """

    def __init__(self, inputs: NDArray[Any], rows: int, cosine: float) -> None:
        self._inputs = inputs.reshape(rows, -1)
        self._cosine = cosine
        self._farthest = 2.0 * (1.0 - cosine) + 1e-5  # squared distance; float32 rounds
        some = self._units(np.unique(np.linspace(0, rows - 1, _SCREEN_ROWS).astype(int)))
        directions = np.linalg.svd(some - some.mean(axis=0), full_matrices=False)[2][:_SCREEN]
        self._short = np.concatenate(
            [self._units(each) @ directions.T for each in _pieces(np.arange(rows), some.shape[1])]
        )
        self._squared = np.einsum("ij,ij->i", self._short, self._short)

    def may_be_close(self, here: slice) -> NDArray[np.bool_]:
        """(B, N - start) rows that are not too far apart in the few directions."""
        later = slice(here.start, None)
        distance = self._short[here] @ self._short[later].T
        distance *= -2.0
        distance += self._squared[here, None]
        distance += self._squared[None, later]
        near: NDArray[np.bool_] = distance <= self._farthest
        return near

    def close(self, row: Integers, other: Integers) -> NDArray[np.bool_]:
        """(P,) pairs above the cosine, compared in full."""
        found = np.zeros(len(row), dtype=bool)
        for pairs in _pieces(np.arange(len(row)), self._inputs.shape[1]):
            one, two = self._units(row[pairs]), self._units(other[pairs])
            found[pairs] = np.einsum("ij,ij->i", one, two) > self._cosine
        return found

    def _units(self, rows: Integers) -> NDArray[np.float32]:
        return _unit(self._inputs[rows].astype(np.float32), "inputs", rows)


def _largest(block: NDArray[np.float32], number: int) -> NDArray[np.intp]:
    """(B, number) columns of the largest values of each row, in no order.

    Sorting whole rows in part would take longer than computing them. The largest values lie in the
    groups of columns whose maxima are largest, and maxima are quick to take.
    """
    rows, columns = block.shape
    groups = columns // _GROUP
    if groups <= 2 * number:
        return np.argpartition(block, -number, axis=1)[:, -number:]
    grouped = groups * _GROUP  # group g: columns g, g + groups, g + 2 groups, …
    maxima = block[:, :grouped].reshape(rows, _GROUP, groups).max(axis=1)
    chosen = np.argpartition(maxima, -number, axis=1)[:, -number:]
    members = chosen[:, :, None] + groups * np.arange(_GROUP)  # (B, number, _GROUP)
    rest = np.broadcast_to(np.arange(grouped, columns), (rows, columns - grouped))
    candidates = np.concatenate([members.reshape(rows, -1), rest], axis=1)
    values = np.take_along_axis(block, candidates, axis=1)
    best = np.argpartition(values, -number, axis=1)[:, -number:]
    return np.take_along_axis(candidates, best, axis=1)


def _neighbour_labels(labels: Integers, near: Neighbours) -> Integers:
    """(N, K) labels of the neighbours, -1 = none."""
    if not len(labels):
        return np.zeros(near.rows.shape, dtype=np.int64)
    return np.where(near.rows >= 0, labels[near.rows], -1)


def _numbered_sets(root: Integers) -> NDArray[np.int32]:
    """Number by their first row the sets that have two members or more."""
    _, first, member, size = np.unique(
        root, return_index=True, return_inverse=True, return_counts=True
    )
    several = np.flatnonzero(size > 1)
    number = np.full(len(first), -1, dtype=np.int32)
    number[several[np.argsort(first[several])]] = np.arange(len(several))
    return number[member.reshape(-1)]


def _unit_rows(name: str, features: Floats) -> NDArray[np.float32]:
    """(N, d) float32 rows of length 1, converted block by block; features may lie in a file."""
    if features.ndim != 2 or features.dtype.kind not in "fiu":
        raise ParameterError(
            f"{name} must have shape (N, d) and hold numbers, got {features.shape} "
            f"{features.dtype}.",
            "Pass one row of numbers for each sample.",
        )
    units = np.empty(features.shape, dtype=np.float32)
    for rows in _pieces(np.arange(len(features)), features.shape[1]):
        here = slice(rows[0], rows[-1] + 1)
        units[here] = _unit(features[here].astype(np.float32), name, rows)
    return units


def _unit(block: NDArray[np.float32], name: str, rows: Integers) -> NDArray[np.float32]:
    """Bring rows to length 1; their largest number first, so that no square overflows."""
    bad = ~np.isfinite(block).all(axis=1)
    if bad.any():
        raise DataError(
            f"Row {int(rows[bad.argmax()])} of {name} holds numbers that are not finite.",
            "Leave such rows out, or fill the gaps.",
        )
    largest = np.abs(block).max(axis=1, keepdims=True, initial=0)
    scaled = block / np.where(largest > 0, largest, 1)
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    return (scaled / np.where(length > 0, length, 1)).astype(np.float32)


def _with_constant(block: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.column_stack([block, np.ones(len(block))]).astype(np.float64)


def _blocks(rows: int, against: int) -> Iterator[slice]:
    """Blocks of rows whose products with all others stay within some 32 MiB."""
    step = int(np.clip(8 * rows_per_block(against), 16, 1024))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def _pieces(rows: Integers, columns: int) -> Iterator[Integers]:
    """Pieces of row numbers whose rows stay within a block."""
    step = rows_per_block(columns)
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def _check_rows(name: str, received: int, expected: int) -> None:
    if received != expected:
        raise ParameterError(
            f"{name} must have {expected} rows, got {received}.", "Pass one for every sample."
        )
