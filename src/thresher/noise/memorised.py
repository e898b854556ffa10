"""Memorised samples: those whose given label the network has predicted most often lately.

Early in a training the memorised samples are few, and almost all right; later they are many, and
the wrong ones among them grow. Precision and recall of the set M as a guess at the clean samples
are equal exactly when |M| is the number of clean samples, (1 - τ) N, which can be seen without
knowing which they are.

    h(c)       = share of class c among the last q predictions
    memorised  ⟺ argmax_c h(c) = given label

Source: Song, Kim, Park, Shin, Lee, Robust Learning by Self-Transition for Handling Noisy Labels
(MORPH), KDD 2021, and their Prestopping (2020), on which it builds.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from thresher.history import Column, SampleHistory
from thresher.label_history import prediction_counts
from thresher.noise.method import Step

__all__ = [
    "label_history",
    "memorised",
    "memorised_rows",
    "memorised_share",
    "patient_set",
    "safe_set",
    "safest",
]

BLOCK_COUNTS = 2**22  # prediction counts at a time: bounds the memory where classes are many


def label_history(window: int) -> tuple[Column, Column]:
    """The columns that remember the last `window` predictions of every sample."""
    return Column("predictions", "class", width=window), Column("pushes", torch.int32)


def memorised(
    history: SampleHistory, index: Tensor, labels: Tensor, window: int | None = None
) -> tuple[Tensor, Tensor]:
    """Which of these samples are memorised, and how firmly; over as many predictions as there are.

    Args:
        history: With the columns of `label_history`.
        index: (B,) int64 stable sample indices.
        labels: (B,) int64 given labels.
        window: q, predictions that count; None = all of the ring, which another reader may have
            wanted longer.

    Returns:
        (B,) bool; and h(given), (B,) float in [0, 1]. False and 0 before the first prediction.
    """
    pushes = history["pushes"][index]
    ring = history["predictions"][index]
    counts, mode = prediction_counts(ring, pushes, history.classes, window)
    votes = counts.gather(1, labels[:, None]).squeeze(1)
    return mode == labels, votes / counts.sum(1).clamp(min=1)


def memorised_rows(history: SampleHistory, window: int | None = None) -> tuple[Tensor, Tensor]:
    """Which samples are memorised that may be trained and were seen, and how firmly.

    Args:
        history: With the columns of `label_history`, and of labels given; between two epochs.
        window: As of `memorised`.

    Returns:
        (N,) bool; and h(given), (N,) float, 0 of all others.
    """
    rows = torch.nonzero(history["eligible"] & (history["pushes"] > 0)).flatten()
    given = history["given"]
    known = torch.zeros(history.samples, dtype=torch.bool, device=history.device)
    confidence = torch.zeros(history.samples, device=history.device)
    for block in torch.split(rows, max(1, BLOCK_COUNTS // history.classes)):
        known[block], confidence[block] = memorised(history, block, given[block].long(), window)
    return known, confidence


def memorised_share(history: SampleHistory, window: int | None = None) -> float:
    """|M| over the number of samples that may be trained and were seen; between two epochs."""
    seen = int((history["eligible"] & (history["pushes"] > 0)).sum())
    return int(memorised_rows(history, window)[0].sum()) / max(1, seen)


def patient_set(history: SampleHistory, index: Tensor, known: Tensor, misses: int) -> Tensor:
    """Samples that are memorised, or were and have not been so less than `misses` times in a row.

    Args:
        history: With a column "misses" of integers, at first not below `misses`: it is counted on.
        index: (B,) int64 stable sample indices.
        known: (B,) bool, which are memorised now.
        misses: r, >= 1; 1 leaves the memorised samples alone.

    Returns:
        (B,) bool.
    """
    counted = (history["misses"][index] + 1).clamp(max=misses).masked_fill(known, 0)
    history["misses"][index] = counted
    return counted < misses


def safe_set(
    history: SampleHistory,
    step: Step,
    cap: float | None = None,
    window: int | None = None,
    misses: int = 1,
) -> Tensor:
    """The memorised samples of a step that may be trained; with a cap the safest of them alone.

    Args:
        history: With the columns of `label_history`, this step observed.
        step: The step.
        cap: Largest share of the batch's trained samples, in (0, 1], rounded down but at least
            one; None = no limit.
        window: As of `memorised`.
        misses: As of `patient_set`, whose column it takes where it is above 1.

    Returns:
        (G,) bool.
    """
    known, confidence = memorised(history, step.index, step.labels, window)
    if misses > 1:
        known = patient_set(history, step.index, known, misses)
    trained = len(known)
    if step.eligible is not None:
        known, trained = known & step.eligible, int(step.eligible.sum())
    if cap is None:
        return known
    # a hair above, so that 0.6 · 5 = 2.999…9 allows three
    return safest(known, confidence, step.losses[0], max(1, math.floor(cap * trained + 1e-9)))


def safest(known: Tensor, confidence: Tensor, losses: Tensor, most: int) -> Tensor:
    """Of the memorised samples at most so many: the firmest first, of equally firm the easiest.

    Args:
        known: (G,) bool, which are memorised.
        confidence: (G,) float, h(given).
        losses: (G,) float, detached.
        most: >= 0.

    Returns:
        (G,) bool.
    """
    order = losses.sort(stable=True).indices
    firmness = torch.where(known, confidence, -math.inf)[order]
    order = order[firmness.sort(descending=True, stable=True).indices]
    chosen = torch.zeros_like(known)
    chosen[order[:most]] = True
    return chosen & known
