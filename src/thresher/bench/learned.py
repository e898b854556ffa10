"""What a method has learned from: the weight and the label of every sample when it last came.

A listener of the criterion. It is told what the method decided and tells nothing back.
"""

from __future__ import annotations

import torch

from thresher.noise.criterion import Criterion
from thresher.noise.method import Decision, Step
from thresher.noise.weighing import learned_labels

__all__ = ["Learned"]


class Learned:
    """Weights and labels of the samples, as of their last visit.

    Args:
        criterion: Of the training; its listener is this from now on.

    Attributes:
        weights: (N,) float, the mean over networks; 0 = not learned from.
        labels: (N,) int64; -1 = never visited.
    """

    def __init__(self, criterion: Criterion) -> None:
        samples = criterion.plan.samples
        self.weights = torch.zeros(samples)
        self.labels = torch.full((samples,), -1)
        criterion.listener = self

    def __call__(self, step: Step, decision: Decision) -> None:
        """A step, and what was decided of its samples."""
        weights = step.ones() if decision.weights is None else decision.weights
        weights = weights if weights.dim() == 1 else weights.mean(0)
        if step.eligible is not None:
            weights = weights * step.eligible
        index = step.index.cpu()
        self.weights[index] = weights.float().cpu()
        self.labels[index] = learned_labels(step, decision).long().cpu()
