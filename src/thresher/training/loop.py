"""The loop: for every epoch, for every batch, the loss of the step, backward, step.

    batch of indices → gather from arrays → augment → prepare → criterion.step → backward

Several processes draw the same batches, and each takes its part of every one; their gradients are
added up once a step. The loop knows no method by name. A method's loss comes as sums, so a step may
be spread over several batches; what a method asks for at the end of an epoch is carried out by
`Snapshots`.

Between two steps the training rests: all that the rest of it depends on is in the model, the
optimiser, the criterion, the snapshots and `position`, so that it can be saved there, and goes on
from there to the same numbers (checkpoint.py). What is random is keyed by (seed, epoch, batch).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from thresher.distributed import process_number, processes, shares, sum_gradients
from thresher.errors import ModelError, ParameterError
from thresher.history import SampleHistory
from thresher.keyed_random import keyed_seed
from thresher.models.precision import Precision, in_precision
from thresher.noise.criterion import Criterion
from thresher.noise.method import Batch, Change, Draw, Drawn
from thresher.noise.streams import missing_stream, no_stream
from thresher.sampling.shuffled import ShuffledBatches
from thresher.training.accumulation import Accumulation
from thresher.training.drift import STEPS, refuse_drift
from thresher.training.schedule import learning_rate
from thresher.training.snapshots import Snapshots
from thresher.training.stream import Stream

__all__ = ["Batches", "Epoch", "Rows", "Settings", "Stateful", "Training"]

#: What `Training.position` holds of an epoch that has not begun.
BEFORE_AN_EPOCH: dict[str, Any] = {"batches": 0, "loss": None, "total": None, "seconds": 0.0}


class Augment(Protocol):
    """Random views of a batch that belong to (seed, epoch, sample, view)."""

    def __call__(self, batch: Tensor, index: Tensor, epoch: int, view: int = 0) -> Tensor: ...


class Batches(Protocol):
    """Which rows come next: the batches of a training, in any epoch, from any batch on.

    One that learns from the training which rows to draw is also `Stateful`: its state is saved with
    the training's and loaded before `epoch` is asked to skip.
    """

    def epoch(self, number: int, skip: int = 0) -> Iterator[Tensor]:
        """Yield the batches of an epoch (from 0), (b,) int64 each, after the first `skip`."""
        ...

    def steps(self, epochs: int, accumulate: int = 1) -> int:
        """Steps of the optimiser in so many epochs, each over so many batches."""
        ...

    def length(self) -> int:
        """Batches of the epoch that runs."""
        ...

    def weights(self) -> Tensor | None:
        """What the losses of the next batch's rows are multiplied by, (b,); None = 1.

        Asked once for every batch, in the order in which they were yielded.
        """
        ...

    @property
    def stride(self) -> float:
        """How many of `steps` a step of the epoch that runs stands for; not 1 if it is shorter."""
        ...


@runtime_checkable
class Stateful(Protocol):
    """What has a state of its own to be saved with the training."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and JSON values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        ...


@dataclass(frozen=True)
class Settings:
    """How to train.

    Args:
        epochs: Passes over the data, restarts included, >= 1.
        batch_size: Samples a batch of all processes together, >= 1.
        peak_rate: Highest learning rate of the schedule, > 0.
        weight_decay: L2 penalty of the optimiser, >= 0.
        momentum: Of SGD with Nesterov's correction, in [0, 1).
        accumulate: Batches a step, >= 1.
        seed: Of everything random.
        precision: Of the forward pass; losses, history and weights are float32 in either.
    """

    epochs: int
    batch_size: int = 128
    peak_rate: float = 0.05
    weight_decay: float = 1e-4
    momentum: float = 0.9
    accumulate: int = 1
    seed: int = 0
    precision: Precision = "fp32"

    def optimizer(self, model: nn.Module) -> Optimizer:
        """SGD with Nesterov's momentum."""
        return torch.optim.SGD(
            model.parameters(),
            lr=self.peak_rate,
            momentum=self.momentum,
            nesterov=self.momentum > 0,
            weight_decay=self.weight_decay,
        )


