"""How many labels are wrong, read from a history: the mathematics of the estimators.

The default is how often the settled samples disagree.

A sample whose last five predictions were the same has been settled by the network; where they
contradict the given label, early on, the label is mostly wrong. Memorising only ever hides such
disagreement, so the largest estimate of the run is kept. The mixture of losses that is usual for
this counts hard samples as wrong and misses wrong labels that are easily confused; figures of
both: `benchmarks/noise.py rates`. What methods ask, by name: estimators.py.

    τ̂ = max over epochs of  mean( settled label ≠ given label )

A network that learns slowly settles on much that it has not learned yet. Where that is so, averaged
predictions tell more (`confident_rate`), once half of the samples have settled.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from thresher.history import Column, SampleHistory
from thresher.mixture import fit_beta_mixture, fit_gaussian_mixture
from thresher.noise_rate import confident_counts, disagreement
from thresher.transition import (
    anchor_transition,
    made_invertible,
    transition_noise_rate,
    true_shares,
)

__all__ = [
    "RATE_COLUMNS",
    "SETTLED",
    "anchor_rate",
    "confident_rate",
    "enough_settled",
    "estimate_rate",
    "mixture_rate",
    "mostly_settled",
    "settled",
]

RATE_COLUMNS = (Column("run_label", "class", fill=-1), Column("run_length", torch.int16))
MIXTURE_ROWS = 50_000  # a mixture of more losses is fitted to so many of their quantiles
SETTLED = 5  # equal predictions in a row
MOSTLY = 0.5  # of the samples have settled, before which averaged predictions are not believed
ENOUGH = 50  # settled samples, below which the estimate is not moved
MOST = 0.9


def settled(history: SampleHistory) -> Tensor:
    """Which trained samples were predicted alike five times in a row, (N,) bool."""
    return history["eligible"] & (history["run_length"] >= SETTLED)


def mostly_settled(history: SampleHistory) -> bool:
    """Whether half of the samples that are trained have settled."""
    return int(settled(history).sum()) >= MOSTLY * int(history["eligible"].sum())


def enough_settled(history: SampleHistory) -> bool:
    """Whether as many samples have settled as `estimate_rate` goes by."""
    return int(settled(history).sum()) >= ENOUGH


def estimate_rate(history: SampleHistory, before: float) -> float:
    """The estimate after this epoch, at least the one before; both in [0, 0.9].

    Args:
        history: With RATE_COLUMNS; between two epochs.
        before: The last estimate, 0 at first.
    """
    if not enough_settled(history):
        return before
    rows = settled(history)
    label, given = history["run_label"][rows], history["given"][rows]
    return min(MOST, max(before, disagreement(label.cpu().numpy(), given.cpu().numpy()) or 0.0))


def confident_rate(history: SampleHistory, beliefs: Tensor) -> float:
    """Share of the given labels that the averaged predictions contradict with confidence.

    A class is believed of a sample when it is as probable as it is on average for the samples
    given as that class (confident learning, Northcutt et al. 2021). What a network has not learned
    yet is seldom believed, and does not count as a wrong label.

    Args:
        history: Between two epochs.
        beliefs: (N, k) averaged probabilities, >= 0; rows add up to the same sum, whatever it is.
            Rows that are not finite, as of a network that has diverged, are left out.

    Returns:
        The share of the trained samples that were seen, in [0, 0.9].
    """
    known = history["eligible"] & beliefs.isfinite().all(1)
    given = torch.where(known, history["given"].long(), -1)
    return min(MOST, confident_counts(given.cpu().numpy(), beliefs.cpu().numpy()).class_rate)


def anchor_rate(history: SampleHistory, beliefs: Tensor, before: float) -> float:
    """Share of wrong labels by the transition matrix that anchors give, 1 - Σ_a π_a T[a, a].

    Args:
        history: Between two epochs.
        beliefs: (N, k) averaged probabilities, >= 0; a row of zeros was not seen.
        before: What to return where no row was seen.

    Returns:
        The share, in [0, 0.9].
    """
    seen = history["eligible"] & (beliefs.sum(1) > 0)
    if not bool(seen.any()):
        return before
    found = beliefs[seen].double()
    given = torch.bincount(history["given"][seen].long(), minlength=history.classes).cpu().numpy()
    probabilities = (found / found.sum(1, keepdim=True)).cpu().numpy()
    transition = made_invertible(anchor_transition(probabilities, sizes=given))
    rate = transition_noise_rate(transition, true_shares(transition, given))
    return min(MOST, max(0.0, rate))


def mixture_rate(losses: Tensor, kind: Literal["gaussian", "beta"] = "gaussian") -> float:
    """Weight of the upper of two heaps of losses; 0 where they are one heap.

    Args:
        losses: (n,) >= 0, in any order; what is not finite is left out.
        kind: Of the two distributions. For Betas the losses are taken as shares of the largest.

    Returns:
        The share of samples in the upper heap, in [0, 0.9].
    """
    values = losses.cpu().numpy()
    ordered = np.sort(values[np.isfinite(values)])
    ordered = ordered[:: 1 + len(ordered) // MIXTURE_ROWS]
    if kind == "gaussian":
        gaussians = fit_gaussian_mixture(ordered)
        return min(MOST, gaussians.weights[1]) if gaussians.separated else 0.0
    largest = float(ordered[-1]) if len(ordered) else 0.0
    betas = fit_beta_mixture(ordered / largest if largest > 0 else ordered)
    return min(MOST, betas.weights[1]) if betas.separated else 0.0
