"""MORPH: learn from everything until as many samples are memorised as are clean; then from those.

Training switches by itself from *seeding*, on all samples, to *evolution*, on the maximal safe set:
the memorised samples of every batch. As the network gets cleaner, right samples enter the set and
wrong ones leave it. All that has to be known of the labels is how often they are wrong, and that
can be estimated.

    switch  when |M| ≥ (1 - τ - δ) N         M = memorised samples (memorised.py); never if τ = 0
    loss    = (1 / |S|) Σ_S CE(x, given) + (w(t) / b) Σ ‖p(x) - p(x')‖²
    S       = M in the batch,  w(t) = w_max exp(-5 (1 - u)²),  u = min(1, (t - t_switch) / ramp)
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from thresher.errors import ParameterError
from thresher.history import Column
from thresher.noise.estimators import choose_estimator
from thresher.noise.memorised import label_history, memorised_rows, memorised_share, safe_set
from thresher.noise.method import Change, Decision, Method, Plan, Step
from thresher.phases import quarter, shortened
from thresher.ranges import check_positive

__all__ = ["MORPH", "ramp_up", "squared_distance"]

FIRST_SWITCH = 2  # epochs: the losses of the first one say little
SEEDING_SHARE = 0.5  # of the run, after which the switch is forced


def ramp_up(progress: float) -> float:
    """exp(-5 (1 - u)²), the Gaussian ramp (Laine & Aila 2017), held at 1 from u = 1 on.

    >>> round(ramp_up(0), 4), ramp_up(1), ramp_up(2)
    (0.0067, 1.0, 1.0)
    """
    return math.exp(-5 * (1 - min(1.0, progress)) ** 2)


def squared_distance(logits: Tensor, other: Tensor) -> Tensor:
    """‖p - p'‖² between the predictions of two views: two (J, B, k) with graph; (J, B)."""
    return (logits.softmax(-1) - other.softmax(-1)).square().sum(-1)


class MORPH(Method):
    """Switch by itself from learning everything to learning from what is safely memorised.

    Args:
        noise_rate: τ, share of wrong labels, in [0, 1). None estimates it after every epoch until
            the switch.
        window: q, predictions remembered, >= 1. Default 10 (Song et al. 2021).
        margin: δ, how much earlier than at the crossing it switches, in [0, 1). Default 0.1: after
            an early switch the safe set grows back, after a late one wrong labels stay in it.
        cap: Keep at most the share 1 - τ of a batch, those memorised most firmly. Default False.
        misses: r, visits in a row in which a sample must not be memorised to leave the safe set,
            in [1, 100]. Default 1, as published: it leaves at once. Patience keeps wrong labels
            too: with 2 the toy under pair noise loses six points.
        estimate: What an unknown τ is estimated by (estimators.py). Default "settled"; the paper
            takes "gaussian-mean", which takes hard samples for wrong.
        consistency: w_max, weight of agreement between two random views of every sample, those
            outside the safe set included, >= 0. Default 0: one view, as data without augmentation
            allow; the paper's variant takes about 5.
        ramp: Epochs until the full weight of consistency, > 0. Default 10, or a quarter of a
            shorter run.

    Raises:
        ParameterError: a value out of range.

    Cost: 2 q + 4 bytes a sample, 4 more where τ is estimated, one more where r > 1; with
    consistency a second forward and backward pass. Hurts when: the network has hardly learned when
    it switches: classes it does not predict yet are lost.
    Source: Song, Kim, Park, Shin, Lee, Robust Learning by Self-Transition for Handling Noisy
    Labels, KDD 2021. Deviations: the estimate of τ; histories count as soon as they hold a
    prediction; the margin; the cap, which is Prestopping's; patience with misses; half of the
    run forces the switch where training stands, as going back to the epoch nearest to the crossing
    would cost a copy of the network; the length of the ramp is our choice.
    """

    name = "morph"
    source = "Song et al., KDD 2021"
    sample_bytes = "2q+8"
    sample_bytes_told = "2q+4"
    family = "sample selection"
    properties = "++-++~"
    needs: tuple[str, ...] = ("noise_rate",)
    observe_first = True
    state = ("rate", "switched_at")

    def __init__(
        self,
        noise_rate: float | None = None,
        *,
        window: int = 10,
        margin: float = 0.1,
        cap: bool = False,
        misses: int = 1,
        estimate: str = "settled",
        consistency: float = 0.0,
        ramp: int | None = None,
    ) -> None:
        self.estimator = choose_estimator(noise_rate, estimate)
        self.needs = (*self.needs, *self.estimator.needs)
        check_positive("window", window)
        check_positive("ramp", ramp)
        check_positive("misses", misses, below=100)
        if not 0 <= margin < 1:
            raise ParameterError(
                f"margin must be in [0, 1), got {margin:g}.", "Leave it out to use the default."
            )
        if not consistency >= 0:
            raise ParameterError(
                f"consistency must be 0 or more, got {consistency:g}.", "Use 0 for a single view."
            )
        self.window, self.margin, self.cap, self.misses = window, margin, cap, misses
        self.consistency, self.ramp = consistency, ramp
        self.views = 2 if consistency else 1
        self.rate = noise_rate or 0.0
        self.switched_at = -1  # first epoch of evolution; -1 = still seeding

    def begin(self, plan: Plan) -> tuple[Column, ...]:
        """The last predictions of every sample, and what τ is estimated from."""
        self.ramp_epochs = shortened(self.ramp, 10, quarter(plan.epochs))
        left = Column("misses", torch.uint8, fill=self.misses)
        return (
            *label_history(self.window),
            *self.estimator.begin(plan),
            *((left,) if self.misses > 1 else ()),
        )

    def decide(self, step: Step) -> Decision:
        """Every sample while seeding; then the safe set, and consistency for the whole batch."""
        if self.switched_at < 0:
            self.estimator.observe(self.history, step)
            return Decision()
        cap = 1 - self.rate if self.cap else None
        safe = safe_set(self.history, step, cap, self.window, self.misses)
        weights = safe.to(step.losses.dtype)
        if step.rest is None or not self.consistency:
            return Decision(weights)
        weight = self.consistency * ramp_up((step.epoch - self.switched_at) / self.ramp_epochs)
        # divided by |S| with the rest of the loss, and meant to be by the batch
        trained = step.ones() if step.eligible is None else step.eligible
        learned = safe
        if "trusted" in self.history:  # which count whatever is decided
            learned = safe | (self.history["trusted"][step.index] & trained.bool())
        scale = weight * float(learned.sum() / trained.sum().clamp(min=1))
        return Decision(weights, penalty=scale * squared_distance(step.logits, step.rest))

    def end_epoch(self, measured: Mapping[str, float]) -> Change | None:
        """While seeding: estimate τ, and switch once as many samples are memorised as are clean."""
        done = self.history.epoch + 1
        if self.switched_at >= 0 or done < FIRST_SWITCH:
            return None
        self.rate = self.estimator.after_epoch(self.history, self.rate)
        if self.rate == 0:  # nothing is known to be wrong, so that there is nothing to leave out
            return None
        half = math.inf if self.plan.epochs is None else SEEDING_SHARE * self.plan.epochs
        crossed = memorised_share(self.history, self.window) >= 1 - self.rate - self.margin
        if crossed or done >= half:
            self.switched_at = done
            if self.misses > 1:  # the set that is memorised now is the first safe set
                self.history["misses"][memorised_rows(self.history, self.window)[0]] = 0
        return None
