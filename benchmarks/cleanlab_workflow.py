"""The peer: cleanlab's documented workflow, with the same network, optimiser and epochs as ours.

    5 stratified folds → held-out probabilities → label quality scores, find_label_issues
                       → drop what is flagged, train again on the rest

Its three scores are all reported, and the best of them is chosen with hindsight: more than a user
can do. *Early-stopped* folds keep the probabilities of the epoch that predicts the held-out given
labels best, as the tutorial's patience does; they are taken from the same trainings.

Source: Northcutt, Jiang & Chuang, Confident learning, JAIR 2021; cleanlab 2.9.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from cleanlab.count import num_label_issues
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from noise_data import Problem
from numpy.typing import NDArray
from one_run import Clock, job_for, test_accuracy
from sklearn.model_selection import StratifiedKFold
from torch import nn

from thresher.bench.evaluation import ranking, share_right, verdict
from thresher.data import Samples
from thresher.models import Preparation
from thresher.training.predict import as_tensor, predict_probabilities

__all__ = ["SCORES", "Folds", "best_average_precision", "cross_validate", "figures_of_workflow"]

FOLDS = 5
SCORES = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")

Probabilities = NDArray[np.float32]


@dataclass
class Folds:
    """Held-out probabilities (N, k) of a cross-validation, and what it cost.

    Attributes:
        fixed: After the last epoch.
        early_stopped: After each fold's best epoch, or None when it was not asked for. The clock
            leaves out what looking for it costs.
    """

    fixed: Probabilities
    early_stopped: Probabilities | None
    clock: Clock = field(default_factory=Clock)


def cross_validate(samples: Samples, *, epochs: int, seed: int, early_stopping: bool) -> Folds:
    """Predict every sample by a network that has not seen it."""
    shape = (len(samples), len(samples.classes))
    folds = Folds(
        np.empty(shape, np.float32), np.empty(shape, np.float32) if early_stopping else None
    )
    splits = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    for train, held_out in splits.split(samples.inputs, samples.labels):
        whole, aside = Clock(), Clock()
        with whole.running():
            job = job_for(
                samples.take(train), method="standard", epochs=epochs, seed=seed, audit=False
            )
            best = Best(samples.take(held_out), job.model.preparation, aside)
            for _ in job.training.run(best.look_at if early_stopping else None):
                pass
            folds.fixed[held_out] = best.predict(job.training.model)
        if folds.early_stopped is not None:
            folds.early_stopped[held_out] = best.probabilities
        folds.clock.cpu += whole.cpu - aside.cpu
        folds.clock.wall += whole.wall - aside.wall
    return folds


@dataclass
class Best:
    """The predictions of the best epoch so far, judged on given labels."""

    held_out: Samples
    preparation: Preparation
    clock: Clock
    accuracy: float = -1.0
    probabilities: Probabilities | None = None

    def predict(self, net: nn.Module) -> Probabilities:
        """Predict the held-out samples."""
        return predict_probabilities(net, as_tensor(self.held_out.inputs), self.preparation)

    def look_at(self, net: nn.Module) -> dict[str, float]:
        """After an epoch: keep its predictions if they agree with more of the given labels."""
        with self.clock.running():
            probabilities = self.predict(net)
            accuracy = float((probabilities.argmax(1) == self.held_out.labels).mean())
        if accuracy > self.accuracy:
            self.accuracy, self.probabilities = accuracy, probabilities
        return {"held_out_accuracy": accuracy}


def figures_of_workflow(
    problem: Problem, *, epochs: int, seed: int, early_stopping: bool
) -> list[dict[str, Any]]:
    """The whole workflow held against the truth: one line, and one for early-stopped folds."""
    folds = cross_validate(problem.samples, epochs=epochs, seed=seed, early_stopping=early_stopping)
    lines = [figures_of_probabilities(problem, folds.fixed, epochs=epochs, seed=seed)]
    lines[0] |= {"variant": "fixed epochs", **folds.clock.figures()}
    if folds.early_stopped is not None:
        lines.append(
            figures_of_probabilities(problem, folds.early_stopped, epochs=epochs, seed=seed)
        )
        lines[1] |= {"variant": "early-stopped"}
    return lines


def figures_of_probabilities(
    problem: Problem, probabilities: Probabilities, *, epochs: int, seed: int
) -> dict[str, Any]:
    """Scores, verdicts and suggestions of held-out probabilities, and the training without them."""
    labels, bad = problem.samples.labels, problem.bad
    flagged = find_label_issues(labels, probabilities, n_jobs=1)
    others = probabilities.copy()
    others[np.arange(len(labels)), labels] = -1
    scores = {
        score: ranking(bad, get_label_quality_scores(labels, probabilities, method=score))
        for score in SCORES
    }
    best = max(SCORES, key=lambda score: scores[score]["ap"] or 0)
    clock = Clock()
    with clock.running():
        kept = problem.samples.take(~flagged)
        job = job_for(kept, method="standard", epochs=epochs, seed=seed, audit=False)
        for _ in job.training.run():
            pass
    return {
        "noise_rate": float(bad.mean()),
        "scores": scores,
        "best_score": best,
        **scores[best],
        **verdict(bad, flagged),
        "rate_estimate": num_label_issues(labels, probabilities) / len(labels),
        "suggestion_accuracy": share_right(others.argmax(1), problem.truth.labels, bad),
        "test_accuracy": test_accuracy(job, problem.truth),
        **clock.figures("retraining_"),
    }


def best_average_precision(problem: Problem, probabilities: Probabilities) -> float:
    """Average precision of the best of the three scores, chosen with hindsight."""
    labels = problem.samples.labels
    found = [
        ranking(problem.bad, get_label_quality_scores(labels, probabilities, method=score))["ap"]
        for score in SCORES
    ]
    return max(ap or 0.0 for ap in found)
