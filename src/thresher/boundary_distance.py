"""How far a prediction is from the decision boundary, signed by whether it is right.

Each distance v lies in [-1, 1]: 0 = on the boundary, 1 = certainly right, -1 = certainly wrong.

    deviation      ± sqrt( k / (k - 1) · Σ_c (p_c - 1/k)² )      + iff argmax p = y
    margin         p_y - max_{c≠y} p_c
    logit margin   tanh( (z_y - max_{c≠y} z_c) / s )

The deviation is that of Ada-Boundary: the standard deviation of the probabilities over its largest
value, sqrt(k - 1) / k. It measures how far a prediction is from the *uniform* one, and is 0 between
two classes only where there are no others: between two of ten it is 2/3. The margins are 0 there.

Source: Song, Kim, Kim, Lee, Ada-Boundary, Machine Learning 109, 2020, for the deviation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["logit_margin", "probability_margin", "signed_deviation"]


def signed_deviation(probability: Tensor, labels: Tensor) -> Tensor:
    """Deviation of the probabilities, signed by whether the label is predicted.

    Of equally probable classes the first is the prediction.

    Args:
        probability: (B, k) float, rows add up to 1.
        labels: (B,) int64.

    Returns:
        (B,) float in [-1, 1].
    """
    k = probability.shape[1]
    spread = (probability - 1 / k).square().sum(1) * (k / (k - 1))
    distance = spread.clamp(max=1).sqrt()
    return torch.where(probability.argmax(1) == labels, distance, -distance)


def probability_margin(probability: Tensor, labels: Tensor) -> Tensor:
    """Probability of the label minus that of the best other class: (B, k), (B,) → (B,)."""
    return _lead(probability, labels)


def logit_margin(logits: Tensor, labels: Tensor, scale: float = 2.0) -> Tensor:
    """Logit of the label minus the best other one, squashed into [-1, 1].

    Args:
        logits: (B, k) float.
        labels: (B,) int64.
        scale: s > 0. With 2 and two classes it is the margin of the probabilities.
    """
    return torch.tanh(_lead(logits, labels) / scale)


def _lead(values: Tensor, labels: Tensor) -> Tensor:
    column = labels[:, None]
    rival = values.scatter(1, column, -math.inf).amax(1)
    return values.gather(1, column).squeeze(1) - rival
