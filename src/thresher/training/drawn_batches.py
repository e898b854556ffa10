"""Drawn batches: a selector chooses the rows of thresher's own loop.

    selector → AdaptiveBatchSampler → batches of all processes → the loop
    criterion: the gathered rows of every step → observe → what the sampler learns

The sampler knows the rows that have a label, and numbers them from 0; the history knows all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from thresher.errors import ParameterError
from thresher.history import Column, SampleHistory
from thresher.noise.criterion import Criterion
from thresher.noise.method import Decision, Step
from thresher.noise.weighing import learned_labels
from thresher.sampling import make_selector
from thresher.sampling.batch_sampler import AdaptiveBatchSampler
from thresher.sampling.selector import Observed, Planned, Scored
from thresher.sampling.shuffled import batches_per_epoch

__all__ = ["DrawnBatches", "HistoryOfRows", "draw_batches"]

LAG = 16  # steps: 16 batches are drawn in the time of three, by scores 16 to 31 steps old
OF_THE_SAMPLER = ("replacement", "uniform_mix", "importance_beta", "revisit")


class HistoryOfRows:
    """Some rows of a history, as a selector reads them.

    Args:
        history: Of all samples.
        rows: (n,) int64, ascending.
    """

    def __init__(self, history: SampleHistory, rows: Tensor) -> None:
        self._history, self._rows = history, rows
        self.samples, self.classes = len(rows), history.classes
        self.device = history.device

    def declare(self, *columns: Column) -> None:
        """Add columns, for all samples."""
        self._history.declare(*columns)

    def __contains__(self, name: object) -> bool:
        """Whether the column is declared."""
        return name in self._history

    def __getitem__(self, name: str) -> Tensor:
        """The column, of these rows."""
        return self._history[name][self._rows]


class DrawnBatches:
    """The batches of a training, as a selector draws them.

    Args:
        selector: Scores samples, or plans epochs.
        criterion: Of the training: its history is what the selector reads.
        rows: (n,) int64 rows with a label, ascending.
        batch_size: Rows of all processes in one step.
        epochs: Planned.
        seed: Of the run.
        accumulate: Batches of a step, which are drawn before any of them is learned from.
        options: Of `AdaptiveBatchSampler`: replacement, uniform_mix, importance_beta, revisit.

    Raises:
        ParameterError: a setting of the selector or the sampler does not fit.
    """

    def __init__(
        self,
        selector: Scored | Planned,
        criterion: Criterion,
        rows: Tensor,
        batch_size: int,
        epochs: int,
        seed: int,
        *,
        accumulate: int = 1,
        **options: Any,
    ) -> None:
        self._rows = rows
        history: Any = criterion.history
        self._everything = len(rows) == history.samples
        self._place = torch.full((history.samples,), -1, dtype=torch.int64)
        self._place[rows] = torch.arange(len(rows))
        self._weights: deque[Tensor | None] = deque()  # of batches that are yielded and not trained
        read: Any = history if self._everything else HistoryOfRows(history, rows)
        self.sampler = AdaptiveBatchSampler(
            selector,
            len(rows),
            history.classes,
            batch_size=min(batch_size, len(rows)),
            epochs=epochs,
            drop_last=False,
            history=read,
            lag=max(accumulate, LAG),
            seed=seed,
            rank=0,
            world_size=1,  # it draws for all: the loop takes its process's part
            **options,
        )
        self._batch_size, self._accumulate = batch_size, accumulate
        self.stride = 1.0
        self._of_epoch = 0
        # only then may a row stand twice in one batch
        history.repeats = options.get("replacement") in ("iid", "epoch")
        criterion.listener = self.heard

    def epoch(self, number: int, skip: int = 0) -> Iterator[Tensor]:
        """Yield the batches of the coming epoch; what was skipped, the stored state knows."""
        if skip and self.sampler.finished:
            return
        self._weights.clear()
        for batch, weights in self.sampler.weighted_batches():
            self._of_epoch = len(self.sampler)
            steps = -(-self._of_epoch // self._accumulate)
            self.stride = self.steps(1, self._accumulate) / steps
            self._weights.append(weights)
            yield batch if self._everything else self._rows[batch]

    def length(self) -> int:
        """Batches of the epoch that runs: fewer than all, if a plan leaves rows out."""
        return self._of_epoch

    def steps(self, epochs: int, accumulate: int = 1) -> int:
        """Steps of so many epochs of all rows: what the learning rate is planned by."""
        batches = batches_per_epoch(len(self._rows), self._batch_size)
        return epochs * -(-batches // accumulate)

    def weights(self) -> Tensor | None:
        """What the losses of the next batch's rows are multiplied by, (b,); None = 1."""
        return self._weights.popleft()

    def heard(self, step: Step, decision: Decision) -> None:
        """The rows of a step, of all processes, and what was decided of them."""
        index = step.index.cpu()
        logits = step.scores[0]
        if len(step.scores) > 1:
            logits = step.probabilities().clamp(min=1e-30).log()
        self.sampler.observe_gathered(
            Observed(
                index if self._everything else self._place[index],
                logits.float().cpu(),
                learned_labels(step, decision).cpu(),
                self.sampler.epoch,
            )
        )

    def figures(self) -> dict[str, float]:
        """Of the epoch that ended, for its metrics."""
        report = self.sampler.report()
        found = {"coverage": report.coverage, "mean_staleness": report.staleness[0]}
        if report.effective_sample_size is not None:
            found["effective_sample_size"] = report.effective_sample_size
        return found

    def state_dict(self) -> dict[str, Any]:
        """Of the sampler."""
        return self.sampler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.sampler.load_state_dict(state)
        done = self.sampler.finished
        self._of_epoch = self.sampler.report().steps if done else len(self.sampler)


def draw_batches(
    name: str,
    options: Mapping[str, Any],
    criterion: Criterion,
    rows: Tensor,
    batch_size: int,
    epochs: int,
    seed: int,
    accumulate: int = 1,
) -> DrawnBatches:
    """The batches of a selector by its name, with options of its own and of the sampler.

    Args:
        name: A key of `thresher.sampling.SELECTORS`.
        options: By name.
        criterion, rows, batch_size, epochs, seed, accumulate: As of `DrawnBatches`.

    Raises:
        ParameterError: an option that neither takes, or out of range.
    """
    own = {option: value for option, value in options.items() if option not in OF_THE_SAMPLER}
    shared = {option: value for option, value in options.items() if option in OF_THE_SAMPLER}
    selector = make_selector(name, **own)
    if not isinstance(selector, Scored | Planned):
        raise ParameterError(f'"{name}" draws no batches.', "Choose another sampler.")
    return DrawnBatches(
        selector, criterion, rows, batch_size, epochs, seed, accumulate=accumulate, **shared
    )
