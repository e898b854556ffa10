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
import torch.nn.functional as F
from torch import Tensor

from thresher.errors import ParameterError
from thresher.history import Column, SampleHistory
from thresher.label_history import prediction_counts, uncertainty
from thresher.noise.estimators import choose_estimator
from thresher.noise.memorised import label_history, safest
from thresher.noise.method import Change, Decision, Method, Plan, Step
from thresher.noise.rate import RATE_COLUMNS, SETTLED
from thresher.noise.small_loss import small_loss, small_loss_per_class
from thresher.phases import quarter, shortened
from thresher.ranges import check_positive

__all__ = [
    "SELFIE",
    "filling_warmup",
    "label_shares",
    "one_dissent",
    "refurbishable",
    "refurbishing_columns",
]


def one_dissent(window: int, classes: int) -> float:
    """F of a history in which one of `window` predictions dissents; below it, only unanimity.

    >>> round(one_dissent(15, 10), 4)
    0.1064
    """
    if window < 2:
        return math.inf
    share = 1 / window
    return -(share * math.log(share) + (1 - share) * math.log(1 - share)) / math.log(classes)


def filling_warmup(window: int | None, epochs: int | None) -> int:
    """Epochs of a warm-up that nobody wrote: 25 or a quarter of the run, but enough for a history.

    After fewer than five predictions every sample is nearly certain, and takes the label of a
    network that has hardly begun; a run too short for so many trains as it would without.

    Args:
        window: Predictions that count, as written; None = those of the warm-up.
        epochs: Of the run, or None.

    >>> filling_warmup(None, 100), filling_warmup(None, 8), filling_warmup(30, 100)
    (25, 5, 30)
    """
    return max(window or SETTLED, shortened(None, 25, quarter(epochs)))


def refurbishing_columns(window: int, threshold: float, classes: int) -> tuple[Column, ...]:
    """What `refurbishable` reads: where ε asks for unanimity, the length of a run is enough."""
    if threshold < one_dissent(window, classes):
        return RATE_COLUMNS
    return label_history(window)


def refurbishable(
    history: SampleHistory, index: Tensor, window: int, threshold: float
) -> tuple[Tensor, Tensor]:
    """Which samples are refurbishable (F ≤ ε over a full window), and to which label.

    Args:
        history: With `refurbishing_columns`.
        index: (B,) int64 stable sample indices.
        window: q, predictions that count.
        threshold: ε.

    Returns:
        (B,) bool; (B,) int64, -1 before the first prediction.
    """
    if threshold < one_dissent(window, history.classes):
        certain = history["run_length"][index] >= window
        return certain, history["run_label"][index].long()
    pushes, ring = history["pushes"][index], history["predictions"][index]
    counts, mode = prediction_counts(ring, pushes, history.classes, window)
    return (pushes >= window) & (uncertainty(counts) <= threshold), mode


def label_shares(history: SampleHistory, index: Tensor, window: int, threshold: float) -> Tensor:
    """h, (B, k) float32, of refurbishable samples: the share of each class among the last q.

    Args:
        history, index, window, threshold: As of `refurbishable`.
    """
    if threshold < one_dissent(window, history.classes):  # unanimous
        return F.one_hot(history["run_label"][index].long().clamp(min=0), history.classes).float()
    pushes, ring = history["pushes"][index], history["predictions"][index]
    counts, _ = prediction_counts(ring, pushes, history.classes, window)
    return counts / counts.sum(1, keepdim=True).clamp(min=1)


