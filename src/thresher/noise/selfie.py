"""SELFIE: relabel what the network has settled on, learn from what is easy, drop the rest.

A sample whose last predictions agree almost perfectly is *refurbished* to the label they agree on;
of the others the small-loss ones keep their given label, and the rest is left out of the step.

    h(c) = share of class c among the last q predictions
    F    = -(1 / ln k) Σ_c h(c) ln h(c)                        refurbishable iff F ≤ ε
    loss = (1 / |R ∪ C|) ( Σ_R CE(x, refurbished) + Σ_{C∖R} CE(x, given) )
    C    = the ceil(b (1 - τ)) samples of the batch with the smallest loss
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from thresher.errors import ParameterError
from thresher.history import Column
from thresher.label_history import prediction_counts, uncertainty
from thresher.noise.method import Change, Decision, Method, Plan, Step
from thresher.noise.rate import RATE_COLUMNS, SETTLED, estimate_rate
from thresher.noise.small_loss import small_loss
from thresher.phases import quarter, shortened
from thresher.ranges import check_positive, check_rate

__all__ = ["SELFIE", "one_dissent"]


def one_dissent(window: int, classes: int) -> float:
    """F of a history in which one of `window` predictions dissents; below it, only unanimity.

    >>> round(one_dissent(15, 10), 4)
    0.1064
    """
    if window < 2:
        return math.inf
    share = 1 / window
    return -(share * math.log(share) + (1 - share) * math.log(1 - share)) / math.log(classes)


class SELFIE(Method):
    """Refurbish the labels of samples that the network predicts the same way again and again.

    Args:
        noise_rate: τ, share of wrong labels, in [0, 1). None estimates it when the warm-up ends.
        threshold: ε, largest uncertainty that is refurbished, in (0, 1]. Default 0.05
            (Song et al. 2019).
        window: q, predictions remembered, >= 1. Default 15 (the same), or the warm-up if shorter.
        warmup: γ, epochs of standard training, >= window. Default 25 (the same), or a quarter of
            a shorter run.
        restarts: Further trainings from a fresh network within the same epochs. Default 0: the
            paper takes 2, and they brought nothing where we measured.
        reuse: Keep a sample refurbished once it was. Default False.

    Raises:
        ParameterError: a value out of range, or a warm-up shorter than the window.

    Cost: 4 bytes a sample when ε asks for unanimity, else 2 (q + 2). Hurts when: τ is far off.
    Source: Song, Kim, Lee, SELFIE: Refurbishing Unclean Samples for Robust Deep Learning,
    ICML 2019. Deviations from the authors' code: a history counts only when it is full (zeros of
    an unfilled one look unanimous for class 0); after a restart the warm-up uses refurbished
    labels, without which the shrinking τ lets all wrong labels in.
    """

    name = "selfie"
    source = "Song, Kim & Lee, ICML 2019"
    family = "hybrid"
    properties = "+++-+~"
    needs = ("noise_rate",)
    state = ("rate", "round_start")

    def __init__(
        self,
        noise_rate: float | None = None,
        *,
        threshold: float = 0.05,
        window: int | None = None,
        warmup: int | None = None,
        restarts: int = 0,
        reuse: bool = False,
    ) -> None:
        self.noise_rate = check_rate(noise_rate)
        check_positive("threshold", threshold, below=1)
        check_positive("window", window)
        check_positive("warmup", warmup)
        if restarts < 0:
            raise ParameterError(f"restarts must be 0 or more, got {restarts}.", "Use 0 for none.")
        if window is not None and warmup is not None and window > warmup:
            raise ParameterError(
                f"window ({window}) must not exceed warmup ({warmup}).",
                "A history is trusted only when the warm-up has filled it.",
            )
        self.threshold, self.window, self.warmup = threshold, window, warmup
        self.restarts, self.reuse = restarts, reuse
        self.rate = noise_rate or 0.0
        self.round_start = 0

    def rounds(self) -> int:
        """One training, and the restarts."""
        return self.restarts + 1

    def begin(self, plan: Plan) -> tuple[Column, ...]:
        """The last predictions of every sample, and the label it was refurbished to."""
        self.round_epochs = None if plan.epochs is None else plan.epochs // self.rounds()
        if self.round_epochs == 0:
            raise ParameterError(
                f"{plan.epochs} epochs cannot hold {self.rounds()} rounds.",
                "Raise --epochs (it counts all rounds together) or lower restarts.",
            )
        limit = quarter(self.round_epochs)
        if self.window is not None:  # a written window asks for a warm-up that fills it
            limit = max(self.window, limit or 25)
        self.warmup_epochs = shortened(self.warmup, 25, limit)
        self.window_epochs = shortened(self.window, 15, self.warmup_epochs)
        self.unanimous = self.threshold < one_dissent(self.window_epochs, plan.classes)
        runs = RATE_COLUMNS if self.unanimous or self.noise_rate is None else ()
        ring = (
            Column("predictions", "class", width=self.window_epochs),
            Column("pushes", torch.int32),
        )
        refurbished = Column("refurbished", "class", fill=-1)
        return (*runs, *(() if self.unanimous else ring), refurbished)

    def settled(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Which samples are refurbishable (F ≤ ε over a full window), and to which label."""
        history = self.history
        if self.unanimous:
            return history["run_length"][index] >= self.window_epochs, history["run_label"][
                index
            ].long()
        pushes = history["pushes"][index]
        counts, mode = prediction_counts(
            history["predictions"][index], pushes, self.plan.classes, self.window_epochs
        )
        return (pushes >= self.window_epochs) & (uncertainty(counts) <= self.threshold), mode

    def decide(self, step: Step) -> Decision:
        """Refurbished samples with their new label, small-loss ones with the given, no others."""
        refurbished = self.history["refurbished"]
        before = refurbished[step.index].long()
        if step.epoch - self.round_start < self.warmup_epochs:
            if self.round_start == 0:  # nothing is refurbished yet
                return Decision()
            return Decision(targets=torch.where(before >= 0, before, step.labels))
        certain, label = self.settled(step.index)
        certain &= self.may_relabel(step.index)
        refurbished[step.index] = torch.where(certain, label, before).to(refurbished.dtype)
        if self.reuse:
            label = torch.where(certain, label, before)
            certain = certain | (before >= 0)
        clean = small_loss(step.losses, 1 - self.rate, step.eligible)[0]
        targets = torch.where(certain, label, step.labels)
        return Decision((certain | clean).to(step.losses.dtype), targets)

    def end_epoch(self, measured: Mapping[str, float]) -> Change | None:
        """Estimate the noise rate when the warm-up ends; restart when a round ends."""
        done = self.history.epoch + 1 - self.round_start  # epochs of this round
        if self.noise_rate is None and self.round_start == 0 and done <= self.warmup_epochs:
            settled = min(SETTLED, self.warmup_epochs)
            self.rate = estimate_rate(self.history, self.rate, settled_after=settled)
        if self.round_epochs is None or done < self.round_epochs:
            return None
        if self.round_start // self.round_epochs >= self.restarts:
            return None
        self.round_start = self.history.epoch + 1
        ever = float((self.history["refurbished"] >= 0).float().mean())
        self.rate = min(self.rate, 1 - ever)
        self.history.forget(*(("run_length",) if self.unanimous else ("pushes",)))
        return Change(reset=("",))
