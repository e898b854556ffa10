"""Attached: a criterion in the trainer of another library.

made with the criterion → begins when the trainer has its optimiser → losses, scaled once a step
→ end of the epoch: what the method asks for is carried out → state, for the trainer's checkpoints
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from thresher.errors import ParameterError
from thresher.noise.criterion import Criterion
from thresher.training.accumulation import Accumulation
from thresher.training.snapshots import Snapshots

__all__ = ["AttachedCriterion"]


class AttachedCriterion:
    """What the adapters have in common.

    Args:
        criterion: From `Method.start`.

    Raises:
        ParameterError: the method begins anew with a fresh network, which a trainer's schedule
            does not; or it makes forward passes of its own, or wants further views of a sample or
            further data.
    """

    def __init__(self, criterion: Criterion) -> None:
        if criterion.method.rounds() > 1:
            raise ParameterError(
                f"{criterion.method.name} begins anew within a run; the trainer's schedule of the "
                "learning rate does not.",
                "Leave restarts out, or make two trainings of it (forward and backward take what "
                "the first has estimated as transition), or train in a loop of your own.",
            )
        method = criterion.method
        if method.step is not None or method.views > 1 or method.streams():
            raise ParameterError(
                f"{criterion.method.name} needs more than the outputs of a batch, and the trainer "
                "makes the forward pass.",
                "Choose another method, or train in a loop of your own.",
            )
        self.criterion = criterion
        self._resumed: Mapping[str, Any] | None = None

    def begin(self, model: nn.Module, optimizer: Optimizer) -> None:
        """Start, or go on where the loaded state was taken."""
        self._accumulation = Accumulation(model, self.criterion)
        self._snapshots = Snapshots(model, optimizer, self.criterion)
        if self._resumed is not None:
            self.criterion.load_state_dict(self._resumed["criterion"])
            self._snapshots.load_state_dict(self._resumed["snapshots"])
            self._resumed = None  # a training that begins after this one goes on from where it is

    def loss(self, index: Tensor, outputs: object, labels: Tensor) -> Tensor:
        """A scalar for `backward`; with the arguments of `Criterion`."""
        return self._accumulation.loss(self.criterion.parts(index, outputs, labels))

    def scale(self) -> None:
        """Once a step, after the last `backward` and before the gradients are clipped."""
        self._accumulation.scale()

    def end_epoch(self) -> None:
        """Close the epoch, and carry out what the method asks for."""
        self._snapshots.apply(self.criterion.end_epoch())

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint has to hold beside model and optimiser."""
        return {
            "criterion": self.criterion.state_dict(),
            "snapshots": self._snapshots.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the state when the training begins."""
        self._resumed = state
