"""Selective backprop: of every batch, learn from the samples with large losses.

Backward passes cost twice what forward passes do, and a sample that is predicted well moves little.
So all of a batch is looked at, and a part of it is learned from: at random, the likelier the higher
a loss ranks.

    β          = 1 / keep - 1, so that the mean of π^β over even ranks π is keep
    "batch"    π_j = (j + ½) / n for the j-th smallest loss of the batch, j = 0, 1, …;
               keep · n rows are drawn one after the other, in proportion to π^β
    "recent"   π = share of the last 1,024 losses that lie below;
               each row is drawn by itself, with probability max(0.05, π^β)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from thresher.errors import ParameterError
from thresher.history import Column
from thresher.keyed_random import keyed_seed, keyed_uniform
from thresher.noise.chosen_rows import learn_from_chosen
from thresher.noise.criterion import Criterion
from thresher.noise.method import Batch, Change, Decision, Draw, Method, Parts, Plan, Step
from thresher.ranges import check_positive

__all__ = ["SelectiveBackprop", "draw_by_rank", "keep_probability", "rank_weights"]

REMEMBERED = 1024  # losses that "recent" ranks against
LEAST = 0.05  # probability of the smallest loss, which the released code never takes


def rank_weights(count: int, keep: float) -> Tensor:
    """π^β of ranks 0 … n - 1, smallest loss first; (n,) float64 in (0, 1]."""
    centres = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return centres ** (1 / keep - 1)


def draw_by_rank(losses: Tensor, uniform: Tensor, keep: float) -> Tensor:
    """Draw int(keep · n) of n rows, at least one, in proportion to the weights of their ranks.

    One after the other without replacement: the smallest of E_i / w_i, E_i exponential, has index
    i with probability w_i / Σ w, and so on among the rest (Efraimidis & Spirakis 2006).

    Args:
        losses: (n,) float; of equal ones the earlier ranks lower.
        uniform: (n,) float in [0, 1), a number of its own for every row.
        keep: In (0, 1].

    Returns:
        (n,) bool.
    """
    count = len(losses)
    # a hair above, so that 0.3 · 10 = 2.999…9 draws three
    kept = min(count, max(1, int(keep * count + 1e-9)))
    order = losses.sort(stable=True).indices
    weights = torch.empty(count, dtype=torch.float64, device=losses.device)
    weights[order] = rank_weights(count, keep).to(losses.device)
    waiting = (-torch.log1p(-uniform.double())).log() - weights.log()
    chosen = torch.zeros(count, dtype=torch.bool, device=losses.device)
    chosen[waiting.sort(stable=True).indices[:kept]] = True
    return chosen


def keep_probability(losses: Tensor, recent: Tensor, keep: float) -> Tensor:
    """max(0.05, π^β), where π is the share of the recent losses below each loss.

    Args:
        losses: (n,) float.
        recent: (m,) float, m >= 1, these losses among them.
        keep: In (0, 1].
    """
    below = torch.searchsorted(recent.sort().values, losses.contiguous())
    return ((below / len(recent)).double() ** (1 / keep - 1)).clamp(min=LEAST)


class SelectiveBackprop(Method):
    """Learn from the part of each batch that has large losses.

    Args:
        keep: Share of a batch that is learned from, in (0, 1]. Default 0.5 (MosaicML Composer); the
            original keeps 0.25 or more (β = 3, 2, 1).
        against: What losses are ranked against: "batch" as in Composer, or the last 1,024 losses,
            "recent", as in the original.
        start: Share of the run before which every sample counts, in [0, 1). Default 0.5 (Composer).
        end: Share of the run after which every sample counts again, in (start, 1]. Default 0.9
            (Composer).
        interrupt: Every so many batches one counts in full; 0 = none does. Default 2 (Composer).

    Raises:
        ParameterError: a value out of range, or the number of epochs is not known and start or end
            depend on it.

    Cost: a forward pass more for what is kept, and a backward pass less for what is not: a batch
    costs (1 + 3 keep) / 3. Hurts when: labels are wrong: they have the largest losses, and are what
    is learned from.
    Source: Jiang et al., Accelerating Deep Learning by Focusing on the Biggest Losers, 2019; within
    a batch: the Composer library of MosaicML. Deviations of "recent": rows are not queued until a
    whole batch of them has come together, so that steps are smaller; every loss has a chance;
    losses are never reused. Phases begin and end with epochs.
    """

    name = "selective-backprop"
    source = "Jiang et al., 2019"
    family = "batch selection"
    state: ClassVar[tuple[str, ...]] = ("recent", "batches")

    def __init__(
        self,
        *,
        keep: float = 0.5,
        against: Literal["batch", "recent"] = "batch",
        start: float = 0.5,
        end: float = 0.9,
        interrupt: int = 2,
    ) -> None:
        check_positive("keep", keep, below=1)
        if against not in ("batch", "recent"):
            raise ParameterError(
                f"against must be batch or recent, got {against!r}.",
                "Leave it out to use the default.",
            )
        if not 0 <= start < end <= 1:
            raise ParameterError(
                f"start and end must be shares of the run, start first; got {start:g} and {end:g}.",
                "Use 0 and 1 to choose in every epoch.",
            )
        if interrupt < 0:
            raise ParameterError(
                f"interrupt must be 0 or more, got {interrupt}.", "Use 0 for none."
            )
        self.keep, self.against = keep, against
        self.choose_from, self.choose_until, self.interrupt = start, end, interrupt
        self.recent: list[float] = []  # the last losses, oldest first
        self.batches = 0  # in this epoch

    def begin(self, plan: Plan) -> tuple[Column, ...]:
        """Nothing to remember of single samples."""
        if plan.epochs is None and (self.choose_from > 0 or self.choose_until < 1):
            raise ParameterError(
                "selective-backprop begins and ends with shares of the run, and the number of "
                "epochs is not known.",
                "Start with epochs=…, or pass start=0 and end=1.",
            )
        return ()

    def chooses(self, epoch: int) -> bool:
        """Whether the next batch is one that is chosen from."""
        progress = 0.0 if self.plan.epochs is None else epoch / self.plan.epochs
        if not self.choose_from <= progress < self.choose_until:
            return False
        return not self.interrupt or (self.batches + 1) % self.interrupt != 0

    def step(self, criterion: Criterion, model: nn.Module, batch: Batch, draw: Draw) -> Parts:
        """All of a batch outside of the chosen epochs and in between; else what is drawn."""
        chooses = self.chooses(criterion.epoch)
        if torch.is_grad_enabled():
            self.batches += 1
        if chooses:
            return learn_from_chosen(criterion, model, batch, self.choose)
        seen, losses = criterion.gather(
            batch.index, model(batch.inputs), batch.labels, sizes=batch.sizes
        )
        criterion.observe(seen)
        self.remember(seen)
        return criterion.weigh(seen, Decision(), losses)

    def choose(self, seen: Step) -> Tensor:
        """Rows of the global batch, drawn by their losses; (G,) bool."""
        seed = keyed_seed(self.plan.seed, self.name)
        uniform = keyed_uniform(seed, seen.epoch, seen.index, 0)
        losses, chosen = seen.losses[0], torch.zeros_like(seen.index, dtype=torch.bool)
        trained = torch.ones_like(chosen) if seen.eligible is None else seen.eligible
        if not trained.any():
            return chosen
        if self.against == "batch":
            chosen[trained] = draw_by_rank(losses[trained], uniform[trained], self.keep)
            return chosen
        recent = self.remember(seen)
        return uniform < keep_probability(losses, losses.new_tensor(recent), self.keep)

    def remember(self, seen: Step) -> list[float]:
        """The last losses, those of this step among them; kept unless gradients are off."""
        if self.against == "batch":
            return []
        losses = seen.losses[0] if seen.eligible is None else seen.losses[0][seen.eligible]
        recent = [*self.recent, *losses.tolist()][-REMEMBERED:]
        if torch.is_grad_enabled():
            self.recent = recent
        return recent

    def end_epoch(self, measured: Mapping[str, float]) -> Change | None:
        """Batches are counted anew."""
        self.batches = 0
        return None
