"""Recency Bias: draw samples whose recent predictions disagree.

A sample that the network predicts now so, now so, is one that it is about to learn. Predictions of
long ago tell of another network, so only the last q of each sample count.

    h(c) = share of class c among the last m = min(visits, q) predictions
    F    = -(1 / L) Σ_c h(c) ln h(c)         L = ln k, or ln min(q, k), the most that q can reach
    u    = 1 - F,    P(i) ∝ s_e^(-u_i),    s_e from s_0 down to 1 in the last epoch
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from thresher.errors import ParameterError
from thresher.history import Column, SampleHistory
from thresher.label_history import slot_ages
from thresher.phases import shortened
from thresher.sampling.pressure import Decay, Pressure
from thresher.sampling.selector import Scored, warmup_epochs

__all__ = ["RecencyBias", "window_entropy"]

BLOCK_ROWS = 2**16  # samples at a time: bounds the memory
WINDOW, WARMUP, OFFICIAL_WARMUP = 10, 15, 10


def window_entropy(ring: Tensor, pushes: Tensor, window: int) -> Tensor:
    """Entropy of the last predictions of each sample, in nats; NaN where there are none.

        H = (1 / m) Σ_a ln(m / c_a),    c_a = how many of the m entries equal entry a

    No count a class is needed: O(Q q) comparisons a sample, however many classes there are.

    Args:
        ring: (N, Q) integer, the last predictions; slot n mod Q holds the n-th.
        pushes: (N,) integer, predictions ever pushed.
        window: q, the last predictions that count, 1 <= q <= Q.

    Returns:
        (N,) float32 in [0, ln q].
    """
    blocks = zip(torch.split(ring, BLOCK_ROWS), torch.split(pushes, BLOCK_ROWS), strict=True)
    return torch.cat([_block_entropy(part, pushed, window) for part, pushed in blocks])


def _block_entropy(ring: Tensor, pushes: Tensor, window: int) -> Tensor:
    held = pushes.clamp(max=window)  # (N,) m
    counted = slot_ages(pushes, ring.shape[1]) < held[:, None]  # (N, Q)
    # whole numbers of equals, and a table of their logarithms: equal windows give equal bits
    logarithm = torch.arange(window + 1, device=ring.device).clamp(min=1).log()
    kinds = torch.zeros(len(ring), window + 1, dtype=torch.int32, device=ring.device)
    for slot in range(ring.shape[1]):
        equal = ((ring == ring[:, slot : slot + 1]) & counted).sum(1)
        kinds.scatter_add_(1, equal[:, None], counted[:, slot : slot + 1].int())
    total = (kinds * (logarithm[held.long()][:, None] - logarithm)).sum(1)
    return total / held  # 0 / 0 = NaN: nothing was ever predicted


class RecencyBias(Scored):
    """Draw samples by the entropy of their last predictions; labels are not used.

    Args:
        pressure: s_0, the pressure in the first drawn epoch, >= 1. Default 100 (Song et al. 2020).
        window: q, predictions that count, >= 2: one does not disagree with itself. Default 10 (the
            same), or the warm-up if shorter.
        warmup: γ, epochs of shuffled batches that fill the windows, >= window. Default 15 (the
            same), or a quarter of a shorter run.
        decay: How the pressure comes down to 1 in the last epoch. Default "exponential" (the same).
        entropy_norm: What the entropy is divided by: "reachable", ln min(q, k), or "classes", ln k
            as published. They differ where there are more classes than predictions: by ln k, ten
            predictions of 1,000 classes reach a pressure of 4.6 where 100 is meant.
        preset: "official" takes over what the released code does where it differs: 10 epochs of
            warm-up, never shortened, and "classes". It does not take over that slots of a ring
            which are still empty count as predictions of class 0: after shuffled warm-up epochs of
            at least q none is empty, so there is nothing to take over; the released code warms up
            with independent draws, after which some samples have empty slots.

    Raises:
        ParameterError: a value out of range, a warm-up shorter than the window, or a decay without
            planned epochs.

    Cost: q times 2 and 4 bytes a sample, shared with methods that keep the same ring. Hurts when:
    labels are wrong, mildly: hesitation and mislabelling go together.
    Source: Song, Kim, Kim, Lee, Carpe Diem, Seize the Samples Uncertain "at the Moment" for
    Adaptive Batch Selection, CIKM 2020. Deviations: partial windows are divided by what they hold;
    the reachable entropy; scores are not cut into N levels, which changes a weight by less than
    1e-4.
    """

    name = "recency-bias"
    source = "Song et al., CIKM 2020"

    def __init__(
        self,
        pressure: float = 100.0,
        *,
        window: int | None = None,
        warmup: int | None = None,
        decay: Decay = "exponential",
        entropy_norm: Literal["reachable", "classes"] | None = None,
        preset: Literal["recommended", "official"] = "recommended",
    ) -> None:
        if preset not in ("recommended", "official"):
            raise ParameterError(
                f"preset must be recommended or official, got {preset!r}.",
                "Leave it out to use the default.",
            )
        official = preset == "official"
        if official:
            window = WINDOW if window is None else window
            warmup = OFFICIAL_WARMUP if warmup is None else warmup
        norm = entropy_norm or ("classes" if official else "reachable")
        if norm not in ("reachable", "classes"):
            raise ParameterError(
                f"entropy_norm must be reachable or classes, got {norm!r}.",
                "Leave it out to use the default.",
            )
        if window is not None and window < 2:
            raise ParameterError(
                f"window must be 2 or more, got {window}.", "Leave it out to use the default."
            )
        if window is not None and warmup is not None and window > warmup:
            raise ParameterError(
                f"window ({window}) must not exceed warmup ({warmup}).",
                "A window is read only when the warm-up has filled it.",
            )
        self.selection = Pressure(pressure, decay)
        self.written_window, self.written_warmup = window, warmup
        self.entropy_norm, self.preset = norm, preset

    def begin(self, samples: int, classes: int, epochs: int | None) -> tuple[Column, ...]:
        """Lengths of this run; the ring of predictions."""
        self.selection.needs_end(epochs)
        self.warmup = warmup_epochs(self.written_warmup, WARMUP, epochs)
        window = self.written_window
        if window is not None and window > self.warmup:  # it asks for a warm-up that fills it
            if epochs is not None and window >= epochs:
                raise ParameterError(
                    f"A window of {window} is filled by as many epochs, and there are {epochs}.",
                    "Lower it, or leave it out: it shrinks with the run.",
                )
            self.warmup = window
        self.window = shortened(window, WINDOW, max(2, self.warmup))
        self.epochs = epochs
        return Column("predictions", "class", width=self.window), Column("pushes", torch.int32)

    def pressure(self, epoch: int) -> float:
        """s_e of this epoch."""
        return self.selection(epoch, warmup=self.warmup, epochs=self.epochs)

    def refresh(self, history: SampleHistory, epoch: int) -> Tensor:
        """1 - F of every sample; they stay so within the epoch."""
        entropy = window_entropy(history["predictions"], history["pushes"], self.window)
        kinds = history.classes
        if self.entropy_norm == "reachable":
            kinds = min(self.window, kinds)
        return (1 - entropy / math.log(kinds)).clamp(0, 1)
