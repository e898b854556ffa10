"""Self-paced learning: begin with what is easy, and take in harder samples as training goes on.

A small loss speaks for the label, so what comes in late is hard or wrong.

    ρ(t)   = min(1, ρ_0 + (1 - ρ_0) t / T)        share of the samples that epoch t takes
    τ      = the ρ(t)-quantile of the last losses
    hard   take i ⟺ loss_i <= τ
    soft   the same, and its loss counts 1 - loss_i / τ
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from thresher.errors import ParameterError
from thresher.history import LAST_LOSS, Column, SampleHistory
from thresher.ranges import check_positive
from thresher.sampling.selector import Planned, PlannedRows

__all__ = ["SelfPaced", "easy_weights", "loss_limit"]


def loss_limit(losses: Tensor, share: float) -> float:
    """τ, the smallest limit under which at least this share of the losses lies.

    >>> loss_limit(torch.tensor([3.0, 1.0, 2.0, 4.0]), 0.5)
    2.0

    Args:
        losses: (n,) float, n >= 1.
        share: ρ in (0, 1].
    """
    # a hair below, so that 0.3 · 10 = 3.000…4 takes three
    taken = max(1, math.ceil(share * len(losses) - 1e-9))
    return float(losses.sort().values[taken - 1])


def easy_weights(losses: Tensor, limit: float) -> Tensor:
    """max(0, 1 - loss / τ), (n,); all 1 where the limit is 0."""
    return (1 - losses / limit).clamp(min=0) if limit else torch.ones_like(losses)


class SelfPaced(Planned):
    """Plan epochs of the easiest samples, more of them each epoch until all are taken.

    Args:
        start: ρ_0, share of the samples taken at first, in (0, 1]. Default 0.5.
        full: Share of the run after which all are taken, in (0, 1]. Default 0.7.
        soft: Weigh losses by 1 - loss / τ until all are taken. Default False.

    Raises:
        ParameterError: a value out of range, or the number of epochs is not known.

    Cost: 4 bytes a sample; epochs are shorter at first. Hurts when: labels are right, and what is
    left out is what there is to learn.
    Source: Kumar, Packer, Koller, Self-Paced Learning for Latent Variable Models, NeurIPS 2010;
    the soft weights after Jiang et al. 2014. Deviations: the limit is a quantile of the losses that
    rises in a line, for the published factor on a fixed limit depends on the loss; samples never
    seen are taken; losses are those at the last visit.
    """

    name = "self-paced"
    source = "Kumar, Packer & Koller, NeurIPS 2010"

    def __init__(self, *, start: float = 0.5, full: float = 0.7, soft: bool = False) -> None:
        check_positive("start", start, below=1)
        check_positive("full", full, below=1)
        self.start, self.full, self.soft = start, full, soft

    def begin(self, samples: int, classes: int, epochs: int | None) -> tuple[Column, ...]:
        """The pace of this run; the last losses."""
        if epochs is None:
            raise ParameterError(
                "Self-paced learning takes all samples after a share of the run, and the number of "
                "epochs is not known.",
                "Say how many epochs are planned.",
            )
        self.until = self.full * epochs
        return (LAST_LOSS,)

    def share(self, epoch: int) -> float:
        """ρ of this epoch."""
        return min(1.0, self.start + (1 - self.start) * epoch / self.until)

    def plan(self, history: SampleHistory, epoch: int, generator: Generator) -> PlannedRows:
        """The easiest samples, with those never seen and those kept out of training."""
        losses, eligible = history["last_loss"].cpu(), history["eligible"].cpu()
        paced = eligible & ~losses.isnan()
        share = self.share(epoch)
        if share == 1 or not paced.any():
            return PlannedRows(torch.arange(history.samples))
        limit = loss_limit(losses[paced], share)
        index = torch.nonzero(~paced | (losses <= limit)).flatten()
        if not self.soft:
            return PlannedRows(index)
        weights = torch.where(paced, easy_weights(losses, limit), 1.0)[index]
        return PlannedRows(index, weights)
