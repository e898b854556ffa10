"""The systematic plan: how often each sample comes in an epoch, with as little chance as can be.

    weights → expected visits x = length · weight / Σ weights → one offset → ⌊x⌋ or ⌈x⌉ visits

The running sums of the weights lie on a line from 0 to their total; `length` points stand on it at
equal distances, and a sample comes as often as points fall on its piece. The expectation is x
exactly. With equal weights and a point a sample that is once each: **at pressure 1 the plan is the
ordinary shuffled epoch**, and a pressure that decays to 1 ends in it, where independent draws would
leave 1/e of the samples unseen.

All is done in whole numbers: no rounding can move a point over a border.

Source: systematic sampling with unequal probabilities (Madow, Annals of Mathematical Statistics,
1949). Its use for epochs is ours, a deviation from the papers, which draw batches independently.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from thresher.errors import ParameterError

__all__ = ["separate", "systematic_rows"]

TRIES = 64  # random partners for a repetition; nearly every one will do where there are many
FEW = 2**14  # rows among which all places are looked through after that


def systematic_rows(
    weights: NDArray[np.int64], length: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Rows of an epoch, in ascending order, each as often as it comes.

    Args:
        weights: (N,) int64 >= 0 in any unit, with a sum in 1 … 2⁶³ - 1.
        length: Rows of the epoch M, in 1 … 2³¹ - 1.
        generator: Gives the offset.

    Returns:
        (M,) int64; row i stands there ⌊M·P_i⌋ or ⌈M·P_i⌉ times.

    Raises:
        ParameterError: no weight is positive.

    >>> systematic_rows(np.array([1, 2, 1]), 4, np.random.default_rng(0)).tolist()
    [0, 1, 1, 2]
    """
    border = np.cumsum(weights)  # row i owns border[i - 1] … border[i] - 1
    whole = int(border[-1])
    if whole <= 0:
        raise ParameterError("No weight is positive.", "Keep at least one sample eligible.")
    # point t is ⌊(t · whole + offset) / length⌋, by parts, for the product would not fit
    step, rest = divmod(whole, length)
    offset = int(generator.integers(whole))
    number = np.arange(length)
    point = number * step + offset // length + (number * rest + offset % length) // length
    return np.searchsorted(border, point, side="right").astype(np.int64)


def separate(
    rows: NDArray[np.int64], bounds: NDArray[np.int64], generator: np.random.Generator
) -> NDArray[np.int64]:
    """Swap places until no batch holds a row twice; the arrangement of others stays as it is.

    A row that comes more often than there are batches keeps what repetitions it must.

    Args:
        rows: (M,) int64, shuffled.
        bounds: (T + 1,) int64, ascending from 0 to at most M: batch t is rows[bounds[t]] up to
            rows[bounds[t + 1] - 1].
        generator: Chooses the partners.

    Returns:
        (M,) int64, a permutation of `rows`.
    """
    rows = rows.copy()
    batches = [rows[start:stop] for start, stop in pairwise(bounds.tolist())]  # views
    batches.append(rows[bounds[-1] :])  # not visited: may hold anything
    for batch in batches[:-1]:
        for place in _repetitions(batch):
            row = batch[place]
            for partner in _partners(len(rows), generator):
                there = int(np.searchsorted(bounds, partner, side="right")) - 1
                other, visited = rows[partner], there < len(batches) - 1
                if (batch == other).any():  # also where the partner is in this very batch
                    continue
                if visited and ((batches[there] == row).any()):
                    continue
                batch[place], rows[partner] = other, row
                break
    return rows


def _repetitions(batch: NDArray[np.int64]) -> list[int]:
    """Places whose row stands before."""
    first = np.unique(batch, return_index=True)[1]
    return [] if len(first) == len(batch) else sorted({*range(len(batch))} - {*first.tolist()})


def _partners(count: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Places to try: some at random; among few, all of them after that."""
    tried = generator.integers(count, size=TRIES)
    return np.concatenate([tried, np.arange(count)]) if count <= FEW else tried
