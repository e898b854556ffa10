"""Prestopping+: after Prestopping, a fresh network learns from the safe set and refurbished labels.

What Prestopping is sure of at its end is frozen; what it left out may still teach, with another
label. A fresh network warms up on everything, then learns from the frozen safe set S with the given
labels and from those of the other samples whose prediction it has settled on with that label, as in
SELFIE. Being safe comes before being refurbishable.

    rounds 1, 2     Prestopping's phases I and II; phase III, the fresh network
    S               at most floor(N (1 - τ)) memorised samples at the end of round 1, the firmest
    loss            (1 / n) ( Σ_S CE(x, given) + Σ_{R∖S} CE(x, refurbished) ),  n = |S ∪ R|
    R               F ≤ ε over a full window                                    (selfie.py)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch

from thresher.errors import ParameterError
from thresher.history import LAST_LOSS, Column
from thresher.noise.memorised import memorised_rows, safest
from thresher.noise.method import Change, Decision, Plan, Step
from thresher.noise.prestopping import Prestopping
from thresher.noise.rate import RATE_COLUMNS
from thresher.noise.selfie import filling_warmup, refurbishable, refurbishing_columns
from thresher.phases import shortened
from thresher.ranges import check_positive

__all__ = ["PrestoppingPlus"]


class PrestoppingPlus(Prestopping):
    """Train anew on what Prestopping found safe, and relabel what it left out.

    Args:
        noise_rate: τ, as of `Prestopping`.
        window: q of phases I and II, >= 1. Default 10 (Song et al. 2020).
        patience: As of `Prestopping`; a quarter of a shorter first round.
        cap: Keep no more samples than are clean, in a batch and in the frozen set. Default True.
        stop: What ends phase I, as of `Prestopping`. Default "combined".
        threshold: ε of phase III, largest uncertainty that is refurbished, in (0, 1]. Default 0.05
            (as SELFIE, Song et al. 2019).
        refurbish_window: q of phase III, >= 1. Default 15 (the same), or the warm-up if shorter.
        warmup: Epochs of standard training of the fresh network, >= 1. Default 25 (the same), or a
            quarter of a shorter round, but at least 5, or the window.
        estimate: What an unknown τ is estimated by (estimators.py). Default "settled".

    Each round takes half of the epochs.

    Raises:
        ParameterError: a value out of range, or fewer epochs than rounds.

    Cost: 2 q + 17 bytes a sample, a copy of the network, the patience. Hurts when: classes are many
    (the authors report a loss on FOOD-101N), or half of the epochs are too few for a training.
    Source: Song, Kim, Park, Lee, How Does Early Stopping Help Generalization against Label Noise?,
    ICML 2020 workshop. Deviations: as of Prestopping and SELFIE; the frozen set is capped as a
    whole; the prediction of the step itself counts as in phase II; phase III is trained once, the
    authors' code restarts it three times.
    """

    name = "prestopping-plus"
    source = "Song et al., ICML 2020 workshop"
    sample_bytes = "2q+17"
    sample_bytes_told = "2q+17"
    family = "hybrid"
    state = (*Prestopping.state, "frozen_at")

    def __init__(
        self,
        noise_rate: float | None = None,
        *,
        window: int = 10,
        patience: int | None = None,
        cap: bool = True,
        stop: Literal["combined", "validation", "noise-rate", "memorised"] = "combined",
        threshold: float = 0.05,
        refurbish_window: int | None = None,
        warmup: int | None = None,
        estimate: str = "settled",
    ) -> None:
        super().__init__(
            noise_rate, window=window, patience=patience, cap=cap, stop=stop, estimate=estimate
        )
        check_positive("threshold", threshold, below=1)
        check_positive("refurbish_window", refurbish_window)
        check_positive("warmup", warmup)
        if refurbish_window is not None and warmup is not None and refurbish_window > warmup:
            raise ParameterError(
                f"refurbish_window ({refurbish_window}) must not exceed warmup ({warmup}).",
                "A history is trusted only when the warm-up has filled it.",
            )
        self.threshold, self.refurbish_window, self.warmup = threshold, refurbish_window, warmup
        self.frozen_at = -1  # first epoch of phase III; -1 = phases I and II

    def rounds(self) -> int:
        """Prestopping, and the fresh network."""
        return 2

    def begin(self, plan: Plan) -> tuple[Column, ...]:
        """What Prestopping remembers; the safe set; what refurbishing reads."""
        if plan.epochs is None or plan.epochs < self.rounds():
            raise ParameterError(
                f"{self.name} must know its epochs, {self.rounds()} at least, got {plan.epochs}.",
                "Pass epochs to start: the first half belongs to the first network.",
            )
        self.round_epochs = plan.epochs // self.rounds()
        first = super().begin(replace(plan, epochs=self.round_epochs))
        self.warmup_epochs = self.warmup or filling_warmup(
            self.refurbish_window, plan.epochs - self.round_epochs
        )
        self.refurbish_epochs = shortened(self.refurbish_window, 15, self.warmup_epochs)
        return (
            *first,
            *refurbishing_columns(self.refurbish_epochs, self.threshold, plan.classes),
            LAST_LOSS,
            Column("safe", torch.bool),
            Column("refurbished", "class", fill=-1),
        )

    def decide(self, step: Step) -> Decision:
        """Prestopping; then everything; then the safe set and refurbished samples."""
        if self.frozen_at < 0:
            return super().decide(step)
        if step.epoch - self.frozen_at < self.warmup_epochs:
            return Decision()
        history = self.history
        certain, label = refurbishable(history, step.index, self.refurbish_epochs, self.threshold)
        safe = history["safe"][step.index]
        relabelled = certain & ~safe & self.may_relabel(step.index)
        before = history["refurbished"][step.index]
        history["refurbished"][step.index] = torch.where(relabelled, label, before.long()).to(
            before.dtype
        )
        targets = torch.where(relabelled, label, step.labels)
        return Decision((safe | relabelled).to(step.losses.dtype), targets)

    def end_epoch(self, measured: Mapping[str, float]) -> Change | None:
        """Prestopping's; at half time freeze the safe set and begin with a fresh network."""
        if self.frozen_at >= 0:
            return None
        done = self.history.epoch + 1
        if done < self.round_epochs:
            return super().end_epoch(measured)
        if self.stopped_at < 0:  # phase I lasted until now, and its last epoch counts
            self.rate = self.estimator.after_epoch(self.history, self.rate)
        self.freeze()
        self.frozen_at = done
        read = refurbishing_columns(self.refurbish_epochs, self.threshold, self.plan.classes)
        self.history.forget("run_length" if read == RATE_COLUMNS else "pushes")
        return Change(reset=("",))

    def freeze(self) -> None:
        """Keep the memorised samples as the safe set, with a cap no more than are clean."""
        history = self.history
        known, confidence = memorised_rows(history, self.window)
        if self.cap:
            most = math.floor((1 - self.rate) * int(history["eligible"].sum()) + 1e-9)
            known = safest(known, confidence, history["last_loss"], max(1, most))
        history["safe"].copy_(known)
