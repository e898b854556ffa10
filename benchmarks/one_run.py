"""One training run and its audit, with what it cost, held against the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from cleanlab.filter import find_label_issues

from thresher.audit import Record, Verdicts, judge, pred_probs
from thresher.bench.clock import Clock
from thresher.bench.evaluation import ranking, share_right, verdict
from thresher.bench.problem import Problem, Truth
from thresher.data import Samples
from thresher.fitting import Silence
from thresher.job import Job
from thresher.noise import make_method
from thresher.settings import FitSettings

__all__ = ["Clock", "Run", "audited_run", "figures_of_run", "job_for", "test_accuracy"]


@dataclass(frozen=True)
class Run:
    """A training that has ended, and its audit."""

    job: Job
    record: Record
    verdicts: Verdicts
    clock: Clock


def job_for(
    samples: Samples, *, method: str, epochs: int, seed: int, audit: bool, augment: str = "auto"
) -> Job:
    """The training that `thresher fit` would do: its defaults, but for what is named."""
    # methods that need no held-out rows learn from all of them
    share = None if "held_out" in make_method(method).needs else 0.0
    settings = FitSettings(
        method=method, epochs=epochs, seed=seed, device="cpu", validation=share, augment=augment
    )
    return Job.plan(settings, samples, None, Silence(), audit=audit)


def audited_run(
    samples: Samples, *, method: str, epochs: int, seed: int, augment: str = "auto"
) -> Run:
    """Train once, and audit the labels from that training."""
    clock = Clock()
    with clock.running():
        job = job_for(samples, method=method, epochs=epochs, seed=seed, audit=True, augment=augment)
        for _ in job.training.run():
            pass
        record = job.record()
        verdicts = judge(record)
    return Run(job, record, verdicts, clock)


def test_accuracy(job: Job, truth: Truth) -> float:
    """Accuracy of the trained network on clean test labels."""
    return job.model.accuracy(truth.test)


def recalls(job: Job, truth: Truth) -> list[float]:
    """Share of every class of the clean test labels that is recognised."""
    predicted = job.model.probabilities(truth.test).argmax(1)
    true = truth.test.labels
    return [
        round(float((predicted[true == each] == each).mean()), 4)
        for each in range(len(job.model.classes))
    ]


def figures_of_run(run: Run, problem: Problem) -> dict[str, Any]:
    """Everything the tables show of one run."""
    verdicts, bad = run.verdicts, problem.bad
    theirs = find_label_issues(problem.samples.labels, pred_probs(run.record), n_jobs=1)
    return {
        "noise_rate": float(bad.mean()),
        **ranking(bad, verdicts.label_score),
        **verdict(bad, verdicts.is_label_issue),
        "rate_estimate": verdicts.noise_rate.estimate,
        "rate_low": verdicts.noise_rate.low,
        "rate_high": verdicts.noise_rate.high,
        "rate_held_out": verdicts.noise_rate.held_out,
        "rate_trained": verdicts.noise_rate.trained,
        "memorised": verdicts.memorised,
        "suggestion_accuracy": share_right(verdicts.suggested, problem.truth.labels, bad),
        "test_accuracy": test_accuracy(run.job, problem.truth),
        "test_recalls": recalls(run.job, problem.truth),
        "cleanlab_difference": float(np.mean(theirs != verdicts.is_label_issue)),
        "fired_at": getattr(run.job.training.criterion.method, "fired_at", None),
        "method_rate": getattr(run.job.training.criterion.method, "rate", None),
        **run.clock.figures(),
    }
