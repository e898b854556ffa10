"""Estimate: what a planned run would take, from a few steps of it.

Job.plan → some steps, timed → seconds, memory, disk
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch

from thresher.job import Job
from thresher.memory import peak_mib
from thresher.training.checkpoint import stored_bytes, training_state

__all__ = ["estimate_job"]

SCHEMA = 1
STEPS, SECONDS = 20, 5.0
PREDICTED_ROWS = 1024
MIB = 2**20


def estimate_job(job: Job) -> dict[str, Any]:
    """Take the first steps of a training and reckon what all of it takes; the job is spoiled.

    Every epoch trains once on the labelled rows and predicts the test rows. Memory is what the
    process has used at most after these steps, and those columns of the history that were not
    touched yet. Phases in which a method does more than in its first epoch are not foreseen.

    Returns:
        JSON values: sizes, seconds, and MiB of memory and of the run folder.
    """
    training, samples = job.training, job.samples
    settings = training.settings
    step = training.rehearse(STEPS, SECONDS)
    steps = math.ceil(len(training.rows.order) / settings.batch_size)
    steps = math.ceil(steps / settings.accumulate)
    predicting = 0.0 if job.tested is None else seconds_a_row(job) * len(job.tested)
    history = sum(
        column.numel() * column.element_size()
        for column in training.criterion.history.state_dict().values()
        if isinstance(column, torch.Tensor)
    )
    weights = sum(each.numel() * each.element_size() for each in job.model.network.parameters())
    rows = min(len(training.rows.order), (STEPS + 1) * settings.batch_size)
    untouched = history * (1 - rows / len(samples))
    eligible = training.criterion.history["eligible"]
    return {
        "schema": SCHEMA,
        "dry_run": True,
        "n": len(samples),
        "held_out": int((~eligible).sum()),
        "classes": list(samples.classes),
        "shape": list(job.model.shape),
        "model": job.settings.model,
        "method": job.settings.method,
        "parameters": sum(each.numel() for each in job.model.network.parameters()),
        "epochs": settings.epochs,
        "steps_per_epoch": steps,
        "batch_size": settings.batch_size,
        "device": str(training.device),
        "seconds": round(settings.epochs * (steps * step + predicting), 3),
        "memory_mib": round(peak_mib() + untouched / MIB, 1),
        "history_mib": round(history / MIB, 1),
        # the model, the history, some 200 bytes a row of the audit; until then two checkpoints
        "disk_mib": round(
            (2 * checkpoint_bytes(job) + weights + history + 200 * len(samples)) / MIB, 1
        ),
    }


def checkpoint_bytes(job: Job) -> int:
    """What a checkpoint holds once a step is taken, and the copy that a method may go back to."""
    state = training_state(job.training)
    size = stored_bytes(state)
    if "held_out" in job.method.needs:  # such methods go back to the epoch with the best accuracy
        size += stored_bytes(state["model"]) + stored_bytes(state["optimizer"])
    return size


def seconds_a_row(job: Job) -> float:
    """Time one block of predictions."""
    assert job.tested is not None
    block = job.tested.take(np.arange(min(PREDICTED_ROWS, len(job.tested))))
    started = time.perf_counter()
    job.model.probabilities(block, job.training.device)
    return (time.perf_counter() - started) / len(block)
