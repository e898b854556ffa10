"""The one exchange between processes: every process sees the whole global batch.

With a single process everything is itself; nothing is copied.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["gather_rows", "processes"]


def processes() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather_rows(rows: Tensor, dim: int = 0) -> tuple[Tensor, slice]:
    """Join the rows of all processes in rank order; every process must call it in step.

    Args:
        rows: This process's rows along `dim`; their number may differ between processes.
        dim: The axis of rows.

    Returns:
        The joined tensor (detached), and where this process's rows lie in it.
    """
    rows = rows.detach()
    count = rows.shape[dim]
    if processes() == 1:
        return rows, slice(0, count)
    counts = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(processes())]
    dist.all_gather(counts, torch.tensor([count], device=rows.device))
    sizes = [int(each) for each in counts]
    # all_gather wants equal shapes: pad to the longest, cut after
    moved = rows.movedim(dim, 0).contiguous()
    padded = moved.new_zeros((max(sizes), *moved.shape[1:]))
    padded[:count] = moved
    gathered = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(gathered, padded)
    joined = torch.cat([each[:size] for each, size in zip(gathered, sizes, strict=True)])
    first = sum(sizes[: dist.get_rank()])
    return joined.movedim(0, dim), slice(first, first + count)
