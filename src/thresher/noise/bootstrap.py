"""Bootstrapping: believe the label in part, and oneself for the rest.

The target is mixed from the given label and the network's own prediction, so that where the two
disagree the label has less to say. The prediction enters as its most probable class (hard) or as it
is (soft), which makes a term of its entropy.

    hard   β CE(y) + (1 - β) CE(argmax p)
    soft   β CE(y) + (1 - β) Σ_c -p_c ln p_c
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from thresher.errors import ParameterError
from thresher.noise.method import Method, given
from thresher.ranges import check_positive

__all__ = ["Bootstrap", "own_class_loss", "own_entropy"]

BETA = {"hard": 0.8, "soft": 0.95}


def own_class_loss(logits: Tensor) -> Tensor:
    """-ln p of the most probable class: logits (J, B, k); returns (J, B)."""
    return given(-torch.log_softmax(logits, -1), logits.argmax(-1))


def own_entropy(logits: Tensor) -> Tensor:
    """-Σ_c p_c ln p_c, differentiated through both factors: logits (J, B, k); returns (J, B)."""
    log_probability = torch.log_softmax(logits, -1)
    return -(log_probability.exp() * log_probability).sum(-1)


class Bootstrap(Method):
    """Train on every label, mixed with the network's own prediction.

    Args:
        prediction: How the own prediction enters: "hard", as its most probable class, or "soft",
            as it is. Default "hard", the better one of the two where we measured.
        beta: β, share of the given label, in (0, 1]. Default 0.8 for hard and 0.95 for soft
            (Reed et al. 2015, section 4).

    Raises:
        ParameterError: a value out of range.

    Cost: none. Hurts when: the training is long; it confirms what it has memorised.
    Source: Reed et al., Training Deep Neural Networks on Noisy Labels with Bootstrapping,
    ICLR 2015 workshop.
    """

    name = "bootstrap"
    source = "Reed et al., ICLR 2015 workshop"
    family = "refurbishment"
    properties = "+++--~"

    def __init__(
        self, *, prediction: Literal["hard", "soft"] = "hard", beta: float | None = None
    ) -> None:
        if prediction not in BETA:
            raise ParameterError(
                f'prediction must be "hard" or "soft", got "{prediction}".', 'Use "hard".'
            )
        check_positive("beta", beta, below=1)
        self.prediction = prediction
        self.beta = BETA[prediction] if beta is None else beta

    def sample_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """β CE + (1 - β) times the loss on the network's own prediction."""
        own = own_class_loss(logits) if self.prediction == "hard" else own_entropy(logits)
        return self.beta * super().sample_loss(logits, targets) + (1 - self.beta) * own
