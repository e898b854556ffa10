"""Small-loss selection: of a batch, the samples that the network finds easiest.

Networks fit right labels before wrong ones, so a small loss speaks for the label
(Han et al., Co-teaching, NeurIPS 2018).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["small_loss", "small_loss_per_class"]


def small_loss(losses: Tensor, keep: float, eligible: Tensor | None = None) -> Tensor:
    """Mark the ceil(keep · n) smallest losses of each row, n counting the eligible ones.

    Ties go to the earlier place, so that the answer does not depend on the sort.

    Args:
        losses: (J, G) float, detached.
        keep: Share to keep, in (0, 1].
        eligible: (G,) bool, or None for all.

    Returns:
        (J, G) bool.
    """
    if eligible is None:
        count = losses.shape[1]
    else:
        count = int(eligible.sum())
        losses = behind(losses, eligible)
    # a hair below, so that 0.8 · 5 = 4.000…1 keeps four
    kept = min(count, math.ceil(keep * count - 1e-9))
    chosen = losses.sort(dim=1, stable=True).indices[:, :kept]
    return torch.zeros_like(losses, dtype=torch.bool).scatter_(1, chosen, True)


def small_loss_per_class(
    losses: Tensor, keep: float, labels: Tensor, eligible: Tensor | None = None
) -> Tensor:
    """Mark the ceil(keep · n) smallest losses of every class, n counting its eligible samples.

    One choice for all classes together drops the rare and the hard ones first.

    Args:
        losses: (J, G) float, detached.
        keep: Share to keep, in (0, 1].
        labels: (G,) int64 given labels.
        eligible: (G,) bool, or None for all.

    Returns:
        (J, G) bool.
    """
    if eligible is not None:
        losses = behind(losses, eligible)
    order = losses.sort(dim=1, stable=True).indices
    by_class = labels[order].sort(dim=1, stable=True)  # class by class, the easiest first
    order, classes = order.gather(1, by_class.indices), by_class.values
    sizes = torch.bincount(labels)
    counted = sizes if eligible is None else torch.bincount(labels[eligible], minlength=len(sizes))
    kept = (keep * counted.double() - 1e-9).ceil()  # (k,)
    place = torch.arange(len(labels), device=labels.device) - (sizes.cumsum(0) - sizes)[classes]
    chosen = torch.zeros_like(losses, dtype=torch.bool)
    return chosen.scatter_(1, order, place < kept[classes])


def behind(losses: Tensor, eligible: Tensor) -> Tensor:
    """Losses that sort what is not eligible behind all that is, be it infinite."""
    largest = torch.finfo(losses.dtype).max
    return losses.clamp(max=largest).masked_fill(~eligible, math.inf)
