"""ODNL: foreign samples with random labels use up what the network would memorise with.

Their labels are drawn anew in every epoch, so they can never be learned, and the pull towards them
is a noise that keeps the network off solutions in which single labels matter.

    loss = CE + η mean over foreign samples of CE(x, label drawn for x in this epoch)
"""

from __future__ import annotations

from torch import Tensor

from thresher.keyed_random import keyed_seed, keyed_uniform
from thresher.noise.method import Decision, Method, Step
from thresher.noise.taufe import check_strength

__all__ = ["ODNL", "random_labels"]


def random_labels(index: Tensor, classes: int, *, seed: int, epoch: int) -> Tensor:
    """Labels that belong to (seed, epoch, row), each class as probable; (S,) → (S,) int64."""
    uniform = keyed_uniform(keyed_seed(seed, "odnl"), epoch, index, 0)
    return (uniform.double() * classes).long()


class ODNL(Method):
    """Train on every label, and on foreign samples with labels drawn anew in every epoch.

    Args:
        strength: η >= 0. Default 2.5 (Wei et al. 2021, CIFAR-10 with symmetric noise; they take 2
            to 3.5 there, 1 to 2 for CIFAR-100). 0 is standard training, without a stream.

    Raises:
        ParameterError: a value out of range; there are no further data.

    Cost: a batch of further data as large as the training's in every step, so twice the time.
    Hurts when: the further data are few, of the classes, or far outside of the range of the
    training's columns, where the loss may grow without bound. Batch normalisation sees both kinds
    together.
    Source: Wei, Tao, Xie, An, Open-set Label Noise Can Improve Robustness Against Inherent Label
    Noise, NeurIPS 2021.
    """

    name = "odnl"
    source = "Wei et al., NeurIPS 2021"
    family = "open set"

    def __init__(self, *, strength: float = 2.5) -> None:
        self.strength = check_strength(strength)

    def streams(self) -> tuple[str, ...]:
        """Foreign samples, unless they count for nothing."""
        return ("auxiliary",) if self.strength else ()

    def decide(self, step: Step) -> Decision:
        """Every sample with its given label, and the foreign ones with those of this epoch."""
        if not self.strength or step.stream is None:
            return Decision()
        logits = step.stream_logits()  # (J, S, k)
        labels = random_labels(step.stream, logits.shape[2], seed=self.plan.seed, epoch=step.epoch)
        losses = self.sample_loss(logits, labels.expand(len(logits), -1))
        return Decision(further=self.strength * losses)
