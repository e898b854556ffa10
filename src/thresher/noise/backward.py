"""Backward correction: losses against given labels are turned back into one against the true class.

The inverse of the transition matrix T mixes the losses against all labels, so that over the labels
a sample might have been given the mixture is, on average, the cross-entropy against its true class.

    T[a, b] = P(given label b | true class a)
    loss_y  = Σ_c T⁻¹[y, c] (-ln p_c)             Σ_y T[a, y] loss_y = -ln p_a

The identity holds on average. A sample has one label, and the inverse has negative entries: its
loss has no lower bound, and falls forever as the network gets surer of a wrong class.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from thresher.noise.loss_correction import LossCorrection
from thresher.transition import inverse_transition, made_invertible

__all__ = ["Backward", "backward_cross_entropy"]


def backward_cross_entropy(logits: Tensor, targets: Tensor, inverse: Tensor) -> Tensor:
    """Σ_c T⁻¹[y, c] (-ln p_c).

    Args:
        logits: (J, B, k) float.
        targets: (J, B) int64, or (J, B, k) shares.
        inverse: (k, k) float, the inverse of T.

    Returns:
        (J, B) float, of either sign.
    """
    weights = inverse[targets] if targets.dim() < logits.dim() else targets @ inverse  # (J, B, k)
    return -(weights * torch.log_softmax(logits, -1)).sum(-1)


class Backward(LossCorrection):
    """Train on every label, with losses turned back by the inverse of how labels are confused.

    Args:
        transition: T (k, k), T[a, b] = P(given label b | true class a), rows add up to 1, with an
            inverse. None estimates it when the warm-up ends, by anchors, as `forward` does; as much
            of the identity is mixed in as an inverse needs.
        warmup: Epochs of standard training before that, > 0. Default 20, or a quarter of a shorter
            run; Patrini et al. (2017) train to the end.
        anew: Train a fresh network once T is estimated, in the epochs that are left. Default True
            (the same): labels that the warm-up has memorised stay memorised.

    Raises:
        ParameterError: no transition matrix of the classes, or one without an inverse; a warm-up
            out of range or without use.

    Cost: k products a sample; 4 k + 4 bytes a sample where T is estimated. Hurts when: the network
    is large enough to memorise or the training long. The loss is unbounded below: with many wrong
    labels the gradients are large and of both signs, the printed loss turns negative, and `forward`
    with the same T ends far above it. It is here for comparison.
    Source: Patrini, Rozza, Menon, Nock, Qu, Making Deep Neural Networks Robust to Label Noise: a
    Loss Correction Approach, CVPR 2017. Deviations: as in `forward`.
    """

    name = "backward"
    source = "Patrini et al., CVPR 2017"
    properties = "+++---"

    def __init__(
        self, transition: ArrayLike | None = None, *, warmup: int | None = None, anew: bool = True
    ) -> None:
        super().__init__(transition, warmup=warmup, anew=anew)
        if self._matrix is not None:
            inverse_transition(self._matrix)  # refused now, rather than in the first step

    def kernel(self, transition: NDArray[np.float64]) -> NDArray[np.float64]:
        """The inverse of T."""
        return inverse_transition(transition)

    def estimate(self) -> NDArray[np.float64]:
        """T by anchors, with an inverse."""
        return made_invertible(super().estimate())

    def corrected_loss(self, logits: Tensor, targets: Tensor, kernel: Tensor) -> Tensor:
        """Σ_c T⁻¹[y, c] (-ln p_c)."""
        return backward_cross_entropy(logits, targets, kernel)
