"""Row numbers: slips in the `index` of a user's loop that training would not show.

a batch   no number twice
an epoch  no more rows than there are; not 0 … B - 1 in every batch
processes rows that a sampler repeats to give every process equally many count once
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thresher.distributed import processes
from thresher.errors import RecordError

__all__ = ["RowNumbers", "only_repeated"]


def only_repeated(everyone: Tensor, first: Tensor) -> Tensor:
    """The rows of a global batch that came in an earlier batch, and only fill this one up.

    >>> only_repeated(torch.tensor([5, 3, 5, 2]), torch.tensor([True, True, False, False]))
    tensor([2])

    Args:
        everyone: (G,) int64, the global batch.
        first: (G,) bool, from `RowNumbers.first`.
    """
    again = everyone[~first]
    return again[~torch.isin(again, everyone[first])]


class RowNumbers:
    """Which rows came in this epoch; every sample is expected once, unless `repeats`.

    Args:
        samples: Number of samples N; numbers are 0 … N - 1.
        repeats: Samples may come more than once an epoch: nothing is refused, all of them count.

    Cost: a sort of the batch's numbers a step; with several processes a byte a sample.
    """

    def __init__(self, samples: int, *, repeats: bool) -> None:
        self.samples, self.repeats = samples, repeats
        self._rows = self._batches = 0  # since the last end of an epoch
        self._only_places = True  # every batch so far held exactly 0 … B - 1
        self._seen: Tensor | None = None  # (N,) bool, of all processes

    def check(self, index: Tensor) -> None:
        """Refuse a batch of this process that cannot belong to an epoch of all samples once.

        Args:
            index: (B,) int64, within 0 … N - 1.

        Raises:
            RecordError: a number twice in the batch, or more rows than samples in the epoch.
        """
        if self.repeats or not len(index):
            return
        numbers = np.sort(index.cpu().numpy())
        again = numbers[1:] == numbers[:-1]
        if again.any():
            raise RecordError(
                f"Sample {numbers[1:][again][0]} comes twice in one batch.",
                "Pass each row's own number, as thresher.data.Indexed does; where a sampler draws "
                "with replacement, start(…, repeats=True).",
            )
        rows = self._rows + len(numbers)
        if rows > self.samples:
            raise RecordError(
                f"{rows} rows came in one epoch, of {self.samples} samples.",
                "Call criterion.end_epoch() after each pass over the data, and start anew after a "
                "pass that was broken off; where samples come more than once a pass, "
                "start(…, repeats=True).",
            )

    def first(self, everyone: Tensor) -> Tensor | None:
        """Which rows of the global batch come for the first time in this epoch.

        Samplers repeat rows at the end of an epoch so that all processes get equally many.

        Args:
            everyone: (G,) int64, the same on every process.

        Returns:
            (G,) bool; None when all do, which is always so with one process or with `repeats`.

        Raises:
            RecordError: no row does.
        """
        if self.repeats or processes() == 1:
            return None
        first = torch.zeros(len(everyone), dtype=torch.bool)
        first[np.unique(everyone.cpu().numpy(), return_index=True)[1]] = True
        first = first.to(everyone.device)
        if self._seen is not None:
            first &= ~self._seen[everyone]
        if not first.any():
            raise RecordError(
                f"All {len(everyone)} rows of a batch came in this epoch before.",
                "Call criterion.end_epoch() after each pass over the data, on every process; where "
                "samples come more than once a pass, start(…, repeats=True).",
            )
        return None if bool(first.all()) else first

    def mark(self, everyone: Tensor, here: slice) -> None:
        """Remember that these rows came.

        Args:
            everyone: (G,) int64, the global batch.
            here: Where the rows of this process lie in it.
        """
        if self.repeats:
            return
        rows = here.stop - here.start
        if rows:
            self._rows += rows
            self._batches += 1
            self._only_places = self._only_places and int(everyone[here].max()) == rows - 1
        if processes() == 1:
            return
        if self._seen is None:
            self._seen = torch.zeros(self.samples, dtype=torch.bool, device=everyone.device)
        self._seen[everyone] = True

    def state_dict(self) -> dict[str, Any]:
        """What was counted since the last end of an epoch; tensors are shared."""
        return {
            "rows": self._rows,
            "batches": self._batches,
            "only_places": self._only_places,
            "seen": self._seen,
        }

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Go on counting where `state_dict` was taken, with indices on this device."""
        self._rows, self._batches = state["rows"], state["batches"]
        self._only_places = state["only_places"]
        self._seen = None if state["seen"] is None else state["seen"].to(device, copy=True)

    def end_epoch(self) -> None:
        """Start to count anew.

        Raises:
            RecordError: every batch was numbered from 0.
        """
        slipped = self._batches > 1 and self._only_places
        self._rows = self._batches = 0
        self._only_places = True
        if self._seen is not None:
            self._seen.zero_()
        if slipped:
            raise RecordError(
                "Every batch of the epoch held the samples 0, 1, 2, …: places in the batch, not "
                "rows of the data.",
                "Let the data set return each row's number: DataLoader(thresher.data.Indexed(data))"
                " yields (index, x, y).",
            )
