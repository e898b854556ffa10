"""The exchange of a step between processes: every process sees the whole global batch.

    rows of every process → their bytes side by side → one all-gather → cut and typed as they were
    gradients             → end to end               → one all-reduce → where they were

With a single process everything is itself; nothing is copied.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
import torch.distributed as dist
from torch import Tensor, nn

__all__ = [
    "gather_columns",
    "gather_rows",
    "process_number",
    "processes",
    "shares",
    "sum_gradients",
    "summed",
]


def processes() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def process_number() -> int:
    """Which of them this one is, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def shares(rows: int, parts: int) -> list[slice]:
    """Cut rows into contiguous parts, one for each process in turn; sizes differ by 1 at most.

    Joined in the order of the processes they are the rows in their order, so that a global batch
    reads the same for any number of processes. Parts beyond the last row are empty.

    Args:
        rows: How many, >= 0.
        parts: How many, >= 1.

    >>> shares(5, 2), shares(1, 3)
    ([slice(0, 3, None), slice(3, 5, None)], [slice(0, 1, None), slice(1, 1, None), slice(1, 1, None)])
    """  # noqa: E501 - what a doctest answers is on one line
    least, more = divmod(rows, parts)
    ends = accumulate((least + (part < more) for part in range(parts)), initial=0)
    return [slice(start, stop) for start, stop in pairwise(ends)]


def gather_columns(
    columns: Sequence[Tensor], sizes: Sequence[int] | None = None
) -> tuple[list[Tensor], slice]:
    """Join the rows of all processes in rank order; every process must call it in step.

    Whatever their types, the columns travel in one all-gather, as bytes: no number is converted.

    Args:
        columns: Each (B, …) of this process, B the same for all of them, types and widths the same
            on every process. B may differ between processes.
        sizes: B of every process, where all of them know it. None exchanges it first, which costs
            a second, small gather.

    Returns:
        The joined columns (G, …), detached, and where this process's rows lie in them.
    """
    columns = [column.detach() for column in columns]
    rows = len(columns[0])
    if processes() == 1:
        return columns, slice(0, rows)
    if sizes is None:
        sizes = _sizes_of_all(rows, columns[0].device)
    octets = [_octets(column) for column in columns]  # (B, bytes a row)
    packed = torch.cat(octets, 1)
    padded = packed.new_zeros((max(sizes), packed.shape[1]))  # an all-gather wants equal shapes
    padded[:rows] = packed
    gathered = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(gathered, padded)
    joined = torch.cat([part[:size] for part, size in zip(gathered, sizes, strict=True)])
    widths = [each.shape[1] for each in octets]
    found = [
        _fresh(part).view(column.dtype).view(len(joined), *column.shape[1:])
        for part, column in zip(torch.split(joined, widths, 1), columns, strict=True)
    ]
    first = sum(sizes[: process_number()])
    return found, slice(first, first + rows)


def gather_rows(rows: Tensor, sizes: Sequence[int] | None = None) -> tuple[Tensor, slice]:
    """`gather_columns` of one column."""
    columns, here = gather_columns([rows], sizes)
    return columns[0], here


def _sizes_of_all(rows: int, device: torch.device) -> list[int]:
    counts = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(processes())]
    dist.all_gather(counts, torch.tensor([rows], device=device))
    return [int(count) for count in counts]


def _octets(column: Tensor) -> Tensor:
    """The bytes of every row: (B, …) of any type → (B, bytes a row) uint8."""
    width = math.prod(column.shape[1:]) * column.element_size()
    return _fresh(column).view(torch.uint8).view(len(column), width)


def _fresh(values: Tensor) -> Tensor:
    """The numbers in a row in memory of their own: views of another type need aligned, unit steps.

    What `contiguous` hands back may begin anywhere, and step by anything along an axis of length 1.
    """
    return values.clone(memory_format=torch.contiguous_format).view(-1)


def summed(values: Tensor) -> Tensor:
    """The sum of a tensor over all processes, which must call it in step."""
    if processes() == 1:
        return values
    values = values.detach().clone()
    dist.all_reduce(values)
    return values


def sum_gradients(parameters: Sequence[nn.Parameter], riding: Tensor) -> Tensor:
    """Add up the gradients of all processes, in one all-reduce for each type of number.

    A parameter that no process has a gradient of keeps None; else a missing one counts as 0.

    Args:
        parameters: The same on every process, in the same order.
        riding: (m,) float32 numbers to be added up with them, as long on every process.

    Returns:
        (m,) their sums.
    """
    if processes() == 1:
        return riding
    trained = [each for each in parameters if each.requires_grad]
    for dtype in dict.fromkeys(each.dtype for each in trained):
        group = [each for each in trained if each.dtype == dtype]
        there = [0.0 if each.grad is None else 1.0 for each in group]
        flat = [
            (torch.zeros_like(each) if each.grad is None else each.grad).reshape(-1)
            for each in group
        ]
        # how many processes have one rides behind the numbers: whole and small, it stays exact
        together = torch.cat([*flat, flat[0].new_tensor(there)])
        if dtype == riding.dtype:
            together = torch.cat([together, riding.to(together.device)])
        dist.all_reduce(together)
        if dtype == riding.dtype:
            together, riding = together[: -len(riding)], together[-len(riding) :].clone()
        *sums, having = torch.split(together, [each.numel() for each in group] + [len(group)])
        for parameter, values, holders in zip(group, sums, having.tolist(), strict=True):
            if not holders:
                continue
            if parameter.grad is None:
                parameter.grad = torch.empty_like(parameter)
            parameter.grad.copy_(values.view_as(parameter))
    if not any(each.dtype == riding.dtype for each in trained):
        dist.all_reduce(riding)
    return riding