@dataclass(frozen=True)
class Rows:
    """The training data: arrays gathered by index, never sample by sample.

    Args:
        inputs: (N, …) raw inputs; may be a memory map.
        labels: (N,) int64 given labels, -1 = none.
        order: (n,) int64, the rows that take part: those with a label.
        prepare: Raw batch → network input.
        augment: Random views of the raw batch, or None.
    """

    inputs: Tensor
    labels: Tensor
    order: Tensor
    prepare: Callable[[Tensor], Tensor]
    augment: Augment | None = None

    def batch(self, index: Tensor, epoch: int, device: torch.device, views: int = 1) -> Batch:
        """Gather, augment and prepare the rows of one batch; further views follow the first."""
        # index_select copies whole rows; inputs[index] takes ten times as long for images
        raw = self.inputs.index_select(0, index)
        if self.augment is not None:
            seen = [self.augment(raw, index, epoch, view) for view in range(views)]
            raw = seen[0] if views == 1 else torch.cat(seen)
        inputs = self.prepare(raw.to(device, non_blocking=True))
        return Batch(index.to(device), inputs, self.labels.index_select(0, index).to(device))


@dataclass
class Epoch:
    """What one epoch came to."""

    epoch: int  # from 0
    loss: float
    seconds: float
    learning_rate: float
    measured: dict[str, float] = field(default_factory=dict)


