"""ITLM: train, keep the samples with the smallest losses, begin anew with those, and again.

Early in a training, losses tell wrong labels from right ones; a network that begins anew with what
was kept tells them apart better, for it has seen fewer wrong ones. A few rounds are enough.

    S_0      all samples
    round r  a fresh network, trained on S_{r-1}; then S_r = the (1 - τ) N samples with the smallest
             losses, among all
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch

from thresher.errors import ParameterError
from thresher.history import LAST_LOSS, Column
from thresher.noise.estimators import choose_estimator
from thresher.noise.method import Change, Decision, Method, Plan, Step
from thresher.noise.small_loss import small_loss
from thresher.phases import shortened
from thresher.ranges import check_positive

__all__ = ["ITLM"]

RESTARTS = 4  # five rounds
ROUND_EPOCHS = 10  # of which a run has fewer rounds rather than shorter ones


class ITLM(Method):
    """Train several networks one after the other, each on what the one before finds easy.

    Args:
        noise_rate: τ, share of wrong labels, in [0, 1). None estimates it after every epoch.
        restarts: Times that a fresh network begins, > 0. Default 4 (Shen & Sanghavi 2019: five
            rounds), or as few as give each round ten epochs, at least 1.
        estimate: What an unknown τ is estimated by (estimators.py). Default "settled".

    Raises:
        ParameterError: a value out of range; an unknown number of epochs, or fewer than rounds.

    Cost: the epochs are shared by the rounds; 5 bytes a sample, 4 more where τ is estimated.
    Hurts when: the run is short, for a round is a fraction of it, and the last one learns from a
    part of the samples alone; wrong labels are as easy as right ones, or τ is far off.
    Source: Shen, Sanghavi, Learning with Bad Training Data via Iterative Trimmed Loss Minimization,
    ICML 2019. Deviations: losses are those of the training-mode passes in the last epoch of a
    round; the number kept is rounded up.
    """

    name = "itlm"
    source = "Shen & Sanghavi, ICML 2019"
    sample_bytes = "9"
    sample_bytes_told = "5"
    family = "sample selection"
    properties = "++--+~"
    needs: tuple[str, ...] = ("noise_rate",)
    state: ClassVar[tuple[str, ...]] = ("rate",)

    def __init__(
        self,
        noise_rate: float | None = None,
        *,
        restarts: int | None = None,
        estimate: str = "settled",
    ) -> None:
        self.estimator = choose_estimator(noise_rate, estimate)
        self.needs = (*self.needs, *self.estimator.needs)
        check_positive("restarts", restarts)
        self.restarts = restarts
        self.restarts_planned = RESTARTS if restarts is None else restarts
        self.rate = noise_rate or 0.0

    def rounds(self) -> int:
        """One training, and one more for every restart."""
        return 1 + self.restarts_planned

    def begin(self, plan: Plan) -> tuple[Column, ...]:
        """The last losses, and who is learned from."""
        if plan.epochs is None:
            raise ParameterError(
                "itlm shares the epochs among several trainings, and their number is not known.",
                "Pass epochs to start.",
            )
        few = plan.epochs // ROUND_EPOCHS - 1
        self.restarts_planned = min(plan.epochs - 1, shortened(self.restarts, RESTARTS, few))
        if self.restarts is not None and self.restarts >= plan.epochs:
            raise ParameterError(
                f"{plan.epochs} epochs cannot hold {1 + self.restarts} trainings.",
                "Raise --epochs (it counts all of them) or lower restarts.",
            )
        self.round_epochs = plan.epochs // self.rounds()
        kept = Column("kept", torch.bool, fill=1)
        return LAST_LOSS, kept, *self.estimator.begin(plan)

    def decide(self, step: Step) -> Decision:
        """What the round before has kept."""
        self.estimator.observe(self.history, step)
        return Decision(self.history["kept"][step.index].to(step.losses.dtype))

    def end_epoch(self, measured: Mapping[str, float]) -> Change | None:
        """When a round ends, keep the smallest losses of all, and begin anew."""
        history, done = self.history, self.history.epoch + 1
        self.rate = self.estimator.after_epoch(history, self.rate)
        if done % self.round_epochs or done // self.round_epochs > self.restarts_planned:
            return None
        losses = history["last_loss"]
        seen = history["eligible"] & ~losses.isnan()
        history["kept"].copy_(small_loss(losses[None], 1 - self.rate, seen)[0])
        return Change(reset=("",))
