"""The contract of a robust method: what is the loss of this step?

A method is a rule and its hyper-parameters. It overrides one to three of the five moments; the
`Criterion` (criterion.py) calls them, holds the history, and stands in the user's loop where
`cross_entropy(outputs, labels)` stood.

    moment        runs when                                 answers
    ────────────  ────────────────────────────────────────  ─────────────────────────────────────
    sample_loss   twice a step at most: against the given   one loss a sample and network
                  labels, and against the targets decided
    decide        once a step, after the forward pass       weights, targets, penalty
    end_epoch     once an epoch, when all is observed       phase, noise rate; a Change or nothing
    streams       before every step                         names of further data it learns from
    step          instead of the first two                  the loss of the step (escape hatch)

`begin` runs once before all of them and says what has to be remembered. The history is observed
after `decide`, or before it where `observe_first` is set. A method with a `step` of its own makes
its forward passes itself, and calls `Criterion.gather`, `observe` and `weigh` as `parts` does;
`chosen_rows.py` is such a step for methods that learn from a part of each batch. A template to
start from is `docs/template_method.py`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor, nn

from thresher.distributed import processes
from thresher.history import Column, SampleHistory

if TYPE_CHECKING:
    from thresher.noise.criterion import Criterion

__all__ = [
    "OUT_OF_DISTRIBUTION",
    "Batch",
    "Change",
    "Decision",
    "Draw",
    "Drawn",
    "Method",
    "Names",
    "Parts",
    "Plan",
    "Step",
    "given",
]

#: Module name prefixes, ("",) = all; or a function that finds them in the network.
Names: TypeAlias = tuple[str, ...] | Callable[[nn.Module], tuple[str, ...]]

#: Samples that are never relabelled; declared where `Method.start` is given them.
OUT_OF_DISTRIBUTION = Column("out_of_distribution", torch.bool)


@dataclass(frozen=True)
class Plan:
    """What is known of a run before it starts."""

    samples: int
    classes: int
    epochs: int | None = None
    seed: int = 0
    releases: bool = False  # held-out rows may be trained once they have shown what they were for
    augmented: bool = False  # further random views of a sample can be had


@dataclass(frozen=True)
class Batch:
    """One batch of this process: index (B,) int64, inputs (P ≥ B, …), given labels (B,) int64.

    `sizes` holds B of every process where all know it, which spares them telling each other.
    `factors` (B,) multiply losses and penalties, for a sampler that corrects for how it draws.
    """

    index: Tensor
    inputs: Tensor
    labels: Tensor
    sizes: Sequence[int] | None = None
    factors: Tensor | None = None


@dataclass(frozen=True)
class Drawn:
    """Rows of a further stream of data for one step of this process.

    Args:
        index: (S,) int64 numbers of the rows in the stream's own data.
        inputs: (S, …) of the shape of the batch's; processes may have different S.
    """

    index: Tensor
    inputs: Tensor


#: Hands out the rows of a stream, by its name, for the step at hand.
Draw: TypeAlias = Callable[[str], Drawn]


@dataclass(frozen=True)
class Step:
    """What a method may look at: J networks, k classes, B rows here of G in the global batch.

    Everything of the global batch is detached and equal on every process.
    """

    index: Tensor  # (G,) stable sample indices
    labels: Tensor  # (G,) given labels
    losses: Tensor  # (J, G) against the given labels
    scores: Tensor  # (J, G, k) logits
    eligible: Tensor | None  # (G,) bool, False = held out of training, or not `first`; None = all
    here: slice  # this process's rows in the global batch
    logits: Tensor  # (J, B, k) with graph
    rest: Tensor | None  # (J, P - B, …) outputs of further rows: second views, a second stream
    features: Tensor | None  # (P, d) with graph, what the last layer saw of logits and rest
    epoch: int  # from 0
    first: Tensor | None = None  # (G,) bool, False = came in this epoch before, to fill up a batch
    stream: Tensor | None = None  # (S,) int64 rows of a stream, the last S of rest and features

    def ones(self) -> Tensor:
        """Weights that trust every sample, (G,)."""
        return torch.ones_like(self.losses[0])

    def probabilities(self) -> Tensor:
        """What is predicted, (G, k) float32 as columns are: the mean of several networks."""
        if len(self.scores) == 1:
            return self.scores[0].softmax(1).float()
        return self.scores.softmax(2).mean(0).float()

    def stream_logits(self) -> Tensor:
        """Logits of the stream's rows of this process, (J, S, k) with graph."""
        if self.stream is None or self.rest is None:
            return self.logits[:, :0]
        return self.rest[:, self.rest.shape[1] - len(self.stream) :]

    def stream_features(self) -> Tensor:
        """What the last layer saw of the stream's rows, (S, d) with graph, if it was asked for."""
        assert self.features is not None
        drawn = 0 if self.stream is None else len(self.stream)
        return self.features[len(self.features) - drawn :]


