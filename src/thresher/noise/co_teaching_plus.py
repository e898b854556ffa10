"""Co-teaching+: two networks teach each other, on what they disagree about.

Two networks that teach each other grow alike, and then filter nothing for each other any more. Of a
batch, only the samples on which they predict different classes are considered; of these, each
network picks its small-loss ones, and its peer learns from them.

    D    = samples of the batch with argmax p₁ ≠ argmax p₂
    keep   the ceil(R(t) |D|) samples of D with the smallest loss of the peer
    R(t) = 1 - τ min(1, t / T_k)
"""

from __future__ import annotations

from thresher.history import Column
from thresher.noise.co_teaching import CoTeaching
from thresher.noise.decoupling import disagreement
from thresher.noise.method import Decision, Plan, Step
from thresher.noise.small_loss import small_loss
from thresher.phases import quarter, shortened
from thresher.ranges import check_not_negative

__all__ = ["CoTeachingPlus"]

WARMUP = 20


class CoTeachingPlus(CoTeaching):
    """Train two networks, each on what the other finds easy of what they disagree about.

    Args:
        noise_rate: τ, share of wrong labels, in [0, 1). None estimates it after every epoch.
        ramp: T_k, epochs until the full share τ is dropped, > 0. Default 10 (Han et al. 2018), or
            a quarter of a shorter run.
        warmup: Epochs of plain co-teaching, >= 0. Default 20 (Yu et al. 2019, CIFAR), or a quarter
            of a shorter run.
        estimate: What an unknown τ is estimated by (estimators.py). Default "settled".

    A batch without disagreement teaches nothing.

    Raises:
        ParameterError: a value out of range.

    Cost: two networks; 4 bytes a sample where τ is estimated. Hurts when: the networks agree,
    which ends the learning; where few samples are disputed, most of those are wrong or hard.
    Source: Yu, Han, Yao, Niu, Tsang, Sugiyama, How does Disagreement Help Generalization against
    Label Corruption?, ICML 2019. Deviations: as in Co-teaching, whose schedule it shares; a batch
    without disagreement is skipped, where the authors' code learns from all of it.
    """

    name = "co-teaching-plus"
    source = "Yu et al., ICML 2019"
    sample_bytes = "4"
    sample_bytes_told = "0"
    properties = "++--+~"

    def __init__(
        self,
        noise_rate: float | None = None,
        *,
        ramp: int | None = None,
        warmup: int | None = None,
        estimate: str = "settled",
    ) -> None:
        super().__init__(noise_rate, ramp=ramp, estimate=estimate)
        check_not_negative("warmup", warmup)
        self.warmup = warmup

    def begin(self, plan: Plan) -> tuple[Column, ...]:
        """What the noise rate is estimated from, when it is not given."""
        self.warmup_epochs = shortened(self.warmup, WARMUP, quarter(plan.epochs))
        return super().begin(plan)

    def decide(self, step: Step) -> Decision:
        """As co-teaching in the warm-up, then among the disputed samples alone."""
        if step.epoch < self.warmup_epochs:
            return super().decide(step)
        self.estimator.observe(self.history, step)
        disputed = disagreement(step.scores)
        if step.eligible is not None:
            disputed = disputed & step.eligible
        chosen = small_loss(step.losses, self.keep_rate(step.epoch), disputed)
        return Decision(chosen.flip(0).to(step.losses.dtype))
