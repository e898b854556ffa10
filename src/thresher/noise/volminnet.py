"""VolMinNet: of all matrices that explain the given labels, take the tightest.

A network and a transition matrix T learned together can explain the same labels in many ways: what
T does not take up as confusion, the network must predict. Among them the right T spans the smallest
volume around the predictions that there are, so that its volume is part of the loss. No sample has
to be certain of its class for that, as the anchors of `forward` have to be.

    T[a, b]  = σ(w_ab) / s_a    T[a, a] = 1 / s_a    s_a = 1 + Σ_b σ(w_ab): right labels prevail
    loss     = -ln Σ_a T[a, y] p_a  +  λ ln |det T|
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from thresher.errors import ParameterError
from thresher.noise.adaptation_layer import AdaptationLayer
from thresher.ranges import check_not_negative

__all__ = ["VolMinNet", "prevailing_transition"]


def prevailing_transition(weights: Tensor) -> Tensor:
    """T of the weights w: 1 on the diagonal, σ(w) elsewhere, rows divided by their sum; (k, k)."""
    matrix = weights.sigmoid()
    matrix.fill_diagonal_(1.0)
    return matrix / matrix.sum(1, keepdim=True)


class VolMinNet(AdaptationLayer):
    """Learn how labels are confused along with the network, and keep that as small as it can be.

    Args:
        volume_weight: λ >= 0. Default 1e-4 (Li et al. 2021).
        learning_rate: Of Adam, for T, > 0. Default 0.01 (the authors' code for MNIST and
            CIFAR-100).
        right: Share of right labels that T begins with, in (0, 1). Default 0.48, as in the authors'
            code for 10 and for 100 classes. With few classes it is as small as lets right labels
            prevail: 2/3 of two classes.

    Raises:
        ParameterError: a value out of range.

    Cost: k products a sample and an inverse of k × k a step; 16 k² bytes, nothing a sample.
    Hurts when: steps are too few for T to get anywhere (a weight moves 0.01 in each), labels are
    wrong depending on the sample, or a class is given as another one more often than as itself.
    Source: Li, Liu, Han, Niu, Sugiyama, Provably End-to-end Label-Noise Learning without Anchor
    Points, ICML 2021. Deviations: Adam at a constant rate on all data (the authors' code takes SGD
    for CIFAR-10, and divides both rates with the epochs); no weight is larger than 3; no volume
    where T has no inverse.
    """

    name = "volminnet"
    source = "Li et al., ICML 2021"
    #: Wrong labels of one kind are .95 times as many as right ones at most, which keeps T away from
    #: matrices without an inverse: their volume is 0, and the loss would run to them.
    most: ClassVar[float] = 3.0

    def __init__(
        self, *, volume_weight: float = 1e-4, learning_rate: float = 0.01, right: float = 0.48
    ) -> None:
        super().__init__(learning_rate=learning_rate)
        check_not_negative("volume_weight", volume_weight)
        if not 0 < right < 1:
            raise ParameterError(
                f"right must be in (0, 1), got {right:g}.", "Leave it out to use the default."
            )
        self.volume_weight, self.right = volume_weight, right

    def first_weights(self, classes: int) -> Tensor:
        """All alike: symmetric noise."""
        wrong = min(0.5, (1 / self.right - 1) / (classes - 1))  # of one class, to a right one
        return torch.full((classes, classes), wrong).logit()

    def matrix_of(self, weights: Tensor) -> Tensor:
        """σ(w) beside a diagonal of ones, over the sum of the row."""
        return prevailing_transition(weights)

    def gradient(self, confusion: Tensor) -> Tensor:
        """Of the loss with its volume; the diagonal has no weights."""
        slope = super().gradient(confusion)
        if self.volume_weight:
            inverse, failed = torch.linalg.inv_ex(self._matrix)
            volume = self._matrix * inverse.T - self._matrix
            slope = slope + self.volume_weight * torch.where(failed == 0, volume, 0.0)
        slope = slope * (1 - self._layer[0].sigmoid())
        return slope.fill_diagonal_(0.0)
