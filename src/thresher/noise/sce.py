"""Symmetric cross-entropy: the cross-entropy, and the one with label and prediction exchanged.

Exchanged, the cross-entropy is bounded: a label that the network finds impossible pulls no harder
for it. The plain one beside it keeps hard right samples from being learned too slowly.

    loss = α · CE + β · RCE
    RCE  = -Σ_c p_c ln onehot_c  with ln 0 := A,  = -A (1 - p_y)
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from thresher.errors import ParameterError
from thresher.noise.method import Method, given
from thresher.ranges import check_positive

__all__ = ["SCE", "reverse_cross_entropy"]


def reverse_cross_entropy(logits: Tensor, targets: Tensor, log_zero: float) -> Tensor:
    """-A (1 - p_y) for logits (J, B, k) and targets (J, B) or (J, B, k); returns (J, B)."""
    return -log_zero * given(1 - torch.softmax(logits, -1), targets)


class SCE(Method):
    """Train with the symmetric cross-entropy on every sample.

    Args:
        alpha: Weight of the cross-entropy, > 0. Default 0.1 (Wang et al. 2019, CIFAR-10).
        beta: Weight of the reverse cross-entropy, > 0. Default 1 (the same).
        log_zero: A, what ln 0 is taken for, < 0. Default -4 (the same).

    Raises:
        ParameterError: a value out of range.

    Cost: none. Hurts when: classes are many; the paper then takes alpha = 6, beta = 0.1.
    Source: Wang et al., Symmetric Cross Entropy for Robust Learning with Noisy Labels, ICCV 2019.
    """

    name = "sce"
    source = "Wang et al., ICCV 2019"
    family = "robust loss"
    properties = "++++--"

    def __init__(self, *, alpha: float = 0.1, beta: float = 1.0, log_zero: float = -4.0) -> None:
        check_positive("alpha", alpha)
        check_positive("beta", beta)
        if not log_zero < 0:
            raise ParameterError(
                f"log_zero must be negative, got {log_zero:g}.", "Use the paper's -4."
            )
        self.alpha, self.beta, self.log_zero = alpha, beta, log_zero

    def sample_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """α · CE + β · RCE."""
        cross_entropy = given(-F.log_softmax(logits, -1), targets)
        reverse = reverse_cross_entropy(logits, targets, self.log_zero)
        return self.alpha * cross_entropy + self.beta * reverse
