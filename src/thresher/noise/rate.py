"""The noise rate a method goes by when the user gave none: how often the settled samples disagree.

A sample whose last five predictions were the same has been settled by the network; where they
contradict the given label, early on, the label is mostly wrong. Memorising only ever hides such
disagreement, so the largest estimate of the run is kept. The mixture of losses that is usual for
this counts hard samples as wrong and misses wrong labels that are easily confused; figures of
both: `benchmarks/noise.py rates`.

    τ̂ = max over epochs of  mean( settled label ≠ given label )
"""

from __future__ import annotations

import torch

from thresher.history import Column, SampleHistory
from thresher.noise_rate import disagreement

__all__ = ["RATE_COLUMNS", "SETTLED", "estimate_rate"]

RATE_COLUMNS = (Column("run_label", "class", fill=-1), Column("run_length", torch.int16))
SETTLED = 5  # equal predictions in a row
ENOUGH = 50  # settled samples, below which the estimate is not moved
MOST = 0.9


def estimate_rate(history: SampleHistory, before: float, *, settled_after: int = SETTLED) -> float:
    """The estimate after this epoch, at least the one before; both in [0, 0.9].

    Args:
        history: With RATE_COLUMNS; between two epochs.
        before: The last estimate, 0 at first.
        settled_after: Equal predictions in a row that settle a sample, fewer in a short warm-up.
    """
    settled = history["eligible"] & (history["run_length"] >= settled_after)
    if int(settled.sum()) < ENOUGH:
        return before
    label, given = history["run_label"][settled], history["given"][settled]
    return min(MOST, max(before, disagreement(label.cpu().numpy(), given.cpu().numpy()) or 0.0))
