"""What a sampler has heard and not used yet.

    hear → blocks of steps: counted among the visits, scored by the selector → new levels
         → they wait for the step from which on they count → the engine

Several steps cost little more than one, so they are looked at together, where nobody asks before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from thresher.sampling.binned_thinning import BinnedThinning
from thresher.sampling.epoch_batches import Batch
from thresher.sampling.levels import UNKNOWN, levels_of
from thresher.sampling.selector import Observed, Planned, Scored
from thresher.sampling.visits import Visits

__all__ = ["BLOCK", "Feedback", "WaitingFeedback"]

BLOCK = 16  # steps that are looked at together, at most


class Feedback(NamedTuple):
    """New levels from one step, waiting for the step from which on they count."""

    step: int
    rows: NDArray[np.int64]
    levels: NDArray[np.uint16]


class WaitingFeedback:
    """Steps that were heard of, until they are counted, scored and applied.

    Args:
        selector: Scores the rows of steps, if it does.
        visits: What is counted.

    Attributes:
        rescores: Whether the selector scores the rows of steps: weights move within an epoch.
        levels: What waits to be applied, in the order of its steps.
    """

    def __init__(self, selector: Scored | Planned, visits: Visits) -> None:
        self.levels: deque[Feedback] = deque()
        self._selector = selector if isinstance(selector, Scored) else None
        kind = type(selector)
        self.rescores = issubclass(kind, Scored) and kind.rescore is not Scored.rescore
        self._at_once = self.rescores and not (self._selector and self._selector.rowwise)
        self._visits = visits
        self._batches: list[Batch] = []  # heard of, and not looked at yet
        self._targets: list[Tensor] = []
        self._steps: list[Observed] = []  # only where they are scored: logits may be large

    def hear(self, batch: Batch, observed: Observed) -> None:
        """Take note of a step."""
        self._visits.step += 1
        self._batches.append(batch)
        self._targets.append(observed.targets)
        if self.rescores:
            self._steps.append(observed)
        if self._at_once or len(self._batches) >= BLOCK:
            self.digest()

    def digest(self) -> None:
        """Count what was heard, and let the selector score it."""
        batches, targets, steps = self._batches, self._targets, self._steps
        if not batches:
            return
        self._forget()
        self._visits.record([each.index for each in batches], torch.cat(targets).cpu().numpy())
        if self._selector is not None and steps:
            self._score(self._selector, batches, _joined(steps))

    def _forget(self) -> None:
        self._batches, self._targets, self._steps = [], [], []

    def _score(self, selector: Scored, batches: list[Batch], observed: Observed) -> None:
        scores = selector.rescore(observed)
        if scores is None:
            return
        levels = levels_of(scores.detach().float().cpu().numpy())
        self._visits.unscored += int((levels == UNKNOWN).sum())
        ends = np.cumsum([len(each.index) for each in batches])[:-1]
        for batch, own in zip(batches, np.split(levels, ends), strict=True):
            self.levels.append(Feedback(batch.step, batch.index, own))

    def apply(self, engine: BinnedThinning | None, last_step: int | None = None) -> None:
        """Hand the levels that have waited to the engine, up to a step or all of them."""
        self.digest()
        due: list[Feedback] = []
        while self.levels and (last_step is None or self.levels[0].step <= last_step):
            due.append(self.levels.popleft())
        if due and engine is not None:
            rows, levels = (np.concatenate(each) for each in list(zip(*due, strict=True))[1:])
            engine.update(rows, levels)

    def load(self, levels: Iterable[tuple[int, NDArray[np.int64], NDArray[np.uint16]]]) -> None:
        """Wait for these alone."""
        self._forget()
        self.levels = deque(Feedback(*each) for each in levels)


def _joined(steps: list[Observed]) -> Observed:
    """Several steps as one."""
    if len(steps) == 1:
        return steps[0]
    index, logits, targets = (
        torch.cat([getattr(each, name) for each in steps])
        for name in ("index", "logits", "targets")
    )
    return Observed(index, logits, targets, steps[0].epoch)
