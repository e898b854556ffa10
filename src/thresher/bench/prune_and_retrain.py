"""The peer: cleanlab's documented workflow, with the same network, optimiser and epochs as ours.

    5 stratified folds → held-out probabilities → find_label_issues
                       → drop what is flagged, train again on the rest

cleanlab is not among our dependencies; without it this is skipped, and says so.

Source: Northcutt, Jiang & Chuang, Confident learning, JAIR 2021.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from thresher.bench.clock import Clock
from thresher.bench.trained import Trained, train
from thresher.data import Samples
from thresher.errors import MissingPackageError, ParameterError
from thresher.settings import FitSettings

__all__ = ["FOLDS", "Pruned", "import_cleanlab", "prune_and_retrain", "require_cleanlab"]

FOLDS = 5


@dataclass(frozen=True)
class Pruned:
    """What the workflow came to.

    Attributes:
        flagged: (N,) bool, samples that were dropped.
        score: (N,) label quality by self-confidence, low = suspect: cleanlab's default.
        suggested: (N,) int64, the most probable class other than the given one.
        rate: Share of wrong labels, by its confident joint.
        retrained: The training without the flagged samples.
        clock: Of everything: folds, filter, the last training.
    """

    flagged: NDArray[np.bool_]
    score: NDArray[np.floating]
    suggested: NDArray[np.int64]
    rate: float
    retrained: Trained
    clock: Clock


def require_cleanlab() -> None:
    """Refuse to go on without cleanlab.

    Raises:
        MissingPackageError: names the line that installs it.
    """
    if find_spec("cleanlab") is None:
        raise MissingPackageError(
            "cleanlab is not installed.", "Install it: pip install 'thresher[bench]'."
        )


def import_cleanlab() -> None:
    """Import what the workflow goes by, so that it is not counted as memory of a training.

    Raises:
        MissingPackageError: cleanlab is not installed.
    """
    require_cleanlab()
    for name in ("count", "filter", "rank"):
        import_module(f"cleanlab.{name}")


def prune_and_retrain(
    settings: FitSettings, samples: Samples, tested: Samples, validation: Samples | None
) -> Pruned:
    """Find label issues by cross-validation, drop them, and train on the rest.

    Args:
        settings: Of standard training.
        samples: With given labels.
        tested: With true labels; looked at for accuracies alone.
        validation: With given labels; the same.

    Raises:
        MissingPackageError: cleanlab is not installed.
        ParameterError: no class has a row for every fold.
    """
    require_cleanlab()
    refuse_few(samples)
    from cleanlab.count import num_label_issues
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    clock = Clock()
    labels = samples.labels
    with clock.running():
        probabilities = held_out_probabilities(settings, samples)
        flagged = find_label_issues(labels, probabilities, n_jobs=1)
        score = get_label_quality_scores(labels, probabilities)
        rate = float(num_label_issues(labels, probabilities)) / len(labels)
    retrained = train(settings, samples.take(~flagged), tested, validation, audit=False)
    clock.cpu += retrained.clock.cpu
    clock.wall += retrained.clock.wall
    others = probabilities.copy()
    others[np.arange(len(labels)), labels] = -1
    return Pruned(flagged, score, others.argmax(1), rate, retrained, clock)


def refuse_few(samples: Samples) -> None:
    """Refuse samples that cannot be dealt into the folds.

    Raises:
        ParameterError: every class has fewer rows than there are folds.
    """
    most = int(np.bincount(samples.labels, minlength=len(samples.classes)).max())
    if most < FOLDS:
        raise ParameterError(
            f"cleanlab's workflow deals the rows of a class into {FOLDS} folds, and no class has "
            f"more than {most} rows to train on.",
            "Add samples, raise --limit if it is given, or name test data with --test.",
        )


def held_out_probabilities(settings: FitSettings, samples: Samples) -> NDArray[np.float32]:
    """Predict every sample by a network that has not seen it; (N, k)."""
    from sklearn.model_selection import StratifiedKFold

    from thresher.fitting import Silence
    from thresher.job import Job

    found = np.empty((len(samples), len(samples.classes)), np.float32)
    splits = StratifiedKFold(FOLDS, shuffle=True, random_state=settings.seed % 2**32)
    with warnings.catch_warnings():
        # a class of fewer rows than folds is held out in some of them alone: nothing is amiss
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        folds = list(splits.split(samples.labels, samples.labels))
    for trained, held_out in folds:
        job = Job.plan(
            replace(settings, validation=0.0), samples.take(trained), None, Silence(), audit=False
        )
        for _ in job.training.run():
            pass
        found[held_out] = job.model.probabilities(samples.take(held_out), job.training.device)
    return found
