"""InfoBatch: skip some of the samples with small losses, and let the others count for them.

A sample that is learned well teaches little, but not nothing. Each epoch leaves out some of those
below the mean loss, at random; what is left of them counts more, so that the expected sum of the
gradients is that of all samples.

    μ      = mean of the last losses
    L      = samples with a loss < μ
    keep   everything outside L, and of L each with probability 1 - r
    weight = 1 / (1 - r) for what is kept of L, 1 for the rest
    the last epochs, from δ C on, take every sample with weight 1
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Generator, Tensor

from thresher.errors import ParameterError
from thresher.history import LAST_LOSS, Column, SampleHistory
from thresher.ranges import check_positive
from thresher.sampling.selector import Planned, PlannedRows

__all__ = ["InfoBatch", "well_learned"]


def well_learned(losses: Tensor, eligible: Tensor) -> Tensor:
    """L: which samples have a loss below the mean. Equal losses leave it empty.

    Args:
        losses: (N,) float; NaN = never seen: such a sample is in neither the mean nor L.
        eligible: (N,) bool; the others are in neither.

    Returns:
        (N,) bool.
    """
    known = eligible & ~losses.isnan()
    exact = losses.double()  # else the mean would be rounded to the losses' type
    mean = exact[known].mean()  # of none: NaN, which nothing is below
    return known & (exact < mean)


class InfoBatch(Planned):
    """Plan epochs without some of the samples with small losses; the gradient stays unbiased.

    Args:
        prune: r, probability of leaving out a sample below the mean loss, in [0, 1). Default 0.5
            (Qin et al. 2024).
        anneal: δ, share of the run after which all samples are taken, in (0, 1]. Default 0.875 (the
            same); 1 = never.
        draw: "bernoulli", each sample of L, the well learned, by itself, as in the paper; "count",
            exactly floor((1 - r) · #L) of them, as in the released code: less variance, and the
            expectation is off by less than one sample. Default "bernoulli".

    Raises:
        ParameterError: a value out of range, or anneal below 1 without planned epochs.

    Cost: 4 bytes a sample; epochs have N - r · #L samples. Weighted losses are divided by the
    number of samples in the batch, not by the sum of the weights: with fewer steps an epoch, each
    must go further. Hurts when: r is large, for then it is no longer as good as all samples.
    Source: Qin et al., InfoBatch: Lossless Training Speed Up by Unbiased Dynamic Data Pruning, ICLR
    2024. Deviations: samples never seen are kept, and do not enter the mean.
    """

    name = "info-batch"
    source = "Qin et al., ICLR 2024"

    def __init__(
        self,
        *,
        prune: float = 0.5,
        anneal: float = 0.875,
        draw: Literal["bernoulli", "count"] = "bernoulli",
    ) -> None:
        if not 0 <= prune < 1:
            raise ParameterError(
                f"prune must be in [0, 1), got {prune:g}.",
                "It is the probability of leaving out a sample below the mean loss.",
            )
        check_positive("anneal", anneal, below=1)
        if draw not in ("bernoulli", "count"):
            raise ParameterError(
                f"draw must be bernoulli or count, got {draw!r}.",
                "Leave it out to use the default.",
            )
        self.prune, self.anneal, self.draw = prune, anneal, draw

    def begin(self, samples: int, classes: int, epochs: int | None) -> tuple[Column, ...]:
        """When all samples are taken again; the last losses."""
        if epochs is None and self.anneal < 1:
            raise ParameterError(
                "InfoBatch takes all samples in the last epochs, and the number of epochs is not "
                "known.",
                "Say how many epochs are planned, or pass anneal=1.",
            )
        self.full_from = None if epochs is None else self.anneal * epochs
        return (LAST_LOSS,)

    def plan(self, history: SampleHistory, epoch: int, generator: Generator) -> PlannedRows:
        """All samples but some of the well learned, whose rest weighs 1 / (1 - r)."""
        everything = torch.arange(history.samples)
        if self.full_from is not None and epoch >= self.full_from:
            return PlannedRows(everything)
        learned = well_learned(history["last_loss"].cpu(), history["eligible"].cpu())
        easy = torch.nonzero(learned).flatten()
        if not len(easy) or not self.prune:
            return PlannedRows(everything)
        if self.draw == "count":
            # a hair above, so that 0.7 · 10 = 6.999…9 keeps seven
            count = int((1 - self.prune) * len(easy) + 1e-9)
            kept = easy[torch.randperm(len(easy), generator=generator)[:count]]
        else:
            kept = easy[torch.rand(len(easy), generator=generator) >= self.prune]
        rest = torch.nonzero(~learned).flatten()
        weights = torch.cat([torch.ones(len(rest)), torch.full((len(kept),), 1 / (1 - self.prune))])
        return PlannedRows(torch.cat([rest, kept]), weights)
