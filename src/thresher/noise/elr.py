"""ELR: early-learning regularisation keeps the network near what it believed early.

Every sample has a moving average t of its predictions. A term that grows as the prediction p
agrees with t outweighs the pull of a wrong label, so what was learned early is not unlearned.

    t    ← β t + (1 - β) p            p detached
    loss = CE + λ ln(1 - ⟨p, t⟩)
"""

from __future__ import annotations

import torch
from torch import Tensor

from thresher.history import Column, SampleHistory
from thresher.noise.method import Decision, Method, Plan, Step
from thresher.ranges import check_positive

__all__ = ["ELR", "TARGETS", "early_learning_penalty", "move_targets"]

TARGETS = Column("targets", width="classes")
AGREEMENT_LIMIT = 1 - 1e-4  # ln(1 - ⟨p, t⟩) must stay finite


def move_targets(history: SampleHistory, step: Step, beta: float) -> Tensor:
    """t ← β t + (1 - β) p for every sample of the global batch; returns the new rows (G, k)."""
    targets = history["targets"]
    moved = torch.lerp(step.probabilities(), targets[step.index], beta)
    targets[step.index] = moved
    return moved


def early_learning_penalty(logits: Tensor, targets: Tensor) -> Tensor:
    """ln(1 - ⟨p, t⟩) for logits (B, k) with graph and targets (B, k); returns (B,), <= 0."""
    agreement = (logits.softmax(1) * targets).sum(1).clamp(max=AGREEMENT_LIMIT)
    return torch.log1p(-agreement)


class ELR(Method):
    """Train on every label, held back from unlearning what was believed early.

    Args:
        beta: Memory of the moving average, in (0, 1]. Default 0.7 (Liu et al. 2020, CIFAR-10).
        strength: λ, > 0. Default 3 (the same); the paper takes 7 and beta 0.9 for CIFAR-100.

    Raises:
        ParameterError: a value out of range.

    Cost: 4 k bytes a sample. Hurts when: the training is short, and early beliefs are poor; or it
    has hundreds of epochs at a high learning rate, which keep what was predicted by accident too.
    Source: Liu, Niles-Weed, Razavian, Fernandez-Granda, Early-Learning Regularization Prevents
    Memorization of Noisy Labels, NeurIPS 2020.
    """

    name = "elr"
    source = "Liu et al., NeurIPS 2020"
    sample_bytes = "4k"
    family = "regularisation"

    def __init__(self, *, beta: float = 0.7, strength: float = 3.0) -> None:
        check_positive("beta", beta, below=1)
        check_positive("strength", strength)
        self.beta, self.strength = beta, strength

    def begin(self, plan: Plan) -> tuple[Column, ...]:
        """A moving average of the predictions of every sample."""
        return (TARGETS,)

    def decide(self, step: Step) -> Decision:
        """Every sample with its given label, and the penalty of turning away from its average."""
        targets = move_targets(self.history, step, self.beta)
        penalty = early_learning_penalty(step.logits[0], targets[step.here])
        return Decision(penalty=self.strength * penalty)
