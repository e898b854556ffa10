"""Self-adaptive training: learn towards a moving average of label and predictions.

t_i ← α t_i + (1 - α) p_i        from epoch E_s on; before it t_i = the given label
w_i = max_c t_i(c)
loss = Σ w_i CE(p_i, t_i) / Σ w_i
"""

from __future__ import annotations

import torch.nn.functional as F

from thresher.history import Column
from thresher.noise import Decision, Method, Plan, Step
from thresher.phases import quarter, shortened
from thresher.ranges import check_positive


class SelfAdaptive(Method):
    """Train towards labels that follow what the network has predicted.

    Args:
        memory: α, share of the target that a step keeps, in (0, 1). Default 0.9 (Huang 2020).
        warmup: E_s, epochs with the given labels, >= 1. Default 60 (the same, of 200), or a quarter
            of a shorter run.

    Raises:
        ParameterError: a value out of range.

    Cost: 4 k bytes a sample. Hurts when: the warm-up is so long that wrong labels are memorised.
    Source: Huang, Zhang, Zhang, Self-Adaptive Training: beyond Empirical Risk Minimization,
    NeurIPS 2020.
    """

    name = "self-adaptive"
    source = "Huang et al., NeurIPS 2020"
    family = "refurbishment"
    properties = "+-+++~"
    sample_bytes = "4k"

    def __init__(self, *, memory: float = 0.9, warmup: int | None = None) -> None:
        check_positive("memory", memory, below=1)
        check_positive("warmup", warmup)
        self.memory, self.warmup = memory, warmup

    def begin(self, plan: Plan) -> tuple[Column, ...]:
        """A distribution over the classes for every sample."""
        self.warmup_epochs = shortened(self.warmup, 60, quarter(plan.epochs))
        return (Column("adapted", width="classes"),)

    def decide(self, step: Step) -> Decision:
        """The moved targets, and how sure they are."""
        adapted = self.history["adapted"]
        if step.epoch < self.warmup_epochs:
            adapted[step.index] = F.one_hot(step.labels, self.plan.classes).to(adapted.dtype)
            return Decision()
        moved = adapted[step.index].lerp(step.probabilities(), 1 - self.memory)
        adapted[step.index] = moved
        return Decision(moved.amax(1), moved[None])
