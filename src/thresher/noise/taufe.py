"""TAUFE: features that answer to foreign samples are of no use for the classes; damp them.

What a network sees in samples of none of the classes, backgrounds and textures, says nothing of the
classes. Pushing its features of such samples to zero leaves those that do.

    loss = CE + λ mean over foreign samples of ‖φ‖²           reduction "sum"
         = CE + λ mean over foreign samples of ‖φ‖² / d       reduction "mean"
    φ    = the d inputs of the last linear layer
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from thresher.errors import ParameterError, nearest
from thresher.noise.method import Decision, Method, Step

__all__ = ["TAUFE", "check_strength", "feature_energy"]

Reduction = Literal["sum", "mean"]
REDUCTIONS = ("sum", "mean")


def feature_energy(features: Tensor, reduction: Reduction) -> Tensor:
    """‖φ‖², or its mean over the features; (S, d) → (S,)."""
    squared = features.square()
    return squared.sum(1) if reduction == "sum" else squared.mean(1)


def check_strength(strength: float) -> float:
    """Refuse a negative weight of the stream.

    Raises:
        ParameterError: strength below 0.
    """
    if not strength >= 0:
        raise ParameterError(
            f"strength must be 0 or more, got {strength:g}.", "Leave it out to use the default."
        )
    return strength


class TAUFE(Method):
    """Train on every label, and keep the network from seeing anything in foreign samples.

    Args:
        strength: λ >= 0. Default 0.1 (Park et al. 2021, CIFAR; they take 0.01 for ImageNet). 0 is
            standard training, without a stream.
        reduction: "sum" or "mean" of a sample's squared features. Default "sum", the paper's
            formula: the authors' code takes the mean of 512 features, which at the same λ does
            next to nothing to a small network.

    Raises:
        ParameterError: a value out of range; there are no further data.
        ModelError: the network does not end in a linear layer.

    Cost: a batch of further data as large as the training's in every step, so twice the time.
    Hurts when: the further data are of the classes, or lie far outside of the range of the
    training's columns. Batch normalisation sees both kinds together.
    Source: Park, Song, Kim, Lee, Task-Agnostic Undesirable Feature Deactivation Using
    Out-of-Distribution Data, NeurIPS 2021. Deviations: the rows of the stream are drawn anew in
    every step, not in the order of the data.
    """

    name = "taufe"
    source = "Park et al., NeurIPS 2021"
    family = "open set"

    def __init__(self, *, strength: float = 0.1, reduction: Reduction = "sum") -> None:
        if reduction not in REDUCTIONS:
            raise ParameterError(
                f'reduction must be "sum" or "mean", got "{reduction}".',
                nearest(str(reduction), REDUCTIONS),
            )
        self.strength, self.reduction = check_strength(strength), reduction
        self.wants_features = strength > 0

    def streams(self) -> tuple[str, ...]:
        """Foreign samples, unless they count for nothing."""
        return ("auxiliary",) if self.strength else ()

    def decide(self, step: Step) -> Decision:
        """Every sample with its given label, and the features of the foreign ones."""
        if not self.strength:
            return Decision()
        energy = feature_energy(step.stream_features(), self.reduction)
        return Decision(further=self.strength * energy)
