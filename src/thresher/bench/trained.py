"""A training whose accuracies are watched from outside, epoch by epoch, and what it cost.

The method does not hear them: what it is told at the end of an epoch has nothing of test labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thresher.bench.clock import Clock
from thresher.bench.learned import Learned
from thresher.data import Samples
from thresher.fitting import Silence
from thresher.job import Job
from thresher.settings import FitSettings

__all__ = ["Trained", "train"]


@dataclass(frozen=True)
class Trained:
    """A training that has ended.

    Attributes:
        job: With the trained network and its history.
        learned: What it learned from.
        tested: Accuracy on the test samples after every epoch.
        validated: Accuracy on the given labels of the validation samples; None without any.
        predicted: (M,) int64 classes of the test samples after the last epoch.
        clock: Seconds of the training, without looking at accuracies.
    """

    job: Job
    learned: Learned
    tested: list[float]
    validated: list[float] | None
    predicted: NDArray[np.int64]
    clock: Clock


def train(
    settings: FitSettings,
    samples: Samples,
    tested: Samples,
    validation: Samples | None,
    *,
    audit: bool,
    auxiliary: Samples | None = None,
) -> Trained:
    """Train as `thresher fit` does, and look at accuracies after every epoch.

    Args:
        settings: Of the run. Rows are held out of training where the method needs it, not else.
        samples: With given labels.
        tested: With true labels.
        validation: With given labels; nothing is trained on them.
        audit: Record what the audit reads.
        auxiliary: Further data, for a method that learns from them.
    """
    clock = Clock()
    with clock.running():
        # test samples are given to keep methods that need no held-out rows from having some
        job = Job.plan(settings, samples, tested, Silence(), audit=audit, auxiliary=auxiliary)
        learned = Learned(job.training.criterion)
        epochs = job.training.run()
    accuracies: list[float] = []
    validated: list[float] = []
    predicted = np.empty(0, np.int64)
    while True:
        with clock.running():
            if next(epochs, None) is None:
                break
        predicted = job.model.probabilities(tested, job.training.device).argmax(1)
        accuracies.append(float((predicted == tested.labels).mean()))
        if validation is not None:
            validated.append(job.model.accuracy(validation, job.training.device))
    return Trained(
        job,
        learned,
        accuracies,
        None if validation is None else validated,
        predicted.astype(np.int64),
        clock,
    )
