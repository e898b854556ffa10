"""Shuffled batches: every row once an epoch, in an order that belongs to (seed, epoch).

    seed, epoch → order of the rows → batches → (a resumed epoch) those after the first so many

`ShuffledBatches` serves a training; `Shuffled` is the selector that plans such epochs, for a batch
sampler: the baseline of every comparison of selectors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import torch
from torch import Generator, Tensor

from thresher.history import SampleHistory
from thresher.keyed_random import keyed_seed
from thresher.sampling.selector import Planned, PlannedRows

__all__ = ["Shuffled", "ShuffledBatches", "batches_per_epoch", "shuffled_batches"]


class Shuffled(Planned):
    """Every sample once an epoch.

    Cost: none. Hurts when: most samples have nothing left to teach.
    """

    name = "shuffled"
    source = "the baseline"

    def plan(self, history: SampleHistory, epoch: int, generator: Generator) -> PlannedRows:
        """All rows."""
        return PlannedRows(torch.arange(history.samples))


def batches_per_epoch(rows: int, batch_size: int) -> int:
    """How many batches `shuffled_batches` yields.

    >>> batches_per_epoch(10, 4), batches_per_epoch(9, 4), batches_per_epoch(1, 4)
    (3, 2, 1)
    """
    full, rest = divmod(rows, batch_size)
    return max(1, full + (rest > 1) if batch_size > 1 else full)


def shuffled_batches(rows: Tensor, batch_size: int, *, seed: int, epoch: int) -> Iterator[Tensor]:
    """Yield the rows of one epoch in batches; the last one is smaller.

    A last batch of one row joins the batch before it: batch normalisation cannot learn from one.

    Args:
        rows: (n,) int64 row numbers, n > 0.
        batch_size: Rows a batch, >= 1.
        seed: Of the run.
        epoch: From 0; the order of epoch e is the same whether or not earlier ones were drawn.
    """
    generator = torch.Generator().manual_seed(keyed_seed(seed, "order", epoch))
    order = rows[torch.randperm(len(rows), generator=generator)]
    count = batches_per_epoch(len(rows), batch_size)
    for number in range(count):
        stop = (number + 1) * batch_size if number + 1 < count else len(order)
        yield order[number * batch_size : stop]


@dataclass(frozen=True)
class ShuffledBatches:
    """The batches of a whole training: which rows come next, in any epoch, from any batch on.

    Args:
        rows: (n,) int64 row numbers, n > 0.
        batch_size: Rows a batch, >= 1.
        seed: Of the run.
    """

    stride: ClassVar[float] = 1.0

    rows: Tensor
    batch_size: int
    seed: int

    def epoch(self, number: int, skip: int = 0) -> Iterator[Tensor]:
        """Yield the batches of an epoch, (b,) int64 each, after the first so many.

        Args:
            number: The epoch, from 0.
            skip: Batches of it that were trained before the run was stopped, >= 0.
        """
        batches = shuffled_batches(self.rows, self.batch_size, seed=self.seed, epoch=number)
        return islice(batches, skip, None)

    def length(self) -> int:
        """Batches of an epoch."""
        return self.steps(1)

    def steps(self, epochs: int, accumulate: int = 1) -> int:
        """Steps of the optimiser in so many epochs, each over so many batches.

        An epoch's last step may hold fewer.

        >>> ShuffledBatches(torch.arange(10), 2, seed=0).steps(3), 3 * 5
        (15, 15)
        >>> ShuffledBatches(torch.arange(10), 2, seed=0).steps(3, accumulate=2)
        9
        """
        return epochs * math.ceil(batches_per_epoch(len(self.rows), self.batch_size) / accumulate)

    def weights(self) -> None:
        """All losses count alike."""
