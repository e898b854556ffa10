"""Ada-Boundary: draw samples near the current decision boundary.

Far and right is too easy to teach anything, far and wrong too hard. What lies close to the boundary
moves it most. Scores are renewed as samples are seen, from the very forward pass they learn by.

    v = signed distance in [-1, 1]        (boundary_distance.py)
    boundary  u = |v|            easy  u = (1 - v) / 2            hard  u = (1 + v) / 2
    P(i) ∝ s_e^(-u_i)
    uniform   P(i) ∝ 1 / |bin of v_i|     [-1, 1] in equal bins; every one that holds samples alike
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from thresher.boundary_distance import logit_margin, probability_margin, signed_deviation
from thresher.errors import ParameterError
from thresher.history import BOUNDARY_DISTANCE, Column, SampleHistory
from thresher.ranges import check_positive
from thresher.sampling.levels import MAX_PRESSURE
from thresher.sampling.pressure import Decay, Pressure
from thresher.sampling.selector import Observed, Scored, warmup_epochs
from thresher.sampling.weights import weight_scores

__all__ = ["AdaBoundary", "Distance", "Variant", "ada_scores", "uniform_scores"]

Variant: TypeAlias = Literal["boundary", "easy", "hard", "uniform"]
Distance: TypeAlias = Literal["std", "margin", "logit_margin"]

OFFICIAL_PRESSURE, OFFICIAL_WARMUP = 100.0, 15
RECOMMENDED_PRESSURE, LEAST_WARMUP, WARMUP_SHARE = 10.0, 5, 0.1


def ada_scores(signed: Tensor, variant: Literal["boundary", "easy", "hard"]) -> Tensor:
    """Scores u of signed distances v in [-1, 1]; 0 = most wanted. Any shape, and the same back.

    >>> v = torch.tensor([-1.0, 0.0, 1.0])
    >>> [ada_scores(v, variant).tolist() for variant in ("boundary", "easy", "hard")]
    [[1.0, 0.0, 1.0], [1.0, 0.5, 0.0], [0.0, 0.5, 1.0]]
    """
    if variant == "boundary":
        return signed.abs()
    return (1 - signed) / 2 if variant == "easy" else (1 + signed) / 2


def uniform_scores(signed: Tensor, bins: int, pressure: float) -> Tensor:
    """Scores under which every bin that holds samples is drawn alike, each of its samples too.

    Args:
        signed: (N,) float distances in [-1, 1], N >= 1; NaN = unknown, and so is its score.
        bins: Equal bins of [-1, 1], >= 1; 0 lies in the first above the middle.
        pressure: At which they are drawn; at least as many times as the fullest bin holds more
            than the emptiest.

    Returns:
        (N,) float in [0, 1].
    """
    known = ~signed.isnan()
    place = ((signed.nan_to_num() + 1) / 2 * bins).long().clamp(0, bins - 1)
    population = torch.bincount(place[known], minlength=bins)[place].double()
    return weight_scores((1 / population).masked_fill(~known, math.nan), pressure)


class AdaBoundary(Scored):
    """Draw samples near the decision boundary, or the easy ones, the hard ones, or all alike.

    Args:
        pressure: s_e >= 1. Default 10, the smallest of the manuscript's grid 10, 100, 1000.
        variant: "boundary"; "easy" or "hard" prefer the confidently right or wrong; "uniform"
            takes no pressure.
        distance: "std" as published; "margin" or "logit_margin", which are 0 between two classes of
            many. The uniform variant knows "std" alone.
        logit_scale: What logit margins are divided by before tanh, > 0. Default 2: with two classes
            the margin of the probabilities.
        warmup: Epochs of shuffled batches, >= 0. Default 5 or a tenth of the run, whichever is
            more, and at most a quarter.
        decay: How the pressure comes down to 1. Default "constant", as published.
        bins: Of the uniform variant, >= 1. Default 40 (official code).
        preset: "official" takes over s_e = 100, the default of the released function, and 15 epochs
            of warm-up, never shortened. Its runs had s_e = 32 (Fashion-MNIST) and 2 (CIFAR-10),
            which the caller passes. What it cannot take over lies with the batch sampler: draws
            with replacement, also in the warm-up, which here is of shuffled epochs.

    Raises:
        ParameterError: a value out of range, or two that contradict each other.

    Cost: O(B k) a step; 4 bytes a sample for the uniform variant. Hurts when: labels are wrong, for
    it draws them more often than others; the hard variant does so strongly.
    Source: Song, Kim, Kim, Lee, Ada-Boundary: accelerating DNN training via adaptive boundary batch
    selection, Machine Learning 109, 2020. Deviations: scores are not cut into N levels, which
    changes a weight by less than 1e-4; the manuscript's further forward pass after each update is
    not made, as in the released code; bins of the uniform variant are counted before each epoch,
    not after each step, and by given labels.
    """

    name = "ada-boundary"
    rowwise = True
    source = "Song et al., Machine Learning 2020"

    def __init__(
        self,
        pressure: float | None = None,
        *,
        variant: Variant = "boundary",
        distance: Distance = "std",
        logit_scale: float = 2.0,
        warmup: int | None = None,
        decay: Decay = "constant",
        bins: int = 40,
        preset: Literal["recommended", "official"] = "recommended",
    ) -> None:
        for name, value, allowed in (
            ("variant", variant, get_args(Variant)),
            ("distance", distance, get_args(Distance)),
            ("preset", preset, ("recommended", "official")),
        ):
            if value not in allowed:
                raise ParameterError(
                    f"{name} must be one of {', '.join(allowed)}, got {value!r}.",
                    "Leave it out to use the default.",
                )
        check_positive("logit_scale", logit_scale)
        check_positive("bins", bins)
        if variant == "uniform" and (pressure is not None or decay != "constant"):
            raise ParameterError(
                "The uniform variant takes no selection pressure: bins are drawn alike.",
                "Leave pressure and decay out.",
            )
        if variant == "uniform" and distance != "std":
            raise ParameterError(
                f'The uniform variant bins the distance "std", got "{distance}".',
                'Leave distance out, or choose another variant, such as "boundary".',
            )
        self.variant, self.distance, self.preset = variant, distance, preset
        self.logit_scale, self.bins = logit_scale, bins
        official = preset == "official"
        if pressure is None:
            pressure = OFFICIAL_PRESSURE if official else RECOMMENDED_PRESSURE
        self.selection = Pressure(pressure, decay)
        self.written_warmup = OFFICIAL_WARMUP if official and warmup is None else warmup

    def begin(self, samples: int, classes: int, epochs: int | None) -> tuple[Column, ...]:
        """Lengths of this run; the last distances where they are binned."""
        self.selection.needs_end(epochs)
        tenth = 0 if epochs is None else math.ceil(WARMUP_SHARE * epochs)
        self.warmup = warmup_epochs(self.written_warmup, max(LEAST_WARMUP, tenth), epochs)
        self.samples, self.epochs = samples, epochs
        return (BOUNDARY_DISTANCE,) if self.variant == "uniform" else ()

    def pressure(self, epoch: int) -> float:
        """s_e of this epoch; N for the uniform variant, which no bin can exceed."""
        if self.variant == "uniform":
            return float(min(max(2, self.samples), MAX_PRESSURE))
        return self.selection(epoch, warmup=self.warmup, epochs=self.epochs)

    def refresh(self, history: SampleHistory, epoch: int) -> Tensor | None:
        """Count the bins of the uniform variant; the others are scored step by step."""
        if self.variant != "uniform":
            return None
        return uniform_scores(history["boundary_distance"], self.bins, self.pressure(epoch))

    def rescore(self, observed: Observed) -> Tensor | None:
        """Scores of the rows of a step, (G,); NaN where the network answered with none."""
        if self.variant == "uniform":
            return None
        return ada_scores(self.signed(observed), self.variant)

    def signed(self, observed: Observed) -> Tensor:
        """Signed distances of the rows of a step, (G,) in [-1, 1]."""
        logits, targets = observed.logits, observed.targets
        if self.distance == "logit_margin":
            return logit_margin(logits, targets, self.logit_scale)
        measure = signed_deviation if self.distance == "std" else probability_margin
        return measure(logits.softmax(1), targets)
