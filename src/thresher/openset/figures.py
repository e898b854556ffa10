"""Figures of a detector: how well its scores tell foreign samples from those of the classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from thresher.errors import DataError, ParameterError
from thresher.ood_scores import as_array

__all__ = ["Figures", "figures"]

PASSED = 0.95  # share of the known samples that the third figure lets pass


@dataclass(frozen=True)
class Figures:
    """Three figures, each in [0, 1].

    Attributes:
        auroc: Probability that a foreign sample scores above a known one; ½ = chance.
        aupr: Area under precision and recall, foreign samples being what is looked for; their
            share = chance.
        fpr_at_95: Share of the foreign samples that pass where 95 % of the known ones do; low is
            good.
    """

    auroc: float
    aupr: float
    fpr_at_95: float


def figures(known: ArrayLike, foreign: ArrayLike) -> Figures:
    """Compare the scores of known and of foreign samples; higher = farther out.

    >>> figures(np.array([0.0, 1.0]), np.array([2.0, 3.0]))
    Figures(auroc=1.0, aupr=1.0, fpr_at_95=0.0)

    Args:
        known: (N,) scores of samples of the classes.
        foreign: (M,) scores of samples of none.

    Raises:
        DataError: one of them is empty, or holds numbers that are not finite.
        ParameterError: arrays of another shape.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    inside, outside = as_array("known", known), as_array("foreign", foreign)
    for name, scores in (("known", inside), ("foreign", outside)):
        if scores.ndim != 1:
            raise ParameterError(
                f"{name} must have one dimension, got {scores.shape}.", "Pass one score a sample."
            )
        if not len(scores) or not np.isfinite(scores).all():
            raise DataError(
                f"The scores of the {name} samples are none, or not all of them are finite.",
                "Pass one finite score for each sample.",
            )
    scores = np.concatenate([inside, outside]).astype(np.float64)
    is_foreign = np.repeat([False, True], [len(inside), len(outside)])
    # who passes are the known samples: they are the positives of the third figure
    wrongly, rightly, _ = roc_curve(~is_foreign, -scores, drop_intermediate=False)
    # a hair below, as so many of N is rounded
    at = int(np.argmax(rightly >= PASSED - 1e-9))
    return Figures(
        float(roc_auc_score(is_foreign, scores)),
        float(average_precision_score(is_foreign, scores)),
        float(wrongly[at]),
    )
