"""The evaluator: the only place that compares with true labels. Pure functions on arrays.

*Bad* is a sample whose given label is wrong. Rankings are judged by average precision, since a list
of suspects is read from its top, and by the area under the ROC curve, which does not depend on how
many are wrong; verdicts by precision, recall and F1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

__all__ = ["curve_figures", "ranking", "rows_apart", "share_right", "trust", "verdict"]

Figures = dict[str, float | None]


def ranking(bad: NDArray[np.bool_], score: NDArray[np.floating]) -> Figures:
    """How well a score (low = suspect) puts the bad samples first; None where none is bad.

    Args:
        bad: (N,) whether the given label is wrong.
        score: (N,), higher = more likely right.
    """
    if not bad.any() or bad.all():
        return {"ap": None, "auroc": None}
    return {
        "ap": float(average_precision_score(bad, -score)),
        "auroc": float(roc_auc_score(bad, -score)),
    }


def verdict(bad: NDArray[np.bool_], flagged: NDArray[np.bool_]) -> Figures:
    """How many are flagged, and how many of them are bad; no F1 where none is bad."""
    hits = int((bad & flagged).sum())
    if not bad.any():
        return {"flagged": float(flagged.mean()), "precision": None, "recall": None, "f1": None}
    return {
        "flagged": float(flagged.mean()),
        "precision": hits / max(1, int(flagged.sum())),
        "recall": hits / int(bad.sum()),
        "f1": 2 * hits / (int(flagged.sum()) + int(bad.sum())),
    }


def share_right(
    suggested: NDArray[np.integer], true: NDArray[np.integer], rows: NDArray[np.bool_]
) -> float | None:
    """Share of these rows whose suggested label is the true one; None without rows."""
    return float((suggested == true)[rows].mean()) if rows.any() else None


def rows_apart(
    transition: ArrayLike | None, true: NDArray[np.integer], given: NDArray[np.integer]
) -> float | None:
    """How far a transition matrix is from what the labels are: total variation of its rows.

    >>> true, given = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    >>> rows_apart([[0.5, 0.5], [0.0, 1.0]], true, given)
    0.0
    >>> rows_apart([[1.0, 0.0], [0.0, 1.0]], true, given)
    0.25

    Args:
        transition: T (k, k), T[a, b] = P(given b | true a); None = there is none.
        true: (N,) true classes in 0 … k - 1; others, and those without a given label, do not count.
        given: (N,) given labels.

    Returns:
        In [0, 1], the mean over the classes that samples are of; None without a matrix or samples.
    """
    if transition is None:
        return None
    matrix = np.asarray(transition, np.float64)
    known = (true >= 0) & (true < len(matrix)) & (given >= 0)
    counts = np.zeros_like(matrix)
    np.add.at(counts, (true[known], given[known]), 1)
    there = counts.sum(axis=1) > 0
    if not there.any():
        return None
    actual = counts[there] / counts[there].sum(axis=1, keepdims=True)
    return float(np.abs(matrix[there] - actual).sum(axis=1).mean() / 2)


def trust(
    weights: NDArray[np.floating],
    learned: NDArray[np.integer],
    given: NDArray[np.integer],
    true: NDArray[np.integer],
    trainable: NDArray[np.bool_],
) -> Figures:
    """How right a method is in the labels that it learns from.

    A sample whose label is replaced is not trusted but corrected: label precision and recall are of
    the given labels that are learned as they are. A label is learned from where its weight is above
    0, however small: in one of two networks, or seldom.

        label_precision    share of right ones among the trusted given labels
        label_recall       share of the right given labels that is trusted
        coverage           share of the samples that is learned from, whatever the label
        replaced           share of the samples that is learned with another label
        correction_error   share of these labels that is wrong

    Precision and recall are None where every given label is trusted, the error where none is
    replaced.

    Args:
        weights: (N,) >= 0, when each sample came last.
        learned: (N,) the label that it was then learned with.
        given: (N,) given labels.
        true: (N,) true labels.
        trainable: (N,) bool, not held out by the method.

    >>> import numpy as np
    >>> found = trust(np.array([1, 1, 1, 0.0]), np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0]),
    ...               np.array([0, 0, 1, 0]), np.ones(4, bool))
    >>> found["label_precision"], found["label_recall"], found["coverage"]
    (0.5, 0.5, 0.75)
    >>> found["replaced"], found["correction_error"]
    (0.25, 0.0)
    """
    rows = int(trainable.sum())
    used = (weights > 0) & trainable
    replaced = used & (learned != given)
    trusted = used & ~replaced
    right = (given == true) & trainable
    everything = bool(trusted[trainable].all())
    total, clean, hits = int(trusted.sum()), int(right.sum()), int((trusted & right).sum())
    return {
        "label_precision": None if everything or not total else hits / total,
        "label_recall": None if everything or not clean else hits / clean,
        "coverage": float(used.sum()) / rows if rows else None,
        "replaced": float(replaced.sum()) / rows if rows else None,
        "correction_error": float((learned != true)[replaced].mean()) if replaced.any() else None,
    }


def curve_figures(
    tested: list[float], validated: list[float] | None, last_epochs: int = 10
) -> dict[str, float | int | None]:
    """What a curve of test accuracies comes to.

    The best of the test accuracies is a choice on the test set; it stands under that name alone.

    Args:
        tested: Accuracy on true test labels after every epoch.
        validated: Accuracy on the given labels of rows that were not trained on, by which an epoch
            is chosen (of equal ones the first); None = there are no such rows.
        last_epochs: Over how many the mean is taken.

    >>> curve_figures([0.5, 0.9, 0.7], [0.3, 0.4, 0.4])["validation_selected"]
    0.9
    """
    epoch = None if not validated else int(np.argmax(validated))
    return {
        "last": tested[-1],
        "mean_of_last_ten": float(np.mean(tested[-last_epochs:])),
        "validation_selected": None if epoch is None else tested[epoch],
        "validation_epoch": None if epoch is None else epoch + 1,
        "best_on_test": max(tested),
        "best_on_test_epoch": int(np.argmax(tested)) + 1,
    }
