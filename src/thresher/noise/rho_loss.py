"""RHO-loss: of every batch, learn from what is not learned yet but could be.

A sample may have a large loss because it is new, or because it is noise. What a network that never
saw its label makes of it tells the two apart: the loss that remains there cannot be reduced.

    IL_i  = loss of sample i under a network trained on other samples
    RHO_i = loss_i - IL_i
    learn from the samples of each batch with the largest RHO

Without losses from elsewhere, the run is three trainings of equal length: one on each half of the
samples, which give the IL of the other half, and then the one that learns by them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from thresher.errors import ParameterError, RecordError
from thresher.history import Column
from thresher.keyed_random import keyed_seed, keyed_uniform
from thresher.noise.chosen_rows import learn_from_chosen
from thresher.noise.criterion import Criterion
from thresher.noise.method import Batch, Change, Decision, Draw, Method, Parts, Plan, Step
from thresher.ranges import check_positive

__all__ = ["Irreducible", "RhoLoss", "kept_of", "largest_reducible", "one_half"]

ROUNDS = 3  # two halves, and the training that learns by them
PUBLISHED = 32  # samples learned from, of 320


@dataclass(frozen=True)
class Irreducible:
    """Losses of samples under networks that did not learn from them.

    `thresher.training.irreducible.irreducible_losses` makes them with two half models.

    Args:
        losses: (N,) float32, cross-entropy; finite.
        labels: (N,) int64, the labels against which it was taken, -1 = none: by these, data that
            were changed or sorted since are recognised.

    Raises:
        ParameterError: shapes or types differ from these, or a loss is not finite.
    """

    losses: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        losses, labels = self.losses, self.labels
        if losses.dim() != 1 or losses.dtype != torch.float32 or losses.shape != labels.shape:
            raise ParameterError(
                f"Irreducible losses are (N,) float32 with (N,) labels, got {tuple(losses.shape)} "
                f"{losses.dtype} with {tuple(labels.shape)} {labels.dtype}.",
                "Pass one loss and one label for every sample, in the order of their indices.",
            )
        wrong = torch.nonzero(~losses.isfinite()).flatten()
        if len(wrong):
            raise ParameterError(
                f"The irreducible loss of sample {int(wrong[0])} is {float(losses[wrong[0]])}.",
                "Compute it anew: it must be a finite number.",
            )


def one_half(samples: int, seed: int) -> Tensor:
    """A random half of the samples, which belongs to the seed; (N,) bool."""
    generator = torch.Generator().manual_seed(keyed_seed(seed, "halves"))
    half = torch.zeros(samples, dtype=torch.bool)
    half[torch.randperm(samples, generator=generator)[: samples // 2]] = True
    return half


def kept_of(samples: int, keep: float | None) -> int:
    """How many samples of a batch are learned from, at least one.

    >>> [kept_of(n, None) for n in (1, 32, 100, 320, 1000)], kept_of(320, 0.25)
    ([1, 16, 32, 32, 100], 80)

    Args:
        samples: n, in the batch.
        keep: Share to keep, in (0, 1]; None = 32 as published, at least a tenth and at most half.
    """
    if keep is None:
        return max(1, min(samples // 2, max(PUBLISHED, samples // 10)))
    # a hair above, so that 0.3 · 10 = 2.999…9 keeps three
    return max(1, int(keep * samples + 1e-9))


def largest_reducible(
    losses: Tensor,
    irreducible: Tensor,
    count: int,
    *,
    temperature: float | None = None,
    uniform: Tensor | None = None,
) -> Tensor:
    """Choose so many of n rows by RHO = loss - IL.

    Args:
        losses: (n,) float.
        irreducible: (n,) float.
        count: Rows to choose, in 1 … n.
        temperature: T > 0; rows are drawn one after the other in proportion to exp(RHO / T). None
            takes the largest.
        uniform: (n,) float in [0, 1), a number of its own for every row; only to draw.

    Returns:
        (n,) bool.
    """
    reducible = (losses - irreducible).double()
    if temperature is not None and uniform is not None:
        # the largest of RHO / T and Gumbel noise, and so on among the rest
        reducible = reducible / temperature - (-torch.log1p(-uniform.double())).log()
    chosen = torch.zeros(len(losses), dtype=torch.bool, device=losses.device)
    chosen[reducible.sort(descending=True, stable=True).indices[:count]] = True
    return chosen


class RhoLoss(Method):
    """Learn from the part of each batch whose loss is most above what others make of it.

    Args:
        irreducible: Losses under networks that did not learn from the samples. None makes them in
            the same run, whose epochs are then three trainings of equal length.
        keep: Share of a batch that is learned from, in (0, 1]. Default None: 32 samples, which are
            a tenth of a batch of 320 (Mindermann et al. 2022), and at most half of a smaller batch.
        temperature: T > 0, to draw in proportion to exp(RHO / T). Default None: the largest.

    Raises:
        ParameterError: a value out of range; losses of another number of samples; without losses,
            fewer than three epochs, or an unknown number of them.
        RecordError: a batch has other labels than the irreducible losses were taken against.

    Cost: a batch costs (1 + 3 keep) / 3 of one that is learned from in full, and teaches as many
    samples as keep says: for as many learned from, 4.3 times as much at 0.1; 8 bytes a sample.
    Hurts when: batches are small and keep is too (steps by a few samples with the largest losses
    diverge), the run is short, or the halves are too few to learn from. Once the right labels are
    learned, wrong ones are chosen about as often as they occur.
    Source: Mindermann et al., Prioritized Training on Points that are Learnable, Worth Learning,
    and Not Yet Learnt, ICML 2022. Deviations: in one run, the losses of the halves are those of the
    training-mode passes in the epoch with the smallest mean of them; samples are chosen over the
    batches of all processes.
    """

    name = "rho-loss"
    source = "Mindermann et al., ICML 2022"
    sample_bytes = "8"
    family = "batch selection"
    state: ClassVar[tuple[str, ...]] = ("lowest",)

    def __init__(
        self,
        irreducible: Irreducible | None = None,
        *,
        keep: float | None = None,
        temperature: float | None = None,
    ) -> None:
        check_positive("keep", keep, below=1)
        check_positive("temperature", temperature)
        self.irreducible, self.keep, self.temperature = irreducible, keep, temperature
        self.lowest = -1.0  # smallest mean loss of the half that is not learned from; -1 = none yet

    def rounds(self) -> int:
        """One training, or three."""
        return ROUNDS if self.irreducible is None else 1

    def begin(self, plan: Plan) -> tuple[Column, ...]:
        """The irreducible losses, unless they are given, and those of this epoch."""
        if self.irreducible is not None:
            if len(self.irreducible.losses) != plan.samples:
                raise ParameterError(
                    f"There are {len(self.irreducible.losses)} irreducible losses for "
                    f"{plan.samples} samples.",
                    "Compute them for these data, one for every sample.",
                )
            device = self.history.device
            self.known = self.irreducible.losses.to(device)
            self.known_labels = self.irreducible.labels.to(device)
            self.round_epochs = 0
            return ()
        if plan.epochs is None or plan.epochs < ROUNDS:
            count = "an unknown number of" if plan.epochs is None else str(plan.epochs)
            raise ParameterError(
                f"rho-loss trains two half models first: {count} epochs cannot hold {ROUNDS} "
                "trainings.",
                "Raise --epochs (it counts all three), or pass irreducible=….",
            )
        self.round_epochs = plan.epochs // ROUNDS
        self.first_half = one_half(plan.samples, plan.seed).to(self.history.device)
        return Column("irreducible"), Column("other_half_loss")

    def round(self, epoch: int) -> int:
        """0 and 1 learn from a half of the samples, 2 from what is chosen."""
        return min(2, epoch // self.round_epochs) if self.round_epochs else 2

    def step(self, criterion: Criterion, model: nn.Module, batch: Batch, draw: Draw) -> Parts:
        """Learn from one half and look at the other; in the end from what is chosen."""
        if self.irreducible is not None:
            self.check_labels(batch)
        if self.round(criterion.epoch) == 2:
            return learn_from_chosen(criterion, model, batch, self.choose)
        seen, losses = criterion.gather(
            batch.index, model(batch.inputs), batch.labels, sizes=batch.sizes
        )
        criterion.observe(seen)
        taught = self.taught()[seen.index]
        if torch.is_grad_enabled():
            unlearned = seen.losses[0][~taught].float()
            self.history["other_half_loss"][seen.index[~taught]] = unlearned
        return criterion.weigh(seen, Decision(taught.to(losses.dtype)), losses)

    def taught(self) -> Tensor:
        """The half that is learned from in this round, (N,) bool."""
        return self.first_half if self.round(self.history.epoch) == 0 else ~self.first_half

    def check_labels(self, batch: Batch) -> None:
        """Refuse a batch whose labels are not those that the losses were taken against."""
        wrong = torch.nonzero(self.known_labels[batch.index] != batch.labels).flatten()
        if len(wrong):
            row = int(wrong[0])
            sample, label = int(batch.index[row]), int(batch.labels[row])
            raise RecordError(
                f"Sample {sample} has the label {label}; its irreducible loss was taken against "
                f"{int(self.known_labels[sample])}.",
                "Compute the losses anew for these data, in their order.",
            )

    def choose(self, seen: Step) -> Tensor:
        """Rows of the global batch with the largest reducible loss; (G,) bool."""
        known = self.history["irreducible"] if self.irreducible is None else self.known
        seed = keyed_seed(self.plan.seed, self.name)
        uniform = keyed_uniform(seed, seen.epoch, seen.index, 0)
        chosen = torch.zeros_like(seen.index, dtype=torch.bool)
        trained = torch.ones_like(chosen) if seen.eligible is None else seen.eligible
        if trained.any():
            chosen[trained] = largest_reducible(
                seen.losses[0][trained],
                known[seen.index[trained]],
                kept_of(int(trained.sum()), self.keep),
                temperature=self.temperature,
                uniform=uniform[trained],
            )
        return chosen

    def end_epoch(self, measured: Mapping[str, float]) -> Change | None:
        """Keep the losses of the other half at their smallest mean; begin anew after a round."""
        history = self.history
        if self.round(history.epoch) == 2:
            return None
        other = ~self.taught()
        losses = history["other_half_loss"][other]
        mean = float(losses.double().mean())
        if math.isfinite(mean) and (self.lowest < 0 or mean < self.lowest):
            history["irreducible"][other] = losses
            self.lowest = mean
        if (history.epoch + 1) % self.round_epochs:
            return None
        self.lowest = -1.0
        return Change(reset=("",))
