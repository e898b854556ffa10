"""Named arrays as rows of bytes, for what tasks tell the driver, and as files that workers map."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["SCHEMA", "Layout", "mapped", "packed", "unpacked"]

ALIGNED = 64  # bytes, as vector registers like it

SCHEMA = pa.schema(
    [
        pa.field("number", pa.int32(), nullable=False),  # of what the arrays are of
        pa.field("task", pa.int32(), nullable=False),  # that tells
        pa.field("layout", pa.string(), nullable=False),
        pa.field("bytes", pa.binary(), nullable=False),
    ]
)

Array = NDArray[Any]


class Layout(NamedTuple):
    """Where an array lies in a run of bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int


def layouts_of(arrays: Mapping[str, Array]) -> tuple[list[Layout], int]:
    """Where arrays lie one after another, and where the last one ends."""
    layouts, end = [], 0
    for name, array in arrays.items():
        layouts.append(Layout(name, array.dtype.str, array.shape, end))
        end += -(-array.nbytes // ALIGNED) * ALIGNED
    return layouts, end


def packed(number: int, task: int, arrays: Mapping[str, Array]) -> Iterator[pa.RecordBatch]:
    """One row with all arrays."""
    layouts, end = layouts_of(arrays)
    content = np.zeros(end, np.uint8)
    for layout, array in zip(layouts, arrays.values(), strict=True):
        there = content[layout.start : layout.start + array.nbytes]
        there[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    # the bytes as they lie: they may be many, and every copy counts
    ends = pa.py_buffer(np.array([0, end], np.int32))
    whole = pa.Array.from_buffers(pa.binary(), 1, [None, ends, pa.py_buffer(content)])
    columns = [
        pa.array([each], field.type)
        for each, field in zip((number, task, json.dumps(layouts)), SCHEMA, strict=False)
    ]
    yield pa.RecordBatch.from_arrays([*columns, whole], schema=SCHEMA)


def unpacked(layout: str, content: Any) -> dict[str, Array]:
    """The arrays of a row, or of a file's bytes: views of them."""
    raw = np.frombuffer(content, np.uint8) if not isinstance(content, np.ndarray) else content
    return {name: viewed(raw, Layout(name, *more)) for name, *more in json.loads(layout)}


def viewed(raw: Array, layout: Layout) -> Array:
    """An array within bytes."""
    kind = np.dtype(layout.dtype)
    size = int(np.prod(layout.shape, dtype=np.int64)) * kind.itemsize
    return raw[layout.start : layout.start + size].view(kind).reshape(layout.shape)


def mapped(path: Path, layout: str, start: int, size: int) -> dict[str, Array]:
    """The arrays of a run of a file's bytes, mapped: what a worker writes to them stays its own."""
    raw: Array = np.asarray(np.memmap(path, np.uint8, mode="c", offset=start, shape=(size,)))
    return unpacked(layout, raw)
