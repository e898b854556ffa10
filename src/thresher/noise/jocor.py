"""JoCoR: two networks that must agree, trained together on what both find easy.

One joint loss adds to the cross-entropies how far the two predictions are apart. Two networks
seldom agree on a wrong label by chance, so a small joint loss speaks for the label; both learn from
the same samples, and agreeing is a part of what they learn.

    joint = (1 - λ) (CE₁ + CE₂) + λ (KL(p₁‖p₂) + KL(p₂‖p₁))
    R(t)  = 1 - τ min(1, t / T_k)       share of a batch with the smallest joint loss that is kept
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from thresher.history import Column
from thresher.noise.co_teaching import CoTeaching
from thresher.noise.estimators import Constant
from thresher.noise.method import Change, Decision, Plan, Step
from thresher.noise.rate import RATE_COLUMNS, mostly_settled
from thresher.noise.small_loss import small_loss
from thresher.ranges import check_positive

__all__ = ["JoCoR", "divergence_from_peer"]


def divergence_from_peer(logits: Tensor) -> Tensor:
    """KL(p₁‖p₂) in row 0 and KL(p₂‖p₁) in row 1, for logits (2, B, k); returns (2, B), >= 0."""
    # of a class that is impossible to both, with a logit of -inf, nothing is left: not -inf + inf
    log_probability = torch.log_softmax(logits, -1).clamp(min=torch.finfo(logits.dtype).min)
    return (log_probability.exp() * (log_probability - log_probability.flip(0))).sum(-1)


class JoCoR(CoTeaching):
    """Train two networks together on the samples on which both agree with the label.

    Args:
        noise_rate: τ, share of wrong labels, in [0, 1). None estimates it after every epoch once
            half of the samples have settled; t counts from then on.
        ramp: T_k, epochs until the full share τ is dropped, > 0. Default 10 (Wei et al. 2020), or
            a quarter of a shorter run.
        agreement: λ, weight of agreeing, in (0, 1]. Default 0.5. The paper takes 0.9 for CIFAR-10
            and 0.85 for CIFAR-100, by Adam.
        estimate: What an unknown τ is estimated by (estimators.py). Default "confident".

    Raises:
        ParameterError: a value out of range.

    Cost: two networks; 4 k + 8 bytes a sample where τ is estimated. Hurts when: τ is far off, or λ
    is large for the optimiser: at 0.9 labels count a tenth, and gradient descent with momentum is
    drawn to where both networks agree on nothing.
    Source: Wei, Feng, Chen, An, Combating Noisy Labels by Agreement: A Joint Training Method with
    Co-Regularization, CVPR 2020. Deviations: as in Co-teaching, whose schedule it shares; λ, since
    0.9 ends at chance on images after 16 epochs of gradient descent, and does not by Adam; an
    unknown τ is the share of labels that averaged predictions contradict with confidence, because
    networks that learn so slowly disagree with many labels that they have not learned yet: by what
    has settled it ends four points lower on letter, fifteen on CIFAR-10N, and higher on the toy.
    """

    name = "jocor"
    source = "Wei et al., CVPR 2020"
    sample_bytes = "4k+8"
    sample_bytes_told = "0"
    family = "sample selection"
    properties = ""
    state = ("rate", "ramp_start")

    def __init__(
        self,
        noise_rate: float | None = None,
        *,
        ramp: int | None = None,
        agreement: float = 0.5,
        estimate: str = "confident",
    ) -> None:
        super().__init__(noise_rate, ramp=ramp, estimate=estimate)
        check_positive("agreement", agreement, below=1)
        self.agreement = agreement
        self.ramp_start = -1 if noise_rate is None else 0  # first epoch that drops; -1 = none yet

    def begin(self, plan: Plan) -> tuple[Column, ...]:
        """What the noise rate is estimated from, where it is not given, and what has settled."""
        columns = super().begin(plan)
        return columns if isinstance(self.estimator, Constant) else (*columns, *RATE_COLUMNS)

    def keep_rate(self, epoch: int) -> float:
        """R(t), where t counts the epochs since τ is known."""
        return super().keep_rate(epoch - self.ramp_start)

    def sample_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Each network's part of the joint loss, (2, B); the parts of a sample add up to it."""
        cross_entropy = super().sample_loss(logits, targets)
        apart = divergence_from_peer(logits)
        return (1 - self.agreement) * cross_entropy + self.agreement * apart

    def decide(self, step: Step) -> Decision:
        """Both networks learn from the samples with the smallest joint loss."""
        self.estimator.observe(self.history, step)
        joint = step.losses.sum(0, keepdim=True)  # (1, G)
        chosen = small_loss(joint, self.keep_rate(step.epoch), step.eligible)[0]
        return Decision(chosen.to(step.losses.dtype))

    def end_epoch(self, measured: Mapping[str, float]) -> Change | None:
        """Estimate the noise rate anew, unless it is known or hardly anything has settled."""
        history = self.history
        if isinstance(self.estimator, Constant):
            return None
        if mostly_settled(history):
            if self.ramp_start < 0:
                self.ramp_start = history.epoch + 1
            self.rate = self.estimator.after_epoch(history, self.rate)
        return None
