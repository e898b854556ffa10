"""Noise adaptation layer: how labels are confused is learned along with the network.

Behind the network stands a transition matrix T, whose entries are weights like any other. The
network and T together predict the *given* label; the network alone is what is kept, and predicts
the true one. Nothing tells T beforehand, and no second training begins once it is known.

    loss      = -ln Σ_a T[a, y] p_a                               as in forward.py
    C[a, b]   = mean over samples of [y = b] P(a | y, p)          who the given labels seem to be of
    T  ←  a step of Adam down the loss, whose gradient is T Σ C - C, entry by entry

The step is taken from the predictions of all processes, so that all of them hold the same T.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from thresher.history import Column
from thresher.noise.forward import forward_cross_entropy
from thresher.noise.method import Decision, Method, Plan, Step
from thresher.ranges import check_positive

__all__ = [
    "AdaptationLayer",
    "adam_step",
    "finite_or_nothing",
    "soft_confusion",
    "sums_by_given",
]

#: Kingma & Ba, ICLR 2015: decay of the mean gradient, of the mean square; against division by 0.
BETAS, EPSILON = (0.9, 0.999), 1e-8


def sums_by_given(true_class: Tensor, labels: Tensor) -> Tensor:
    """Σ over samples of [y = b] P(a): (B, k) probabilities and (B,) int64 labels; (k, k)."""
    given = F.one_hot(labels, true_class.shape[1]).to(true_class.dtype)
    return true_class.T @ given


def soft_confusion(scores: Tensor, labels: Tensor, transition: Tensor) -> Tensor:
    """How often each class was given as each other one, by what is thought of every sample now.

    >>> uniform = torch.zeros(4, 2)
    >>> soft_confusion(uniform, torch.tensor([0, 0, 1, 1]), torch.eye(2)).round(decimals=3)
    tensor([[0.5000, 0.0000],
            [0.0000, 0.5000]])

    Args:
        scores: (B, k) logits.
        labels: (B,) int64 given labels.
        transition: T (k, k), rows add up to 1.

    Returns:
        C (k, k), adds up to 1: the mean over samples of P(true class a | given label, prediction),
        in the column of the given label.
    """
    from_class = transition.T[labels].clamp(min=torch.finfo(scores.dtype).tiny).log()
    true_class = torch.softmax(scores + from_class, 1)  # (B, k), P(a | y, p)
    return sums_by_given(true_class, labels) / len(labels)


def finite_or_nothing(values: Tensor) -> Tensor:
    """The values, or zeros where one of them is not finite; without waiting for the device."""
    return torch.where(values.isfinite().all(), values, 0.0)


def adam_step(layer: Tensor, gradient: Tensor, steps: int, learning_rate: float) -> None:
    """Move weights down a gradient by Adam, in place.

    Args:
        layer: (3, k, k) weights, mean gradient, mean squared gradient.
        gradient: (k, k).
        steps: Steps taken, this one among them, >= 1.
        learning_rate: How far a weight moves at most, about.

    Source: Kingma, Ba, Adam: A Method for Stochastic Optimization, ICLR 2015.
    """
    weights, mean, square = layer
    first, second = BETAS
    mean.lerp_(gradient, 1 - first)
    square.lerp_(gradient.square(), 1 - second)
    deviation = (square / (1 - second**steps)).sqrt() + EPSILON
    weights.addcdiv_(mean, deviation, value=-learning_rate / (1 - first**steps))


class AdaptationLayer(Method):
    """Base of the methods that learn T: its steps, and what outlives them.

    Args:
        learning_rate: Of Adam, for the weights of T, > 0. The schedule of the run does not move it.
    """

    family = "robust architecture"
    corrects_labels = True
    state: ClassVar[tuple[str, ...]] = ("layer", "layer_steps")
    most: ClassVar[float] = math.inf  # what no weight of T may exceed

    def __init__(self, *, learning_rate: float) -> None:
        check_positive("learning_rate", learning_rate)
        self.learning_rate = learning_rate
        self.steps = 0

    def begin(self, plan: Plan) -> tuple[Column, ...]:
        """Nothing of a sample; the weights of T."""
        weights = self.first_weights(plan.classes)
        still = torch.zeros_like(weights)
        self._layer = torch.stack([weights, still, still]).to(self.history.device)
        self._matrix = self.matrix_of(self._layer[0])
        return ()

    @property
    def layer(self) -> Tensor:
        """Weights of T and the two means of Adam, (3, k, k) float32."""
        return self._layer

    @layer.setter
    def layer(self, layer: Tensor) -> None:
        self._layer = layer.to(self._layer, copy=True)
        self._matrix = self.matrix_of(self._layer[0])

    @property
    def layer_steps(self) -> Tensor:
        """Steps that Adam has taken; a tensor, for it is no figure to follow in the metrics."""
        return torch.tensor(self.steps)

    @layer_steps.setter
    def layer_steps(self, steps: Tensor) -> None:
        self.steps = int(steps)

    @property
    def transition(self) -> list[list[float]]:
        """T as learned so far, (k, k) plain numbers: T[a, b] = P(given b | true a)."""
        return self._matrix.tolist()

    def known_transition(self) -> ArrayLike | None:
        """T as it is now."""
        return self._matrix.cpu().numpy()

    def first_weights(self, classes: int) -> Tensor:
        """The weights that training begins with, (k, k) float32."""
        raise NotImplementedError

    def matrix_of(self, weights: Tensor) -> Tensor:
        """T, (k, k), rows add up to 1."""
        raise NotImplementedError

    def gradient(self, confusion: Tensor) -> Tensor:
        """Of the step's loss, by the weights of T; (k, k) from C."""
        return self._matrix * confusion.sum(1, keepdim=True) - confusion

    def sample_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """-ln Σ_a T[a, y] p_a."""
        return forward_cross_entropy(logits, targets, self._matrix.to(logits.dtype))

    def decide(self, step: Step) -> Decision:
        """Every sample counts with its given label; T moves."""
        if torch.is_grad_enabled():  # an evaluation moves nothing
            rows = self.telling(step)
            scores, labels = step.scores[0][rows], step.labels[rows]
            if len(labels):
                self.learn(scores.float(), labels)
        return Decision()

    def telling(self, step: Step) -> Tensor | slice:
        """Rows of the step whose labels say how labels are confused: trained, and not trusted."""
        if "trusted" not in self.history:
            return slice(None) if step.eligible is None else step.eligible
        doubted = ~self.history["trusted"][step.index]
        return doubted if step.eligible is None else doubted & step.eligible

    def learn(self, scores: Tensor, labels: Tensor) -> None:
        """Take a step from the rows that are trained, (B, k) logits and (B,) given labels."""
        self.steps += 1
        gradient = self.gradient(soft_confusion(scores, labels, self._matrix))
        gradient = finite_or_nothing(gradient)  # of a step that a loop in half precision leaves out
        adam_step(self._layer, gradient, self.steps, self.learning_rate)
        self._matrix = self.matrix_of(self._layer[0].clamp_(max=self.most))
