"""The evaluator: the only place that compares with true labels. Pure functions on arrays.

*Bad* is a sample whose given label is wrong. Rankings are judged by average precision, since a list
of suspects is read from its top, and by the area under the ROC curve, which does not depend on how
many are wrong; verdicts by precision, recall and F1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

__all__ = ["ranking", "share_right", "verdict"]

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