@dataclass(frozen=True)
class Decision:
    """What a method answers, for the whole global batch.

    Args:
        weights: (G,) or (J, G), >= 0; 0 drops the sample. None = every sample counts alike.
        targets: (G,), (J, G) class indices or (J, G, k) shares; None = the given labels.
        penalty: (B,) or (J, B) further loss of this process's rows, with graph, never a mean.
        divisor: The step's loss is divided by the sum of the weights, or by the batch size.
        further: (S,) or (J, S) losses of this process's rows of a stream, with graph. Their mean
            over the rows of all processes is added to the step's loss.
    """

    weights: Tensor | None = None
    targets: Tensor | None = None
    penalty: Tensor | None = None
    divisor: Literal["weights", "batch"] = "weights"
    further: Tensor | None = None


@dataclass(frozen=True)
class Change:
    """What the owner of model and optimiser must do before the next epoch (`Snapshots.apply`).

    Args:
        save: Name under which model, optimiser and the method's `rolled_back` columns are kept.
        restore: Name of what is brought back; the learning-rate schedule goes on.
        reset: Module name prefixes set back to a fresh initialisation, ("",) = all, or a function
            that finds them in the network; clears their optimiser state and restarts the schedule.
        thaw: Module name prefixes, as for reset, that were frozen and learn again.
        freeze: Module name prefixes, as for reset, that learn no more.
    """

    save: str | None = None
    restore: str | None = None
    reset: Names = ()
    thaw: Names = ()
    freeze: Names = ()


@dataclass(frozen=True)
class Parts:
    """The loss of a step as sums, so that it may be spread over batches and processes.

    Args:
        sums: (J,) weighted loss of this process's rows, with graph.
        totals: (J,) what the sums of all processes are divided by; 0 = nothing to learn from.
    """

    sums: Tensor
    totals: Tensor

    def mean(self) -> Tensor:
        """The loss for `backward` when one batch is one step.

        With several processes it is that of this one, as DistributedDataParallel wants it: the
        mean over the processes is the loss of the global batch.
        """
        mean = (self.sums / self.totals.clamp(min=1e-12)).sum()
        return mean if processes() == 1 else mean * processes()


