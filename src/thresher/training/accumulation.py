"""Accumulation: the loss of one optimiser step that is spread over several batches.

    for each batch   backward of Σ w·loss / (total of the first batch)
    before the step  gradients · (total of the first batch) / (total of all batches)

What is divided by is known at the end only, because a method may drop samples: a mean of the
batches' means would weigh a sample by how many of its neighbours were dropped. With one batch a
step the gradients are those of `criterion(…).backward()`, bit for bit.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from thresher.distributed import processes
from thresher.errors import ModelError
from thresher.noise.criterion import Criterion
from thresher.noise.method import Parts

__all__ = ["Accumulation"]


class Accumulation:
    """Sums the losses of batches, and scales the gradients once a step.

        loss = accumulation.loss(criterion.parts(index, model(x), y))
        loss.backward()  # every batch
        accumulation.scale()  # before optimizer.step()

    With several processes the result is that of one process on all rows.

    Args:
        model: The network, or the module that holds several, as it was before it was wrapped.
        criterion: The criterion of the same training.
        averaged: Gradients become means over the processes, as under DistributedDataParallel; else
            sums.

    Raises:
        ModelError: the method has several networks, and the model does not tell them apart.
    """

    def __init__(self, model: nn.Module, criterion: Criterion, *, averaged: bool = True) -> None:
        self.networks = member_parameters(model, criterion.method.networks)
        self.averaged = averaged
        self._divisors: Tensor | None = None  # (J,) totals of the step's first batch
        self._totals: Tensor | None = None  # (J,) of all its batches so far
        self._batches = 0

    def loss(self, parts: Parts) -> Tensor:
        """A scalar whose `backward` adds this batch's share to the gradients."""
        return (parts.sums * self._share(parts)).sum()

    def backward(self, parts: Parts) -> None:
        """Do what ``loss(parts).backward()`` does, without the operations of the scalar."""
        torch.autograd.backward(parts.sums, self._share(parts))

    def _share(self, parts: Parts) -> Tensor:
        """Count a batch; what its sums are multiplied by, (J,)."""
        self._batches += 1
        if self._divisors is None or self._totals is None:
            self._divisors, self._totals = parts.totals.clamp(min=1), parts.totals
        else:
            self._totals = self._totals + parts.totals
        return (processes() if self.averaged else 1) / self._divisors

    def scale(self) -> None:
        """Divide every network's gradients by its own total; without any, it skips the step."""
        divisors, totals, batches = self._divisors, self._totals, self._batches
        self._divisors, self._totals, self._batches = None, None, 0
        if divisors is None or totals is None or (batches == 1 and min(totals.tolist()) >= 1):
            return
        for parameters, divisor, total in zip(self.networks, divisors, totals, strict=True):
            for parameter in parameters:
                if parameter.grad is None:
                    continue
                if total > 0:
                    parameter.grad.mul_(divisor / total)
                else:
                    parameter.grad = None


def member_parameters(model: nn.Module, networks: int) -> list[list[nn.Parameter]]:
    """The parameters of each network: those of the members, or of the one model."""
    if networks == 1:
        return [list(model.parameters())]
    members = getattr(model, "member_parameters", None)
    found: list[list[nn.Parameter]] = members() if members is not None else []
    if len(found) != networks:
        raise ModelError(
            f"The method trains {networks} networks, and {type(model).__name__} does not hold "
            f"{networks} that can be told apart.",
            "Put them in thresher.models.Networks([first, second]), and pass that before anything "
            "wraps it.",
        )
    return found
