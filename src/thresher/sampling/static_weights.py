"""Static weights: draw samples in proportion to weights that are known beforehand.

For classes of unequal size, costs, or a score made elsewhere.

    P(i) ∝ w_i
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from thresher.errors import ParameterError
from thresher.history import Column, SampleHistory
from thresher.sampling.levels import MAX_PRESSURE
from thresher.sampling.selector import Scored
from thresher.sampling.weights import weight_scores

__all__ = ["StaticWeights"]


class StaticWeights(Scored):
    """Draw samples in proportion to fixed weights, from the first epoch on.

    Args:
        weights: (N,) positive finite numbers; their scale does not matter. One below a millionth of
            the largest is drawn as if it were that much.

    Raises:
        ParameterError: a weight that is not positive and finite, or another number of weights than
            samples.

    Cost: 8 bytes a sample. Hurts when: a few samples weigh so much that they are learned by heart.
    Source: sampling with probability proportional to size; torch's WeightedRandomSampler for one
    process and at most 2^24 samples.
    """

    name = "static-weights"
    source = "the baseline for known weights"

    def __init__(self, weights: Tensor | NDArray[np.floating] | Sequence[float]) -> None:
        values = torch.as_tensor(weights).double().flatten().cpu()
        wrong = torch.nonzero(~(values.isfinite() & (values > 0))).flatten()
        if not len(values) or len(wrong):
            where = f"weight {int(wrong[0])} is {float(values[wrong[0]]):g}" if len(wrong) else ""
            raise ParameterError(
                f"weights must be positive and finite, one a sample; {where or 'there is none'}.",
                "Leave samples that are never drawn out of the data.",
            )
        self.weights = values
        self.ratio = min(float(values.max() / values.min()), MAX_PRESSURE)

    def begin(self, samples: int, classes: int, epochs: int | None) -> tuple[Column, ...]:
        """Nothing to record."""
        if len(self.weights) != samples:
            raise ParameterError(
                f"There are {len(self.weights)} weights for {samples} samples.",
                "Pass one weight a sample, in the order of their indices.",
            )
        return ()

    def pressure(self, epoch: int) -> float:
        """The largest weight over the smallest, a million at most."""
        return self.ratio

    def refresh(self, history: SampleHistory, epoch: int) -> Tensor:
        """Scores that stand for the weights."""
        if self.ratio == 1:
            return torch.zeros(len(self.weights), device=history.device)
        return weight_scores(self.weights, self.ratio).to(history.device)
