"""The noise rate a method goes by when the user gave none: how often the settled samples disagree.

A sample whose last five predictions were the same has been settled by the network; where they
contradict the given label, early on, the label is mostly wrong. Memorising only ever hides such
disagreement, so the largest estimate of the run is kept. The mixture of losses that is usual for
this counts hard samples as wrong and misses wrong labels that are easily confused; figures of
both: `benchmarks/noise.py rates`.

    τ̂ = max over epochs of  mean( settled label ≠ given label )
"""

from __future__ import annotations

import numpy as np
import torch

from thresher.history import Column, SampleHistory
from thresher.mixture import fit_gaussian_mixture
from thresher.noise_rate import disagreement

__all__ = ["MIXTURE_COLUMNS", "RATE_COLUMNS", "SETTLED", "estimate_rate", "mixture_rate"]

RATE_COLUMNS = (Column("run_label", "class", fill=-1), Column("run_length", torch.int16))
MIXTURE_COLUMNS = (Column("loss_sum"), Column("visits", torch.int32))
MIXTURE_ROWS = 50_000  # a mixture of more losses is fitted to so many of their quantiles
SETTLED = 5  # equal predictions in a row
ENOUGH = 50  # settled samples, below which the estimate is not moved
MOST = 0.9


def estimate_rate(
    history: SampleHistory,
    before: float,
    *,
    settled_after: int = SETTLED,
    settled_share: float = 0.0,
) -> float:
    """The estimate after this epoch, at least the one before; both in [0, 0.9].

    Args:
        history: With RATE_COLUMNS; between two epochs.
        before: The last estimate, 0 at first.
        settled_after: Equal predictions in a row that settle a sample, fewer in a short warm-up.
        settled_share: Of the trained samples, below which the estimate is not moved, in [0, 1]: a
            network that learns slowly settles first on what it gets wrong.
    """
    eligible = history["eligible"]
    settled = eligible & (history["run_length"] >= settled_after)
    if int(settled.sum()) < max(ENOUGH, settled_share * int(eligible.sum())):
        return before
    label, given = history["run_label"][settled], history["given"][settled]
    return min(MOST, max(before, disagreement(label.cpu().numpy(), given.cpu().numpy()) or 0.0))


def mixture_rate(history: SampleHistory) -> float:
    """Weight of the upper of two Gaussians in the mean losses; 0 where they are one heap.

    Args:
        history: With MIXTURE_COLUMNS; between two epochs.

    Returns:
        The share of samples in the upper heap, in [0, 0.9].
    """
    losses = history.mean_loss()[history["eligible"]].cpu().numpy()
    ordered = np.sort(losses[np.isfinite(losses)])
    mixture = fit_gaussian_mixture(ordered[:: 1 + len(ordered) // MIXTURE_ROWS])
    return min(MOST, mixture.weights[1]) if mixture.separated else 0.0
