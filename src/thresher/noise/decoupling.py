"""Decoupling: two networks learn from the samples on which they disagree.

When to learn is decoupled from how: where both networks predict the same class there is no update,
be the label right or wrong. Wrong labels of samples that both have understood thus stop pulling.

    learn from  argmax p₁ ≠ argmax p₂, each network with its own cross-entropy
"""

from __future__ import annotations

from torch import Tensor

from thresher.history import Column
from thresher.noise.method import Decision, Method, Plan, Step
from thresher.phases import quarter, shortened
from thresher.ranges import check_not_negative

__all__ = ["Decoupling", "disagreement"]

WARMUP = 5


def disagreement(scores: Tensor) -> Tensor:
    """Where two networks predict different classes: logits (2, G, k); (G,) bool."""
    first, second = scores.argmax(-1)
    different: Tensor = first != second
    return different


class Decoupling(Method):
    """Train two networks on the samples on which their predictions differ.

    Args:
        warmup: Epochs in which both learn from every sample, >= 0. Default 5, or a quarter of a
            shorter run.

    A batch without disagreement teaches nothing.

    Raises:
        ParameterError: a negative warm-up.

    Cost: two networks. Hurts when: labels are wrong often: on what the networks disagree, wrong
    labels are more frequent than elsewhere, and nothing tells them apart. Networks that come to
    agree learn no more.
    Source: Malach, Shalev-Shwartz, Decoupling "when to update" from "how to update", NIPS 2017.
    Deviations: the warm-up. Without one, networks that both fall for one class early, as a high
    learning rate can make them, agree and stay there.
    """

    name = "decoupling"
    source = "Malach & Shalev-Shwartz, NIPS 2017"
    family = "sample selection"
    properties = "++-+-~"
    networks = 2

    def __init__(self, *, warmup: int | None = None) -> None:
        check_not_negative("warmup", warmup)
        self.warmup = warmup

    def begin(self, plan: Plan) -> tuple[Column, ...]:
        """Nothing to remember."""
        self.warmup_epochs = shortened(self.warmup, WARMUP, quarter(plan.epochs))
        return ()

    def decide(self, step: Step) -> Decision:
        """Every sample in the warm-up, then those on which the networks disagree."""
        if step.epoch < self.warmup_epochs:
            return Decision()
        return Decision(disagreement(step.scores).to(step.losses.dtype))
