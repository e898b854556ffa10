"""Label smoothing: never be quite sure of a label.

A share s of every target is spread evenly over all classes, so that a wrong label pulls less hard
and no logit is driven to infinity for its sake.

    target = (1 - s) onehot_y + s / k
    loss   = (1 - s) CE + s mean_c( -ln p_c )
"""

from __future__ import annotations

import torch
from torch import Tensor

from thresher.noise.method import Method
from thresher.ranges import check_positive

__all__ = ["LabelSmoothing", "smoothed_cross_entropy"]


def smoothed_cross_entropy(cross_entropy: Tensor, logits: Tensor, smoothing: float) -> Tensor:
    """(1 - s) CE + s mean_c(-ln p_c) for CE (J, B) and logits (J, B, k); returns (J, B)."""
    evenly = -torch.log_softmax(logits, -1).mean(-1)
    return (1 - smoothing) * cross_entropy + smoothing * evenly


class LabelSmoothing(Method):
    """Train on every label, with a share of it spread over all classes.

    Args:
        smoothing: s, in (0, 1]. Default 0.1 (Szegedy et al. 2016).

    Raises:
        ParameterError: s outside (0, 1].

    Cost: none. Hurts when: labels are wrong in one direction; it delays memorising, no more.
    Source: Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016;
    under label noise: Lukasik et al., Does Label Smoothing Mitigate Label Noise?, ICML 2020.
    """

    name = "label-smoothing"
    source = "Szegedy et al., CVPR 2016"
    family = "regularisation"
    properties = "++++-~"

    def __init__(self, *, smoothing: float = 0.1) -> None:
        check_positive("smoothing", smoothing, below=1)
        self.smoothing = smoothing

    def sample_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(1 - s) CE + s mean_c(-ln p_c)."""
        return smoothed_cross_entropy(super().sample_loss(logits, targets), logits, self.smoothing)
