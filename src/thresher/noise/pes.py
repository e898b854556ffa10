"""PES: stop early part by part, for later blocks memorise wrong labels sooner than early ones.

The network is trained until its front has learned; then the later blocks, which have begun to
memorise by then, are set back to a fresh start and trained anew for a few epochs with the front
fixed; then the last block alone. From there on all of it learns, from *confident* samples: those
whose given label is what the network predicts, time after time. What it predicts in the step itself
does not count: who is confident and now taken for something else is learned from, else a class that
is lost once would stay lost.

    T1 epochs   all of the network, all samples
    T2 epochs   the middle and the last block from a fresh start, the front fixed
    T3 epochs   the last block from a fresh start, the others fixed
    then        all of the network, confident samples,  weight = mean count / count of their class
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from thresher.errors import ModelError, ParameterError
from thresher.history import Column, SampleHistory
from thresher.models.blocks import later_blocks, parameters_outside, under
from thresher.noise.memorised import BLOCK_COUNTS, label_history, memorised
from thresher.noise.method import Change, Decision, Method, Names, Plan, Step
from thresher.phases import quarter, shortened
from thresher.ranges import check_positive

__all__ = ["PES", "Front", "Later", "balancing_weights", "confident"]

MOST_WEIGHT = 3.0  # of a class with few confident samples, as in the authors' code with MixMatch


@dataclass(frozen=True)
class Later:
    """Finds the later blocks of a network: what is renewed.

    Args:
        parts: 1 = the last block, 2 = the middle ones as well.
        named: Module name prefixes to take instead; None goes by `thresher.models.blocks`.

    Raises:
        ModelError: the network has nothing of that name.
    """

    parts: int
    named: tuple[str, ...] | None = None

    def __call__(self, model: nn.Module) -> tuple[str, ...]:
        """The module name prefixes."""
        if self.named is None:
            return later_blocks(model, self.parts)
        names = [name for name, _ in model.named_parameters()]
        for prefix in self.named:
            if not any(under(name, (prefix,)) for name in names):
                raise ModelError(
                    f'The network has no parameters under "{prefix}"; it begins with '
                    f'"{names[0]}" and ends with "{names[-1]}".',
                    "Name modules as model.named_modules() does.",
                )
        return self.named


@dataclass(frozen=True)
class Front:
    """Finds everything but the later blocks: what is fixed meanwhile."""

    later: Later

    def __call__(self, model: nn.Module) -> tuple[str, ...]:
        """The names of parameters."""
        return parameters_outside(model, self.later(model))


def confident(history: SampleHistory, index: Tensor, labels: Tensor, window: int) -> Tensor:
    """Whether the last predictions of these samples were their given label, all of them; (B,) bool.

    Args:
        history: With the columns of `label_history`.
        index: (B,) int64 stable sample indices.
        labels: (B,) int64 given labels.
        window: Predictions that count, >= 1.
    """
    return memorised(history, index, labels, window)[1] == 1


def balancing_weights(counts: Tensor) -> Tensor:
    """Mean count over count of every class, at most 3; classes without samples do not count.

    >>> balancing_weights(torch.tensor([30, 10, 0, 2]))
    tensor([0.4667, 1.4000, 1.0000, 3.0000])

    Args:
        counts: (k,) whole numbers >= 0.
    """
    there = counts > 0
    if not there.any():
        return torch.ones(len(counts))
    weights = counts[there].float().mean() / counts.clamp(min=1)
    return torch.where(there, weights.clamp(max=MOST_WEIGHT), 1.0)


class PES(Method):
    """Train the later blocks of the network anew, then learn from labels that it confirms.

    Args:
        front_epochs: T1, epochs that train all of the network on all samples, > 0. Default 25 (Bai
            et al. 2021, CIFAR-10; 30 there for CIFAR-100), or a quarter of a shorter run.
        middle_epochs: T2, epochs that train middle and last block anew, > 0. Default 7 (the same),
            or half of a shorter T1.
        last_epochs: T3, epochs that train the last block anew, > 0. Default 5 (the same), or
            half of a shorter T1.
        window: Last predictions that must be the given label, one an epoch, >= 1. Default 2.
        balance: Let classes with few confident samples count more, up to threefold. Default True,
            as in the authors' code.
        later: Two lists of module name prefixes, those renewed for T2 and for T3, such as
            (["layer4", "fc"], ["fc"]). None finds them: a network is its children in the order in
            which it makes them, Sequential and ModuleList opened, normalisation counted with the
            block before. The last block is the last of them; the middle is a quarter of the others,
            rounded down, at least one if the first of all is left. Of ResNet-18 that is its
            fourth stage, as published.

    Raises:
        ParameterError: a value out of range, or phases that leave no epoch for confident samples.
        ModelError: the network has no such module, or one that cannot be initialised anew.

    Cost: 2 window + 4 bytes a sample. Hurts when: a network has few blocks, of which fresh ones on
    a fixed front learn little; wrong labels are as easy to predict as right ones.
    Source: Bai, Yang, Han, Yang, Li, Mao, Niu, Liu, Understanding and Improving Early Stopping for
    Learning with Noisy Labels, NeurIPS 2021. Deviations: later blocks are trained by the run's
    optimiser, whose schedule begins anew (theirs: Adam with a small rate of its own); confident is
    what the predictions of the training before this step agree on, each of another random view
    where the data are augmented (theirs: the mean of two views, predicted in a pass of its own once
    an epoch); the weights of classes are limited; running averages of
    normalisation in the fixed front go on; a network of one layer has nothing to renew.
    """

    name = "pes"
    source = "Bai et al., NeurIPS 2021"
    sample_bytes = "2q+4"
    family = "sample selection"
    state: ClassVar[tuple[str, ...]] = ("class_weights",)

    def __init__(
        self,
        *,
        front_epochs: int | None = None,
        middle_epochs: int | None = None,
        last_epochs: int | None = None,
        window: int = 2,
        balance: bool = True,
        later: Sequence[Sequence[str]] | None = None,
    ) -> None:
        lengths = (front_epochs, middle_epochs, last_epochs)
        names = ("front_epochs", "middle_epochs", "last_epochs")
        for name, length in zip(names, lengths, strict=True):
            check_positive(name, length)
        check_positive("window", window)
        if later is not None and (
            len(later) != 2 or any(isinstance(each, str) or not each for each in later)
        ):
            raise ParameterError(
                f"later must be two lists of module names, got {later!r}.",
                'Such as (["layer4", "fc"], ["fc"]); leave it out to have them found.',
            )
        self.lengths, self.window, self.balance = lengths, window, balance
        named = (None, None) if later is None else (tuple(later[0]), tuple(later[1]))
        self.middle, self.last = Later(2, named[0]), Later(1, named[1])
        self.class_weights: list[float] = []  # from the first confident epoch on

    def begin(self, plan: Plan) -> tuple[Column, ...]:
        """The last predictions of every sample."""
        first, second, third = self.lengths
        first = shortened(first, 25, quarter(plan.epochs))
        half = math.ceil(first / 2)
        second, third = shortened(second, 7, half), shortened(third, 5, half)
        self.ends = (first, first + second, first + second + third)  # of the first three phases
        written = any(each is not None for each in self.lengths)
        if written and plan.epochs is not None and self.ends[2] >= plan.epochs:
            raise ParameterError(
                f"The first three phases take {self.ends[2]} epochs of {plan.epochs}, and none is "
                "left for the confident samples.",
                "Raise --epochs or shorten front_epochs, middle_epochs or last_epochs.",
            )
        return label_history(self.window)

    def decide(self, step: Step) -> Decision:
        """Every sample until the last block is trained; then those whose label is confirmed."""
        if step.epoch < self.ends[2]:
            return Decision()
        sure = confident(self.history, step.index, step.labels, self.window)
        weights = sure.to(step.losses.dtype)
        if self.class_weights:
            weights = weights * weights.new_tensor(self.class_weights)[step.labels]
        return Decision(weights)

    def end_epoch(self, measured: Mapping[str, float]) -> Change | None:
        """Renew the later blocks, then the last one, then let everything learn."""
        done = self.history.epoch + 1
        if done >= self.ends[2] and self.balance:
            self.class_weights = balancing_weights(self.confident_counts()).tolist()
        if done == self.plan.epochs:  # a block that begins anew now would never learn
            return None
        if done == self.ends[0]:
            return Change(reset=self.middle, freeze=Front(self.middle))
        if done == self.ends[1]:
            return Change(reset=self.last, freeze=Front(self.last))
        return Change(thaw=("",)) if done == self.ends[2] else None

    def may_reset(self) -> Names:
        """The later blocks."""
        return self.middle

    def confident_counts(self) -> Tensor:
        """Confident samples of every class, (k,) int64, among those that may be trained."""
        history = self.history
        given = history["given"]
        rows = torch.nonzero(history["eligible"] & (given >= 0)).flatten()
        counts = torch.zeros(history.classes, dtype=torch.int64, device=rows.device)
        for block in torch.split(rows, max(1, BLOCK_COUNTS // history.classes)):
            labels = given[block].long()
            sure = labels[confident(history, block, labels, self.window)]
            counts += torch.bincount(sure, minlength=history.classes)
        return counts
