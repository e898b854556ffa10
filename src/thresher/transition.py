"""Transition matrix: how often samples of each class are labelled as each other class.

    T[a, b] = P(given label b | true class a)         rows add up to 1

    by anchors      T[a, b] = mean p(given b) of samples that are as good as certain of class a
    by annotators   of several labels a sample, the T that makes them most likely
    noise rate      τ = 1 - Σ_a π_a T[a, a]           π = shares of the true classes

Labels that are wrong depending on the input, and not on the class alone, have no such matrix; what
is estimated then is an average over the inputs.

Sources: anchors: Patrini, Rozza, Menon, Nock, Qu, Making Deep Neural Networks Robust to Label
Noise: a Loss Correction Approach, CVPR 2017; annotators: Dawid, Skene, Maximum Likelihood
Estimation of Observer Error-Rates Using the EM Algorithm, Journal of the Royal Statistical Society
C 28, 1979. Deviations: an anchor is the mean of several samples, and the anchors of rare classes
are samples of their own; annotators are taken for alike.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from thresher.errors import LabelError, ParameterError

__all__ = [
    "AnnotatedClasses",
    "anchor_transition",
    "annotator_transition",
    "check_transition",
    "inverse_transition",
    "made_invertible",
    "transition_noise_rate",
    "true_shares",
    "without_trusted",
]

Matrix: TypeAlias = NDArray[np.float64]

ROW_SUM_TOLERANCE = 1e-4  # float32 rows of a thousand classes stay below it, rounded tables do not
DISTRIBUTION_TOLERANCE = 1e-3  # on sums of predictions, which half precision rounds by as much
LARGEST_CONDITION = 1e6  # of a matrix that is inverted and used in float32
SHARE_OF_CLASS = 0.3  # of a class's rows that may lie above its anchor
EM_ITERATIONS = 5000  # on the distinct combinations of votes, of which there are few
EM_TOLERANCE = 1e-9  # largest change of an entry of T, to stop at
MOST_SEEN_TO = 0.9  # of a class; of more the rest says too little
LOWEST = 1e-300  # whose logarithm stands for ln 0


def check_transition(transition: ArrayLike, classes: int | None = None) -> Matrix:
    """Refuse what is no transition matrix; returns it as (k, k) float64.

    Args:
        transition: (k, k), T[a, b] = P(given label b | true class a).
        classes: k, where it is known.

    Raises:
        ParameterError: another shape, an entry that is negative or not finite, or a row that does
            not add up to 1.
    """
    matrix = np.asarray(transition, dtype=np.float64)
    size = "k" if classes is None else str(classes)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or classes not in (None, len(matrix)):
        raise ParameterError(
            f"transition must be ({size}, {size}), got {matrix.shape}.",
            "Pass one row for each true class, one column for each given label.",
        )
    if not (np.isfinite(matrix).all() and (matrix >= 0).all()):
        raise ParameterError(
            "transition has entries that are negative or not finite.",
            "Pass probabilities: T[a, b] is how often samples of class a are given label b.",
        )
    sums = matrix.sum(axis=1)
    row = int(np.abs(sums - 1).argmax())
    if abs(sums[row] - 1) > ROW_SUM_TOLERANCE:
        raise ParameterError(
            f"Row {row} of transition adds up to {sums[row]:g}, not to 1.",
            "Divide each row by its sum: T / T.sum(axis=1, keepdims=True); if the columns add up "
            "to 1, pass the transpose.",
        )
    return matrix


def inverse_transition(transition: Matrix) -> Matrix:
    """Invert a transition matrix; the rows of the inverse add up to 1 as well.

    Args:
        transition: (k, k), as `check_transition` returns it.

    Raises:
        ParameterError: it has no inverse, or one of rounding errors.

    >>> inverse_transition(np.array([[0.75, 0.25], [0.25, 0.75]])).round(12).tolist()
    [[1.5, -0.5], [-0.5, 1.5]]
    """
    condition = float(np.linalg.cond(transition))
    if not condition <= LARGEST_CONDITION:
        raise ParameterError(
            f"transition has no usable inverse: its condition number is {condition:.3g}.",
            "Classes with equal rows cannot be told apart by their labels: merge them, or use the "
            "forward correction, which inverts nothing.",
        )
    inverse: NDArray[Any] = np.linalg.inv(transition)
    return inverse


def made_invertible(transition: Matrix) -> Matrix:
    """Mix as little of the identity into a transition matrix as gives it a usable inverse.

    For estimates: two classes that a network cannot tell apart have equal rows. The share of the
    identity is 0, or the first of 1/1024, 1/512, … that is enough.

    Args:
        transition: (k, k), as `check_transition` returns it.
    """
    share = 0.0
    matrix: NDArray[Any] = transition
    while not np.linalg.cond(matrix) <= LARGEST_CONDITION:
        share = 2 * share or 1 / 1024
        matrix = (1 - share) * transition + share * np.eye(len(transition))
    return matrix


def anchor_transition(
    probabilities: NDArray[np.floating[Any]],
    *,
    sizes: NDArray[np.integer[Any]] | None = None,
    percentile: float = 97.0,
) -> Matrix:
    """Read the transition matrix off predictions of a network that was trained on wrong labels.

    Where a sample is certainly of class a, the probabilities of its given label are row a of T. The
    sample taken for that, the anchor, is not the one with the largest p(a), which may be an
    outlier, but the one at a percentile of p(a) over all samples. One prediction is a noisy row:
    the mean is taken over the samples from half to one and a half times as far from the top, which
    cut the error to a third where we measured.

    Args:
        probabilities: (N, k) p(given label), rows add up to 1, N >= 1.
        sizes: (k,) >= 0, rows given as each class. The anchor of a rare class lies among the first
            30 % of so many rows: the 97th percentile over all would be a sample of another class
            where classes hold less than 3 % of them. A class without rows is taken for labelled
            right. None takes the sums of the probabilities.
        percentile: In [0, 100]. Default 97 (Patrini et al. 2017).

    Returns:
        (k, k) float64, rows add up to 1.

    Raises:
        ParameterError: probabilities of another shape, or not finite; rows that are negative or do
            not add up to 1; sizes of other classes; a percentile out of range.
    """
    p = np.asarray(probabilities)
    if p.ndim != 2 or not len(p) or not np.isfinite(p).all():
        raise ParameterError(
            f"probabilities must be (N, k), N >= 1, and finite, got shape {p.shape}.",
            "Pass one row of class probabilities for each sample.",
        )
    _check_distributions(p)
    if not 0 <= percentile <= 100:
        raise ParameterError(
            f"percentile must be in [0, 100], got {percentile:g}.", "Use the paper's 97."
        )
    rows, classes = p.shape
    above_all = round((1 - percentile / 100) * (rows - 1))
    expected = (
        p.sum(axis=0, dtype=np.float64) if sizes is None else _counts("sizes", sizes, classes)
    )
    transition = np.eye(classes)
    for label in range(classes):
        if not expected[label] > 0:
            continue
        above = min(above_all, int(SHARE_OF_CLASS * expected[label]))
        # by values, not by places: of equal samples all count, in whatever order they come
        last = max(0, rows - 1 - above - above // 2)
        first = rows - 1 - above + above // 2
        column = p[:, label]
        ordered = np.partition(column, (last, first))
        near = (column >= ordered[last]) & (column <= ordered[first])
        anchor = p[near].mean(axis=0, dtype=np.float64)
        transition[label] = anchor / anchor.sum()
    return transition


class AnnotatedClasses(NamedTuple):
    """What several labels a sample say of labels and classes.

    Attributes:
        transition: (k, k) float64, T of one label.
        shares: (k,) float64, shares of the true classes, π.
        probabilities: (N, k) float64, P(true class | all labels of the sample).
    """

    transition: NDArray[np.float64]
    shares: NDArray[np.float64]
    probabilities: NDArray[np.float64]


def annotator_transition(annotations: NDArray[np.integer[Any]], classes: int) -> AnnotatedClasses:
    """Estimate the transition matrix of one label from samples that were labelled several times.

    The labels of a sample are taken for independent draws from one row of T, whoever gave them; EM
    starts at the shares of the votes. Three labels a sample determine T, two do so in part. What
    annotators tend to get wrong together passes for the true class, so the noise rate comes out
    low where wrong labels have their reason in the sample.

    Args:
        annotations: (N, A) integers in -1..k-1, -1 = none; the order of the columns means nothing.
        classes: Number of classes k, >= 2.

    Raises:
        LabelError: a label that is no integer or outside -1..k-1.
        ParameterError: another shape, or no sample has two labels.
    """
    labels = np.asarray(annotations)
    if labels.ndim != 2:
        raise ParameterError(
            f"annotations must be (N, A), got {labels.shape}.", "Pass one column an annotator."
        )
    if labels.dtype.kind not in "iu":
        raise LabelError(
            f"annotations must be integers, got {labels.dtype}.",
            "Number the classes from 0, write -1 for a missing label, and pass an integer type.",
        )
    outside = (labels < -1) | (labels >= classes)
    if outside.any():
        row, column = np.argwhere(outside)[0]
        raise LabelError(
            f"Label {int(labels[row, column])} of row {row} is outside 0..{classes - 1}.",
            "Number the classes from 0; write -1 for a missing label.",
        )
    votes = np.zeros((len(labels), classes))  # (N, k)
    row, column = np.nonzero(labels >= 0)
    np.add.at(votes, (row, labels[row, column]), 1)
    if not (votes.sum(axis=1) >= 2).any():
        raise ParameterError(
            "No sample has two labels, so nothing tells wrong ones from right ones.",
            "Pass the labels of several annotators as columns, or estimate by anchors.",
        )
    # rows with the same votes share one belief
    kinds, kind_of, rows = np.unique(votes, axis=0, return_inverse=True, return_counts=True)
    totals = kinds.sum(axis=1, keepdims=True)
    rows = np.where(totals[:, 0] > 0, rows, 0)  # without labels they say nothing of the shares
    belief = np.full_like(kinds, 1 / classes)
    np.divide(kinds, totals, out=belief, where=totals > 0)
    transition = np.eye(classes)
    for _ in range(EM_ITERATIONS):
        before = transition
        shares = rows @ belief / rows.sum()
        transition = _shares_of_votes(rows[:, None] * belief, kinds)
        belief = _beliefs(kinds, transition, shares)
        if np.abs(transition - before).max() <= EM_TOLERANCE:
            break
    return AnnotatedClasses(transition, shares, belief[kind_of.ravel()])


def _shares_of_votes(belief: Matrix, votes: Matrix) -> Matrix:
    """T[a, b] = share of label b among the votes for samples believed to be of class a."""
    joint = belief.T @ votes
    totals = joint.sum(axis=1, keepdims=True)
    transition = np.eye(len(joint))  # a class that nothing is believed to be of
    np.divide(joint, totals, out=transition, where=totals > 0)
    return transition


def _beliefs(votes: Matrix, transition: Matrix, shares: Matrix) -> Matrix:
    """P(class a | votes) ∝ π_a Π_b T[a, b]^votes_b."""
    log_belief = np.log(shares.clip(min=LOWEST)) + votes @ np.log(transition.clip(min=LOWEST)).T
    belief: Matrix = np.exp(log_belief - log_belief.max(axis=1, keepdims=True))
    belief /= belief.sum(axis=1, keepdims=True)
    return belief


def true_shares(transition: Matrix, given_shares: NDArray[np.floating[Any]]) -> Matrix:
    """Shares π of the true classes from those of the given labels: Tᵀ π = given shares.

    Args:
        transition: (k, k), as `check_transition` returns it.
        given_shares: (k,) >= 0, not all 0, shares of the given labels, or their counts.

    Returns:
        (k,) float64 >= 0 that add up to 1; what sampling error makes negative counts as 0.

    Raises:
        ParameterError: T is no transition matrix or has no usable inverse; shares of other classes,
            negative, not finite, or all 0.

    >>> true_shares(np.array([[0.75, 0.25], [0.0, 1.0]]), np.array([0.6, 0.4])).round(12).tolist()
    [0.8, 0.2]
    """
    matrix = check_transition(transition)
    given = _shares("given_shares", given_shares, len(matrix))
    shares = (given @ inverse_transition(matrix)).clip(0)
    normalised: Matrix = shares / shares.sum()
    return normalised


def transition_noise_rate(transition: Matrix, shares: NDArray[np.floating[Any]]) -> float:
    """Share of wrong labels, τ = 1 - Σ_a π_a T[a, a].

    Args:
        transition: (k, k), as `check_transition` returns it.
        shares: (k,) >= 0, not all 0, shares of the true classes, or their counts.

    Raises:
        ParameterError: T is no transition matrix; shares of other classes, negative, not finite, or
            all 0.

    >>> round(transition_noise_rate(np.array([[0.75, 0.25], [0.0, 1.0]]), np.array([0.8, 0.2])), 12)
    0.2
    """
    matrix = check_transition(transition)
    weights = _shares("shares", shares, len(matrix))
    return float(1 - weights @ np.diagonal(matrix) / weights.sum())


def _check_distributions(p: NDArray[np.floating[Any]]) -> None:
    """Refuse rows that are negative or do not add up to 1; names the first."""
    sums = p.sum(axis=1, dtype=np.float64)
    lowest = p.min(axis=1, initial=0)
    bad = (np.abs(sums - 1) > DISTRIBUTION_TOLERANCE) | (lowest < 0)
    if not bad.any():
        return
    row = int(bad.argmax())
    wrong = f"holds {lowest[row]:g}" if lowest[row] < 0 else f"adds up to {sums[row]:g}, not to 1"
    raise ParameterError(
        f"Row {row} of probabilities {wrong}.",
        "Pass probabilities: the softmax of logits, rows of counts divided by their sums; leave "
        "out samples that were never predicted.",
    )


def _counts(name: str, values: ArrayLike, classes: int) -> Matrix:
    """One number a class, (k,) float64, >= 0 and finite."""
    counts = np.asarray(values, dtype=np.float64)
    if counts.shape != (classes,):
        raise ParameterError(
            f"{name} must be ({classes},), got {counts.shape}.", "Pass one number for each class."
        )
    if not (np.isfinite(counts).all() and (counts >= 0).all()):
        raise ParameterError(
            f"{name} has entries that are negative or not finite.",
            "Pass how many samples are of each class, or which share.",
        )
    return counts


def _shares(name: str, values: ArrayLike, classes: int) -> Matrix:
    """As `_counts`, but of samples that there are."""
    shares = _counts(name, values, classes)
    if not shares.any():
        raise ParameterError(
            f"{name} are all 0, so they say nothing of the classes.",
            "Count the labels of at least one sample.",
        )
    return shares


def without_trusted(
    transition: Matrix,
    given_counts: NDArray[np.integer[Any]],
    trusted_counts: NDArray[np.integer[Any]],
) -> Matrix:
    """T of the labels that nobody has seen to, from that of all: those seen to are never wrong.

    With s_a the share of class a that was seen to, T_all[a] = (1 - s_a) T[a] + s_a I[a].

    Args:
        transition: T of all labels (k, k), as `check_transition` returns it.
        given_counts: (k,) given labels, all of them.
        trusted_counts: (k,) those among them that were seen to; such a label is the true class.

    >>> every = np.array([[0.75, 0.25], [0.125, 0.875]])
    >>> without_trusted(every, np.array([70, 90]), np.array([40, 0])).round(12).tolist()
    [[0.5, 0.5], [0.125, 0.875]]
    """
    matrix = check_transition(transition)
    shares = true_shares(made_invertible(matrix), given_counts.astype(np.float64))
    of_class = np.maximum(shares * given_counts.sum(), 1e-12)
    seen_to = (trusted_counts / of_class).clip(0, MOST_SEEN_TO)[:, None]
    rest = ((matrix - seen_to * np.eye(len(matrix))) / (1 - seen_to)).clip(0)
    normalised: Matrix = rest / rest.sum(axis=1, keepdims=True)
    return normalised
