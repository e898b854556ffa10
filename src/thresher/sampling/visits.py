"""Visits: what the sampler has shown so far, counted, and the report made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Report", "Visits"]


@dataclass(frozen=True)
class Report:
    """How the sampler chooses, in numbers.

    Args:
        epoch: The epoch that runs or ran last, from 0.
        steps: Of that epoch, heard of so far.
        effective_sample_size: 1 / ΣP², how many equally likely samples the present distribution is
            worth, in [1, N]; None for planned epochs.
        coverage: Share of all samples that were visited in this epoch.
        never: Share of all samples that were never visited.
        staleness: Steps since the last visit, over samples that had one: mean, 95th percentile,
            greatest.
        draws_of_class: (k,) share of each class among this epoch's draws.
        ahead: Most batches that were out at once: so old may a score be when it is used.
        unscored: Visits that gave no score, since the start.
        wrong_share: Share of wrong labels among this epoch's draws, where marks were passed.
        wrong_rate: Share of wrong labels among all samples, where marks were passed.
    """

    epoch: int
    steps: int
    effective_sample_size: float | None
    coverage: float
    never: float
    staleness: tuple[float, float, int]
    draws_of_class: NDArray[np.float64]
    ahead: int
    unscored: int
    wrong_share: float | None = None
    wrong_rate: float | None = None


class Visits:
    """When each sample was seen last, and how often in this epoch; 6 bytes a sample.

    Args:
        samples: N.
        classes: k.
    """

    def __init__(self, samples: int, classes: int) -> None:
        self.last = np.full(samples, -1, np.int32)  # step of the last visit since the start
        self.count = np.zeros(samples, np.uint16)  # visits of this epoch
        self.of_class = np.zeros(classes, np.int64)
        self.step = self.ahead = self.unscored = 0

    def begin_epoch(self) -> None:
        """Count anew."""
        self.count[:] = 0
        self.of_class[:] = 0

    def record(self, batches: Sequence[NDArray[np.int64]], targets: NDArray[np.int64]) -> None:
        """Count the rows of the last steps, in their order; O(rows).

        Args:
            batches: (G,) rows of each step.
            targets: Labels of all these rows.
        """
        index = np.concatenate(batches)
        np.add.at(self.count, index, np.uint16(1))  # of another type, it takes twenty times as long
        first = self.step - len(batches)
        steps = np.arange(first, self.step, dtype=np.int32)
        self.last[index] = np.repeat(steps, [len(each) for each in batches])  # the last one stays
        self.of_class += np.bincount(targets, minlength=len(self.of_class))

    def report(
        self,
        epoch: int,
        steps: int,
        effective_sample_size: float | None,
        wrong: NDArray[np.bool_] | None,
    ) -> Report:
        """Sum it all up. O(N).

        Args:
            epoch: From 0.
            steps: Heard of in it.
            effective_sample_size: Of the engine.
            wrong: (N,) marks of wrong labels, which only an evaluator has.
        """
        seen = self.last >= 0
        age = self.step - 1 - self.last[seen] if seen.any() else np.zeros(1, np.int64)
        draws = max(int(self.of_class.sum()), 1)
        return Report(
            epoch=epoch,
            steps=steps,
            effective_sample_size=effective_sample_size,
            coverage=float((self.count > 0).mean()),
            never=float(1 - seen.mean()),
            staleness=(float(age.mean()), float(np.percentile(age, 95)), int(age.max())),
            draws_of_class=self.of_class / draws,
            ahead=self.ahead,
            unscored=self.unscored,
            wrong_share=None if wrong is None else float(self.count[wrong].sum() / draws),
            wrong_rate=None if wrong is None else float(wrong.mean()),
        )
