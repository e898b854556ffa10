"""The contract of a selector: which samples are worth seeing now?

A selector answers in one of two ways; the batch sampler (batch_sampler.py) asks, draws and listens.

    kind      answers                                                 asked
    ────────  ─────────────────────────────────────────────────────   ──────────────────────────
    Scored    a score u in [0, 1] for every sample, 0 = most wanted;  `refresh` before an epoch,
              drawn with probability ∝ pressure^(-u)                  `rescore` after every step
    Planned   the rows of the coming epoch, and what their losses     `plan` before an epoch
              are multiplied by

Choosing within a batch by losses of that very step is neither: it decides what a step learns from,
and stands with the methods in `noise/`.

    begin(samples, classes, epochs) → columns of the history that it reads
    refresh | plan                  ← history, epoch
    rescore                         ← Observed: the rows of a step, of all processes

A selector is a rule and its hyper-parameters. What it knows of the samples lies in the history, so
that one record serves it, the noise methods and the audit; the same history and epoch give the same
answer. `begin` resolves what depends on the run: whoever starts a run begins a copy, as
`Method.start` does.

Rows that are kept out of training (`eligible`) are scored like the others and stay in every plan:
what is predicted of them is what they are there for, and the criterion gives them no weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Generator, Tensor

from thresher.errors import ParameterError
from thresher.history import Column, SampleHistory
from thresher.phases import quarter, shortened

__all__ = ["Observed", "Planned", "PlannedRows", "Scored", "Selector", "warmup_epochs"]


@dataclass(frozen=True)
class Observed:
    """The rows of one step, of all processes, as the network saw them before its update.

    Args:
        index: (G,) int64 stable sample indices.
        logits: (G, k) float32, detached.
        targets: (G,) int64 labels that the step learned from: given, or refurbished.
        epoch: From 0.
    """

    index: Tensor
    logits: Tensor
    targets: Tensor
    epoch: int

    def losses(self) -> Tensor:
        """Cross-entropy against the targets, (G,)."""
        return F.cross_entropy(self.logits, self.targets, reduction="none")


@dataclass(frozen=True)
class PlannedRows:
    """What an epoch visits.

    Args:
        index: (M,) int64 stable sample indices in any order, M >= 1.
        weights: (M,) float32 >= 0, what their losses are multiplied by; None = 1.
    """

    index: Tensor
    weights: Tensor | None = None


class Selector:
    """Base of both kinds."""

    name: ClassVar[str] = ""
    source: ClassVar[str] = ""

    def begin(self, samples: int, classes: int, epochs: int | None) -> tuple[Column, ...]:
        """Resolve lengths that depend on the run; return the columns of the history to record.

        Args:
            samples: Length N of the data set.
            classes: Number of classes k, >= 2.
            epochs: Planned epochs, or None where nobody knows.
        """
        return ()


class Scored(Selector):
    """A selector that scores samples.

    Attributes:
        warmup: Epochs of shuffled batches before the first drawn ones; scores move meanwhile.
            Known after `begin`.
        rowwise: Whether `rescore` looks at each row alone, so that it may be asked about the rows
            of several steps at once.
    """

    warmup: int = 0
    rowwise: ClassVar[bool] = False

    def pressure(self, epoch: int) -> float:
        """Selection pressure s_e in [1, 1e6]: how much likelier score 0 is drawn than score 1."""
        return 1.0

    def refresh(self, history: SampleHistory, epoch: int) -> Tensor | None:
        """Score every sample, (N,) float32 in [0, 1]; NaN = not known yet. None = as they are.

        Asked before every epoch after the warm-up. A sample whose score is not known is drawn as
        the median of those that are.
        """
        return None

    def rescore(self, observed: Observed) -> Tensor | None:
        """Score the rows of a step anew, (G,) float32 in [0, 1]; None = not before `refresh`.

        NaN leaves a sample's score as it is; of a row that comes twice, the last score counts. A
        selector that does not override this is not waited for (`AdaptiveBatchSampler`, lag).
        """
        return None


class Planned(Selector):
    """A selector that plans whole epochs."""

    def plan(self, history: SampleHistory, epoch: int, generator: Generator) -> PlannedRows:
        """Choose the rows of an epoch.

        Args:
            history: What was seen of every sample.
            epoch: From 0.
            generator: Belongs to (seed, epoch): the only source of randomness.
        """
        raise NotImplementedError


def warmup_epochs(written: int | None, paper: int, epochs: int | None) -> int:
    """Epochs of shuffled batches: as written, else the paper's or a quarter of a shorter run.

    >>> warmup_epochs(None, 15, 20), warmup_epochs(None, 15, None), warmup_epochs(8, 15, 10)
    (5, 15, 8)

    Args:
        written: What the user asked for, >= 0, or None.
        paper: The literature's.
        epochs: Planned epochs, or None.

    Raises:
        ParameterError: a written warm-up is negative, or leaves no epoch to draw.
    """
    if written is not None and written < 0:
        raise ParameterError(f"warmup must be 0 or more, got {written}.", "Use 0 for none.")
    if written is not None and epochs is not None and written >= epochs:
        raise ParameterError(
            f"warmup ({written}) leaves none of {epochs} epochs to choose samples in.",
            "Lower it, or leave it out: it shrinks with the run.",
        )
    return shortened(written, paper, quarter(epochs))
