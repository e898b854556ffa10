"""Co-teaching: two networks, each trained on what the other finds easy.

Each network picks its small-loss samples, and its peer learns from them: the two make different
mistakes, so one filters what the other would confirm to itself.

    R(t) = 1 - τ min(1, t / T_k)       share of a batch that is kept in epoch t = 1, 2, …
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from thresher.history import Column
from thresher.noise.estimators import choose_estimator
from thresher.noise.method import Change, Decision, Method, Plan, Step
from thresher.noise.small_loss import small_loss
from thresher.phases import quarter, shortened
from thresher.ranges import check_positive

__all__ = ["CoTeaching"]


class CoTeaching(Method):
    """Train two networks, each on the small-loss samples of the other.

    Args:
        noise_rate: τ, share of wrong labels, in [0, 1). None estimates it after every epoch.
        ramp: T_k, epochs until the full share τ is dropped, > 0. Default 10 (Han et al. 2018), or
            a quarter of a shorter run.
        estimate: What an unknown τ is estimated by (estimators.py). Default "settled".

    Raises:
        ParameterError: a value out of range.

    Cost: two networks; 4 bytes a sample where τ is estimated. Hurts when: τ is far off, or hard
    samples are dropped with the wrong ones.
    Source: Han et al., Co-teaching: Robust Training of Deep Neural Networks with Extremely Noisy
    Labels, NeurIPS 2018. Deviations: the ramp's exponent is 1, the kept count is rounded up.
    """

    name = "co-teaching"
    source = "Han et al., NeurIPS 2018"
    sample_bytes = "4"
    sample_bytes_told = "0"
    family = "sample selection"
    properties = "++--+~"
    needs: tuple[str, ...] = ("noise_rate",)
    networks = 2
    state: ClassVar[tuple[str, ...]] = ("rate",)

    def __init__(
        self,
        noise_rate: float | None = None,
        *,
        ramp: int | None = None,
        estimate: str = "settled",
    ) -> None:
        self.estimator = choose_estimator(noise_rate, estimate)
        self.needs = (*self.needs, *self.estimator.needs)
        check_positive("ramp", ramp)
        self.ramp = ramp
        self.rate = noise_rate or 0.0

    def begin(self, plan: Plan) -> tuple[Column, ...]:
        """What the noise rate is estimated from, where it is not given."""
        self.ramp_epochs = shortened(self.ramp, 10, quarter(plan.epochs))
        return self.estimator.begin(plan)

    def keep_rate(self, epoch: int) -> float:
        """R(t), the share of a batch that is kept in this epoch (from 0)."""
        return 1 - self.rate * min(1, (epoch + 1) / self.ramp_epochs)

    def decide(self, step: Step) -> Decision:
        """Each network learns from the samples its peer finds easiest."""
        self.estimator.observe(self.history, step)
        chosen = small_loss(step.losses, self.keep_rate(step.epoch), step.eligible)
        return Decision(chosen.flip(0).to(step.losses.dtype))

    def end_epoch(self, measured: Mapping[str, float]) -> Change | None:
        """Estimate the noise rate anew."""
        self.rate = self.estimator.after_epoch(self.history, self.rate)
        return None
