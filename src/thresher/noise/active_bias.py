"""Active Bias: samples count by how much the probability of their label has varied.

A sample that is predicted with the same confidence at every visit is learned, or is hopeless; one
that goes up and down is near the boundary, where there is something to learn. The weights of a step
come from what was seen before it.

    w_i  = ŝ_i + ε, over its mean in the batch
    ŝ    = deviation of p(given label) over the visits so far (prediction_deviation.py)
    loss = mean of w_i CE_i
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from thresher.batch_rows import turns
from thresher.history import Column, SampleHistory
from thresher.noise.method import Change, Decision, Method, Plan, Step, given
from thresher.phases import quarter, shortened
from thresher.prediction_deviation import deviation_of
from thresher.ranges import check_positive

__all__ = ["ActiveBias", "add_visit", "with_mean_one"]

WARMUP = 10

#: Of p(given label): visits, mean, and the sum of squared distances from the mean (Welford).
SPREAD = (
    Column("spread_visits", torch.int32),
    Column("spread_mean"),
    Column("spread_squares"),
)


def add_visit(history: SampleHistory, index: Tensor, probability: Tensor) -> None:
    """Add one visit to mean and squared distances, exactly and without the sums' cancellation.

    Args:
        history: With SPREAD.
        index: (G,) int64.
        probability: (G,) float, p(given label).
    """
    for rows in turns(index) if history.repeats else (slice(None),):
        here, seen = index[rows], probability[rows]
        visits = history["spread_visits"][here] + 1
        before = history["spread_mean"][here]
        mean = before + (seen - before) / visits
        history["spread_visits"][here] = visits
        history["spread_mean"][here] = mean
        history["spread_squares"][here] += (seen - before) * (seen - mean)


def with_mean_one(weights: Tensor, counted: Tensor) -> Tensor:
    """Weights over their mean among the samples that count; 1 for the others, and if all are 0.

    Args:
        weights: (G,) float >= 0.
        counted: (G,) bool.
    """
    mean = torch.where(counted, weights, 0).sum() / counted.sum().clamp(min=1)
    return torch.where(counted & (mean > 0), weights / mean.clamp(min=1e-12), 1.0)


class ActiveBias(Method):
    """Weigh every sample by how much the probability of its label has varied.

    Args:
        smoothing: ε > 0, what a sample weighs that never varied. Default None: the mean of ŝ over
            the samples, taken anew after every epoch (Chang et al. 2017); comparisons of methods
            against wrong labels took 0.2.
        warmup: Epochs in which all samples count alike, > 0. Default 10, or a quarter of a shorter
            run.

    Raises:
        ParameterError: a value out of range.

    Cost: 12 bytes a sample. Hurts when: labels are wrong often: those that are being memorised vary
    most. Variance over all visits remembers the early epochs.
    Source: Chang, Learned-Miller, McCallum, Active Bias: Training More Accurate Neural Networks by
    Emphasizing High Variance Samples, NeurIPS 2017, the weighted variant by prediction variance.
    Deviations: after a single visit ŝ is 0, where the second term is not defined.
    """

    name = "active-bias"
    source = "Chang et al., NeurIPS 2017"
    sample_bytes = "12"
    family = "reweighting"
    properties = "++++-~"
    state: ClassVar[tuple[str, ...]] = ("average",)

    def __init__(self, *, smoothing: float | None = None, warmup: int | None = None) -> None:
        check_positive("smoothing", smoothing)
        check_positive("warmup", warmup)
        self.smoothing, self.warmup = smoothing, warmup
        self.average = 0.0  # of ŝ, after the last epoch

    def begin(self, plan: Plan) -> tuple[Column, ...]:
        """Visits, mean and spread of the probability of the given label."""
        self.warmup_epochs = shortened(self.warmup, WARMUP, quarter(plan.epochs))
        return SPREAD

    def deviation(self, index: Tensor) -> Tensor:
        """ŝ of these samples; 0 before the second visit."""
        visits = self.history["spread_visits"][index]
        return deviation_of(self.history["spread_squares"][index] / visits.clamp(min=1), visits)

    def decide(self, step: Step) -> Decision:
        """Weigh by what was seen before this step, then remember what is seen in it."""
        decision = Decision()
        if step.epoch >= self.warmup_epochs:
            counted = self.history["spread_visits"][step.index] > 0
            if step.eligible is not None:
                counted = counted & step.eligible
            smoothing = self.average if self.smoothing is None else self.smoothing
            weights = self.deviation(step.index) + smoothing
            decision = Decision(with_mean_one(weights, counted).to(step.losses.dtype))
        add_visit(self.history, step.index, given(step.probabilities(), step.labels))
        return decision

    def end_epoch(self, measured: Mapping[str, float]) -> Change | None:
        """What a sample weighs that never varied."""
        visited = self.history["eligible"] & (self.history["spread_visits"] > 0)
        if visited.any():
            everywhere = torch.arange(self.plan.samples, device=visited.device)
            self.average = float(self.deviation(everywhere)[visited].double().mean())
        return None
