"""Shuffled batches: every row once an epoch, in an order that belongs to (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from thresher.keyed_random import keyed_seed

__all__ = ["batches_per_epoch", "shuffled_batches"]


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
