"""Backward correction: losses against given labels are turned back into one against the true class.

The inverse of the transition matrix T mixes the losses against all labels, so that over the labels
a sample might have been given the mixture is, on average, the cross-entropy against its true class.

    T[a, b] = P(given label b | true class a)
    loss_y  = Σ_c T⁻¹[y, c] (-ln p_c)             Σ_y T[a, y] loss_y = -ln p_a

The identity holds on average. A sample has one label, and the inverse has negative entries: its
loss has no lower bound, and falls as long as the network gets surer that it is none of the classes
with a negative weight. With `least`, such a class is pushed down no further once its p is that.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from thresher.errors import ParameterError
from thresher.noise.loss_correction import LossCorrection
from thresher.transition import inverse_transition, made_invertible

__all__ = ["Backward", "backward_cross_entropy"]

LEAST = 1e-4


def backward_cross_entropy(
    logits: Tensor, targets: Tensor, inverse: Tensor, least: float = 0.0
) -> Tensor:
    """Σ_c T⁻¹[y, c] (-ln p_c), where p counts as at least `least` if its weight is negative.

    Args:
        logits: (J, B, k) float.
        targets: (J, B) int64, or (J, B, k) shares.
        inverse: (k, k) float, the inverse of T.
        least: In [0, 1).

    Returns:
        (J, B) float, of either sign.
    """
    weights = inverse[targets] if targets.dim() < logits.dim() else targets @ inverse  # (J, B, k)
    losses = -torch.log_softmax(logits, -1)
    if least > 0:
        losses = torch.where(weights < 0, losses.clamp(max=-math.log(least)), losses)
    return (weights * losses).sum(-1)


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
        least: Probability below which a class is pushed down no further, in [0, 1); 0 is the
            paper's loss. Default None: 0 for a given T, 1e-4 for an estimated one.

    Raises:
        ParameterError: no transition matrix of the classes, or one without an inverse; a warm-up
            out of range or without use.

    Cost: k products a sample; 4 k + 4 bytes a sample where T is estimated. Hurts when: T is off.
    The loss is unbounded below: the printed one turns negative, logits grow, and where T was
    estimated too early trainings diverge; bounded, it memorises nearly as the cross-entropy does.
    `forward` with the same T ends above it. It is here for comparison.
    Source: Patrini, Rozza, Menon, Nock, Qu, Making Deep Neural Networks Robust to Label Noise: a
    Loss Correction Approach, CVPR 2017. Deviations: as in `forward`; the bound; logarithms of
    probabilities are exact, where code that takes -ln max(p, 1e-7) stops learning from a sample as
    soon as its p is below, and ends 10 to 13 points lower on the toy.
    """

    name = "backward"
    source = "Patrini et al., CVPR 2017"
    sample_bytes = "4k+4"
    sample_bytes_told = "0"
    properties = "+++---"

    def __init__(
        self,
        transition: ArrayLike | None = None,
        *,
        warmup: int | None = None,
        anew: bool = True,
        least: float | None = None,
    ) -> None:
        super().__init__(transition, warmup=warmup, anew=anew)
        if least is not None and not 0 <= least < 1:
            raise ParameterError(
                f"least must be in [0, 1), got {least:g}.", "Leave it out to use the default."
            )
        # an estimate that is off leaves a pull without end; see `least`
        self.least = (LEAST if transition is None else 0.0) if least is None else least
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
        return backward_cross_entropy(logits, targets, kernel, self.least)
