"""Epochs: a planned training, to its last epoch, and the metrics of each.

training/loop.py (an epoch) → accuracies, test accuracy, sampler, method → the listener
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from thresher.distributed import process_number, processes, shares, summed
from thresher.job import Job
from thresher.training.drawn_batches import DrawnBatches
from thresher.training.predict import as_tensor, predict_probabilities

__all__ = ["train_epochs"]


def train_epochs(
    job: Job,
    epochs: list[dict[str, Any]] | None = None,
    after_epoch: Callable[[], None] | None = None,
    after_step: Callable[[], None] | None = None,
) -> list[dict[str, Any]]:
    """Train to the last epoch and give the metrics of every epoch; nothing is written.

    Args:
        job: As planned.
        epochs: Metrics of the epochs before, of a run that is resumed; those that follow are
            added to them.
        after_epoch: Called when an epoch has ended and its metrics are added.
        after_step: Called between steps, where the training may be saved.
    """
    epochs = [] if epochs is None else epochs
    total = job.training.settings.epochs
    measure = partial(accuracy_on_test, job) if job.tested is not None else None
    for epoch in job.training.run(measure, after_step):
        metrics = {
            "epoch": epoch.epoch + 1,
            "loss": epoch.loss,
            "learning_rate": epoch.learning_rate,
            **accuracies_of_passes(job),
            **epoch.measured,
            **drawn_figures(job),
            **numbers_of_method(job),
            "seconds": round(epoch.seconds, 4),
        }
        epochs.append(metrics)
        if after_epoch is not None:
            after_epoch()
        job.training.rest()
        job.listener.epoch(epoch.epoch + 1, total, metrics)
    return epochs


def accuracies_of_passes(job: Job) -> dict[str, float]:
    """Accuracy on the given labels, of the training-mode passes of the last epoch."""
    history = job.training.criterion.history
    if "last_prediction" not in history:
        return {}
    eligible = history["eligible"]
    found = {"trained_accuracy": history.accuracy(eligible)}
    if not bool(eligible.all()):
        found["held_out_accuracy"] = history.accuracy(~eligible)
    return found


def drawn_figures(job: Job) -> dict[str, float]:
    """How a sampler has chosen in the last epoch."""
    batches = job.training.batches
    return batches.figures() if isinstance(batches, DrawnBatches) else {}


def numbers_of_method(job: Job) -> dict[str, Any]:
    """What the method goes by: phases, rates."""
    method = job.training.criterion.method
    found = {name: getattr(method, name) for name in method.state}
    return {name: value for name, value in found.items() if not isinstance(value, list | Tensor)}


def accuracy_on_test(job: Job, network: nn.Module) -> dict[str, float]:
    """Accuracy on the test data, of which every process predicts its share."""
    assert job.tested is not None
    if processes() == 1:
        return {"test_accuracy": job.model.accuracy(job.tested, job.training.device)}
    mine = shares(len(job.tested), processes())[process_number()]
    counts = [0, 0]  # right, known
    if mine.start < mine.stop:
        predicted = predict_probabilities(
            network,
            as_tensor(job.tested.inputs[mine]),
            job.model.preparation,
            device=job.training.device,
            precision=job.model.precision,
        ).argmax(1)
        labels = job.tested.labels[mine]
        counts = [int((predicted == labels).sum()), int((labels >= 0).sum())]
    right, known = summed(torch.tensor(counts, device=job.training.device)).tolist()
    return {"test_accuracy": right / known}
