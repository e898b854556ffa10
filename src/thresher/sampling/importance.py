"""Importance correction: weights of the loss that undo, in part or whole, what the sampler prefers.

    r_i = n · P_i          how often a sample comes, over uniform draws
    ω_i = r_i^(-β) / E     E = Σ P_i r_i^(-β), its expectation in a batch;  ω_i <= 10

With β = 1 the expected gradient of a batch of independent draws is that of the whole data, for
Σ P_i ω_i g_i = mean g; with β = 0 it is that of the tilted distribution, as Ada-Boundary and
Recency Bias train. E is the expectation, not the batch's own mean or maximum: dividing by those
would let one sample's weight depend on which others it meets. Distinct batches come up to
b · max P to the same.

Source: importance sampling; the exponent follows prioritised replay (Schaul et al., ICLR 2016),
which divides by the batch's maximum instead.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from thresher.errors import ParameterError

__all__ = ["check_beta", "expected_correction", "importance_weights"]

MOST = 10.0  # no loss counts for more than ten


def check_beta(beta: float) -> float:
    """Refuse an exponent outside [0, 1].

    Raises:
        ParameterError: beta outside.
    """
    if not 0 <= beta <= 1:
        raise ParameterError(
            f"importance_beta must be in [0, 1], got {beta:g}.",
            "0 leaves the losses as they are, 1 corrects in full.",
        )
    return beta


def expected_correction(
    probability: NDArray[np.float64], count: NDArray[np.int64], beta: float
) -> float:
    """The expectation E of r^(-β) over draws.

    Args:
        probability: (m,) probabilities that occur, > 0.
        count: (m,) of how many samples each; Σ count · probability = 1.
        beta: The exponent.
    """
    relative = int(count.sum()) * probability
    return float((count * probability * relative**-beta).sum())


def importance_weights(
    relative: NDArray[np.float64], beta: float, expected: float
) -> NDArray[np.float32]:
    """What the losses of samples are multiplied by.

    Args:
        relative: (n,) r = number of samples that can be drawn × probability, > 0.
        beta: The exponent, in [0, 1].
        expected: From `expected_correction`.

    Returns:
        (n,) float32 in (0, 10].

    >>> importance_weights(np.array([4.0, 1.0, 0.5]), 1.0, 1.0).tolist()
    [0.25, 1.0, 2.0]
    """
    return np.minimum(relative**-beta / expected, MOST).astype(np.float32)
