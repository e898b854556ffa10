"""Estimators of the noise rate: how many labels are wrong, asked after every epoch.

A method that needs the share τ of wrong labels, and is not told it, asks one of these by its name;
it may not know which. Each says which columns of the history it reads. The functions behind them
are in rate.py and, on plain arrays, in mixture.py and noise_rate.py.

    name                              τ̂ after an epoch
    ────────────────────────────────  ────────────────────────────────────────────────────────────
    settled                           settled predictions that contradict the label, the most yet
    confident                         labels that averaged predictions contradict with confidence
    gaussian-last, -mean, -window     weight of the upper of two Gaussians in the last losses, in
                                      the mean ones so far, in the mean ones of five epochs
    beta-last, -mean, -window         the same of two Beta distributions
    anchors                           1 - Σ_a π_a T[a, a], T read off averaged predictions
    cross-validation, …-pair          inverse of the agreement with the labels of held-out rows
    a number                          the number

One that is to be added is a class here, a line in `MAKERS`, and its sentence in `ESTIMATORS`
(noise/__init__.py): an estimate from predictions starts from `AveragedPredictions`.

Sources: Gaussian mixture: Song et al., MORPH, KDD 2021; of accumulated losses: Pleiss et al.,
NeurIPS 2020. Beta mixture: Arazo et al., ICML 2019. Cross-validation: Chen et al., ICML 2019.
Confidence: Northcutt et al., JAIR 2021. Anchors: Patrini et al., CVPR 2017. Deviations: the running
training stands in for passes and trainings of their own; two heaps count only where they are
separated.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar, Literal

import torch

from thresher.errors import ParameterError, nearest
from thresher.history import LAST_LOSS, Column, SampleHistory
from thresher.noise.elr import TARGETS, move_targets
from thresher.noise.method import Plan, Step
from thresher.noise.rate import (
    MOST,
    RATE_COLUMNS,
    anchor_rate,
    confident_rate,
    enough_settled,
    estimate_rate,
    mixture_rate,
    mostly_settled,
)
from thresher.noise_rate import noise_rate_from_agreement
from thresher.ranges import check_rate

__all__ = ["MAKERS", "Estimator", "choose_estimator"]

MEMORY = 0.7  # of the moving average of predictions, as ELR's: about three epochs
WINDOW = 5  # epochs of losses (Li et al., DivideMix, ICLR 2020, under heavy noise)


class Estimator:
    """What every estimator is; this one is never asked.

    Attributes:
        estimated: Whether it has made an estimate; until then it returns the rate before.
    """

    needs: ClassVar[tuple[str, ...]] = ()  # as of a method: "held_out", or nothing
    estimated = False

    def begin(self, plan: Plan) -> tuple[Column, ...]:
        """The columns it reads."""
        return ()

    def observe(self, history: SampleHistory, step: Step) -> None:
        """Remember what the history does not; called in every step, before it is decided on."""

    def after_epoch(self, history: SampleHistory, before: float) -> float:
        """τ̂ in [0, 1); `before` is the last one, 0 at first. Called once an epoch at most."""
        raise NotImplementedError


class Constant(Estimator):
    """The noise rate as the user gave it.

    Args:
        noise_rate: In [0, 1).
    """

    def __init__(self, noise_rate: float) -> None:
        self.noise_rate = noise_rate

    def after_epoch(self, history: SampleHistory, before: float) -> float:
        """The same in every epoch."""
        return self.noise_rate


class Settled(Estimator):
    """Share of the settled samples whose prediction contradicts the label, the largest so far."""

    def begin(self, plan: Plan) -> tuple[Column, ...]:
        """The length of the run of equal predictions."""
        return RATE_COLUMNS

    def after_epoch(self, history: SampleHistory, before: float) -> float:
        """At least as much as before: memorising hides disagreement."""
        self.estimated |= enough_settled(history)
        return estimate_rate(history, before)


class AveragedPredictions(Estimator):
    """Base of those that read a moving average of every sample's predictions: k floats a sample.

    They are not asked before half of the samples have settled: what a network believes that has
    learned nothing yet contradicts most labels, and a method that leaves so many out never learns.
    """

    def begin(self, plan: Plan) -> tuple[Column, ...]:
        """The moving average, which is ELR's; visits, as given labels come with them; runs."""
        return TARGETS, Column("visits", torch.int32), *RATE_COLUMNS

    def observe(self, history: SampleHistory, step: Step) -> None:
        """Move it by the predictions of the step."""
        move_targets(history, step, MEMORY)

    def after_epoch(self, history: SampleHistory, before: float) -> float:
        """Anew each time, once enough has settled."""
        if not mostly_settled(history):
            return before
        self.estimated = True
        return self.rate_of(history, before)

    def rate_of(self, history: SampleHistory, before: float) -> float:
        """τ̂ by the averages."""
        raise NotImplementedError


