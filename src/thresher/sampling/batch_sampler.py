"""AdaptiveBatchSampler: a PyTorch batch sampler that learns from the training which rows come next.

    for index, x, y in DataLoader(Indexed(data), batch_sampler=sampler):
        logits = model(x)
        (sampler.weights(index) * cross_entropy(logits, y, reduction="none")).mean().backward()
        sampler.observe(index, logits=logits, targets=y)

What happens when:

    an epoch begins  feedback that waits is applied → selector.refresh → engine.rebuild, or
                     selector.plan → rows; during its warm-up a scored epoch is a shuffled one
    a run begins     feedback of steps <= t - lag is applied → engine.draw(key = seed, epoch, t)
                     → permuted with the same key → this process's part; the batch is now *out*
    observe          rows of all processes are gathered → found among the batches that are out
                     → history → selector.rescore → feedback waits for its step

The whole state is equal on every process, and so are the draws: nothing but the rows of a step is
ever exchanged. A loader with workers asks for batches ahead of time; because the feedback of a step
counts from a fixed number of steps later on (`lag`), and not as soon as it arrives, the batches do
not depend on how far ahead it asks.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler, SequentialSampler

from thresher.distributed import gather_rows, processes
from thresher.errors import ParameterError, RunError
from thresher.history import SampleHistory
from thresher.keyed_random import keyed_seed
from thresher.sampling.binned_thinning import BinnedThinning, permuted
from thresher.sampling.epoch_batches import Batch, EpochPlan, batch_bounds, part
from thresher.sampling.importance import check_beta, expected_correction, importance_weights
from thresher.sampling.levels import UNKNOWN, levels_of
from thresher.sampling.returned import Shard, apart, find_batch, stranger
from thresher.sampling.sampler_state import pack_feedback, pack_plan, unpack_feedback, unpack_plan
from thresher.sampling.selector import Observed, Planned, PlannedRows, Scored
from thresher.sampling.systematic import separate, systematic_rows
from thresher.sampling.visits import Report, Visits

__all__ = ["AdaptiveBatchSampler", "Feedback"]

VERSION = 1
RUN = 16  # batches that are drawn together, at most; then weights take over what was learned
LONG_RUN = 64  # where weights stay as they are within an epoch
Replacement = Literal["iid", "batch", "epoch"]


class Feedback(NamedTuple):
    """New levels from one step, waiting for the step from which on they count."""

    step: int
    rows: NDArray[np.int64]
    levels: NDArray[np.uint16]


class AdaptiveBatchSampler(Sampler[list[int]]):
    """Batches that a selector chooses, epoch after epoch, from what it hears of the training.

    Pass it as `batch_sampler` to a `DataLoader` of `thresher.data.Indexed(data)` and call `observe`
    once a batch. Epochs advance by themselves. The same seed gives the same batches for any number
    of workers and of processes (of the same batch in all), and after any interruption.

    Args:
        selector: Scores samples (`Scored`) or plans epochs (`Planned`).
        samples: Length N of the data set.
        classes: Number of classes k, >= 2.
        batch_size: Rows of one process in one step, >= 1.
        epochs: Planned epochs, for schedules of the selector; None = not known.
        replacement: Of scored epochs. "batch": no row twice in a batch, batches are independent;
            "iid": all draws are independent (Ada-Boundary's code); "epoch": a systematic plan of
            the epoch, at pressure 1 the shuffled one (ours; scores count from epoch to epoch).
        uniform_mix: Share of the draws that is spread evenly, in [0, 1): bounds how long a sample
            may go unseen.
        importance_beta: Exponent of the correction in `weights`, in [0, 1]; 0 = none, as the papers
            train, 1 = the gradient of the whole data in expectation.
        revisit: How often samples that the history does not call eligible are drawn, over the mean
            of the eligible ones, >= 0. In shuffled epochs, the share of them that takes part.
        drop_last: Leave out what does not fill a batch, in every epoch alike.
        history: What the training remembers, where somebody else writes it (the criterion of a
            noise method); None = the sampler keeps one of its own and writes it in `observe`.
        lag: L >= 1. Runs of min(L, 16) batches are drawn together; one that begins with step t uses
            what was learned up to step t - L of its epoch. At least 1 + num_workers ·
            prefetch_factor, and one more under Accelerate.
        seed: Of every draw.
        rank: This process among those that train on different rows; None = ask torch.distributed.
        world_size: How many those are; None = ask torch.distributed.
        shard: "internal" yields this process's part of each batch; "external" yields the parts of
            all processes in turn, for a trainer that takes every `world_size`-th by itself, as
            `accelerator.prepare` does.
        check_every: Steps between two checks that no process has come apart from the others.

    Raises:
        ParameterError: an argument is out of range, or two contradict each other.

    Attributes:
        history: What the selector reads.
        epoch: The epoch that runs or ran last, from 0.
        batch_size: As trainers look for it in a batch sampler; so are drop_last and sampler.

    Cost: 13 bytes a sample beside the history (7 to draw, 6 for the report); a step O(batch).
    Source: see `binned_thinning`, `systematic`, `importance` and the selectors.
    """

    def __init__(
        self,
        selector: Scored | Planned,
        samples: int,
        classes: int,
        *,
        batch_size: int,
        epochs: int | None = None,
        replacement: Replacement = "batch",
        uniform_mix: float = 0.0,
        importance_beta: float = 0.0,
        revisit: float = 1.0,
        drop_last: bool = True,
        history: SampleHistory | None = None,
        lag: int = 32,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        shard: Shard = "internal",
        check_every: int = 1000,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("lag", lag), ("check_every", check_every)):
            if value < 1:
                raise ParameterError(f"{name} must be at least 1, got {value}.", "Pass 1 or more.")
        for name, choice, allowed in (
            ("replacement", replacement, ("iid", "batch", "epoch")),
            ("shard", shard, ("internal", "external")),
        ):
            if choice not in allowed:
                raise ParameterError(
                    f"{name} must be one of {', '.join(allowed)}, got {choice!r}.",
                    "Pass one of them.",
                )
        if isinstance(selector, Planned) and (
            replacement != "batch" or uniform_mix or importance_beta or revisit != 1
        ):
            raise ParameterError(
                f"{type(selector).__name__} plans its epochs: replacement, uniform_mix, "
                "importance_beta and revisit belong to selectors that score samples.",
                "Leave them at their defaults.",
            )
        if shard == "external" and not drop_last:
            raise ParameterError(
                'shard="external" needs drop_last=True: the trainer that cuts the batches would '
                "fill a smaller last one with rows that were seen before.",
                "Pass drop_last=True.",
            )
        self.rank, self.world_size = _place(rank, world_size)
        self.selector = copy.copy(selector)
        self.batch_size, self.drop_last = batch_size, drop_last
        self.sampler = SequentialSampler(range(samples))  # looked for by trainers, used by nobody
        self.replacement, self.importance_beta = replacement, check_beta(importance_beta)
        self.revisit, self.uniform_mix = revisit, uniform_mix
        self.lag, self.seed, self.shard, self.check_every = lag, seed, shard, check_every
        self._owns_history = history is None
        if history is None:
            # only then may a row stand twice in one batch
            history = SampleHistory(samples, classes, repeats=replacement in ("iid", "epoch"))
        self.history = history
        if (self.history.samples, self.history.classes) != (samples, classes):
            raise ParameterError(
                f"The history is of {self.history.samples} samples and {self.history.classes} "
                f"classes, the sampler of {samples} and {classes}.",
                "Start both with the data that are trained on.",
            )
        self.history.declare(*self.selector.begin(samples, classes, epochs))
        self.visits = Visits(samples, classes)
        self._engine = (
            BinnedThinning(
                np.full(samples, UNKNOWN, np.uint16), revisit=revisit, uniform_mix=uniform_mix
            )
            if isinstance(self.selector, Scored)
            else None
        )
        self._random = np.random.Generator(np.random.Philox(key=0))
        self._random_state: Any = self._random.bit_generator.state
        # batches that were drawn together: (epoch, first step), rows of each
        self._run: tuple[tuple[int, int], list[NDArray[np.int64]]] = ((-1, -1), [])
        self._plan: EpochPlan | None = None
        self._coming: EpochPlan | None = None  # looked at before its time, for its length
        self._out: deque[Batch] = deque()  # handed out and not heard of again
        self._again: deque[Batch] = deque()  # were out when the state was stored
        self._last: Batch | None = None
        self._feedback: deque[Feedback] = deque()
        # not counted and not scored yet: several steps cost as one
        self._heard: list[tuple[Batch, Observed]] = []
        self._resumed = False
        self._bounds(self._rows_of_an_epoch())  # refuses a batch that the data do not fill

    # ------------------------------------------------------------------ what comes next
    @property
    def finished(self) -> bool:
        """Whether every batch of the epoch that runs or ran last was heard of."""
        return self._plan is not None and self._plan.consumed >= self._plan.steps

    @property
    def epoch(self) -> int:
        """The epoch that runs or ran last, from 0."""
        return 0 if self._plan is None else self._plan.number

    def __len__(self) -> int:
        """Batches of the epoch that runs; between two epochs, of the coming one."""
        running = self._plan
        if running is not None and (running.drawn < running.steps or self._out or self._again):
            steps = running.steps
        elif isinstance(self.selector, Planned):
            if self._coming is None:
                self._coming = self._planned(self._next_number())
            steps = self._coming.steps
        else:
            steps = len(self._bounds(self._rows_of_an_epoch())) - 1
        return steps * self.world_size if self.shard == "external" else steps

    def __iter__(self) -> Iterator[list[int]]:
        """The rows of this process, batch by batch, of the next epoch.

        An epoch of which no batch was ever observed and which was not drawn to its end is begun
        again: so a look at the first batch counts for nothing.
        """
        ranks = range(self.world_size) if self.shard == "external" else (self.rank,)
        for batch in self._batches():
            for rank in ranks:
                yield batch.index[part(len(batch.index), rank, self.world_size)].tolist()

    def global_batches(self) -> Iterator[Tensor]:
        """The rows of all processes, batch by batch, of the next epoch: (G,) int64 each.

        For a loop that gathers rows by itself; it reports them to `observe_gathered`.
        """
        for index, _ in self.weighted_batches():
            yield index

    def weighted_batches(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        """`global_batches` with what the losses of the rows are multiplied by, (G,); None = 1."""
        for batch in self._batches():
            weights = None if batch.weights is None else torch.from_numpy(batch.weights)
            yield batch.tensor, weights

    def _batches(self) -> Iterator[Batch]:
        plan = self._begin()
        while self._again or plan.drawn < plan.steps:
            if self._plan is not plan:
                raise ParameterError(
                    "Two iterations over one sampler run at once.",
                    "Finish an epoch, or leave it, before the next one begins.",
                )
            batch = self._again.popleft() if self._again else self._next(plan)
            self._out.append(batch)
            self.visits.ahead = max(self.visits.ahead, len(self._out))
            yield batch

    def _begin(self) -> EpochPlan:
        if self._resumed and self._plan is not None:
            self._resumed = False
            return self._plan
        number = self._next_number()
        self._again.clear()
        self._out.clear()
        self._apply(None)
        self._plan = plan = self._planned(number)
        self._coming = None
        self.visits.begin_epoch()
        if self._owns_history:
            self.history.epoch = number
        return plan

    def _next_number(self) -> int:
        running = self._plan
        if running is None:
            return 0
        only_looked_at = not running.consumed and running.drawn < running.steps
        return running.number if only_looked_at else running.number + 1

    # ------------------------------------------------------------------ plans
    def _planned(self, number: int) -> EpochPlan:
        """What the coming epoch is made of."""
        if isinstance(self.selector, Planned):
            generator = torch.Generator().manual_seed(keyed_seed(self.seed, "plan", number))
            rows = self.selector.plan(self.history, number, generator)
            _check_plan(rows, self.history.samples)
            order = self._order(len(rows.index), number)
            weights = None if rows.weights is None else rows.weights.cpu().float().numpy()[order]
            index = rows.index.cpu().numpy()[order]
            return EpochPlan(number, self._bounds(len(index)), index, weights)
        if number < self.selector.warmup:
            rows_there = self._shuffled_rows(number)
            bounds = self._bounds(len(rows_there))
            return EpochPlan(number, bounds, rows_there[self._order(len(rows_there), number)])
        self._refresh(number)
        return self._weighted(number, self._bounds(self._rows_of_an_epoch()))

    def _refresh(self, number: int) -> None:
        """Let the selector score the samples anew, and the engine sort them."""
        assert isinstance(self.selector, Scored)
        scores = self.selector.refresh(self.history, number)
        levels = None if scores is None else levels_of(scores.detach().cpu().numpy())
        self.engine.set_pressure(self.selector.pressure(number))
        self.engine.rebuild(levels, self._eligible())

    def _weighted(self, number: int, bounds: NDArray[np.int64]) -> EpochPlan:
        """An epoch by the engine's weights: a systematic plan, or drawn step by step."""
        engine, beta = self.engine, self.importance_beta
        expected = expected_correction(*engine.spectrum(), beta) if beta else 1.0
        if self.replacement != "epoch":
            return EpochPlan(number, bounds, expected=expected)
        length = self._rows_of_an_epoch()
        rows = systematic_rows(engine.whole_weights(), length, self._generator("offset", number))
        rows = rows[self._order(length, number)]
        rows = separate(rows, bounds, self._generator("separate", number))
        return EpochPlan(number, bounds, rows, self._correction(rows, expected) if beta else None)

    def _next(self, plan: EpochPlan) -> Batch:
        step = plan.drawn
        if plan.rows is not None:
            batch = plan.batch(step)
        else:
            index = self._draw(plan, step)
            corrected = self._correction(index, plan.expected) if self.importance_beta else None
            batch = Batch(step, index, corrected)
        plan.drawn += 1
        return batch

    def _draw(self, plan: EpochPlan, step: int) -> NDArray[np.int64]:
        """The rows of a step, in an order that says nothing."""
        run = min(self.lag, RUN) if self._rescores else LONG_RUN
        first = step - step % run
        if self._run[0] != (plan.number, first):
            self._require_feedback(plan, step)
            self._apply(first - self.lag)  # so that a run that is resumed is drawn as it was
            generator = self._generator("batch", plan.number, first)
            sizes = np.diff(plan.bounds[first : first + run + 1]).tolist()
            drawn = self.engine.draw_several(sizes, generator, distinct=self.replacement == "batch")
            # the heavier samples come first: unpermuted, the first process would get them
            self._run = (plan.number, first), permuted(drawn, generator)
        return self._run[1][step - first]

    @property
    def _rescores(self) -> bool:
        """Whether weights may move within an epoch."""
        kind = type(self.selector)
        return issubclass(kind, Scored) and kind.rescore is not Scored.rescore

    @property
    def _waits(self) -> bool:
        """Whether what is heard may wait for the next steps."""
        return not self._rescores or (isinstance(self.selector, Scored) and self.selector.rowwise)

    def _require_feedback(self, plan: EpochPlan, step: int) -> None:
        if self._rescores and plan.consumed <= step - self.lag:
            raise ParameterError(
                f"Batch {step + 1} of the epoch is asked for when {plan.consumed} have been "
                f"observed, {step - plan.consumed} behind; lag={self.lag} allows {self.lag - 1}.",
                "Call observe after every batch. The lag must be at least 1 + num_workers × "
                f"prefetch_factor of the loader (one more under Accelerate): pass lag="
                f"{step - plan.consumed + 1} or more.",
            )

    def _correction(self, index: NDArray[np.int64], expected: float) -> NDArray[np.float32]:
        drawable = self.history.samples if self.revisit > 0 else self.engine.eligible_count
        relative = drawable * self.engine.probabilities(index)
        return importance_weights(relative, self.importance_beta, expected)

    @property
    def engine(self) -> BinnedThinning:
        """What draws the rows of scored epochs.

        Raises:
            ParameterError: the selector plans its epochs.
        """
        if self._engine is None:
            raise ParameterError("A selector that plans draws nothing.", "Look at its plan.")
        return self._engine

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
            rows, self.batch_size, processes=self.world_size, drop_last=self.drop_last
        )

    # ------------------------------------------------------------------ what comes back
    def weights(self, index: Tensor) -> Tensor:
        """What to multiply the losses of a batch by: 1, unless it is planned or corrected.

        Args:
            index: (B,) int64 rows of a batch that has been handed out.

        Returns:
            (B,) float32 on the device of `index`.

        Raises:
            ParameterError: the rows are not of one batch of this sampler.
        """
        rows = index.detach().cpu().numpy()
        out = [*self._out] if self._last is None else [*self._out, self._last]
        if all(batch.weights is None for batch in out) and out:
            return torch.ones(len(rows), device=index.device)
        for batch in out:
            order = np.argsort(batch.index)
            place = np.searchsorted(batch.index, rows, sorter=order)
            place = order[np.minimum(place, len(order) - 1)]
            if np.array_equal(batch.index[place], rows):
                found = (
                    np.ones(len(rows), np.float32)
                    if batch.weights is None
                    else batch.weights[place]
                )
                return torch.from_numpy(found).to(index.device)
        raise stranger(rows, self._out)

    def observe(self, index: Tensor, *, logits: Tensor, targets: Tensor) -> None:
        """Report this process's rows of a batch, once a batch and on every process.

        Args:
            index: (B,) int64, as the loader yielded them.
            logits: (B, k) float of the training-mode forward pass, before the update.
            targets: (B,) int64 labels that the step learned from.

        Raises:
            LabelError, RecordError: index or targets of another kind, or out of range.
            ParameterError: the rows are not those that this sampler handed out; says which setting
                of the trainer is the cause.
            RunError: the samplers of the processes differ.
        """
        self.history.check_labels(index, targets)
        if processes() != self.world_size:
            raise ParameterError(
                f"{processes()} processes train together, the sampler was made for "
                f"{self.world_size}.",
                "Make it after torch.distributed or the Accelerator is initialised, or pass rank "
                "and world_size.",
            )
        numbers = torch.stack([each.to(logits.device) for each in (index, targets)], 1)
        numbers, _ = gather_rows(numbers)  # (G, 2) int64: a float would round a large index
        gathered, _ = gather_rows(logits.float())  # (G, k)
        self.observe_gathered(Observed(numbers[:, 0], gathered, numbers[:, 1], self.epoch))

    def observe_gathered(self, observed: Observed) -> None:
        """Report the rows of a batch of all processes, for a loop that has gathered them.

        Args:
            observed: In the order in which they were handed out.

        Raises:
            ParameterError, RunError: the rows are no batch that is out.
        """
        batch, plan = self._returned(observed.index)
        if self._owns_history:
            self._remember(observed)
        self.visits.step += 1
        plan.consumed, self._last, self._coming = batch.step + 1, batch, None
        self._heard.append((batch, observed))
        if len(self._heard) >= RUN or not self._waits:
            self._digest_heard()
        if plan.rows is not None and len(self._feedback) >= RUN:
            self._apply(None)  # it was drawn already: nothing depends on when
        if self.visits.step % self.check_every == 0 and processes() > 1:
            self._check_agreement(observed.logits.device)

    def _returned(self, index: Tensor) -> tuple[Batch, EpochPlan]:
        """The batch that has come back; batches before it were left out, without feedback."""
        place = find_batch(index, self._out)
        if place is None or self._plan is None:
            rows = index.cpu().numpy()
            raise stranger(
                rows, self._out, rank=self.rank, processes=self.world_size, shard=self.shard
            )
        for _ in range(place):
            self._out.popleft()
        return self._out.popleft(), self._plan

    def _remember(self, observed: Observed) -> None:
        device = self.history.device
        index, logits, targets = (
            each.to(device) for each in (observed.index, observed.logits, observed.targets)
        )
        self.history.observe(index, logits, targets)

    def _digest_heard(self) -> None:
        """Count what was heard, and let the selector score it."""
        heard, self._heard = self._heard, []
        if not heard:
            return
        steps = [observed for _, observed in heard]
        together = steps[0] if len(steps) == 1 else _joined(steps)
        index = [batch.index for batch, _ in heard]
        self.visits.record(index, together.targets.cpu().numpy())
        if self._rescores:
            self._score([batch for batch, _ in heard], together)

    def _score(self, batches: list[Batch], observed: Observed) -> None:
        """Let the selector score the rows of some batches; that waits for its step."""
        assert isinstance(self.selector, Scored)
        scores = self.selector.rescore(observed)
        if scores is None:
            return
        levels = levels_of(scores.detach().float().cpu().numpy())
        self.visits.unscored += int((levels == UNKNOWN).sum())
        ends = np.cumsum([len(batch.index) for batch in batches])[:-1]
        for batch, own in zip(batches, np.split(levels, ends), strict=True):
            self._feedback.append(Feedback(batch.step, batch.index, own))

    def _apply(self, last_step: int | None) -> None:
        """Hand feedback that has waited to the engine, up to a step or all of it."""
        self._digest_heard()
        due: list[Feedback] = []
        while self._feedback and (last_step is None or self._feedback[0].step <= last_step):
            due.append(self._feedback.popleft())
        if due:
            rows, levels = (np.concatenate(each) for each in list(zip(*due, strict=True))[1:])
            self.engine.update(rows, levels)

    def _check_agreement(self, device: torch.device) -> None:
        """Compare what every process draws from; all of them call it at the same step."""
        drawn_from = ("", "")
        if self._engine is not None:
            drawn_from = self._engine.digest(), float(self._engine.pressure).hex()
        digest = keyed_seed(self.seed, "state", self.epoch, self.visits.step, *drawn_from)
        digests, _ = gather_rows(torch.tensor([digest], device=device))
        if (digests != digests[0]).any():
            raise apart(len(digests))

    def report(self, wrong: NDArray[np.bool_] | Tensor | None = None) -> Report:
        """How it chooses, in numbers. O(N).

        Args:
            wrong: (N,) bool, marks of wrong labels, which only an evaluator has.
        """
        self._digest_heard()
        size = None if self._engine is None else self._engine.effective_sample_size()
        marks = None if wrong is None else np.asarray(wrong, dtype=bool)
        consumed = 0 if self._plan is None else self._plan.consumed
        return self.visits.report(self.epoch, consumed, size, marks)

    # ------------------------------------------------------------------ state
    def _settings(self) -> dict[str, Any]:
        """What a stored state must agree with."""
        return {
            "selector": type(self.selector).__name__,
            "samples": self.history.samples,
            "classes": self.history.classes,
            "batch of all processes": self.batch_size * self.world_size,
            "replacement": self.replacement,
            "uniform_mix": self.uniform_mix,
            "importance_beta": self.importance_beta,
            "revisit": self.revisit,
            "drop_last": self.drop_last,
            "lag": self.lag,
            "seed": self.seed,
        }

    def state_dict(self) -> dict[str, Any]:
        """All that the batches to come depend on: plain numbers and tensors, which are copies.

        It counts what was observed, not what was drawn: batches that are out are stored, and handed
        out again first. Equal on every process; one of them may store it for all, of any number
        with the same batch in all.
        """
        self._digest_heard()
        state: dict[str, Any] = {"version": VERSION, **self._settings()}
        if self._engine is not None:
            engine = self._engine.state_dict()
            for name, value in engine.items():
                state[f"engine.{name}"] = (
                    torch.from_numpy(value) if isinstance(value, np.ndarray) else value
                )
        for name, array in vars(self.visits).items():
            stored = torch.from_numpy(array.copy()) if isinstance(array, np.ndarray) else array
            state[f"visits.{name}"] = stored
        state |= pack_plan(self._plan, [*self._out, *self._again])
        state |= pack_feedback(self._feedback)
        if self._owns_history:
            for name, values in self.history.state_dict().items():
                state[f"history.{name}"] = values.clone()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was called: the next iteration gives the rest of its epoch.

        Raises:
            RunError: the state is of other settings or of another version.
        """
        here = {"version": VERSION, **self._settings()}
        different = [name for name in here if state.get(name) != here[name]]
        if different:
            raise RunError(
                "The stored sampler has another "
                + ", ".join(f"{name} ({state.get(name)}, here {here[name]})" for name in different)
                + ".",
                "Make the sampler with the data and the settings that it was stored with; of the "
                "batch, only the product of batch_size and processes counts.",
            )
        if self._engine is not None:
            self._engine.load_state_dict(
                {
                    name.removeprefix("engine."): (
                        value.numpy() if isinstance(value, Tensor) else value
                    )
                    for name, value in state.items()
                    if name.startswith("engine.")
                }
            )
        for name in vars(self.visits):
            value = state[f"visits.{name}"]
            setattr(self.visits, name, value.numpy().copy() if isinstance(value, Tensor) else value)
        self._plan, out = unpack_plan(state)
        self._again, self._out = deque(out), deque()
        self._feedback = deque(Feedback(*each) for each in unpack_feedback(state))
        self._run, self._heard = ((-1, -1), []), []
        self._coming, self._last = None, None
        self._resumed = self._plan is not None and self._plan.consumed < self._plan.steps
        if self._owns_history:
            mine = {
                name.removeprefix("history."): value
                for name, value in state.items()
                if name.startswith("history.")
            }
            self.history.load_state_dict(mine)
            self.history.epoch = self.epoch


def _place(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """This process and their number: as given, or as torch.distributed says."""
    if (rank is None) != (world_size is None):
        raise ParameterError(
            f"rank={rank} and world_size={world_size} belong together.", "Pass both, or neither."
        )
    if rank is None or world_size is None:
        count = processes()
        return (dist.get_rank() if count > 1 else 0), count
    if not 0 <= rank < world_size:
        raise ParameterError(
            f"rank must be in 0 … world_size - 1, got rank={rank}, world_size={world_size}.",
            "Number the processes from 0.",
        )
    return rank, world_size


def _joined(steps: list[Observed]) -> Observed:
    """Several steps as one."""
    index, logits, targets = (
        torch.cat([getattr(each, name) for each in steps])
        for name in ("index", "logits", "targets")
    )
    return Observed(index, logits, targets, steps[0].epoch)


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
