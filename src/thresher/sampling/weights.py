"""Weights as scores: any positive weights are a pressure and scores that stand for them.

s = largest weight / smallest weight,    u = ln(largest / w) / ln s,    s^(-u) ∝ w
"""

from __future__ import annotations

import math

from torch import Tensor

__all__ = ["weight_scores"]


def weight_scores(weights: Tensor, pressure: float) -> Tensor:
    """Scores that draw in proportion to weights at this pressure.

    Args:
        weights: (N,) float > 0; NaN = unknown, and so is its score.
        pressure: > 1; weights below the largest over this are drawn as if they were that much.

    Returns:
        (N,) float32 in [0, 1].
    """
    largest = weights.nan_to_num().amax()
    scores = (largest / weights.double()).log() / math.log(pressure)
    return scores.clamp(0, 1).float()
