"""What an epoch is made of: the plan of a selector, a shuffled warm-up, or draws by its scores.

    planned     selector.plan → rows in a random order
    warm-up     the eligible rows, and some of the others, in a random order
    scored      selector.refresh → levels → engine; then a systematic plan, or draws step by step

What is random here is keyed by (seed, epoch) or (seed, epoch, step).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from thresher.errors import ParameterError
from thresher.history import SampleHistory
from thresher.keyed_random import keyed_seed
from thresher.sampling.binned_thinning import BinnedThinning, permuted
from thresher.sampling.epoch_batches import Batch, EpochPlan, batch_bounds
from thresher.sampling.importance import check_beta, expected_correction, importance_weights
from thresher.sampling.levels import UNKNOWN, levels_of
from thresher.sampling.selector import Planned, PlannedRows, Scored
from thresher.sampling.systematic import separate, systematic_rows

__all__ = ["EpochPlanner", "Replacement"]

Replacement = Literal["iid", "batch", "epoch"]


class EpochPlanner:
    """Makes the plans of epochs, and draws the batches of those that are drawn step by step.

    Args:
        selector: Whose `begin` was called.
        history: What it reads.
        batch_size: Rows of one process in one step.
        processes: How many there are.
        drop_last, replacement, uniform_mix, importance_beta, revisit, seed: As of
            `AdaptiveBatchSampler`.

    Raises:
        ParameterError: the data do not fill a batch, or an argument is out of range.

    Attributes:
        engine: What draws the rows of scored epochs; None for a selector that plans.
    """

    def __init__(
        self,
        selector: Scored | Planned,
        history: SampleHistory,
        *,
        batch_size: int,
        processes: int,
        drop_last: bool,
        replacement: Replacement,
        uniform_mix: float,
        importance_beta: float,
        revisit: float,
        seed: int,
    ) -> None:
        self.selector, self.history = selector, history
        self.batch_size, self.processes, self.drop_last = batch_size, processes, drop_last
        self.replacement, self.importance_beta = replacement, check_beta(importance_beta)
        self.uniform_mix, self.revisit, self.seed = uniform_mix, revisit, seed
        self.engine: BinnedThinning | None = None
        if isinstance(selector, Scored):
            unknown = np.full(history.samples, UNKNOWN, np.uint16)
            self.engine = BinnedThinning(unknown, revisit=revisit, uniform_mix=uniform_mix)
        self._random = np.random.Generator(np.random.Philox(key=0))
        self._random_state: Any = self._random.bit_generator.state
        self._bounds(self._rows_of_an_epoch())  # refuses a batch that the data do not fill

    # ------------------------------------------------------------------ plans
    def steps(self) -> int:
        """Length of an epoch of a selector that scores."""
        return len(self._bounds(self._rows_of_an_epoch())) - 1

    def plan(self, number: int) -> EpochPlan:
        """What an epoch, from 0, is made of."""
        if isinstance(self.selector, Planned):
            return self._planned(self.selector, number)
        if number < self.selector.warmup:
            rows = self._shuffled_rows(number)
            order = self._order(len(rows), number)
            return EpochPlan(number, self._bounds(len(rows)), rows[order])
        assert self.engine is not None
        self._refresh(self.selector, self.engine, number)
        return self._weighted(self.engine, number)

    def _planned(self, selector: Planned, number: int) -> EpochPlan:
        """An epoch as its selector plans it."""
        generator = torch.Generator().manual_seed(keyed_seed(self.seed, "plan", number))
        rows = selector.plan(self.history, number, generator)
        _check_plan(rows, self.history.samples)
        order = self._order(len(rows.index), number)
        weights = None if rows.weights is None else rows.weights.cpu().float().numpy()[order]
        index = rows.index.cpu().numpy()[order]
        return EpochPlan(number, self._bounds(len(index)), index, weights)

    def _refresh(self, selector: Scored, engine: BinnedThinning, number: int) -> None:
        """Let the selector score the samples anew, and the engine sort them."""
        scores = selector.refresh(self.history, number)
        levels = None if scores is None else levels_of(scores.detach().cpu().numpy())
        engine.set_pressure(selector.pressure(number))
        engine.rebuild(levels, self._eligible())

    def _weighted(self, engine: BinnedThinning, number: int) -> EpochPlan:
        """An epoch by the engine's weights: a systematic plan, or drawn step by step."""
        beta, length = self.importance_beta, self._rows_of_an_epoch()
        bounds = self._bounds(length)
        expected = expected_correction(*engine.spectrum(), beta) if beta else 1.0
        if self.replacement != "epoch":
            return EpochPlan(number, bounds, expected=expected)
        rows = systematic_rows(engine.whole_weights(), length, self._generator("offset", number))
        rows = rows[self._order(length, number)]
        rows = separate(rows, bounds, self._generator("separate", number))
        return EpochPlan(number, bounds, rows, self._correction(rows, expected))

    # ------------------------------------------------------------------ batches drawn by scores
    def draw(self, plan: EpochPlan, first: int, count: int) -> list[NDArray[np.int64]]:
        """The rows of the `count` steps from `first` on, in an order that says nothing.

        By the weights as they are now; fewer at the end of the epoch.
        """
        assert self.engine is not None
        generator = self._generator("batch", plan.number, first)
        sizes = np.diff(plan.bounds[first : first + count + 1]).tolist()
        drawn = self.engine.draw_several(sizes, generator, distinct=self.replacement == "batch")
        # the heavier samples come first: unpermuted, the first process would get them
        return permuted(drawn, generator)

    def batch(self, plan: EpochPlan, step: int, index: NDArray[np.int64]) -> Batch:
        """A batch that was drawn, with the weights of its losses."""
        return Batch(step, index, self._correction(index, plan.expected))

    def _correction(self, index: NDArray[np.int64], expected: float) -> NDArray[np.float32] | None:
        """The importance correction of these rows, if there is any."""
        if not self.importance_beta:
            return None
        assert self.engine is not None
        drawable = self.history.samples if self.revisit > 0 else self.engine.eligible_count
        relative = drawable * self.engine.probabilities(index)
        return importance_weights(relative, self.importance_beta, expected)

    # ------------------------------------------------------------------ rows and randomness
    def _eligible(self) -> NDArray[np.bool_]:
        eligible: NDArray[np.bool_] = self.history["eligible"].cpu().numpy()
        return eligible

    def _rows_of_an_epoch(self) -> int:
        """The eligible rows, and as many of the others as are revisited; at most N."""
        eligible = int(self._eligible().sum())
        return eligible + round(min(self.revisit, 1.0) * (self.history.samples - eligible))

    def _shuffled_rows(self, number: int) -> NDArray[np.int64]:
        """Rows of a shuffled epoch, ascending."""
        eligible = self._eligible()
        others = np.flatnonzero(~eligible)
        taken = self._rows_of_an_epoch() - int(eligible.sum())
        chosen = self._generator("revisit", number).permutation(others)[:taken]
        return np.sort(np.concatenate([np.flatnonzero(eligible), chosen]))

    def _order(self, count: int, number: int) -> NDArray[np.int64]:
        """The order of an epoch, the same as that of `shuffled_batches`."""
        generator = torch.Generator().manual_seed(keyed_seed(self.seed, "order", number))
        order: NDArray[np.int64] = torch.randperm(count, generator=generator).numpy()
        return order

    def _generator(self, *key: int | str) -> np.random.Generator:
        """The one generator, set to where `Philox(key=…)` begins; a new one costs ten times it."""
        fresh = self._random_state["state"]
        fresh["key"] = np.array([keyed_seed(self.seed, *key), 0], np.uint64)
        self._random.bit_generator.state = self._random_state
        return self._random

    def _bounds(self, rows: int) -> NDArray[np.int64]:
        return batch_bounds(
            rows, self.batch_size, processes=self.processes, drop_last=self.drop_last
        )


def _check_plan(rows: PlannedRows, samples: int) -> None:
    index, weights = rows.index, rows.weights
    if index.dtype != torch.int64 or index.dim() != 1 or not len(index):
        problem = f"an index that is {tuple(index.shape)} {index.dtype}"
    elif int(index.min()) < 0 or int(index.max()) >= samples:
        problem = f"row {int(index[(index < 0) | (index >= samples)][0])} of {samples} samples"
    elif weights is not None and len(weights) != len(index):
        problem = f"{len(weights)} weights for {len(index)} rows"
    else:
        return
    raise ParameterError(
        f"The plan of an epoch has {problem}.",
        "Return an (M,) int64 index of 0 … N - 1, M >= 1, and as many weights or None.",
    )
