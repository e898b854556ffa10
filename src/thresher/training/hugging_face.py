"""Hugging Face: a criterion in the Trainer of transformers, whose model need not know of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from thresher.batch_rows import missing_index
from thresher.data.indexed import KEY
from thresher.errors import MissingPackageError
from thresher.noise.criterion import Criterion
from thresher.training.attached import AttachedCriterion
from thresher.training.checkpoint import load_tensors, save_tensors

try:
    from transformers import Trainer, TrainerCallback
except ImportError as missing:
    raise MissingPackageError(
        "RobustTrainer stands on the package transformers, which is not installed.",
        'Install it: pip install "thresher[huggingface]".',
    ) from missing

__all__ = ["RobustTrainer"]

STATE = "thresher.safetensors"  # in the Trainer's checkpoints


class RobustTrainer(Trainer):  # type: ignore[misc]  # the types of transformers are not read
    """The Trainer of transformers, trained with a criterion; evaluation is the Trainer's own.

    Args:
        criterion: From `Method.start`.
        args, kwargs: Those of the Trainer. Rows of the training set bring their number as "index":
            wrap it in `thresher.data.Indexed`, or add the column.

    Raises:
        ParameterError: the method begins anew with a fresh network, and a Trainer's schedule does
            not; or it makes forward passes of its own, or wants further views of a sample.
        RecordError: rows without an index, and what `Criterion` refuses.
    """

    def __init__(self, *args: Any, criterion: Criterion, **kwargs: Any) -> None:
        self.attached = AttachedCriterion(criterion)
        super().__init__(*args, **kwargs)
        self.add_callback(_Epochs(self))

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any) -> Tensor:
        """One batch, forward and backward; its share of the step's mean loss, to be logged."""
        model.train()
        inputs = self._prepare_inputs(inputs)
        with self.compute_loss_context_manager():
            loss: Tensor = self.compute_loss(model, inputs)
        self.accelerator.backward(loss)
        if self.accelerator.sync_gradients:  # the last batch of the step
            self.attached.scale()
        batches: int = self.current_gradient_accumulation_steps
        return loss.detach() / batches

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        """The criterion's loss of a training batch; of an evaluation, the Trainer's."""
        index = inputs.pop(KEY, None)
        if not torch.is_grad_enabled():
            return super().compute_loss(model, inputs, return_outputs, **kwargs)
        if index is None:
            raise missing_index(f"a batch of {sorted(inputs)}")
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        loss = self.attached.loss(index, outputs, labels)
        return (loss, outputs) if return_outputs else loss

    def get_train_dataloader(self) -> DataLoader[Any]:
        """As the Trainer's, which would drop columns that the model does not name."""
        self._set_signature_columns_if_needed()
        named: list[str] = self._signature_columns
        self._signature_columns: list[str] = [*named, "labels", KEY]
        try:
            return super().get_train_dataloader()  # type: ignore[no-any-return]
        finally:
            self._signature_columns = named

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self.attached.load_state_dict(load_tensors(Path(resume_from_checkpoint) / STATE))


class _Epochs(TrainerCallback):  # type: ignore[misc]  # as above
    """Closes the criterion's epochs before the Trainer saves and evaluates."""

    def __init__(self, trainer: RobustTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        attached = self.trainer.attached
        attached.begin(self.trainer.model, self.trainer.optimizer)
        while attached.criterion.epoch < int(state.epoch or 0):  # saved just before its end
            attached.end_epoch()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.attached.end_epoch()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if args.should_save:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            save_tensors(folder / STATE, self.trainer.attached.state_dict())
