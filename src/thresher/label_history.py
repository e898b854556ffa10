"""Label history: what the last predictions of a sample say, read from its ring in the history."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["prediction_counts", "slot_ages", "uncertainty"]


def slot_ages(pushes: Tensor, slots: int) -> Tensor:
    """How old each slot of a prediction ring is, (B, slots) integer; 0 = the latest prediction.

    Slots that were never filled are as old as `pushes`, or older.

    >>> slot_ages(torch.tensor([2, 5]), 4)
    tensor([[1, 0, 3, 2],
            [0, 3, 2, 1]])
    """
    return (pushes[:, None] - 1 - torch.arange(slots, device=pushes.device)) % slots


def prediction_counts(
    ring: Tensor, pushes: Tensor, classes: int, window: int | None = None
) -> tuple[Tensor, Tensor]:
    """How often each class stands among the last predictions of a ring, and the mode.

    Args:
        ring: (B, q) integer, the last predictions; slot n mod q holds the n-th.
        pushes: (B,) integer, predictions ever pushed.
        classes: k.
        window: Count the last so many, <= q; None = all of the ring, which others may have wanted
            longer.

    Returns:
        counts (B, k) float32; mode (B,) int64, of equally frequent classes the most recent one,
        -1 where nothing was pushed.
    """
    slots = ring.shape[1]
    age = slot_ages(pushes, slots)
    filled = age < pushes.clamp(max=slots if window is None else window)[:, None]  # (B, q)
    labels = ring.long().clamp(min=0)
    counts = torch.zeros(len(ring), classes, device=ring.device)
    counts.scatter_add_(1, labels, filled.float())
    votes = counts.gather(1, labels) - age / (slots + 1)
    best = votes.masked_fill(~filled, -math.inf).argmax(1, keepdim=True)
    mode = labels.gather(1, best).squeeze(1)
    return counts, torch.where(pushes > 0, mode, -1)


def uncertainty(counts: Tensor) -> Tensor:
    """Entropy of a label history over its largest possible value, in [0, 1] (SELFIE, Song 2019).

        F = -(1 / ln k) Σ_c h(c) ln h(c)

    Args:
        counts: (B, k) float, how often each class was predicted; rows without any give 0.
    """
    share = counts / counts.sum(1, keepdim=True).clamp(min=1)
    entropy: Tensor = -torch.special.xlogy(share, share).sum(1)
    return entropy / math.log(counts.shape[1])
