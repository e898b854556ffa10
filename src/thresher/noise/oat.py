"""OAT: foreign samples are to look like all classes alike.

What the network finds in a sample of none of the classes says nothing about classes; told to be
undecided there, it learns to make little of such features elsewhere as well.

    loss = CE + λ mean over foreign samples of  -(1/k) Σ_c ln p_c
"""

from __future__ import annotations

from torch import Tensor

from thresher.noise.method import Decision, Method, Step
from thresher.noise.taufe import check_strength

__all__ = ["OAT", "uniform_cross_entropy"]


def uniform_cross_entropy(logits: Tensor) -> Tensor:
    """-(1/k) Σ_c ln p_c for logits (…, k); ln k at least, where all classes are as probable."""
    return -logits.log_softmax(-1).mean(-1)


class OAT(Method):
    """Train on every label, and on foreign samples with all classes as their target.

    Args:
        strength: λ >= 0. Default 1 (Lee et al. 2021). 0 is standard training, without a stream.

    Raises:
        ParameterError: a value out of range; there are no further data.

    Cost: a batch of further data as large as the training's in every step, so twice the time.
    Hurts when: the further data are of the classes, or lie far outside of the range of the
    training's columns. Batch normalisation sees both kinds together.
    Source: Lee, Park, Lee, Yi, Yoon, Removing Undesirable Feature Contributions Using
    Out-of-Distribution Data, ICLR 2021. Deviations: standard training only, not the adversarial
    one.
    """

    name = "oat"
    source = "Lee et al., ICLR 2021"
    family = "open set"

    def __init__(self, *, strength: float = 1.0) -> None:
        self.strength = check_strength(strength)

    def streams(self) -> tuple[str, ...]:
        """Foreign samples, unless they count for nothing."""
        return ("auxiliary",) if self.strength else ()

    def decide(self, step: Step) -> Decision:
        """Every sample with its given label, and the foreign ones with all of them."""
        if not self.strength:
            return Decision()
        return Decision(further=self.strength * uniform_cross_entropy(step.stream_logits()))
