"""Lightning: a criterion in its Trainer, as a callback that gives the module its loss."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from thresher.errors import MissingPackageError
from thresher.noise.criterion import Criterion
from thresher.training.attached import AttachedCriterion

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as missing:
    raise MissingPackageError(
        "RobustCallback stands on the package lightning, which is not installed.",
        'Install it: pip install "thresher[lightning]".',
    ) from missing

__all__ = ["RobustCallback"]


class RobustCallback(Callback):  # type: ignore[misc]  # Lightning's types are not read
    """Gives a LightningModule its loss, and carries out what the method asks for.

        def training_step(self, batch, batch_idx):
            index, x, y = batch
            return self.robust.loss(index, self(x), y)

    History and snapshots are saved and resumed with Lightning's checkpoints.

    Args:
        criterion: From `Method.start`. The callback goes into `Trainer(callbacks=[…])`.

    Raises:
        ParameterError: the method begins anew with a fresh network, and a Trainer's schedule does
            not; or it makes forward passes of its own, or wants further views of a sample.
    """

    def __init__(self, criterion: Criterion) -> None:
        self.attached = AttachedCriterion(criterion)
        self.batches = 1  # a step

    def loss(self, index: Tensor, outputs: object, labels: Tensor) -> Tensor:
        """What `training_step` returns; with the arguments of `Criterion`."""
        return self.attached.loss(index, outputs, labels) * self.batches  # Lightning divides by it

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The optimiser is there."""
        self.batches = trainer.accumulate_grad_batches
        self.attached.begin(pl_module, trainer.optimizers[0])

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """All batches of the step went backward; clipping comes after."""
        self.attached.scale()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the epoch, before a checkpoint is taken."""
        self.attached.end_epoch()

    def state_dict(self) -> dict[str, Any]:
        """For Lightning's checkpoints."""
        return self.attached.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From Lightning's checkpoints."""
        self.attached.load_state_dict(state_dict)
