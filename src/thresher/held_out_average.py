"""Held-out average: what is predicted of held-out rows while they are held out.

    p̄ ← β p̄ + (1 - β) p        p of the training-mode pass, β = 0.7: some three epochs

They may be trained later. What was predicted of them before is still out of sample, and tells how
many labels are wrong when the network has learned its labels by heart.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["MEMORY", "HeldOutAverage"]

MEMORY = 0.7  # β: early epochs are forgotten


class HeldOutAverage:
    """A moving average of the probabilities of the held-out rows; it begins at 0.

    Args:
        held_out: (N,) bool, on the device of the history.
        classes: Number of classes k.

    Attributes:
        state: By name, ``held_out_rows`` (H,) int64, ``held_out_average`` (H, k) float32 and
            ``held_out_visits`` (H,) int32.
    """

    def __init__(self, held_out: Tensor, classes: int) -> None:
        rows = torch.nonzero(held_out).flatten()
        self.samples = len(held_out)
        self.state = {
            "held_out_rows": rows,
            "held_out_average": torch.zeros(len(rows), classes, device=rows.device),
            "held_out_visits": torch.zeros(len(rows), dtype=torch.int32, device=rows.device),
        }
        self.number()

    def number(self) -> None:
        """Find again where each row is, after the state was loaded."""
        rows = self.state["held_out_rows"]
        self._place = torch.full((self.samples,), -1, device=rows.device)
        self._place[rows] = torch.arange(len(rows), device=rows.device)

    def observe(self, index: Tensor, probability: Tensor) -> None:
        """Take in one prediction of each of these held-out rows.

        Args:
            index: (R,) int64, no row twice.
            probability: (R, k) float32.
        """
        place = self._place[index]
        average = self.state["held_out_average"]
        average[place] = torch.lerp(probability, average[place], MEMORY)
        self.state["held_out_visits"][place] += 1