class SELFIE(Method):
    """Refurbish the labels of samples that the network predicts the same way again and again.

    Args:
        noise_rate: τ, share of wrong labels, in [0, 1). None estimates it when the warm-up ends.
        threshold: ε, largest uncertainty that is refurbished, in (0, 1]. Default 0.05
            (Song et al. 2019).
        window: q, predictions remembered, >= 1. Default 15 (the same), or the warm-up if shorter.
        warmup: γ, epochs of standard training, >= window. Default 25 (the same), or a quarter of
            a shorter run, but at least 5, or the window.
        restarts: Further trainings from a fresh network within the same epochs. Default 0: the
            paper takes 2, and they brought nothing where we measured.
        reuse: Keep a sample refurbished once it was. Default False.
        soft: Learn from the shares h of the last predictions instead of the label that leads.
            Default False. The same where ε asks for unanimity: raise it above `one_dissent`.
        coverage: Largest share of a batch, R and C together, that is learned from, in (0, 1].
            Default 1, as published. Labels that the network gave itself make it consistent with
            them, until every sample is refurbished and the last ones wrongly; with a cap those wait
            whose refurbished label it finds hardest.
        per_class: Choose C within every class, for rare or hard ones. Default False: rounded up in
            every class, it keeps more of a batch, and wrong labels with it.
        estimate: What an unknown τ is estimated by (estimators.py). Default "settled".

    Raises:
        ParameterError: a value out of range, or a warm-up shorter than the window.

    Cost: 6 bytes a sample where ε asks for unanimity, else 2 q + 6, 4 more where τ is estimated.
    Hurts when: τ is far off.
    Source: Song, Kim, Lee, SELFIE: Refurbishing Unclean Samples for Robust Deep Learning,
    ICML 2019. Deviations from the authors' code: a history counts only when it is full (zeros of
    an unfilled one look unanimous for class 0); after a restart the warm-up uses refurbished
    labels, without which the shrinking τ lets all wrong labels in. Soft labels, the cap and the
    choice within classes are not theirs.
    """

    name = "selfie"
    source = "Song, Kim & Lee, ICML 2019"
    sample_bytes = "6"
    family = "hybrid"
    properties = "+++-+~"
    needs: tuple[str, ...] = ("noise_rate",)
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
        soft: bool = False,
        coverage: float = 1.0,
        per_class: bool = False,
        estimate: str = "settled",
    ) -> None:
        self.estimator = choose_estimator(noise_rate, estimate)
        self.needs = (*self.needs, *self.estimator.needs)
        check_positive("threshold", threshold, below=1)
        check_positive("window", window)
        check_positive("warmup", warmup)
        check_positive("coverage", coverage, below=1)
        if restarts < 0:
            raise ParameterError(f"restarts must be 0 or more, got {restarts}.", "Use 0 for none.")
        if window is not None and warmup is not None and window > warmup:
            raise ParameterError(
                f"window ({window}) must not exceed warmup ({warmup}).",
                "A history is trusted only when the warm-up has filled it.",
            )
        self.threshold, self.window, self.warmup = threshold, window, warmup
        self.restarts, self.reuse = restarts, reuse
        self.soft, self.coverage, self.per_class = soft, coverage, per_class
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
        self.warmup_epochs = self.warmup or filling_warmup(self.window, self.round_epochs)
        self.window_epochs = shortened(self.window, 15, self.warmup_epochs)
        return (
            *self.estimator.begin(plan),
            *refurbishing_columns(self.window_epochs, self.threshold, plan.classes),
            Column("refurbished", "class", fill=-1),
        )

    def decide(self, step: Step) -> Decision:
        """Refurbished samples with their new label, small-loss ones with the given, no others."""
        history = self.history
        self.estimator.observe(history, step)
        refurbished = history["refurbished"]
        before = refurbished[step.index].long()
        if step.epoch - self.round_start < self.warmup_epochs:
            if self.round_start == 0:  # nothing is refurbished yet
                return Decision()
            return Decision(targets=torch.where(before >= 0, before, step.labels))
        certain, label = refurbishable(history, step.index, self.window_epochs, self.threshold)
        certain &= self.may_relabel(step.index)
        now = certain
        if self.reuse:
            label = torch.where(certain, label, before)
            certain = certain | (before >= 0)
        targets = torch.where(certain, label, step.labels)
        clean = self.small_loss(step)
        chosen = certain | clean
        if self.coverage < 1:
            chosen = self.covered(step, chosen, clean, targets)
        taken = now & chosen
        refurbished[step.index] = torch.where(taken, label, before).to(refurbished.dtype)
        weights = chosen.to(step.losses.dtype)
        if not self.soft:
            return Decision(weights, targets)
        shares = label_shares(history, step.index, self.window_epochs, self.threshold).to(
            step.losses.dtype
        )
        hard = F.one_hot(targets, self.plan.classes).to(shares.dtype)
        return Decision(weights, torch.where(now[:, None], shares, hard)[None])

    def small_loss(self, step: Step) -> Tensor:
        """C, (G,) bool: the small-loss samples of the batch, or of every class in it."""
        if self.per_class:
            return small_loss_per_class(step.losses, 1 - self.rate, step.labels, step.eligible)[0]
        return small_loss(step.losses, 1 - self.rate, step.eligible)[0]

    def covered(self, step: Step, chosen: Tensor, clean: Tensor, targets: Tensor) -> Tensor:
        """R ∪ C cut down to its share of the batch, (G,) bool: C first, then the easiest of R."""
        trained = len(chosen)
        if step.eligible is not None:
            chosen, trained = chosen & step.eligible, int(step.eligible.sum())
        most = max(1, math.floor(self.coverage * trained + 1e-9))
        own = self.sample_loss(step.scores, targets[None])[0]  # against what would be learned
        return safest(chosen, clean.to(own.dtype), own, most)

    def end_epoch(self, measured: Mapping[str, float]) -> Change | None:
        """Estimate the noise rate while it warms up; restart when a round ends."""
        done = self.history.epoch + 1 - self.round_start  # epochs of this round
        if self.round_start == 0 and done <= self.warmup_epochs:
            self.rate = self.estimator.after_epoch(self.history, self.rate)
        if self.round_epochs is None or done < self.round_epochs:
            return None
        if self.round_start // self.round_epochs >= self.restarts:
            return None
        self.round_start = self.history.epoch + 1
        trained = self.history["eligible"] & (self.history["given"] >= 0)
        ever = float((self.history["refurbished"][trained] >= 0).float().mean())
        self.rate = min(self.rate, 1 - ever)
        read = refurbishing_columns(self.window_epochs, self.threshold, self.plan.classes)
        self.history.forget("run_length" if read == RATE_COLUMNS else "pushes")
        return Change(reset=("",))
