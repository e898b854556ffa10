"""How much the probability of a sample's given label varies from visit to visit.

    p̄, v = mean and variance of p(given label) over the n visits so far
    ŝ    = sqrt( v + v² / (n - 1) )            the second term is what v may be off by

A sampler draws by it and a method weighs by it.

Source: Chang, Learned-Miller, McCallum, Active Bias: Training More Accurate Neural Networks by
Emphasizing High Variance Samples, NeurIPS 2017.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["deviation_of", "prediction_deviation"]


def deviation_of(variance: Tensor, visits: Tensor) -> Tensor:
    """ŝ from the variance over the visits.

    Args:
        variance: (N,) float, v >= 0.
        visits: (N,) integer, n.

    Returns:
        (N,) float; 0 after one visit, as `variance` is before the first.
    """
    deviation = (variance + variance.square() / (visits - 1).clamp(min=1)).sqrt()
    return torch.where(visits == 1, 0.0, deviation)


def prediction_deviation(total: Tensor, squares: Tensor, visits: Tensor) -> Tensor:
    """ŝ from the sums of a probability and of its square over the visits.

    Args:
        total: (N,) float, Σ p.
        squares: (N,) float, Σ p².
        visits: (N,) integer, n.

    Returns:
        (N,) float in [0, 0.56]; 0 after one visit, NaN before the first.
    """
    mean = total / visits
    return deviation_of((squares / visits - mean.square()).clamp(min=0), visits)
