"""The loop: for every epoch, for every batch, the loss of the step, backward, step.

    rows → batch of indices → gather from arrays → augment → prepare → criterion.step → backward

It knows no method by name. A method's loss comes as sums, so a step may be spread over several
batches; what a method asks for at the end of an epoch is carried out by `Snapshots`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from thresher.distributed import processes
from thresher.errors import ModelError
from thresher.keyed_random import keyed_seed
from thresher.noise.criterion import Criterion, no_stream
from thresher.noise.method import Batch, Change
from thresher.sampling.shuffled import batches_per_epoch, shuffled_batches
from thresher.training.schedule import learning_rate
from thresher.training.snapshots import Snapshots

__all__ = ["Epoch", "Rows", "Settings", "Training"]


class Augment(Protocol):
    """Random views of a batch that belong to (seed, epoch, sample)."""

    def __call__(self, batch: Tensor, index: Tensor, epoch: int) -> Tensor: ...


@dataclass(frozen=True)
class Settings:
    """How to train.

    Args:
        epochs: Passes over the data, restarts included, >= 1.
        batch_size: Samples a batch, >= 1.
        peak_rate: Highest learning rate of the schedule, > 0.
        weight_decay: L2 penalty of the optimiser, >= 0.
        momentum: Of SGD with Nesterov's correction, in [0, 1).
        accumulate: Batches a step, >= 1.
        seed: Of everything random.
    """

    epochs: int
    batch_size: int = 128
    peak_rate: float = 0.05
    weight_decay: float = 1e-4
    momentum: float = 0.9
    accumulate: int = 1
    seed: int = 0

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

    def batch(self, index: Tensor, epoch: int, device: torch.device) -> Batch:
        """Gather, augment and prepare the rows of one batch."""
        # index_select copies whole rows; inputs[index] takes ten times as long for images
        raw = self.inputs.index_select(0, index)
        if self.augment is not None:
            raw = self.augment(raw, index, epoch)
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
        # the optimiser stays as it is: Accelerate wraps it for fp16 scaling, which this loop does
        # not do, and the wrapper costs more than a small network's own arithmetic
        on_cpu = torch.device(device).type == "cpu"
        self.accelerator = Accelerator(cpu=on_cpu, mixed_precision="no")
        self.device = torch.device(device)
        self.model: nn.Module = self.accelerator.prepare(model)
        self.optimizer: Optimizer = optimizer or settings.optimizer(model)
        self.criterion, self.rows, self.settings = criterion, rows, settings
        self.snapshots = Snapshots(model, self.optimizer, criterion)
        self.networks = member_parameters(model, criterion.method.networks)
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
                # a resumed run draws the same
                torch.manual_seed(keyed_seed(self.settings.seed, "epoch", epoch))
                loss = self._epoch(epoch)
            if not math.isfinite(loss):
                raise ModelError(
                    f"The loss became {loss} in epoch {epoch + 1}.",
                    f"Lower the learning rate (it is {self.settings.peak_rate:g}).",
                )
            rate = self.optimizer.param_groups[0]["lr"]
            measured = self._measure(measure)
            self._apply(self.criterion.end_epoch(measured))
            self.position["epoch"] = epoch + 1
            yield Epoch(epoch, loss, time.perf_counter() - started, rate, measured)

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
        return float(loss.sum() / total.sum()) if float(total.sum()) else 0.0

    def _step(self, window: list[Tensor], epoch: int) -> tuple[Tensor, Tensor]:
        """One optimiser step over a window of batches; returns the loss as sum and total."""
        rate = learning_rate(self.position["step"], self.position["steps"], self.settings.peak_rate)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.position["step"] += 1
        self.optimizer.zero_grad()
        divisor = loss = totals = torch.zeros(0)
        for number, index in enumerate(window):
            # no name keeps the batch: its memory is free for gradients when backward is through
            parts = self.criterion.step(
                self.model, self.rows.batch(index, epoch, self.device), no_stream
            )
            # the window's total is known at its end only: divide by the first batch's, and put
            # it right once. DistributedDataParallel averages where we want the sum.
            divisor = divisor if number else parts.totals.clamp(min=1)
            torch.autograd.backward(parts.sums, processes() / divisor)
            totals = totals + parts.totals if number else parts.totals
            loss = loss + parts.sums.detach() if number else parts.sums.detach()
        self._scale(divisor, totals, len(window))
        self.optimizer.step()
        return loss, totals

    def _scale(self, divisors: Tensor, totals: Tensor, batches: int) -> None:
        """Divide every network's gradients by its own total; without any, it skips the step."""
        if batches == 1 and min(totals.tolist()) >= 1:
            return
        for parameters, divisor, total in zip(self.networks, divisors, totals, strict=True):
            for parameter in parameters:
                if parameter.grad is None:
                    continue
                if total > 0:
                    parameter.grad.mul_(divisor / total)
                else:
                    parameter.grad = None

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


def member_parameters(model: nn.Module, networks: int) -> list[list[nn.Parameter]]:
    """The parameters of each network: those of the members, or of the one model."""
    members = getattr(model, "member_parameters", None)
    if networks == 1 or members is None:
        return [list(model.parameters())]
    found: list[list[nn.Parameter]] = members()
    return found


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
