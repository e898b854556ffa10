"""One cell: a method, trained under one kind of noise from one seed, held against the truth.

settings, cell → reading → trained.py | prune_and_retrain.py → evaluation → a row
"""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import thresher
from thresher.audit import judge
from thresher.bench.evaluation import (
    curve_figures,
    ranking,
    rows_apart,
    share_right,
    trust,
)
from thresher.bench.problem import Problem
from thresher.bench.prune_and_retrain import prune_and_retrain
from thresher.bench.reading import Posed, Source, make_problem, open_source
from thresher.bench.settings import BASELINE, PEER, BenchSettings, Cell, learns_from_more
from thresher.bench.trained import Trained, train
from thresher.data import Samples
from thresher.errors import RunError
from thresher.group_report import fairness, numbered, selection_by_group
from thresher.memory import forget_peak, held_mib, peak_mib
from thresher.noise import Method, method_class
from thresher.noise.estimators import Estimator

__all__ = ["measure"]


def measure(
    settings: BenchSettings,
    cell: Cell,
    scratch: Path | None = None,
    fingerprint: str | None = None,
) -> dict[str, Any]:
    """The row of a cell.

    Args:
        settings: What all cells share.
        cell: Which.
        scratch: Where copies of large inputs are found.
        fingerprint: Of the data that the other cells were measured on; None = not compared.

    Raises:
        ThresherError: it cannot be computed, or the data are others.
    """
    source = opened(settings, scratch)
    if fingerprint is not None and source.fingerprint != fingerprint:
        raise RunError(
            "The data have changed since the benchmark was begun.",
            "Put the original data back and go on, or choose another --out.",
        )
    posed = make_problem(
        source,
        cell.noise,
        cell.seed,
        validation=settings.validation,
        group=settings.group_report,
    )
    row = {
        "method": cell.method,
        "noise": str(cell.noise),
        "seed": cell.seed,
        "thresher": thresher.__version__,
        "n": len(posed.problem.samples),
        "n_validation": 0 if posed.validation is None else len(posed.validation),
        "n_test": len(posed.problem.truth.test),
        "classes": len(posed.problem.samples.classes),
        "noise_rate": float(posed.problem.bad.mean()),
    }
    forget_peak()  # reading the data may have taken more than the training will
    row["held_mib"] = held_mib()
    if cell.method == PEER:
        return row | figures_of_peer(settings, cell, posed)
    auxiliary = source.auxiliary if learns_from_more(cell.method) else None
    return row | figures_of_method(settings, cell, posed, auxiliary)


@cache
def opened(settings: BenchSettings, scratch: Path | None) -> Source:
    """The data, read once in a process."""
    return open_source(settings, scratch)


def figures_of_method(
    settings: BenchSettings, cell: Cell, posed: Posed, auxiliary: Samples | None
) -> dict[str, Any]:
    """Train a method, and compare all that it says with the truth."""
    problem = posed.problem
    takes = takes_rate(cell.method)
    rate = settings.told if takes else None
    if rate == "true":
        rate = float(problem.bad.mean())
    run = train(
        settings.fit(cell.method, cell.seed, rate),
        problem.samples,
        problem.truth.test,
        posed.validation,
        audit=True,
        auxiliary=auxiliary,
    )
    peak = peak_mib()  # before the audit takes memory of its own
    criterion = run.job.training.criterion
    estimated = None
    if takes and (rate is None or isinstance(rate, str)):
        estimated = estimated_rate(criterion.method)
    verdicts = judge(run.job.record())
    eligible = criterion.history["eligible"].cpu().numpy()
    return {
        **figures_of_training(run, problem),
        **trust(
            run.learned.weights.numpy(),
            run.learned.labels.numpy(),
            problem.samples.labels,
            problem.truth.labels,
            eligible,
        ),
        **estimate_figures(estimated, problem),
        "transition_error": rows_apart(
            run.job.known_transition(),
            problem.truth.labels[eligible],
            problem.samples.labels[eligible],
        ),
        **audit_figures(problem, verdicts.label_score, verdicts.noise_rate.estimate),
        **group_figures(
            problem,
            run.predicted,
            (run.learned.weights.numpy() > 0)
            & (run.learned.labels.numpy() == problem.samples.labels),
            eligible,
        ),
        "suggestion_accuracy": share_right(verdicts.suggested, problem.truth.labels, problem.bad),
        **run.clock.figures(),
        "peak_mib": peak,
    }


