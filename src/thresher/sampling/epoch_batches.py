"""Cutting: the rows of an epoch into batches of all processes, and a batch into their parts.

    rows → bounds: batch t is rows[bounds[t]:bounds[t + 1]] → part of each process

Every process takes the same number of steps, and gets rows in every one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from thresher.errors import ParameterError

__all__ = ["Batch", "EpochPlan", "batch_bounds", "part"]


@dataclass(frozen=True)
class Batch:
    """The rows of one step, of all processes.

    Args:
        step: Within the epoch, from 0.
        index: (G,) int64.
        weights: (G,) float32, what their losses are multiplied by; None = 1.
    """

    step: int
    index: NDArray[np.int64]
    weights: NDArray[np.float32] | None = None

    @cached_property
    def tensor(self) -> Tensor:
        """The index, in the same memory; always the same object."""
        return torch.from_numpy(self.index)


@dataclass
class EpochPlan:
    """One epoch on its way.

    Args:
        number: From 0.
        bounds: (T + 1,) int64.
        rows: (M,) int64 in the order of their visits; None = drawn step by step.
        weights: (M,) float32 beside `rows`; None = 1.
        expected: Of the importance correction, for epochs that are drawn.
        drawn: Steps handed out so far.
        consumed: Steps heard of again.
    """

    number: int
    bounds: NDArray[np.int64]
    rows: NDArray[np.int64] | None = None
    weights: NDArray[np.float32] | None = None
    expected: float = 1.0
    drawn: int = 0
    consumed: int = 0

    @property
    def steps(self) -> int:
        """Length of the epoch in steps."""
        return len(self.bounds) - 1

    def batch(self, step: int) -> Batch:
        """The batch of a step of an epoch whose rows are known."""
        assert self.rows is not None
        cut = slice(self.bounds[step], self.bounds[step + 1])
        return Batch(step, self.rows[cut], None if self.weights is None else self.weights[cut])


def batch_bounds(
    rows: int, batch_size: int, *, processes: int = 1, drop_last: bool = True
) -> NDArray[np.int64]:
    """Where the batches of an epoch begin and end.

    Args:
        rows: Of the epoch.
        batch_size: Rows of one process in one step.
        processes: How many there are.
        drop_last: Leave out what does not fill a batch. Otherwise it is a smaller batch; with fewer
            than two rows a process it joins the batch before it, for batch normalisation cannot
            learn from one row.

    Returns:
        (T + 1,) int64, T >= 1.

    Raises:
        ParameterError: the rows do not make a batch.

    >>> batch_bounds(10, 4).tolist(), batch_bounds(10, 4, drop_last=False).tolist()
    ([0, 4, 8], [0, 4, 8, 10])
    >>> batch_bounds(9, 4, drop_last=False).tolist()
    [0, 4, 9]
    """
    whole = batch_size * processes
    full, rest = divmod(rows, whole)
    bounds = np.arange(full + 1) * whole
    if rest and not drop_last:
        if full and rest < 2 * processes:
            bounds[-1] = rows
        else:
            bounds = np.append(bounds, rows)
    if len(bounds) < 2 or rows < processes:
        raise ParameterError(
            f"An epoch of {rows} rows makes no batch of {whole} ({batch_size} on each of "
            f"{processes} processes).",
            "Make batch_size smaller, or pass drop_last=False.",
        )
    return bounds


def part(size: int, rank: int, processes: int) -> slice:
    """The rows of one process in a batch: runs in rank order that differ by one row at most.

    >>> [part(10, rank, 3) for rank in range(3)]
    [slice(0, 3, None), slice(3, 6, None), slice(6, 10, None)]
    """
    return slice(rank * size // processes, (rank + 1) * size // processes)
