"""Mean absolute error: every label pulls within bounds, and wrong ones cancel out.

Summed over all labels it is the same for every prediction. Labels that are wrong by chance, each
other class alike, then add a constant, and the best network is the one that right labels would
give, as long as right ones are the most frequent. The price is a gradient p_y times that of the
cross-entropy: what a network finds improbable it hardly learns, be it wrong or merely hard.

    loss = Σ_c |p_c - onehot_c| = 2 (1 - p_y)          Σ_y loss = 2 (k - 1)
"""

from __future__ import annotations

import torch
from torch import Tensor

from thresher.noise.method import Method, given

__all__ = ["MAE", "mean_absolute_error"]


def mean_absolute_error(logits: Tensor, targets: Tensor) -> Tensor:
    """2 (1 - p_y) for logits (J, B, k) and targets (J, B) or (J, B, k); returns (J, B)."""
    return given(2 * (1 - torch.softmax(logits, -1)), targets)


class MAE(Method):
    """Train with the mean absolute error between prediction and label on every sample.

    Cost: none. Hurts when: classes are many (it underfits from about a hundred on) or the training
    is short; labels that are wrong in one direction are learned where they are the more frequent.
    Source: Ghosh, Kumar, Sastry, Robust Loss Functions under Label Noise for Deep Neural Networks,
    AAAI 2017.
    """

    name = "mae"
    source = "Ghosh et al., AAAI 2017"
    family = "robust loss"
    properties = "++++--"

    def sample_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """2 (1 - p_y)."""
        return mean_absolute_error(logits, targets)