def figures_of_peer(settings: BenchSettings, cell: Cell, posed: Posed) -> dict[str, Any]:
    """cleanlab's workflow, held against the same truth."""
    problem = posed.problem
    found = prune_and_retrain(
        settings.fit(BASELINE, cell.seed, None),
        problem.samples,
        problem.truth.test,
        posed.validation,
    )
    return {
        **figures_of_training(found.retrained, problem),
        **trust(
            (~found.flagged).astype(np.float32),
            problem.samples.labels,
            problem.samples.labels,
            problem.truth.labels,
            np.ones(len(problem.samples), np.bool_),
        ),
        **estimate_figures(found.rate, problem),
        **audit_figures(problem, found.score, found.rate),
        **group_figures(
            problem, found.retrained.predicted, ~found.flagged, np.ones_like(found.flagged)
        ),
        "suggestion_accuracy": share_right(found.suggested, problem.truth.labels, problem.bad),
        **found.clock.figures(),
        "peak_mib": peak_mib(),
    }


def figures_of_training(run: Trained, problem: Problem) -> dict[str, Any]:
    """Accuracies, and how long it trained."""
    return {
        "epochs": len(run.tested),
        **curve_figures(run.tested, run.validated),
        "test_accuracies": run.tested,
        "validation_accuracies": run.validated,
    }


def estimate_figures(rate: float | None, problem: Problem) -> dict[str, float | None]:
    """A method's own estimate of the noise rate, and how far it is off; None = it makes none."""
    true = float(problem.bad.mean())
    return {"rate_estimate": rate, "rate_error": None if rate is None else rate - true}


def estimated_rate(method: Method) -> float | None:
    """The noise rate that a method has estimated; None = too little has settled for any.

    A rate of 0 tells nothing: of right labels it is the estimate.
    """
    estimator = getattr(method, "estimator", None)
    if isinstance(estimator, Estimator) and not estimator.estimated:
        return None
    return getattr(method, "rate", None)


def audit_figures(problem: Problem, score: Any, rate: float) -> dict[str, float | None]:
    """How well the wrong labels are put first, and how far the audit's noise rate is off."""
    found = ranking(problem.bad, np.nan_to_num(score, nan=1.0))
    return {
        "audit_average_precision": found["ap"],
        "audit_auroc": found["auroc"],
        "audit_rate_error": rate - float(problem.bad.mean()),
    }


def group_figures(
    problem: Problem,
    predicted: NDArray[np.int64],
    trusted: NDArray[np.bool_],
    trainable: NDArray[np.bool_],
) -> dict[str, Any]:
    """How groups of the test samples differ, and who of the trained ones was trusted.

    Args:
        problem: With the groups, if they are compared.
        predicted: (M,) classes of the test samples.
        trusted: (N,) bool, whose given label was learned as it is.
        trainable: (N,) bool, not held out by the method; the others are neither trusted nor not.
    """
    truth, classes = problem.truth, problem.samples.classes
    found: dict[str, Any] = {}
    if truth.test_groups is not None:
        codes, names = numbered(truth.test_groups)
        fair = fairness(predicted, truth.test.labels, codes, names, len(classes))
        found |= {
            "worst_group": fair.worst_group,
            "worst_group_accuracy": fair.worst_group_accuracy,
            "demographic_parity_gap": fair.demographic_parity_gap,
            "equalised_odds_gap": fair.equalised_odds_gap,
        }
    if truth.groups is not None:
        codes, names = numbered(truth.groups)
        given = problem.samples.labels[trainable]
        cells = selection_by_group(
            trusted[trainable], given, codes[trainable], names, classes,
            true=truth.labels[trainable],
        )  # fmt: skip
        found["groups"] = [asdict(each) for each in cells]
    return found


def takes_rate(method: str) -> bool:
    """Whether a method goes by a noise rate."""
    return "noise_rate" in method_class(method).needs
