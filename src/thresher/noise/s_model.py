"""S-model: a softmax layer behind the network that turns true classes into given labels.

A network is first trained as usual. How its predictions are labelled is what the layer begins with;
then both learn on together. The layer is taken off when the network predicts.

    warm-up      cross-entropy; C[a, b] = Σ over samples of [y = b] p_a, in its last epoch
    w_ab         begins as ln (C[a, b] / Σ_b C[a, b])
    loss         = -ln Σ_a T[a, y] p_a      T[a, b] = exp(w_ab) / Σ_c exp(w_ac)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from thresher.history import Column
from thresher.noise.adaptation_layer import (
    AdaptationLayer,
    finite_or_nothing,
    sums_by_given,
)
from thresher.noise.method import Change, Decision, Method, Plan, Step
from thresher.phases import quarter, refuse_endless_warmup, shortened
from thresher.ranges import check_positive

__all__ = ["SModel", "log_confusion"]

WARMUP = 20
LEAST = 1e-6  # share of a label that a class was never given


def log_confusion(sums: Tensor) -> Tensor:
    """ln of every row's shares, at least 1e-6; a class that nothing is predicted of stays itself.

    Args:
        sums: (k, k) >= 0, what was predicted of class a where b was given.

    Returns:
        (k, k).
    """
    rows = sums.sum(1, keepdim=True)
    shares = torch.where(rows > 0, sums / rows.clamp(min=1e-30), torch.eye(len(sums)).to(sums))
    return shares.clamp(min=LEAST).log()


class SModel(AdaptationLayer):
    """Train as usual, then learn how the predictions are labelled along with the network.

    Args:
        warmup: Epochs of standard training before that, > 0. Default 20, or a quarter of a shorter
            run; Goldberger & Ben-Reuven (2017) train to the end.
        learning_rate: Of Adam, for the layer, > 0. Default 0.001, Adam's own.

    Raises:
        ParameterError: a value out of range.

    Cost: k products a sample; 20 k² bytes, nothing a sample. Hurts when: wrong labels are memorised
    within the warm-up, for then the layer begins near the identity, and nothing keeps it from
    ending there; labels are wrong depending on the sample.
    Source: Goldberger, Ben-Reuven, Training Deep Neural-Networks Using a Noise Adaptation Layer,
    ICLR 2017, the simple model. Deviations: the confusion is that of the training-mode predictions
    in the last epoch of the warm-up; the network goes on from there.
    """

    name = "s-model"
    source = "Goldberger & Ben-Reuven, ICLR 2017"
    properties = "~+++--"
    state: ClassVar[tuple[str, ...]] = (*AdaptationLayer.state, "confusion")

    def __init__(self, *, warmup: int | None = None, learning_rate: float = 0.001) -> None:
        super().__init__(learning_rate=learning_rate)
        check_positive("warmup", warmup)
        self.warmup = warmup

    def begin(self, plan: Plan) -> tuple[Column, ...]:
        """Nothing of a sample; the layer, and what it begins with."""
        self.warmup_epochs = shortened(self.warmup, WARMUP, quarter(plan.epochs))
        refuse_endless_warmup(self.warmup, plan.epochs)
        self._confusion = torch.zeros(plan.classes, plan.classes, device=self.history.device)
        return super().begin(plan)

    @property
    def confusion(self) -> Tensor:
        """What was predicted in the last epoch of the warm-up, by given label; (k, k) float32."""
        return self._confusion

    @confusion.setter
    def confusion(self, confusion: Tensor) -> None:
        self._confusion = confusion.to(self._confusion, copy=True)

    def known_transition(self) -> ArrayLike | None:
        """T as it is now; nothing is known before the warm-up has ended."""
        return None if self.history.epoch < self.warmup_epochs else super().known_transition()

    def first_weights(self, classes: int) -> Tensor:
        """Those of the identity, until the warm-up has ended."""
        return log_confusion(torch.zeros(classes, classes))

    def matrix_of(self, weights: Tensor) -> Tensor:
        """Softmax of every row."""
        return weights.softmax(1)

    def sample_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The cross-entropy in the warm-up, then that of the given label."""
        if self.history.epoch < self.warmup_epochs:
            return Method.sample_loss(self, logits, targets)
        return super().sample_loss(logits, targets)

    def decide(self, step: Step) -> Decision:
        """Every sample counts with its given label; the layer learns once the warm-up has ended."""
        left = self.warmup_epochs - step.epoch
        if left <= 0:
            return super().decide(step)
        if left == 1 and torch.is_grad_enabled():
            rows = self.telling(step)
            sums = sums_by_given(step.probabilities()[rows], step.labels[rows])
            self._confusion += finite_or_nothing(sums)
        return Decision()

    def end_epoch(self, measured: Mapping[str, float]) -> Change | None:
        """When the warm-up ends, begin with how its predictions were labelled."""
        if self.history.epoch + 1 == self.warmup_epochs:
            self._layer[0] = log_confusion(self._confusion)
            self._matrix = self.matrix_of(self._layer[0])
        return None
