"""The loop: for every epoch, for every batch, the loss of the step, backward, step.

    rows → batch of indices → gather from arrays → augment → prepare → criterion.step → backward

Several processes draw the same batches, and each takes its part of every one; their gradients are
added up once a step. The loop knows no method by name. A method's loss comes as sums, so a step may
be spread over several batches; what a method asks for at the end of an epoch is carried out by
`Snapshots`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from thresher.distributed import process_number, processes, shares, sum_gradients, summed
from thresher.errors import ModelError, ParameterError
from thresher.history import SampleHistory
from thresher.keyed_random import keyed_seed
from thresher.models.precision import Precision, in_precision
from thresher.noise.criterion import Criterion, no_stream
from thresher.noise.method import Batch, Change
from thresher.sampling.shuffled import batches_per_epoch, shuffled_batches
from thresher.training.accumulation import Accumulation
from thresher.training.drift import STEPS, refuse_drift
from thresher.training.schedule import learning_rate
from thresher.training.snapshots import Snapshots

__all__ = ["Epoch", "Rows", "Settings", "Training"]


class Augment(Protocol):
    """Random views of a batch that belong to (seed, epoch, sample, view)."""

    def __call__(self, batch: Tensor, index: Tensor, epoch: int, view: int = 0) -> Tensor: ...


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
        device: "cpu", "cuda", …

    Raises:
        ParameterError: the method compares views of a sample, and the data have no augmentation.

    Attributes:
        position: Steps taken since the schedule (re)started, and its length: plain numbers.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        rows: Rows,
        settings: Settings,
        *,
        optimizer: Optimizer | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
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
        steps = self._steps(settings.epochs // criterion.method.rounds())
        self.position = {"epoch": 0, "step": 0, "steps": steps}

    def _steps(self, epochs: int) -> int:
        batches = batches_per_epoch(len(self.rows.order), self.settings.batch_size)
        return max(1, epochs * math.ceil(batches / self.settings.accumulate))

    def run(
        self, measure: Callable[[nn.Module], dict[str, float]] | None = None
    ) -> Iterator[Epoch]:
        """Train to the last epoch, yielding after each one; may be stopped between any two.

        Args:
            measure: Called with the model in evaluation mode after every epoch; its numbers go
                to the method and into `Epoch.measured`.

        Raises:
            ModelError: the loss is no longer a finite number.
        """
        while self.position["epoch"] < self.settings.epochs:
            epoch = self.position["epoch"]
            started = time.perf_counter()
            with torch.random.fork_rng(devices=[]):
                # dropout and the like draw from the global generator: keyed by the epoch, so that
                # a resumed run draws the same; by the process, for each has other rows
                own = (process_number(),) if process_number() else ()
                torch.manual_seed(keyed_seed(self.settings.seed, "epoch", epoch, *own))
                loss = self._epoch(epoch)
            if not math.isfinite(loss):
                raise ModelError(
                    f"The loss became {loss} in epoch {epoch + 1}.",
                    f"Lower the learning rate (it is {self.settings.peak_rate:g}).",
                )
            rate = self.optimizer.param_groups[0]["lr"]
            measured = self._measure(measure)
            self._apply(self.criterion.end_epoch(measured))
            self._refuse_drift(self.criterion.history)
            self.position["epoch"] = epoch + 1
            yield Epoch(epoch, loss, time.perf_counter() - started, rate, measured)

    def rehearse(self, most_steps: int, most_seconds: float) -> float:
        """Take the first steps of the training, to see what a step costs; spoils it for `run`.

        Args:
            most_steps: Steps to time, >= 1, after one that is not timed.
            most_seconds: No step begins later than this.

        Returns:
            Seconds of a step: the median.
        """
        self.model.train()
        batches = shuffled_batches(
            self.rows.order, self.settings.batch_size, seed=self.settings.seed, epoch=0
        )
        taken: list[float] = []
        begun = time.perf_counter()
        for window in windows(batches, self.settings.accumulate):
            started = time.perf_counter()
            if len(taken) > most_steps or (len(taken) > 1 and started - begun > most_seconds):
                break
            self._step(window, 0)
            taken.append(time.perf_counter() - started)
        return median(taken[1:] or taken)

    def _epoch(self, epoch: int) -> float:
        self.model.train()
        batches = shuffled_batches(
            self.rows.order, self.settings.batch_size, seed=self.settings.seed, epoch=epoch
        )
        loss = torch.zeros(self.criterion.method.networks, device=self.device)
        total = torch.zeros_like(loss)
        for window in windows(batches, self.settings.accumulate):
            sums, totals = self._step(window, epoch)
            loss += sums
            total += totals
        loss = summed(loss)
        return float(loss.sum() / total.sum()) if float(total.sum()) else 0.0

    def _step(self, window: list[Tensor], epoch: int) -> tuple[Tensor, Tensor]:
        """One optimiser step over a window of batches; returns the loss as sum and total."""
        rate = learning_rate(self.position["step"], self.position["steps"], self.settings.peak_rate)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.position["step"] += 1
        self.optimizer.zero_grad()
        loss = totals = torch.zeros(0)
        for number, index in enumerate(window):
            # no name keeps the batch: its memory is free for gradients when backward is through
            parts = self.criterion.step(self.forward, self._own_part(index, epoch), no_stream)
            self.accumulation.backward(parts)
            totals = totals + parts.totals if number else parts.totals
            loss = loss + parts.sums.detach() if number else parts.sums.detach()
        sum_gradients(self._parameters)
        self.accumulation.scale()
        self.optimizer.step()
        if self.position["step"] % STEPS == 0:
            self._refuse_drift(None)
        return loss, totals

    def _own_part(self, index: Tensor, epoch: int) -> Batch:
        """This process's part of a global batch; with one process, all of it."""
        views = self.criterion.method.views
        if processes() == 1:
            return self.rows.batch(index, epoch, self.device, views)
        parts = shares(len(index), processes())
        batch = self.rows.batch(index[parts[process_number()]], epoch, self.device, views)
        return replace(batch, sizes=[part.stop - part.start for part in parts])

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
        self.snapshots.apply(change)
        if change is not None and change.reset:
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
