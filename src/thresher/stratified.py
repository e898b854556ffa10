"""A random sample in which every class has its share."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["stratified_rows"]


def stratified_rows(labels: Tensor, count: int, seed: int) -> Tensor:
    """Draw rows so that each label gives its share, to rounding.

    The rows are shuffled, sorted by label, and every (n / count)-th is taken.

    >>> stratified_rows(torch.tensor([0, 0, 0, 0, 1, 1]), 3, seed=7).shape
    torch.Size([3])

    Args:
        labels: (n,) int64; a missing label (-1) is a stratum of its own.
        count: Rows to draw, 0 … n.
        seed: Of the draw.

    Returns:
        (count,) int64, ascending.
    """
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(labels), generator=generator)
    by_label = shuffled[labels[shuffled].sort(stable=True).indices]
    places = ((torch.arange(count, dtype=torch.float64) + 0.5) * len(labels) / max(1, count)).long()
    return by_label[places].sort().values
