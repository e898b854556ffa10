"""Active passive loss: a normalised loss that raises p_y, and one that lowers the others.

Any loss divided by its sum over all labels is robust to labels that are wrong by chance, and learns
too little. *Active* losses look at the label's class alone, *passive* ones at the others too; one
of each teach enough together. The reverse cross-entropy and the mean absolute error are normalised
up to a factor, which β contains.

    loss = (α · NCE + β · passive) / scale
    NCE  = -ln p_y / Σ_c -ln p_c                       in [0, 1], Σ_y NCE = 1
    passive = RCE = -A (1 - p_y)   or   1 - p_y, half the mean absolute error
    scale = max(1, -A β / 2)       or   max(1, β / 2)

The passive loss is -A β / 2 times the mean absolute error, and pulls -A β p_y times as hard as a
cross-entropy; the active one pulls hardly at all. Divided by the scale, the passive one is the mean
absolute error at most, and the learning rate that serves `mae` serves it too.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from thresher.errors import ParameterError
from thresher.noise.mae import mean_absolute_error
from thresher.noise.method import Method, given
from thresher.noise.sce import reverse_cross_entropy
from thresher.ranges import check_positive

__all__ = ["ActivePassive", "normalised_cross_entropy"]

LOG_ZERO = math.log(1e-4)  # what the authors' code takes ln 0 for


def normalised_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """-ln p_y / Σ_c -ln p_c for logits (J, B, k), targets (J, B) or (J, B, k); returns (J, B)."""
    losses = -torch.log_softmax(logits, -1)  # (J, B, k), against every label
    return given(losses, targets) / losses.sum(-1)


class ActivePassive(Method):
    """Train with a normalised cross-entropy and a passive robust loss on every sample.

    Args:
        passive: "rce", the reverse cross-entropy, or "mae", 1 - p_y. Default "rce", the better one
            in the paper's tables.
        alpha: Weight of the normalised cross-entropy, > 0. Default 1 (Ma et al. 2020, CIFAR-10; 10
            there for CIFAR-100).
        beta: Weight of the passive loss, > 0. Default 1 (the same; 0.1 for CIFAR-100).
        log_zero: A of the reverse cross-entropy, what ln 0 is taken for, < 0. Default ln 1e-4, as
            in the authors' code.

    Raises:
        ParameterError: a value out of range.

    Cost: none. Hurts when: classes are many (take the weights of CIFAR-100) or the training is
    short; labels wrong in one direction are learned late, and learned.
    Source: Ma et al., Normalized Loss Functions for Deep Learning with Noisy Labels, ICML 2020.
    Deviations: the loss is divided by the scale, 4.6 by default, 1 with the weights of CIFAR-100.
    By SGD, the paper's is this one with a learning rate `scale` times as high and a weight decay
    divided by it. The variants with a focal loss are not offered.
    """

    name = "active-passive"
    source = "Ma et al., ICML 2020"
    family = "robust loss"
    properties = "+++++~"

    def __init__(
        self,
        *,
        passive: Literal["rce", "mae"] = "rce",
        alpha: float = 1.0,
        beta: float = 1.0,
        log_zero: float = LOG_ZERO,
    ) -> None:
        if passive not in ("rce", "mae"):
            raise ParameterError(f'passive must be "rce" or "mae", got "{passive}".', 'Use "rce".')
        check_positive("alpha", alpha)
        check_positive("beta", beta)
        if not log_zero < 0:
            raise ParameterError(
                f"log_zero must be negative, got {log_zero:g}.", "Leave it out to use the default."
            )
        self.passive, self.alpha, self.beta, self.log_zero = passive, alpha, beta, log_zero
        # at the default learning rate right labels of the digits end at 97 %, undivided at 45 %
        # (`thresher bench noise`); pair noise of the toy at 93 %, divided by -A instead at 85 %
        self.scale = max(1.0, beta * (-log_zero if passive == "rce" else 1.0) / 2)

    def sample_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(α · NCE + β · the passive loss) / scale."""
        if self.passive == "rce":
            passive = reverse_cross_entropy(logits, targets, self.log_zero)
        else:
            passive = mean_absolute_error(logits, targets) / 2
        normalised = normalised_cross_entropy(logits, targets)
        return (self.alpha * normalised + self.beta * passive) / self.scale