class Confident(AveragedPredictions):
    """Share of the labels that averaged predictions contradict with confidence."""

    def rate_of(self, history: SampleHistory, before: float) -> float:
        """By the counts of confident learning."""
        return confident_rate(history, history["targets"])


class Anchors(AveragedPredictions):
    """Off-diagonal part of the transition matrix that anchor samples give."""

    def rate_of(self, history: SampleHistory, before: float) -> float:
        """As before where no sample was seen."""
        return anchor_rate(history, history["targets"], before)


class LossMixture(Estimator):
    """Weight of the upper of two heaps of losses.

    Args:
        kind: Of the two distributions.
        losses: Those of the last epoch, the means of all so far, or the means of the last five.
    """

    def __init__(
        self, kind: Literal["gaussian", "beta"], losses: Literal["last", "mean", "window"]
    ) -> None:
        self.kind, self.losses = kind, losses

    def begin(self, plan: Plan) -> tuple[Column, ...]:
        """Losses of every sample."""
        if self.losses == "mean":
            return Column("loss_sum"), Column("visits", torch.int32)
        window = Column("loss_window", width=WINDOW, fill=torch.nan)
        return (LAST_LOSS,) if self.losses == "last" else (LAST_LOSS, window)

    def after_epoch(self, history: SampleHistory, before: float) -> float:
        """Anew each time, of the samples that are trained and were seen."""
        if self.losses == "mean":
            losses = history.mean_loss()
        elif self.losses == "last":
            losses = history["last_loss"]
        else:
            window = history["loss_window"]
            window[:, history.epoch % WINDOW] = history["last_loss"]
            losses = window.nanmean(1)
        self.estimated = True
        return mixture_rate(losses[history["eligible"]], self.kind)


class CrossValidation(Estimator):
    """Inverse of how often the predictions of held-out rows agree with their labels.

    It supposes that the network memorises its own wrong labels, and comes out low until it does;
    before it has learned anything, it comes out high.

    Args:
        noise: The kind of noise that is supposed.
    """

    needs = ("held_out",)

    def __init__(self, noise: Literal["symmetric", "pair"]) -> None:
        self.noise = noise

    def begin(self, plan: Plan) -> tuple[Column, ...]:
        """The last prediction of every sample."""
        return (Column("last_prediction", "class", fill=-1),)

    def after_epoch(self, history: SampleHistory, before: float) -> float:
        """Anew each time; as before where no row is held out."""
        agreement = history.accuracy(~history["eligible"])
        if not 0 <= agreement <= 1:  # NaN: there are none
            return before
        self.estimated = True
        return min(MOST, noise_rate_from_agreement(agreement, history.classes, self.noise))


#: Name → what makes the estimator. `thresher.noise.ESTIMATORS` says what each goes by.
MAKERS: dict[str, Callable[[], Estimator]] = {
    "settled": Settled,
    "confident": Confident,
    "anchors": Anchors,
    "gaussian-last": partial(LossMixture, "gaussian", "last"),
    "gaussian-mean": partial(LossMixture, "gaussian", "mean"),
    "gaussian-window": partial(LossMixture, "gaussian", "window"),
    "beta-last": partial(LossMixture, "beta", "last"),
    "beta-mean": partial(LossMixture, "beta", "mean"),
    "beta-window": partial(LossMixture, "beta", "window"),
    "cross-validation": partial(CrossValidation, "symmetric"),
    "cross-validation-pair": partial(CrossValidation, "pair"),
}


def choose_estimator(noise_rate: float | None, estimate: str) -> Estimator:
    """The noise rate as given, or else the estimator of this name.

    Args:
        noise_rate: In [0, 1), or None.
        estimate: A key of `MAKERS`.

    Raises:
        ParameterError: a noise rate out of range, or an unknown name.
    """
    check_rate(noise_rate)
    if estimate not in MAKERS:
        raise ParameterError(
            f'estimate must be one of {", ".join(MAKERS)}, got "{estimate}".',
            nearest(estimate, MAKERS),
        )
    return MAKERS[estimate]() if noise_rate is None else Constant(noise_rate)
