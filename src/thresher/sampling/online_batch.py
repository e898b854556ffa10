"""Online batch selection: draw samples by the rank of their latest loss.

What the network gets most wrong is shown most often. Ranks, not losses: how much more often does
not depend on how large losses are.

    r = 1 for the largest of the n latest losses, …, n for the smallest
    u = r / n,    P(i) ∝ s_e^(-u_i),    s_e from s_0 down to 1 in the last epoch
"""

from __future__ import annotations

import torch
from torch import Tensor

from thresher.history import LAST_LOSS, Column, SampleHistory
from thresher.sampling.pressure import Decay, Pressure
from thresher.sampling.selector import Scored, warmup_epochs

__all__ = ["OnlineBatch", "rank_scores"]


def rank_scores(losses: Tensor) -> Tensor:
    """Rank of each loss over their number, in (0, 1]: the largest is the most wanted.

    >>> rank_scores(torch.tensor([0.5, 2.0, float("nan"), 1.0, 0.1]))
    tensor([0.7500, 0.2500,    nan, 0.5000, 1.0000])

    Args:
        losses: (N,) float; NaN = unknown, and so is its score. Of equal losses the first is the
            more wanted.
    """
    known = torch.nonzero(~losses.isnan()).flatten()
    order = known[losses[known].sort(descending=True, stable=True).indices]
    scores = torch.full((len(losses),), torch.nan, device=losses.device)
    scores[order] = torch.arange(1, len(order) + 1, device=losses.device) / max(1, len(order))
    return scores


class OnlineBatch(Scored):
    """Draw samples by the rank of the loss at their last visit.

    Args:
        pressure: s_0, the pressure in the first drawn epoch, >= 1. Default 100 (Loshchilov &
            Hutter 2016).
        warmup: Epochs of shuffled batches, >= 0. Default 1: every loss must be known.
        decay: How the pressure comes down to 1 in the last epoch. Default "exponential" (the same).

    Raises:
        ParameterError: a value out of range, or a decay without planned epochs.

    Cost: 4 bytes a sample, a sort an epoch. Hurts when: labels are wrong: they have the largest
    losses, and fill most of every batch.
    Source: Loshchilov, Hutter, Online Batch Selection for Faster Training of Neural Networks, ICLR
    workshop 2016. Deviations: losses are those at the last visit in training; the passes over all
    data that renew them now and then are not made.
    """

    name = "online-batch"
    source = "Loshchilov & Hutter, ICLR workshop 2016"

    def __init__(
        self,
        pressure: float = 100.0,
        *,
        warmup: int | None = None,
        decay: Decay = "exponential",
    ) -> None:
        self.selection = Pressure(pressure, decay)
        self.written_warmup = warmup

    def begin(self, samples: int, classes: int, epochs: int | None) -> tuple[Column, ...]:
        """Lengths of this run; the last losses."""
        self.selection.needs_end(epochs)
        self.warmup = warmup_epochs(self.written_warmup, 1, epochs)
        self.epochs = epochs
        return (LAST_LOSS,)

    def pressure(self, epoch: int) -> float:
        """s_e of this epoch."""
        return self.selection(epoch, warmup=self.warmup, epochs=self.epochs)

    def refresh(self, history: SampleHistory, epoch: int) -> Tensor:
        """Ranks of the last losses; they stay so within the epoch."""
        return rank_scores(history["last_loss"])
