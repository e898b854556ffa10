"""Which batch came back? And if none that was handed out, who has changed it?

Trainers cut loaders over processes on their own account, some replace samplers. What comes back to
`observe` tells: it is compared with what was handed out, and a difference is traced to the setting
that makes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from thresher.errors import ParameterError, RunError, ThresherError
from thresher.sampling.epoch_batches import Batch, part

__all__ = ["Shard", "apart", "find_batch", "stranger"]

Shard = Literal["internal", "external"]


def find_batch(index: Tensor, batches: Sequence[Batch]) -> int | None:
    """The place of the batch whose rows are these, in this order; None if there is none."""
    for place, batch in enumerate(batches):
        if index is batch.tensor:  # a loop in this process hands back what it was given
            return place
    rows = index.cpu().numpy()
    for place, batch in enumerate(batches):
        if np.array_equal(rows, batch.index):
            return place
    return None


def stranger(
    index: NDArray[np.int64],
    batches: Sequence[Batch],
    *,
    rank: int = 0,
    processes: int = 1,
    shard: Shard = "internal",
) -> ThresherError:
    """The error for rows that are no batch of the sampler.

    Args:
        index: (G,) what came back, of all processes in rank order.
        batches: What was handed out and has not come back, in its order.
        rank: This process.
        processes: How many there are.
        shard: Who is to cut batches over processes.
    """
    if not batches:
        return ParameterError(
            f"{len(index)} rows came back to observe, and no batch of this sampler is out.",
            "Call observe once a batch. If the trainer has put another sampler in its place, keep "
            "it from that: Lightning, Trainer(use_distributed_sampler=False).",
        )
    parts = [index[part(len(index), rank, processes)] for rank in range(processes)]
    if processes > 1 and shard == "external" and all(np.array_equal(parts[0], p) for p in parts):
        return ParameterError(
            f"All {processes} processes have trained on the same rows: nobody cuts the batches.",
            "Pass the loader through accelerator.prepare(…), or let the sampler cut: "
            'shard="internal".',
        )
    if processes > 1 and shard == "internal" and _cut_twice(parts, batches):
        return ParameterError(
            "The processes have trained on parts of different batches: batches are cut over "
            "processes twice, by this sampler and by the trainer; most rows would never be seen.",
            "With accelerator.prepare(loader) or transformers.Trainer, make the sampler with "
            'shard="external"; or leave the loader out of prepare.',
        )
    if processes > 1 and _of_this_process(parts[rank], rank, processes, batches):
        return apart(processes)
    expected = batches[0].index
    return ParameterError(
        f"The {len(index)} rows that came back (first {index[:4].tolist()}) are no batch of this "
        f"sampler; the next one has {len(expected)} rows (first {expected[:4].tolist()}).",
        "Pass the index as the loader of thresher.data.Indexed(data) yields it, in the loader's "
        "order (in_order=True); if the trainer replaces samplers, turn that off: Lightning, "
        "Trainer(use_distributed_sampler=False).",
    )


def apart(processes: int) -> RunError:
    """The error where processes do not draw from the same state."""
    return RunError(
        f"The samplers of {processes} processes have come apart: they draw different batches.",
        "Make sure that seed, settings, selector and stored state are the same on every process.",
    )


def _cut_twice(parts: Sequence[NDArray[np.int64]], batches: Sequence[Batch]) -> bool:
    """Whether each process shows its own part of some batch, though not of the same one."""
    return all(_of_this_process(rows, rank, len(parts), batches) for rank, rows in enumerate(parts))


def _of_this_process(
    rows: NDArray[np.int64], rank: int, processes: int, batches: Sequence[Batch]
) -> bool:
    """Whether a process was handed out these rows."""
    return any(
        np.array_equal(rows, batch.index[part(len(batch.index), rank, processes)])
        for batch in batches
    )
