"""The rows of a batch: what they must be, which of them repeat, the largest of their columns."""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import Tensor

from thresher.errors import LabelError, RecordError

__all__ = ["argmax", "check_batch", "largest", "missing_index", "occurrence", "turns"]


def check_batch(index: object, labels: object, *, samples: int, classes: int) -> None:
    """Refuse what cannot be the indices and the labels of a batch.

    Args:
        index: (B,) int64 in 0 … samples - 1.
        labels: (B,) int64 in 0 … classes - 1.
        samples: N.
        classes: k.

    Raises:
        LabelError: labels of another kind, or one outside the classes; names the first such
            sample.
        RecordError: an index of another kind or length, or outside 0 … N - 1.
    """
    if not _whole_numbers(index):
        raise missing_index(_described(index))
    if not _whole_numbers(labels):
        raise LabelError(
            f"Labels must be a (B,) int64 tensor of class numbers, got {_described(labels)}.",
            "Pass labels.long(); of one-hot labels, labels.argmax(1).",
        )
    if len(index) != len(labels):
        raise RecordError(
            f"A batch of {len(labels)} labels came with the index of {len(index)} rows.",
            "Pass index and labels as the loader of thresher.data.Indexed(data) yields them.",
        )
    if not len(index):
        return
    low, high = torch.aminmax(index)
    if not (0 <= int(low) and int(high) < samples):
        bad = int(index[(index < 0) | (index >= samples)][0])
        raise RecordError(
            f"Sample index {bad} is outside 0 … {samples - 1}.",
            "Start with the length of the whole data set, and pass its own row numbers.",
        )
    low, high = torch.aminmax(labels)
    if not (0 <= int(low) and int(high) < classes):
        wrong = (labels < 0) | (labels >= classes)
        raise LabelError(
            f"Sample {int(index[wrong][0])} has the label {int(labels[wrong][0])}, outside "
            f"0 … {classes - 1}.",
            "Number the classes from 0 and start with their count; leave rows without a "
            "label out of the batches.",
        )


def missing_index(received: str) -> RecordError:
    """The error of a batch without the numbers of its rows: what came instead, what to do."""
    return RecordError(
        f"The index of a batch must be a (B,) int64 tensor of row numbers, got {received}.",
        "Wrap the data set: DataLoader(thresher.data.Indexed(data)) yields (index, x, y); then "
        "criterion(index, model(x), y).",
    )


def _whole_numbers(value: object) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor) and value.dim() == 1 and value.dtype == torch.int64


def _described(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {value.dtype}"
    return "None" if value is None else f"a {type(value).__name__}"


def argmax(values: Tensor) -> Tensor:
    """The column of each row's largest number, the first of equals: (R, n) → (R,) int64.

    Of 100 columns NumPy finds it four times as fast as torch on the CPU.
    """
    if values.device.type != "cpu":
        return values.argmax(1)
    return torch.from_numpy(values.numpy().argmax(1))


def largest(values: Tensor, count: int) -> Tensor:
    """Columns of the `count` largest numbers of each row, in no order: (R, n) → (R, count) int64.

    On the CPU many times as fast as topk, which is the larger part of digesting a block otherwise:
    the bits of numbers >= 0 sort like integers, the column takes the place of their last bits, and
    NumPy partitions the integers. Numbers that differ in those bits only may be taken for equal.
    """
    if values.device.type != "cpu":
        return values.topk(count, 1).indices
    columns = values.shape[1]
    last = (1 << (columns - 1).bit_length()) - 1  # as many bits as a column's number has
    packed = values.view(torch.int32) & ~last
    packed |= torch.arange(columns, dtype=torch.int32)
    packed.numpy().partition(columns - count, axis=1)  # in place
    return (packed[:, columns - count :] & last).long()


def turns(index: Tensor) -> list[Tensor | slice]:
    """Parts of a batch in which no sample stands twice, in the order of a sample's visits.

    >>> [rows.tolist() for rows in turns(torch.tensor([5, 3, 5, 5]))]
    [[0, 1], [2], [3]]
    """
    earlier = occurrence(index)
    count = int(earlier.max()) + 1 if len(index) else 0
    if count == 1:
        return [slice(None)]
    return [torch.nonzero(earlier == turn).flatten() for turn in range(count)]


def occurrence(index: Tensor) -> Tensor:
    """For each entry, how many equal entries stand before it.

    >>> occurrence(torch.tensor([5, 3, 5, 5]))
    tensor([0, 0, 1, 2])
    """
    ordered, order = index.sort(stable=True)
    position = torch.arange(len(index), device=index.device)
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    start = torch.where(first, position, 0).cummax(0).values
    return torch.empty_like(position).scatter_(0, order, position - start)
