"""Scores of single labels: pure functions on what a run has summed up. High = likely right.

The label score compares the mean probabilities P of the given label and of its strongest rival:

    s = ln(P[given] + ε) - ln(P[rival] + ε)         label_score = 1/2 + s / (2 ln((1 + ε)/ε))

The floor ε joins two good scores. ε → 0 gives the log-margin, which orders well where P[given] is
almost nothing; ε → ∞ gives the plain margin, for which only a *confident* rival counts. Each has
its sets: of those of benchmarks/scores.py, trained by `auto`, the default is at most 4.5 points of
average precision behind the best score (Fashion-MNIST, pair noise), ε = 0.001 5, ε = 0.3 6 and the
plain margin 10 (both on labels that people gave CIFAR-10).

The others are the plain margin of P, the classic diagnostics of training dynamics, NaN (or 0) for
rows never seen, and a way to join scores of different scales. Scores from features stand in
`thresher.audit.features`.

Sources: AUM: Pleiss et al., "Identifying mislabeled data using the area under the margin ranking",
NeurIPS 2020. Confidence, variability, correctness: Swayamdipta et al., "Dataset cartography",
EMNLP 2020. Forgetting: Toneva et al., "An empirical study of example forgetting", ICLR 2019.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.errors import ParameterError
from thresher.noise_rate import Integers

__all__ = [
    "FLOOR",
    "area_under_margin",
    "confidence",
    "correctness",
    "floored_log_margin",
    "forgetting_events",
    "label_score",
    "mean_loss",
    "normalised_margin",
    "rank_ensemble",
    "variability",
]

FLOOR = 0.03

Floats = NDArray[np.floating[Any]]


def floored_log_margin(
    p_given: Floats, p_rival: Floats, floor: float = FLOOR
) -> NDArray[np.float64]:
    """Compare the given label with its strongest rival.

    Args:
        p_given: (N,) mean probability of the given label, in [0, 1].
        p_rival: (N,) largest mean probability of another class, in [0, 1].
        floor: ε > 0, added to both.

    Returns:
        (N,) float64 in ±ln((1 + ε)/ε); 0 for a tie, NaN where an input is NaN.

    >>> floored_log_margin(np.array([0.7]), np.array([0.2])).round(4)
    array([1.155])
    """
    if not floor > 0:
        raise ParameterError(f"floor must be above 0, got {floor!r}.", "The default is 0.03.")
    given = np.asarray(p_given, dtype=np.float64)
    rival = np.asarray(p_rival, dtype=np.float64)
    margin: NDArray[np.float64] = np.log(given + floor) - np.log(rival + floor)
    return margin


def label_score(p_given: Floats, p_rival: Floats, floor: float = FLOOR) -> NDArray[np.float32]:
    """Scale the floored log-margin to [0, 1]: low = suspect, 0.5 = tie with the rival.

    Arguments as in `floored_log_margin`.

    Returns:
        (N,) float32 in [0, 1], NaN where an input is NaN.

    >>> label_score(np.array([0.0, 0.5, 1.0]), np.array([1.0, 0.5, 0.0]))
    array([0. , 0.5, 1. ], dtype=float32)
    """
    span = 2.0 * np.log((1.0 + floor) / floor)
    score: NDArray[np.float64] = 0.5 + floored_log_margin(p_given, p_rival, floor) / span
    return score.clip(0.0, 1.0).astype(np.float32)


def normalised_margin(p_given: Floats, p_rival: Floats) -> NDArray[np.float32]:
    """Mean probability of the given label minus that of its strongest rival, in [-1, 1].

    Arguments as in `floored_log_margin`; it is that score's limit for a large floor.
    """
    return (np.asarray(p_given, np.float64) - np.asarray(p_rival, np.float64)).astype(np.float32)


def rank_ensemble(*scores: Floats) -> NDArray[np.float32]:
    """Mean of the ranks that several scores give, scaled to [0, 1].

    Equal values share the mean of their ranks.

    Args:
        scores: (N,) each, high = likely right, on any scale; NaN = unknown.

    Returns:
        (N,) float32, 0 = lowest in every score; NaN where one of them is.

    Raises:
        ParameterError: no scores, or of different lengths.

    >>> rank_ensemble(np.array([0.1, 0.2, 0.9]), np.array([-7.0, 3.0, 3.0]))
    array([0.   , 0.625, 0.875], dtype=float32)
    """
    if not scores or len({np.shape(each) for each in scores}) > 1:
        raise ParameterError(
            f"An ensemble needs scores of one length, got {[np.shape(each) for each in scores]}.",
            "Pass one array for each score.",
        )
    stacked = np.stack([np.asarray(each, np.float64) for each in scores])
    known = ~np.isnan(stacked).any(axis=0)
    joined = np.full(stacked.shape[1], np.nan, dtype=np.float32)
    ranks = [_mean_ranks(each[known]) for each in stacked]
    joined[known] = np.mean(ranks, axis=0) / max(1, np.count_nonzero(known) - 1)
    return joined


def area_under_margin(margin_sum: Floats, visits: Integers) -> NDArray[np.float32]:
    """Mean over the visits of the given logit minus the largest other logit."""
    return _mean(margin_sum, visits).astype(np.float32)


def confidence(given_sum: Floats, visits: Integers) -> NDArray[np.float32]:
    """Mean over the visits of the given label's probability, in [0, 1]."""
    return _mean(given_sum, visits).astype(np.float32)


def variability(
    given_sum: Floats, given_square_sum: Floats, visits: Integers
) -> NDArray[np.float32]:
    """Population standard deviation over the visits of the given label's probability, 0 to 0.5."""
    mean = _mean(given_sum, visits)
    # Rounding of the sums may leave a variance just below zero.
    variance = (_mean(given_square_sum, visits) - mean**2).clip(min=0.0)
    deviation: NDArray[np.float64] = np.sqrt(variance)
    return deviation.astype(np.float32)


def mean_loss(loss_sum: Floats, visits: Integers) -> NDArray[np.float32]:
    """Mean over the visits of the cross-entropy against the given label; low = likely right."""
    return _mean(loss_sum, visits).astype(np.float32)


def correctness(correct: Integers, visits: Integers) -> NDArray[np.float32]:
    """Share of the visits whose prediction was the given label."""
    return _mean(correct, visits).astype(np.float32)


def forgetting_events(
    forgetting: Integers, correct: Integers, visits: Integers
) -> NDArray[np.int32]:
    """Changes from right to wrong; a sample that was never right counts one per visit.

    A sample cannot be forgotten more than visits/2 times, so the never-learnt come out worst, as
    the authors order them, without a made-up constant.
    """
    never_right = np.asarray(correct) == 0
    return np.where(never_right, visits, forgetting).astype(np.int32)


def _mean_ranks(values: Floats) -> NDArray[np.float64]:
    """(M,) ranks from 0; equal values share their mean."""
    _, place, number = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(number) - 1
    ranks: NDArray[np.float64] = (last - (number - 1) / 2)[place.reshape(-1)]
    return ranks


def _mean(total: Floats | Integers, visits: Integers) -> NDArray[np.float64]:
    total = np.asarray(total, dtype=np.float64)
    mean = np.full(total.shape, np.nan)
    np.divide(total, visits, out=mean, where=np.asarray(visits) > 0)
    return mean
