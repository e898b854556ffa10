"""Forward correction: the network predicts true classes, the loss looks at given labels.

Between the two stands the transition matrix T. The prediction is carried *forward* through T to a
prediction of the given label, and that one is compared with it. A network that explains the given
labels best then predicts the true classes, and no label has to be doubted for itself.

    T[a, b] = P(given label b | true class a)
    loss    = -ln Σ_a T[a, y] p_a
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from thresher.noise.loss_correction import LossCorrection

__all__ = ["Forward", "forward_cross_entropy"]


def forward_cross_entropy(logits: Tensor, targets: Tensor, transition: Tensor) -> Tensor:
    """-ln Σ_a T[a, y] p_a, in logarithms.

    Args:
        logits: (J, B, k) float.
        targets: (J, B) int64, or (J, B, k) shares.
        transition: (k, k) float, rows add up to 1. Zeros count as the smallest number there is, so
            that a label that T thinks impossible has a large loss and not an infinite one.

    Returns:
        (J, B) float.
    """
    least = torch.finfo(logits.dtype).tiny
    if targets.dim() == logits.dim():
        given_label = torch.softmax(logits, -1) @ transition  # (J, B, k)
        return -(targets * given_label.clamp(min=least).log()).sum(-1)
    from_class = transition.T[targets].clamp(min=least).log()  # (J, B, k), ln T[a, y] of every a
    return -torch.logsumexp(torch.log_softmax(logits, -1) + from_class, -1)


class Forward(LossCorrection):
    """Train on every label, its prediction carried through how labels are confused.

    Args:
        transition: T (k, k), T[a, b] = P(given label b | true class a), rows add up to 1. None
            estimates it when the warm-up ends, by anchors: row a is what is predicted of a sample
            as good as certain of class a, the one at the 97th percentile of p(a).
        warmup: Epochs of standard training before that, > 0. Default 20, or a quarter of a shorter
            run; Patrini et al. (2017) train to the end.
        anew: Train a fresh network once T is estimated, in the epochs that are left. Default True
            (the same): labels that the warm-up has memorised stay memorised.

    Raises:
        ParameterError: no transition matrix of the classes, a warm-up out of range or without use.

    Cost: k products a sample; 4 k + 4 bytes a sample where T is estimated (40 MB for a million
    samples of ten classes). Hurts when: T is far off, because wrong labels are memorised within the
    warm-up, classes have few samples, or labels are wrong depending on the sample.
    Source: Patrini, Rozza, Menon, Nock, Qu, Making Deep Neural Networks Robust to Label Noise: a
    Loss Correction Approach, CVPR 2017. Deviations: T is estimated within the run, from the mean
    training-mode predictions of the warm-up; see `thresher.transition` for the anchors.
    """

    name = "forward"
    source = "Patrini et al., CVPR 2017"
    sample_bytes = "4k+4"
    sample_bytes_told = "0"
    properties = "+++---"

    def kernel(self, transition: NDArray[np.float64]) -> NDArray[np.float64]:
        """T itself."""
        return transition

    def corrected_loss(self, logits: Tensor, targets: Tensor, kernel: Tensor) -> Tensor:
        """-ln Σ_a T[a, y] p_a."""
        return forward_cross_entropy(logits, targets, kernel)
