"""Running: a planned job, trained and saved on the way, then finished.

epochs.py (train, on every process) → checkpoints, trackers → finishing.py (the first process)
"""

from __future__ import annotations

from typing import Any

from thresher.epochs import train_epochs
from thresher.finishing import FitResult, facts_of_training, finish
from thresher.job import Job
from thresher.process_group import ALONE, Together
from thresher.run_folder import RunFolder
from thresher.stop_signals import stopping_between_steps
from thresher.training.checkpoint import Saver
from thresher.training.tracking import Tracking

__all__ = ["run_job"]


def run_job(
    job: Job,
    folder: RunFolder,
    started: float,
    epochs: list[dict[str, Any]] | None = None,
    together: Together = ALONE,
) -> FitResult:
    """Train, write the model and the history, and audit.

    Of several processes only the first writes; the others end with the training.

    Args:
        job: As planned.
        folder: Where everything is written.
        started: By `time.perf_counter`, when the work began.
        epochs: Metrics of the epochs before, of a run that is resumed.
        together: The processes that train.
    """
    if not together.first:
        with stopping_between_steps(job.training.interrupt):
            train_epochs(job, epochs)
        together.leave()
        return FitResult(folder, facts_of_training(job, folder), job.model)
    tracking = Tracking(job.settings.track, folder.tracking, folder.path.name, job.listener.note)
    tracking.start(job.settings.to_table(folder.path))
    epochs = [] if epochs is None else epochs
    saver = Saver(
        folder.checkpoint,
        folder.checkpoint_before,
        job.training,
        epochs,
        every=job.settings.save_every,
        note=job.listener.note,
    )
    try:
        with stopping_between_steps(job.training.interrupt):
            train_epochs(
                job,
                epochs,
                after_epoch=lambda: tracking.log(epochs[-1], step=len(epochs)),
                after_step=saver,
            )
        together.leave()
        return finish(job, folder, started, epochs, tracking)
    except KeyboardInterrupt:
        if folder.state.is_dir():
            saver.save()
        raise
