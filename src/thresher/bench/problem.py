"""A problem: what a training may see, and the truth, which the evaluator alone holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thresher.data import Samples

__all__ = ["Problem", "Truth"]

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Truth:
    """What no training may see.

    Attributes:
        labels: (N,) int64 true labels of the training rows.
        test: Test samples, all with their true label.
        groups: (N,) names of the groups of the training rows; None = groups are not compared.
        test_groups: (M,) the same of the test samples.
    """

    labels: Labels
    test: Samples
    groups: tuple[str | None, ...] | None = None
    test_groups: tuple[str | None, ...] | None = None


@dataclass(frozen=True)
class Problem:
    """A training set with given labels, and the truth about it."""

    samples: Samples
    truth: Truth

    @property
    def bad(self) -> NDArray[np.bool_]:
        """(N,) whether the given label is wrong."""
        wrong: NDArray[np.bool_] = self.samples.labels != self.truth.labels
        return wrong