class Method:
    """Base of all methods, and standard training: every sample counts, with its given label."""

    name: ClassVar[str] = ""
    needs: tuple[str, ...] = ()  # of "noise_rate" (given or estimated), "held_out"
    source: ClassVar[str] = ""
    family: ClassVar[str] = ""  # a key of `families.FAMILIES`
    #: P1–P6 of the survey, one of "+~-" each: any architecture, no pre-training, uses all data, no
    #: supervision, heavy noise, instance-dependent noise; "" where the survey has no such row.
    properties: ClassVar[str] = ""
    networks: ClassVar[int] = 1
    #: Bytes a sample that it remembers by default while nothing is told that could be estimated: a
    #: sum of numbers, of k, the classes, and of q, the predictions remembered. A class takes two,
    #: four of more than 32,768.
    sample_bytes: ClassVar[str] = "0"
    #: The same with the noise rate or the matrix told; "" where that makes no difference.
    sample_bytes_told: ClassVar[str] = ""
    views: int = 1  # random views of a sample in each step: the second one's outputs are Step.rest
    wants_features: bool = (
        False  # the network ends in a linear layer, whose inputs are Step.features
    )
    observe_first: ClassVar[bool] = False
    #: Whether its loss expects wrong labels; that of trusted ones is the cross-entropy then.
    corrects_labels: ClassVar[bool] = False
    #: Attributes that outlive a step: JSON numbers, short lists of them, or tensors.
    state: ClassVar[tuple[str, ...]] = ()
    rolled_back: ClassVar[tuple[str, ...]] = ()  # columns that a snapshot keeps and restores

    history: SampleHistory
    plan: Plan

    # ---- the moments
    def begin(self, plan: Plan) -> tuple[Column, ...]:
        """Resolve lengths that depend on the run; return the columns to remember."""
        return ()

    def sample_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss of every sample: logits (J, B, k); targets (J, B) int64 or (J, B, k); (J, B)."""
        if targets.dim() == logits.dim():
            return -(targets * torch.log_softmax(logits, -1)).sum(-1)
        flat = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        return flat.view(targets.shape)

    def decide(self, step: Step) -> Decision:
        """Say what each sample of the step is worth, and its target.

        What it writes into the rows of the step is taken back while gradients are off.
        """
        return Decision()

    def end_epoch(self, measured: Mapping[str, float]) -> Change | None:
        """Move the phase, estimate the noise rate, ask for a change of the network."""
        return None

    def streams(self) -> tuple[str, ...]:
        """Names of further data whose rows pass the network behind those of the batch.

        They have no labels, are not remembered, and nothing but `Decision.further` learns from
        them.
        """
        return ()

    #: The escape hatch: ``step(criterion, model, batch, draw) -> Parts``. None uses the moments.
    step: ClassVar[Callable[[Method, Criterion, nn.Module, Batch, Draw], Parts] | None] = None

    # ---- starting
    def start(
        self,
        samples: int,
        classes: int,
        *,
        epochs: int | None = None,
        labels: Tensor | None = None,
        held_out: Tensor | None = None,
        releases: bool | None = None,
        trusted: Tensor | None = None,
        out_of_distribution: Tensor | None = None,
        audit: bool = True,
        repeats: bool = False,
        augmented: bool = False,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> Criterion:
        """Make the criterion that stands in the training loop. The method itself stays unused.

        Args:
            samples: Length N of the data set whose row numbers are the sample indices.
            classes: Number of classes k, >= 2.
            epochs: Planned epochs; sets lengths that depend on the run, and the window over which
                the audit averages (all of the run when None).
            labels: (N,) int64 given labels, -1 = none; only to draw the held-out rows evenly.
            held_out: (N,) bool, rows that ride in the batches with weight 0. None lets a method
                that needs them draw a tenth, at most 2000.
            releases: Whether a method may train them once they have shown what they were held out
                for. None: if it drew them itself, for those that a user names are a user's own.
            trusted: (N,) bool, rows whose label a person has seen to: they count in full and with
                that label, whatever the method thinks of them.
            out_of_distribution: (N,) bool, samples of none of the classes, as far as is known: they
                are never learned from with another label than the given one. More may be marked
                later, in the history's column of that name.
            audit: Record what the label audit reads.
            repeats: Samples may come more than once an epoch, and count each time (a sampler that
                draws with replacement). False refuses what no epoch can hold; rows that samplers
                repeat so that several processes get equally many are counted once.
            augmented: The loop can pass further random views of every sample, for methods that
                take them where they can be had (`criterion.method.views` says how many).
            seed: Of the draw of held-out rows.
            device: Where the history lives: the device of the model's outputs.
        """
        from thresher.noise.criterion import Criterion

        return Criterion(
            copy.deepcopy(self),
            Plan(
                samples,
                classes,
                epochs,
                seed,
                held_out is None if releases is None else releases,
                augmented,
            ),
            labels=labels,
            held_out=held_out,
            trusted=trusted,
            out_of_distribution=out_of_distribution,
            audit=audit,
            repeats=repeats,
            device=device,
        )

    def known_transition(self) -> ArrayLike | None:
        """How labels are confused, as far as it knows: T (k, k), T[a, b] = P(given b | true a)."""
        return None

    def may_relabel(self, index: Tensor) -> Tensor:
        """Samples that are not known to be out of distribution, (G,) bool."""
        if OUT_OF_DISTRIBUTION.name not in self.history:
            return torch.ones_like(index, dtype=torch.bool)
        return ~self.history[OUT_OF_DISTRIBUTION.name][index]

    def rounds(self) -> int:
        """Trainings from a fresh network within the run; the learning-rate schedule spans one."""
        return 1

    def may_reset(self) -> Names:
        """Module name prefixes of what a `Change` may reset: all where a training begins anew."""
        return ("",) if self.rounds() > 1 else ()


def given(values: Tensor, targets: Tensor) -> Tensor:
    """Pick each sample's value at its target: (J, B, k) at (J, B) or, averaged, at (J, B, k)."""
    if targets.dim() == values.dim():
        return (values * targets).sum(-1)
    return values.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
