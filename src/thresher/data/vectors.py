"""Vectors: a column of lists of numbers, all of one length, such as embeddings in Parquet."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from thresher.data.columns import as_float32, dense, type_of
from thresher.data.encoding import VectorColumn
from thresher.data.wording import quoted
from thresher.errors import DataError

__all__ = ["choose_vector", "read_vectors", "vector_width"]

BLOCK_NUMBERS = 1 << 22


def vector_width(column: pa.ChunkedArray) -> int | None:
    """Find the one length of a column's lists; None if they differ, or are empty or missing."""
    if pa.types.is_fixed_size_list(column.type):
        return column.type.list_size or None if column.null_count < len(column) else None
    found = pc.min_max(pc.list_value_length(column))
    least, most = found["min"].as_py(), found["max"].as_py()
    return most if most and least == most else None


def read_vectors(column: pa.ChunkedArray, name: str, width: int) -> NDArray[np.float32]:
    """Read lists of numbers as (N, width) float32; NaN where one, or a whole list, is missing.

    Raises:
        DataError: No lists, lists of another length, or an infinity; names the row.
    """
    if type_of(column.type) not in ("vector", "empty"):
        raise DataError(
            f"Column {quoted(name)} holds values of type {column.type}, expected lists of numbers.",
            "Write the column as lists of numbers, as in the training data.",
        )
    vectors = np.full((len(column), width), np.nan, np.float32)
    start = 0
    for chunk in column.chunks:
        if chunk.null_count < len(chunk):
            lengths = pc.list_value_length(chunk)
            different = pc.not_equal(lengths, width).fill_null(False)
            if pc.any(different).as_py():
                row = pc.index(different, True).as_py()
                raise DataError(
                    f"Column {quoted(name)} holds a list of {lengths[row].as_py():,} numbers in "
                    f"row {start + row} (counting from 0), expected {width:,}.",
                    "Give every row a list of the same length.",
                )
            present = chunk.is_valid().to_numpy(zero_copy_only=False)
            numbers = as_float32(dense(pa.chunked_array([pc.list_flatten(chunk)])))
            vectors[start : start + len(chunk)][present] = numbers.reshape(-1, width)
        start += len(chunk)
    _refuse_infinite(vectors, name)
    return vectors


def _refuse_infinite(vectors: NDArray[np.float32], name: str) -> None:
    for start, block in _blocks(vectors):
        infinite = np.isinf(block)
        if infinite.any():
            row = start + int(np.flatnonzero(infinite.any(axis=1))[0])
            raise DataError(
                f"Column {quoted(name)} holds an infinite number, or one beyond 3.4e38, in the "
                f"list of row {row} (counting from 0).",
                "Leave the number empty if it is unknown, or clip it.",
            )


def choose_vector(name: str, column: pa.ChunkedArray, width: int) -> VectorColumn:
    """Find the mean of each place, and whether any number is missing.

    Raises:
        DataError: A place without any number, or an infinity.
    """
    vectors = read_vectors(column, name, width)
    sums, counts = np.zeros(width), np.zeros(width, np.int64)
    for _, block in _blocks(vectors):
        counts += (~np.isnan(block)).sum(axis=0)
        sums += np.nansum(block, axis=0, dtype=np.float64)
    if not counts.all():
        raise DataError(
            f"Column {quoted(name)} holds no number in place {int(np.argmin(counts))} of its "
            "lists (counting from 0).",
            "Remove the place, or fill it.",
        )
    flagged = bool((counts < len(vectors)).any())
    return VectorColumn(name, tuple((sums / counts).tolist()), flagged)


def _blocks(vectors: NDArray[np.float32]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    size = max(1, BLOCK_NUMBERS // vectors.shape[1])
    for start in range(0, len(vectors), size):
        yield start, vectors[start : start + size]
