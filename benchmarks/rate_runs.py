"""Estimators of the noise rate along standard trainings on the reference toy.

Every estimator that a method can ask by name looks at the same training, as it would from within
the method: after every epoch, with its own last answer. Those that read held-out rows look at a
second one, in which a tenth of the rows is held out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from toy_runs import toy, train_by_steps

from thresher.history import Column, SampleHistory
from thresher.mixture import fit_gaussian_mixture
from thresher.noise import Standard
from thresher.noise.criterion import Criterion
from thresher.noise.estimators import MAKERS
from thresher.noise.method import Change, Decision, Plan, Step
from thresher.noise_rate import confident_counts

__all__ = ["FURTHER", "LOOKS", "Watched", "rate_figures"]

LOOKS = (5, 10, 20, 60)  # epochs whose estimates are kept
WINDOW_SKIP = 0.2  # as the audit: the first fifth is left out of the averages
#: What no method asks: the audit's estimate, a plain count, a mixture that is always believed.
FURTHER = ("the audit", "argmax", "gaussian-mean, unchecked")


class Watched(Standard):
    """Standard training at which estimators look.

    Args:
        names: Of the estimators, keys of `MAKERS`.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.estimators = {name: MAKERS[name]() for name in names}
        self.rates = dict.fromkeys(self.estimators, 0.0)
        needs = (need for each in self.estimators.values() for need in each.needs)
        self.needs = tuple(dict.fromkeys(needs))

    def begin(self, plan: Plan) -> tuple[Column, ...]:
        """The columns of all; and probabilities from the first epoch on, for the audit's."""
        self.history.window_start = 0
        return tuple(column for each in self.estimators.values() for column in each.begin(plan))

    def decide(self, step: Step) -> Decision:
        """Every sample counts; what several estimators read alike is remembered once."""
        once = {type(each).observe: each for each in self.estimators.values()}
        for each in once.values():
            each.observe(self.history, step)
        return Decision()

    def end_epoch(self, measured: Mapping[str, float]) -> Change | None:
        """Ask all of them."""
        for name, each in self.estimators.items():
            self.rates[name] = each.after_epoch(self.history, self.rates[name])
        return None


class Audit:
    """What the audit of a run that ended here would say, and two that are not by name.

    Probabilities are averaged without the first fifth of the epochs so far.
    """

    def __init__(self) -> None:
        self.sums: dict[int, np.ndarray] = {0: np.zeros(())}  # by epochs seen

    def look(self, history: SampleHistory, epoch: int) -> dict[str, float]:
        """The estimates after `epoch` epochs, of `LOOKS`; to be called after each one."""
        self.sums[epoch] = history["probability_sum"].numpy().copy()
        if epoch not in LOOKS:
            return {}
        skipped = int(WINDOW_SKIP * epoch)
        mean = (self.sums[epoch] - self.sums[skipped]) / (epoch - skipped)
        counts = confident_counts(history["given"].numpy().astype(np.int64), mean)
        upper = fit_gaussian_mixture(history.mean_loss().numpy()).weights[1]
        return dict(zip(FURTHER, (counts.class_rate, counts.argmax_rate, upper), strict=True))


def rate_figures(noise: str, rate: float, seed: int) -> dict[str, dict[str, dict[str, float]]]:
    """Estimated noise rates: epoch → estimator → share."""
    data = toy.make_toy(None if noise == "none" else noise, rate, seed)
    found: dict[str, dict[str, float]] = {str(epoch): {} for epoch in LOOKS}
    apart = [name for name, make in MAKERS.items() if make().needs]
    for names in ([name for name in MAKERS if name not in apart], apart):
        audit = None if names is apart else Audit()

        def watch(criterion: Criterion, epoch: int, audit: Audit | None = audit) -> None:
            further = {} if audit is None else audit.look(criterion.history, epoch)
            if epoch in LOOKS:
                assert isinstance(criterion.method, Watched)
                found[str(epoch)] |= criterion.method.rates | further

        train_by_steps(Watched(names), data, seed, watch=watch)
    return {"estimates": found}
