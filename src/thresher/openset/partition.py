"""Partition: clean, mislabelled or of none of the classes.

    clean                 w > ½
    mislabelled           else, if F ≤ ε and the score is at most the threshold
    out-of-distribution   else

Giving a sample of no class another label is wrong whatever the label, so only what the network is
sure of *and* finds familiar may be relabelled.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from thresher.errors import DataError, ParameterError
from thresher.ood_scores import as_array
from thresher.ranges import check_positive

__all__ = ["VERDICTS", "normalised_entropy", "three_way"]

#: What the numbers of `three_way` stand for.
VERDICTS = ("clean", "mislabelled", "out-of-distribution")

ROUNDED = 1e-3  # what a row of probabilities in half precision may lack of 1


def normalised_entropy(probabilities: ArrayLike) -> NDArray[np.float64]:
    """F = -(1 / ln k) Σ_c p_c ln p_c: 0 where one class has it all, 1 where all have the same.

    >>> normalised_entropy(np.array([[0.5, 0.5], [1.0, 0.0]])).tolist()
    [1.0, 0.0]

    Args:
        probabilities: (N, k) rows that sum to 1, k >= 2: predictions, or shares of a label history.

    Raises:
        ParameterError: of another shape, or a row that is no distribution; names the first.
    """
    shares = as_array("probabilities", probabilities).astype(np.float64)
    if shares.ndim != 2 or shares.shape[1] < 2:
        raise ParameterError(
            f"probabilities must be (N, k) with k >= 2, got {shares.shape}.",
            "Pass one row of class probabilities for each sample.",
        )
    sums = shares.sum(axis=1)
    wrong = ~((shares >= 0).all(axis=1) & (np.abs(sums - 1) <= ROUNDED))  # NaN is wrong too
    if wrong.any():
        row = int(wrong.argmax())
        raise ParameterError(
            f"Row {row} of probabilities sums to {sums[row]:g}, its least number is "
            f"{shares[row].min():g}; it must be numbers >= 0 that sum to 1.",
            "Pass the softmax of the logits, or divide counts by their sum.",
        )
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    entropy: NDArray[np.float64] = -(shares * logs).sum(axis=1) / np.log(shares.shape[1])
    return np.abs(entropy)  # no -0.0


def three_way(
    clean_probability: ArrayLike,
    entropy: ArrayLike,
    score: ArrayLike,
    threshold: float,
    *,
    uncertainty: float = 0.05,
) -> NDArray[np.int8]:
    """Decide for each sample whether it is clean, mislabelled or of none of the classes.

    >>> w, entropy, score = np.array([[0.9, 0.1, 0.1, 0.1], [0, 0, 0.5, 0], [9, 1, 1, 9]])
    >>> [VERDICTS[each] for each in three_way(w, entropy, score, threshold=2.0)]
    ['clean', 'mislabelled', 'out-of-distribution', 'out-of-distribution']

    Args:
        clean_probability: (N,) w in [0, 1], as of a mixture of losses.
        entropy: (N,) F in [0, 1], of `normalised_entropy`.
        score: (N,) higher = farther out, of `thresher.ood_scores`.
        threshold: Largest score of what may be relabelled: a quantile of the trusted samples' own
            scores, as `Detector.threshold_`.
        uncertainty: ε in (0, 1], largest F of what may be relabelled. Default 0.05 (Song et al.
            2019).

    Returns:
        (N,) int8, positions in `VERDICTS`.

    Raises:
        DataError: numbers that are missing.
        ParameterError: arrays of different shapes, uncertainty out of range, or no threshold.
    """
    check_positive("uncertainty", uncertainty, below=1)
    if math.isnan(threshold):
        raise ParameterError(
            "threshold must be a number, got nan.",
            "Fit a Detector and pass its threshold_; np.inf calls only what is unsure foreign.",
        )
    clean = as_array("clean_probability", clean_probability)
    unsure, out = as_array("entropy", entropy), as_array("score", score)
    if clean.ndim != 1 or not (clean.shape == unsure.shape == out.shape):
        raise ParameterError(
            "clean_probability, entropy and score must be (N,), got "
            f"{clean.shape}, {unsure.shape} and {out.shape}.",
            "Pass one number of each for every sample.",
        )
    missing = np.isnan(clean) | np.isnan(unsure) | np.isnan(out)
    if missing.any():
        raise DataError(
            f"Sample {int(missing.argmax())} lacks one of the three numbers.",
            "Leave such samples out.",
        )
    sure = (unsure <= uncertainty) & (out <= threshold)
    verdict: NDArray[np.int8] = np.where(clean > 0.5, 0, np.where(sure, 1, 2)).astype(np.int8)
    return verdict
