"""Active Bias: draw samples whose probability of the given label varies.

What is always predicted with the same confidence, be it high or low, is learned or is hopeless.

    P(i) ∝ ŝ_i + ε         ŝ = deviation of p(given label) over the visits (prediction_deviation.py)
"""

from __future__ import annotations

import torch
from torch import Tensor

from thresher.history import Column, SampleHistory
from thresher.prediction_deviation import prediction_deviation
from thresher.ranges import check_positive
from thresher.sampling.selector import Scored, warmup_epochs
from thresher.sampling.weights import weight_scores

__all__ = ["ActiveBias"]

WARMUP = 10
LARGEST = (1 / 4 + 1 / 16) ** 0.5  # ŝ of one visit at 0 and one at 1
OPEN_RATIO = 1000.0  # of the largest to the smallest weight, where ε follows the data


class ActiveBias(Scored):
    """Draw samples by how much the probability of their given label has varied.

    Args:
        smoothing: ε > 0, what a sample weighs that never varied. Default None: the mean of ŝ over
            the samples (Chang et al. 2017). The authors of Recency Bias took 0.02 and 0.2.
        warmup: Epochs of shuffled batches, >= 0. Default 10, or a quarter of a shorter run.

    Raises:
        ParameterError: a value out of range.

    Cost: 12 bytes a sample, which the audit records anyway. Hurts when: the run is long: variance
    over all visits remembers the early epochs.
    Source: Chang, Learned-Miller, McCallum, Active Bias: Training More Accurate Neural Networks by
    Emphasizing High Variance Samples, NeurIPS 2017, the sampling variant. Deviations: with the
    default ε a weight counts as at least a thousandth of the largest; weights are renewed before
    each epoch.
    """

    name = "active-bias"
    source = "Chang et al., NeurIPS 2017"

    def __init__(self, *, smoothing: float | None = None, warmup: int | None = None) -> None:
        check_positive("smoothing", smoothing)
        self.smoothing, self.written_warmup = smoothing, warmup

    def begin(self, samples: int, classes: int, epochs: int | None) -> tuple[Column, ...]:
        """Lengths of this run; sums of the probability of the given label."""
        self.warmup = warmup_epochs(self.written_warmup, WARMUP, epochs)
        return Column("visits", torch.int32), Column("given_sum"), Column("given_square_sum")

    def pressure(self, epoch: int) -> float:
        """The largest weight there can be over the smallest."""
        return OPEN_RATIO if self.smoothing is None else 1 + LARGEST / self.smoothing

    def refresh(self, history: SampleHistory, epoch: int) -> Tensor:
        """Scores that draw in proportion to ŝ + ε; they stay so within the epoch."""
        deviation = prediction_deviation(
            history["given_sum"], history["given_square_sum"], history["visits"]
        )
        smoothing = self.smoothing
        if smoothing is None:
            # while nothing has varied yet, all weigh the same
            smoothing = float(deviation.nanmean().nan_to_num()) or 1.0
        return weight_scores(deviation + smoothing, self.pressure(epoch))
