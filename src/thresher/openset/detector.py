"""Detector: what lies farther out than nearly all trusted samples do.

fit    trusted samples → their statistics → their own scores → a quantile of these: the threshold
score  samples → a number each, higher = farther out
"""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from thresher.errors import DataError, ParameterError, RecordError, nearest
from thresher.ood_scores import (
    NEIGHBOURS,
    as_array,
    energy,
    fit_gaussians,
    mahalanobis,
    maximum_softmax,
    nearest_neighbour,
)
from thresher.ranges import check_positive

__all__ = ["SCORES", "Detector", "DetectorScore"]

DetectorScore = Literal["maximum-softmax", "energy", "mahalanobis", "nearest-neighbour"]
SCORES: tuple[DetectorScore, ...] = (
    "maximum-softmax",
    "energy",
    "mahalanobis",
    "nearest-neighbour",
)


class Detector:
    """Tells samples of none of the classes by one of four scores.

    >>> features = np.random.default_rng(0).normal(size=(200, 4)) + [4, 0, 0, 0]
    >>> detector = Detector("nearest-neighbour", neighbours=10).fit(features)
    >>> detector.is_foreign(np.array([[4.0, 0, 0, 0], [-4.0, 0, 0, 0]])).tolist()
    [False, True]

    Args:
        score: "maximum-softmax" and "energy" read logits; "mahalanobis" and "nearest-neighbour"
            read features, what the last layer sees.
        neighbours: K of "nearest-neighbour", >= 1. Default 50 (Sun et al. 2022, CIFAR-10).
        temperature: T of "energy", > 0. Default 1 (Liu et al. 2020).
        quantile: Share of the trusted samples that pass, in (0, 1]. Default 0.95.

    Attributes:
        threshold_: What scores above it is called foreign: the quantile of the trusted samples' own
            scores; of "nearest-neighbour" without themselves, of "mahalanobis" under statistics
            that know them, and so too low unless samples are many times the features.

    Raises:
        ParameterError: an unknown score, or a value out of range.

    Cost: of "nearest-neighbour" the trusted features are kept, and N M d multiplications.
    Hurts when: wrong labels or foreign samples are among the trusted.
    """

    threshold_: float

    def __init__(
        self,
        score: DetectorScore = "nearest-neighbour",
        *,
        neighbours: int = NEIGHBOURS,
        temperature: float = 1.0,
        quantile: float = 0.95,
    ) -> None:
        if score not in SCORES:
            raise ParameterError(f'score "{score}" is unknown.', nearest(str(score), SCORES))
        if not (isinstance(neighbours, int | np.integer) and neighbours >= 1):
            raise ParameterError(
                f"neighbours must be a whole number of at least 1, got {neighbours!r}.",
                f"Leave it out for {NEIGHBOURS}.",
            )
        check_positive("temperature", temperature)
        check_positive("quantile", quantile, below=1)
        self.kind: DetectorScore = score
        self.neighbours, self.temperature, self.quantile = neighbours, temperature, quantile

    def fit(
        self,
        values: ArrayLike,
        labels: ArrayLike | None = None,
        *,
        safe: ArrayLike | None = None,
    ) -> Self:
        """Take the statistics of the trusted samples, and the threshold from their own scores.

        Args:
            values: (N, k) logits or (N, d) features, as the score reads them.
            labels: (N,) given labels; "mahalanobis" needs them.
            safe: (N,) bool, the samples that are trusted; None = all.

        Raises:
            DataError: nobody is trusted, or values that are not finite.
            ParameterError: shapes that do not fit, or labels are missing.
        """
        trusted = as_array("values", values)
        given = None if labels is None else as_array("labels", labels)
        if safe is not None:
            rows = as_array("safe", safe)
            if rows.shape != trusted.shape[:1] or rows.dtype != np.bool_:
                raise ParameterError(
                    f"safe must be ({len(trusted)},) bool, got {rows.shape} {rows.dtype}.",
                    "Pass one True or False for every row.",
                )
            if given is not None and given.shape != rows.shape:
                raise ParameterError(
                    f"labels must be {rows.shape}, got {given.shape}.", "Pass one for every row."
                )
            trusted, given = trusted[rows], None if given is None else given[rows]
        if not trusted.size:
            raise DataError("No sample is trusted.", "Pass a safe set with some samples.")
        if self.kind == "mahalanobis":
            if given is None:
                raise ParameterError(
                    'The score "mahalanobis" needs labels.', "Pass the given labels of the rows."
                )
            self._gaussians = fit_gaussians(trusted, given)
        self._trusted = trusted if self.kind == "nearest-neighbour" else None
        own = (
            nearest_neighbour(trusted, trusted, neighbours=self.neighbours, own=True)
            if self.kind == "nearest-neighbour"
            else self._scored(trusted)
        )
        self.threshold_ = float(np.quantile(own, self.quantile))
        return self

    def score(self, values: ArrayLike) -> NDArray[np.float64]:
        """How far out each sample lies, (M,); higher = farther.

        Args:
            values: (M, k) logits or (M, d) features.

        Raises:
            RecordError: `fit` was not called.
        """
        if not hasattr(self, "threshold_"):
            raise RecordError("The detector has no statistics yet.", "Call fit first.")
        return self._scored(values)

    def is_foreign(self, values: ArrayLike) -> NDArray[np.bool_]:
        """Which samples score above the threshold, (M,) bool."""
        foreign: NDArray[np.bool_] = self.score(values) > self.threshold_
        return foreign

    def _scored(self, values: ArrayLike) -> NDArray[np.float64]:
        if self.kind == "maximum-softmax":
            return maximum_softmax(values)
        if self.kind == "energy":
            return energy(values, temperature=self.temperature)
        if self.kind == "mahalanobis":
            return mahalanobis(values, self._gaussians)
        assert self._trusted is not None
        return nearest_neighbour(values, self._trusted, neighbours=self.neighbours)
