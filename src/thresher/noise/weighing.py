"""What a decision makes of the losses of a step: trusted and foreign rows, weights, sums.

decision of the method → `unrelabelled` → `trusting` → `weighted_parts` → sums and totals
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from thresher.distributed import summed
from thresher.noise.method import Decision, Parts, Step

__all__ = ["learned_labels", "trusting", "unrelabelled", "weighted_parts"]


def learned_labels(step: Step, decision: Decision) -> Tensor:
    """The labels that a step learns from, (G,): given or refurbished; of shares the largest."""
    targets = decision.targets
    if targets is None:
        return step.labels
    if targets.is_floating_point():
        return targets.mean(0).argmax(-1)
    return targets if targets.dim() == 1 else targets[0]


def trusting(step: Step, decision: Decision, trusted: Tensor) -> Decision:
    """Keep a method from doubting trusted samples: full weight, given label, no penalty.

    Args:
        step: The step.
        decision: What the method answered.
        trusted: (G,) bool.
    """
    targets, weights, penalty = decision.targets, decision.weights, decision.penalty
    if targets is not None:
        own = step.labels
        if targets.is_floating_point():  # shares of the classes, (J, G, k)
            own = F.one_hot(own, targets.shape[-1]).to(targets.dtype)
            targets = torch.where(trusted[:, None], own, targets)
        else:
            targets = torch.where(trusted, own, targets)
    if weights is not None:
        weights = torch.where(trusted, 1.0, weights)
    if penalty is not None:
        penalty = torch.where(trusted[step.here], 0.0, penalty)
    return replace(decision, targets=targets, weights=weights, penalty=penalty)


def unrelabelled(step: Step, decision: Decision, foreign: Tensor) -> Decision:
    """Keep a method from relabelling what is of no class: dropped where its target is another.

    Of targets that are shares of the classes the largest is the target.

    Args:
        step: The step.
        decision: What the method answered.
        foreign: (G,) bool.
    """
    targets = decision.targets
    if targets is None:
        return decision
    learned = targets.argmax(-1) if targets.is_floating_point() else targets
    weights = step.ones() if decision.weights is None else decision.weights
    return replace(decision, weights=torch.where(foreign & (learned != step.labels), 0.0, weights))


def weighted_parts(
    step: Step, decision: Decision, losses: Tensor, factors: Tensor | None = None
) -> Parts:
    """Sum the losses of this process's rows, times the weights that were decided.

    Args:
        step: The step.
        decision: What was decided.
        losses: (J, B) with graph, against the targets of the decision.
        factors: (B,) what a sampler multiplies the rows by; None = 1.

    Returns:
        Sums over this process's rows, totals over those of all processes.
    """
    weights, penalty = decision.weights, decision.penalty
    if factors is not None:
        losses = losses * factors
        penalty = None if penalty is None else penalty * factors
    if weights is None and step.eligible is None:  # nothing to mask, which would cost 5 %
        sums = losses.sum(1)
        totals = torch.full_like(sums, len(step.labels), requires_grad=False)
    else:
        weights = step.ones() if weights is None else weights
        weights = weights.expand(len(losses), -1)  # (J, G)
        if step.eligible is not None:
            weights = weights * step.eligible
        mine = weights[:, step.here]
        # dropping is masking: 0 · inf would be NaN
        sums = torch.where(mine > 0, mine * losses, 0).sum(1)
        totals = weights.sum(1)
    if penalty is not None:
        if step.eligible is not None:
            penalty = torch.where(step.eligible[step.here], penalty, 0)
        sums = sums + penalty.expand(len(losses), -1).sum(1)
    if decision.divisor == "batch":
        count = len(step.labels) if step.eligible is None else int(step.eligible.sum())
        totals = torch.full_like(totals, count)
    if decision.further is not None:
        further = decision.further.expand(len(losses), -1)  # (J, S)
        rows = summed(totals.new_tensor(float(further.shape[1])))  # of all processes
        sums = sums + totals * further.sum(1) / rows.clamp(min=1)
    return Parts(sums, totals)
