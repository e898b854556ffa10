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
from typing import Any

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
from thresher.sampling.binned_thinning import BinnedThinning
from thresher.sampling.epoch_batches import Batch, EpochPlan, part
from thresher.sampling.epoch_planner import EpochPlanner, Replacement
from thresher.sampling.returned import Shard, apart, find_batch, stranger
from thresher.sampling.sampler_state import (
    as_array,
    as_tensor,
    pack_feedback,
    pack_plan,
    unpack_feedback,
    unpack_plan,
)
from thresher.sampling.selector import Observed, Planned, Scored
from thresher.sampling.visits import Report, Visits
from thresher.sampling.waiting_feedback import BLOCK, WaitingFeedback

__all__ = ["AdaptiveBatchSampler"]

VERSION = 2
RUN = 16  # batches that are drawn together, at most; then weights take over what was learned
LONG_RUN = 64  # where weights stay as they are within an epoch


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
        lag: L >= 1. Runs of min(L, 16) batches are drawn together (of 64, where weights stay as
            they are within an epoch); one that begins with step t uses what was learned up to step
            t - L of its epoch. At least 1 + num_workers ·
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

    def __new__(cls, *args: Any, **_: Any) -> AdaptiveBatchSampler:
        """Refuse a trainer that makes one anew around a sampler of its own, as Lightning does."""
        if args and isinstance(args[0], Sampler):
            raise ParameterError(
                f"A trainer puts a {type(args[0]).__name__} in the place of the rows that this "
                "sampler would choose.",
                "Keep it from that: Lightning, Trainer(use_distributed_sampler=False).",
            )
        return super().__new__(cls)

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
        self.replacement, self.importance_beta = replacement, importance_beta
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
        self._planner = EpochPlanner(
            self.selector,
            self.history,
            batch_size=batch_size,
            processes=self.world_size,
            drop_last=drop_last,
            replacement=replacement,
            uniform_mix=uniform_mix,
            importance_beta=importance_beta,
            revisit=revisit,
            seed=seed,
        )
        self._feedback = WaitingFeedback(self.selector, self.visits)
        # batches that were drawn together: (epoch, first step), rows of each
        self._run: tuple[tuple[int, int], list[NDArray[np.int64]]] = ((-1, -1), [])
        self._plan: EpochPlan | None = None
        self._coming: EpochPlan | None = None  # looked at before its time, for its length
        self._out: deque[Batch] = deque()  # handed out and not heard of again
        self._again: deque[Batch] = deque()  # were out when the state was stored
        self._last: Batch | None = None
        self._resumed = False

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
                self._coming = self._planner.plan(self._next_number())
            steps = self._coming.steps
        else:
            steps = self._planner.steps()
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
        self._feedback.apply(self._planner.engine)
        self._plan = plan = self._planner.plan(number)
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

    def _next(self, plan: EpochPlan) -> Batch:
        step = plan.drawn
        if plan.rows is not None:
            batch = plan.batch(step)
        else:
            batch = self._planner.batch(plan, step, self._draw(plan, step))
        plan.drawn += 1
        return batch

    def _draw(self, plan: EpochPlan, step: int) -> NDArray[np.int64]:
        """The rows of a step; several are drawn together, which costs as little as one."""
        run = min(self.lag, RUN) if self._feedback.rescores else LONG_RUN
        first = step - step % run
        if self._run[0] != (plan.number, first):
            self._require_feedback(plan, step)
            # not all that is there: a run that is resumed is drawn as it was
            self._feedback.apply(self._planner.engine, first - self.lag)
            self._run = (plan.number, first), self._planner.draw(plan, first, run)
        return self._run[1][step - first]

    def _require_feedback(self, plan: EpochPlan, step: int) -> None:
        if self._feedback.rescores and plan.consumed <= step - self.lag:
            raise ParameterError(
                f"Batch {step + 1} of the epoch is asked for when {plan.consumed} have been "
                f"observed, {step - plan.consumed} behind; lag={self.lag} allows {self.lag - 1}.",
                "Call observe after every batch. The lag must be at least 1 + num_workers × "
                f"prefetch_factor of the loader (one more under Accelerate): pass lag="
                f"{step - plan.consumed + 1} or more.",
            )

    @property
    def engine(self) -> BinnedThinning:
        """What draws the rows of scored epochs.

        Raises:
            ParameterError: the selector plans its epochs.
        """
        if self._planner.engine is None:
            raise ParameterError("A selector that plans draws nothing.", "Look at its plan.")
        return self._planner.engine

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
        plan.consumed, self._last, self._coming = batch.step + 1, batch, None
        self._feedback.hear(batch, observed)
        if plan.rows is not None and plan.consumed % BLOCK == 0:
            # nothing of it is still to be drawn; but all processes do it at the same step, also
            # one whose state was stored meanwhile
            self._feedback.apply(self._planner.engine)
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

    def _check_agreement(self, device: torch.device) -> None:
        """Compare what every process draws from; all of them call it at the same step."""
        drawn_from = ("", "")
        engine = self._planner.engine
        if engine is not None:
            drawn_from = engine.digest(), float(engine.pressure).hex()
        digest = keyed_seed(self.seed, "state", self.epoch, self.visits.step, *drawn_from)
        digests, _ = gather_rows(torch.tensor([digest], device=device))
        if (digests != digests[0]).any():
            raise apart(len(digests))

    def report(self, wrong: NDArray[np.bool_] | Tensor | None = None) -> Report:
        """How it chooses, in numbers. O(N).

        Args:
            wrong: (N,) bool, marks of wrong labels, which only an evaluator has.
        """
        self._feedback.digest()
        engine = self._planner.engine
        size = None if engine is None else engine.effective_sample_size()
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
        self._feedback.digest()
        state: dict[str, Any] = {"version": VERSION, **self._settings()}
        if self._planner.engine is not None:
            for name, value in self._planner.engine.state_dict().items():
                stored = as_tensor(value) if isinstance(value, np.ndarray) else value
                state[f"engine.{name}"] = stored
        for name, array in vars(self.visits).items():
            stored = as_tensor(array.copy()) if isinstance(array, np.ndarray) else array
            state[f"visits.{name}"] = stored
        state |= pack_plan(self._plan, [*self._out, *self._again])
        state |= pack_feedback(self._feedback.levels)
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
        if self._planner.engine is not None:
            self._planner.engine.load_state_dict(
                {
                    name.removeprefix("engine."): (
                        as_array(value) if isinstance(value, Tensor) else value
                    )
                    for name, value in state.items()
                    if name.startswith("engine.")
                }
            )
        for name in vars(self.visits):
            value = state[f"visits.{name}"]
            loaded = as_array(value).copy() if isinstance(value, Tensor) else value
            setattr(self.visits, name, loaded)
        self._plan, out = unpack_plan(state)
        self._again, self._out = deque(out), deque()
        self._feedback.load(unpack_feedback(state))
        self._run = (-1, -1), []
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
