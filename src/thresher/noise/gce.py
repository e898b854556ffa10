"""Generalised cross-entropy: between cross-entropy and mean absolute error.

A sample that the network finds impossible pulls little, so wrong labels are learned late; hard
right ones are, too.

    loss = (1 - p_y^r) / r        r → 0: cross-entropy; r = 1: 1 - p_y
"""

from __future__ import annotations

import torch
from torch import Tensor

from thresher.noise.method import Method, given
from thresher.ranges import check_positive

__all__ = ["GCE", "generalised_cross_entropy"]


def generalised_cross_entropy(logits: Tensor, targets: Tensor, r: float) -> Tensor:
    """(1 - p_y^r) / r for logits (J, B, k) and targets (J, B) or (J, B, k); returns (J, B)."""
    # exp(r · ln p) keeps the gradient finite where p underflows
    return given((1 - torch.exp(r * torch.log_softmax(logits, -1))) / r, targets)


class GCE(Method):
    """Train with the generalised cross-entropy on every sample.

    Args:
        r: Robustness, in (0, 1]. Default 0.7 (Zhang & Sabuncu 2018, section 4).

    Raises:
        ParameterError: r outside (0, 1].

    Cost: none. Hurts when: classes are many or the training is short (it underfits).
    Source: Zhang, Sabuncu, Generalized Cross Entropy Loss for Training Deep Neural Networks with
    Noisy Labels, NeurIPS 2018. Deviations: the truncated variant is not offered.
    """

    name = "gce"
    source = "Zhang & Sabuncu, NeurIPS 2018"
    family = "robust loss"
    properties = "++++--"

    def __init__(self, *, r: float = 0.7) -> None:
        check_positive("r", r, below=1)
        self.r = r

    def sample_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(1 - p_y^r) / r."""
        return generalised_cross_entropy(logits, targets, self.r)
