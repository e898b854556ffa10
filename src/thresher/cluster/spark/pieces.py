"""Pieces of a dictionary of cells as rows of bytes: what is shuffled instead of points.

    rows      (n, d) centres of cells, as int32 numbers of their cubes where these fit, or points;
              float32 where that holds every number, else float64
    weights   (n,) float64, or whole numbers in the narrowest type that holds them
    lowest    (n,) the lowest number of a point, beyond the lowest of the piece

A piece holds the cells whose hashes begin alike, so that those of one cell meet in one task. Spark
sees a handful of rows, whatever the number of cells.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thresher.cluster.distinct import hashes_of
from thresher.cluster.row_table import RowTable
from thresher.errors import DataError

__all__ = [
    "OF_CELLS",
    "SCHEMA",
    "Piece",
    "decoded",
    "fault",
    "of_bucket",
    "one_by_one",
    "pieces",
    "raise_faults",
    "sorted_into",
    "total",
]

MOST_ROWS = 1 << 20  # of a piece, far below the 2 GiB a cell of Spark may have
WIDEST = 2.0**31
CUBES = "cubes"
NO_ROW = np.iinfo(np.int64).max

SCHEMA = pa.schema(
    [
        pa.field("bucket", pa.int32(), nullable=False),
        pa.field("cells", pa.int64(), nullable=False),  # 0 in a row that is not a piece
        pa.field("rows_type", pa.string()),  # "cubes", or NumPy's name of a float
        pa.field("weights_type", pa.string()),
        pa.field("rows", pa.binary()),
        pa.field("weights", pa.binary()),
        pa.field("lowest_type", pa.string()),
        pa.field("lowest_of_all", pa.int64()),
        pa.field("lowest", pa.binary()),
        pa.field("points", pa.int64()),  # that a task has read, in a row of its own
        pa.field("found", pa.int64()),  # cells in all of its pieces
        pa.field("weight", pa.float64()),  # of all of it
        pa.field("largest", pa.float64()),  # absolute coordinate in them
        pa.field("fault", pa.string()),  # what a task cannot go on with
    ]
)

OF_CELLS = (
    "rows_type",
    "rows",
    "weights_type",
    "weights",
    "lowest_type",
    "lowest_of_all",
    "lowest",
)

Array = NDArray[Any]


class Piece(NamedTuple):
    """Cells with their weights and lowest points."""

    rows: Array
    weights: Array
    lowest: Array


def pieces(table: RowTable, side: float | None, buckets: int) -> Iterator[pa.RecordBatch]:
    """A table as pieces, one or more for each bucket that has any.

    Args:
        table: Of centres of cells, or of points.
        side: Of the cells; None for points.
        buckets: How many there are.
    """
    bucket_of = buckets_of(table.rows, buckets)
    yield from sorted_into(Piece(table.rows, table.weights, table.lowest), bucket_of, buckets, side)


def buckets_of(rows: Array, buckets: int) -> NDArray[np.uint16]:
    """(n,) the bucket of every row (n, d), by the beginning of its hash."""
    hashes = hashes_of(rows)
    # 16 bits are sorted by their digits
    return ((hashes >> np.uint64(32)) * np.uint64(buckets) >> np.uint64(32)).astype(np.uint16)


def of_bucket(table: RowTable, side: float | None, bucket: int) -> Iterator[pa.RecordBatch]:
    """A table that lies in one bucket, as pieces."""
    for start in range(0, table.count, MOST_ROWS):
        here = slice(start, start + MOST_ROWS)
        piece = Piece(table.rows[here], table.weights[here], table.lowest[here])
        yield _encoded(piece, side, bucket)


def sorted_into(
    piece: Piece, bucket_of: NDArray[Any], buckets: int, side: float | None
) -> Iterator[pa.RecordBatch]:
    """A piece as smaller ones, one or more for each bucket that has any of it.

    Args:
        piece: Of n rows.
        bucket_of: (n,).
        buckets: How many there are.
        side: Of the cells; None for points.
    """
    order = np.argsort(bucket_of, kind="stable")
    ends = np.cumsum(np.bincount(bucket_of, minlength=buckets))
    for bucket in range(buckets):
        first = int(ends[bucket - 1]) if bucket else 0
        for start in range(first, int(ends[bucket]), MOST_ROWS):
            chosen = order[start : min(start + MOST_ROWS, int(ends[bucket]))]
            yield _encoded(Piece(*(each[chosen] for each in piece)), side, bucket)


def _encoded(piece: Piece, side: float | None, bucket: int) -> pa.RecordBatch:
    """The row of a piece, in the narrowest types that give the same numbers back."""
    rows, weights = piece.rows, piece.weights
    rows_type, kept = _narrowed(rows, side)
    if weights.dtype == np.int64:
        weights = weights.astype(np.min_scalar_type(weights.max(initial=0)))
    first = int(piece.lowest.min(initial=NO_ROW))
    lowest = piece.lowest - first
    lowest = lowest.astype(np.min_scalar_type(lowest.max(initial=0)))
    return _row(
        bucket=bucket,
        cells=len(rows),
        rows_type=rows_type,
        weights_type=weights.dtype.str,
        rows=kept.tobytes(),
        weights=weights.tobytes(),
        lowest_type=lowest.dtype.str,
        lowest_of_all=first,
        lowest=lowest.tobytes(),
    )


def _narrowed(rows: Array, side: float | None) -> tuple[str, Array]:
    with np.errstate(all="ignore"):
        if side is not None:
            cubes = np.floor(rows / side)
            if (np.abs(cubes) < WIDEST).all() and ((cubes + 0.5) * side == rows).all():
                return CUBES, cubes.astype(np.int32)
        short = rows.astype(np.float32)
    if (short == rows).all():
        return short.dtype.str, short
    return rows.dtype.str, rows


def decoded(row: dict[str, Any], dimension: int, side: float | None) -> Piece:
    """A piece out of its row."""
    cubes = row["rows_type"] == CUBES
    flat: Array = np.frombuffer(row["rows"], np.int32 if cubes else row["rows_type"])
    rows = flat.reshape(-1, dimension)
    rows = (rows + 0.5) * (side or 0.0) if cubes else rows.astype(np.float64, copy=False)
    weights = np.frombuffer(row["weights"], row["weights_type"])
    if weights.dtype.kind == "u":
        weights = weights.astype(np.int64)
    lowest = np.frombuffer(row["lowest"], row["lowest_type"]).astype(np.int64)
    return Piece(rows, weights, lowest + row["lowest_of_all"])


def one_by_one(batches: Iterable[pa.RecordBatch]) -> Iterator[dict[str, Any]]:
    """One row after another, so that the bytes of no more than one are copied."""
    for batch in batches:
        for place in range(batch.num_rows):
            yield batch.slice(place, 1).to_pylist()[0]


def total(
    task: int, points: int, found: int, *, weight: float = 0.0, largest: float = 0.0
) -> pa.RecordBatch:
    """How many points a task has read and their weight, how many cells, and how far out."""
    return _row(bucket=task, cells=0, points=points, found=found, weight=weight, largest=largest)


def fault(task: int, error: DataError) -> pa.RecordBatch:
    """Why a task cannot go on: told by the driver, not tried again."""
    said = {"cause": error.cause, "fix": error.fix}
    return _row(bucket=task, cells=0, fault=json.dumps(said))


def _row(**values: Any) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{name: values.get(name) for name in SCHEMA.names}], SCHEMA)


def raise_faults(faults: list[str]) -> None:
    """Raise the first fault, in the order of their words, if there is one.

    Raises:
        DataError: as the task said it.
    """
    for each in sorted(faults)[:1]:
        said = json.loads(each)
        raise DataError(said["cause"], said["fix"])