class Training:
    """One training: model, optimiser, criterion and data, run epoch by epoch.

    Args:
        model: Network with outputs (B, k), or (J, B, k) for methods with several networks.
        criterion: From `Method.start`.
        rows: The data.
        settings: How to train.
        optimizer: Default: `Settings.optimizer`.
        batches: Which rows come next. Default: every row once an epoch, shuffled.
        streams: Further data by name, of which every step draws as many rows as its batch has.
        device: "cpu", "cuda", …

    Raises:
        ParameterError: the method compares views of a sample, and the data have no augmentation; or
            it learns from a stream that is not there.

    Attributes:
        position: Where the training is: ``epoch``; ``step`` since the schedule (re)started, and its
            length ``steps``; of the epoch that is trained, ``batches`` done, the (J,) sums ``loss``
            and ``total`` so far, and ``seconds``.
        resting: Whether it is between two steps, so that it can be saved.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        rows: Rows,
        settings: Settings,
        *,
        optimizer: Optimizer | None = None,
        batches: Batches | None = None,
        streams: Mapping[str, Stream] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.streams = dict(streams or {})
        for name in criterion.method.streams():
            if name not in self.streams:
                raise missing_stream(criterion.method.name, name)
        if criterion.method.views > 1 and rows.augment is None:
            raise ParameterError(
                f"{criterion.method.name} compares {criterion.method.views} random views of each "
                "sample, and these data are not augmented: all views would be equal.",
                "Train on images with augmentation, or without the method's consistency term.",
            )
        self.device = torch.device(device)
        # no DistributedDataParallel: with gradients added up here, once a step, batches without a
        # row of this process, own forward passes and steps of several batches need no care
        self.model: nn.Module = model.to(self.device)
        self.forward = in_precision(self.model, settings.precision)
        self._parameters = list(model.parameters())
        self.optimizer: Optimizer = optimizer or settings.optimizer(model)
        self.criterion, self.rows, self.settings = criterion, rows, settings
        self.snapshots = Snapshots(model, self.optimizer, criterion)
        self.accumulation = Accumulation(model, criterion, averaged=False)
        self.batches: Batches = batches or ShuffledBatches(
            rows.order, settings.batch_size, settings.seed
        )
        steps = self._steps(settings.epochs // criterion.method.rounds())
        self.position: dict[str, Any] = {"epoch": 0, "step": 0, "steps": steps, **BEFORE_AN_EPOCH}
        self.resting, self._stop, self._stopping = True, False, False

    def _steps(self, epochs: int) -> int:
        return max(1, self.batches.steps(epochs, self.settings.accumulate))

    def run(
        self,
        measure: Callable[[nn.Module], dict[str, float]] | None = None,
        after_step: Callable[[], None] | None = None,
    ) -> Iterator[Epoch]:
        """Train to the last epoch, yielding after each one; may be stopped between any two steps.

        Args:
            measure: Called with the model in evaluation mode after every epoch; its numbers go
                to the method and into `Epoch.measured`.
            after_step: Called between steps, where the training may be saved.

        Raises:
            ModelError: the loss is no longer a finite number.
            KeyboardInterrupt: `interrupt` was called.
        """
        while self.position["epoch"] < self.settings.epochs:
            epoch = self.position["epoch"]
            started = time.perf_counter() - self.position["seconds"]
            with torch.random.fork_rng(devices=[]):
                loss = self._epoch(epoch, started, after_step)
            if not math.isfinite(loss):
                raise ModelError(
                    f"The loss became {loss} in epoch {epoch + 1}.",
                    f"Lower the learning rate (it is {self.settings.peak_rate:g}).",
                )
            rate = self.optimizer.param_groups[0]["lr"]
            measured = self._measure(measure)
            self.resting = False
            self._apply(self.criterion.end_epoch(measured))
            self._refuse_drift(self.criterion.history)
            self.position |= {"epoch": epoch + 1, **BEFORE_AN_EPOCH}
            yield Epoch(epoch, loss, time.perf_counter() - started, rate, measured)
            self.rest()

    def place(self) -> str:
        """What was done last, in words."""
        epoch, batches = self.position["epoch"], self.position["batches"]
        if not batches:
            return f"epoch {epoch} of {self.settings.epochs}"
        of_epoch = f"batch {batches} of {self.batches.length()}"
        return f"{of_epoch} in epoch {epoch + 1} of {self.settings.epochs}"

    def rest(self) -> None:
        """Between two steps, or when what the epoch came to is kept: it may be saved or stopped.

        Raises:
            KeyboardInterrupt: `interrupt` was called meanwhile.
        """
        self.resting = True
        if self._stopping:
            self._stop = self._stopping = False
            raise KeyboardInterrupt

    def interrupt(self) -> None:
        """Stop as soon as the training rests; for handlers of signals.

        Of several processes all stop after the same step, in which they tell each other.

        Raises:
            KeyboardInterrupt: it rests now.
        """
        self._stop = True
        if processes() == 1:
            self._stopping = True
            if self.resting:
                self.rest()

    def rehearse(self, most_steps: int, most_seconds: float) -> float:
        """Take the first steps of the training, to see what a step costs; spoils it for `run`.

        Args:
            most_steps: Steps to time, >= 1, after one that is not timed.
            most_seconds: No step begins later than this.

        Returns:
            Seconds of a step: the median.
        """
        self.model.train()
        taken: list[float] = []
        begun = time.perf_counter()
        for window in windows(self.batches.epoch(0), self.settings.accumulate):
            started = time.perf_counter()
            if len(taken) > most_steps or (len(taken) > 1 and started - begun > most_seconds):
                break
            self._step(window, 0)
            taken.append(time.perf_counter() - started)
        return median(taken[1:] or taken)

    def _epoch(self, epoch: int, started: float, after_step: Callable[[], None] | None) -> float:
        """Train on what is left of an epoch; returns the mean loss of all of it."""
        self.model.train()
        at = self.position
        if not at["batches"]:
            at["loss"] = torch.zeros(self.criterion.method.networks, device=self.device)
            at["total"] = torch.zeros_like(at["loss"])
        batches = self.batches.epoch(epoch, skip=at["batches"])
        for window in windows(batches, self.settings.accumulate):
            self.resting = False
            self._key_generator(epoch, at["batches"])
            sums, totals = self._step(window, epoch)
            at["loss"] += sums
            at["total"] += totals
            at["batches"] += len(window)
            if at["batches"] % STEPS < len(window):
                self._refuse_drift(None)
            at["seconds"] = time.perf_counter() - started
            self.rest()
            if after_step is not None:
                after_step()
        total = float(at["total"].sum())
        return float(at["loss"].sum() / at["total"].sum()) if total else 0.0

    def _key_generator(self, epoch: int, batch: int) -> None:
        """Seed what dropout and the like draw from by the place in the run: nothing to save.

        By the process as well, for each has other rows. torch.manual_seed visits every kind of
        device, which takes 200 µs.
        """
        own = (process_number(),) if process_number() else ()
        seed = keyed_seed(self.settings.seed, "step", epoch, batch, *own)
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            with torch.cuda.device(self.device):
                torch.cuda.manual_seed(seed)

    def _step(self, window: list[Tensor], epoch: int) -> tuple[Tensor, Tensor]:
        """One optimiser step over a window of batches; returns the loss as sum and total."""
        rate = learning_rate(self.position["step"], self.position["steps"], self.settings.peak_rate)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.position["step"] += self.batches.stride
        self.optimizer.zero_grad()
        loss = totals = torch.zeros(0)
        for number, index in enumerate(window):
            # no name keeps the batch: its memory is free for gradients when backward is through
            batch = self.position["batches"] + number
            draw = self._drawing(len(index), epoch, batch) if self.streams else no_stream
            parts = self.criterion.step(self.forward, self._own_part(index, epoch), draw)
            self.accumulation.backward(parts)
            totals = totals + parts.totals if number else parts.totals
            loss = loss + parts.sums.detach() if number else parts.sums.detach()
        loss = self._summed(loss)
        self.accumulation.scale()
        self.optimizer.step()
        return loss, totals

    def _summed(self, loss: Tensor) -> Tensor:
        """Add up the gradients of all processes, their losses, and whether one wants to stop."""
        if processes() == 1:
            return loss
        wishes = loss.new_tensor([float(self._stop)])
        *losses, wishing = sum_gradients(self._parameters, torch.cat([loss, wishes]))
        self._stopping = bool(wishing)
        return torch.stack(losses)

    def _own_part(self, index: Tensor, epoch: int) -> Batch:
        """This process's part of a global batch; with one process, all of it."""
        views = self.criterion.method.views
        factors = self.batches.weights()
        if processes() == 1:
            batch = self.rows.batch(index, epoch, self.device, views)
            if factors is None:
                return batch
            return replace(batch, sizes=[len(index)], factors=factors.to(self.device))
        parts = shares(len(index), processes())
        own = parts[process_number()]
        batch = self.rows.batch(index[own], epoch, self.device, views)
        sizes = [part.stop - part.start for part in parts]
        factors = None if factors is None else factors[own].to(self.device)
        return replace(batch, sizes=sizes, factors=factors)

    def _drawing(self, rows: int, epoch: int, batch: int) -> Draw:
        """What hands out this process's rows of a stream, as many of all as the batch has."""
        own = shares(rows, processes())[process_number()]

        def draw(name: str) -> Drawn:
            if name not in self.streams:
                return no_stream(name)
            return self.streams[name].draw(rows, epoch, batch, part=own, device=self.device)

        return draw

    def _refuse_drift(self, history: SampleHistory | None) -> None:
        at = self._parameters[0]
        refuse_drift(self.position["step"], self.snapshots.model, history, at)

    def _measure(self, measure: Callable[[nn.Module], dict[str, float]] | None) -> dict[str, float]:
        if measure is None:
            return {}
        self.model.eval()
        with torch.no_grad():
            return measure(self.model)

    def _apply(self, change: Change | None) -> None:
        applied = self.snapshots.apply(change)
        if applied is not None and applied.reset:
            left = self.settings.epochs - self.criterion.epoch
            rounds = max(1, self.criterion.method.rounds() - self.snapshots.resets)
            self.position["step"], self.position["steps"] = 0, self._steps(left // rounds)


def windows(batches: Iterator[Tensor], size: int) -> Iterator[list[Tensor]]:
    """Group an iterator's items by `size`; the last group may be smaller."""
    window: list[Tensor] = []
    for batch in batches:
        window.append(batch)
        if len(window) == size:
            yield window
            window = []
    if window:
        yield window
