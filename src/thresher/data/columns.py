"""Columns: one column of an Arrow table as float32 numbers, as categories or as free texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from thresher.data.wording import quoted
from thresher.errors import DataError

__all__ = [
    "MISSING_MARKERS",
    "Texts",
    "as_float32",
    "count_distinct",
    "dense",
    "image_bytes",
    "is_number",
    "read_numbers",
    "read_texts",
    "refuse_infinite",
    "trimmed",
    "type_of",
    "without_views",
]

MISSING_MARKERS = frozenset(
    ["", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "?", "-"]
)

TypeOf = Literal["number", "text", "date", "vector", "image", "empty", "other"]


def type_of(kind: pa.DataType) -> TypeOf:
    """Say what a column of this Arrow type can be used as."""
    types = pa.types
    if types.is_null(kind):
        return "empty"
    if types.is_timestamp(kind) or types.is_date(kind) or types.is_time(kind):
        return "date"
    if (
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_boolean(kind)
        or types.is_decimal(kind)
        or types.is_duration(kind)
    ):
        return "number"
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return "vector" if type_of(kind.value_type) == "number" else "other"
    if types.is_dictionary(kind):
        inner = type_of(kind.value_type)
        return "text" if inner in ("text", "number") else inner
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "text"
    if _is_binary(kind):
        return "image"
    if types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return "image" if index >= 0 and _is_binary(kind.field(index).type) else "other"
    return "other"


def _is_binary(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_binary_view(kind)
        or types.is_fixed_size_binary(kind)
    )


def dense(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Undo dictionary and view layouts: texts become large strings."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        column = column.cast(kind)
    if pa.types.is_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.large_string())
    return column


def without_views(table: pa.Table) -> pa.Table:
    """Write texts that are views, as polars hands them out, as large strings.

    Arrow can neither select rows of them nor decode a dictionary of them.
    """
    for place, field in enumerate(table.schema):
        column = table.column(place)
        if pa.types.is_string_view(field.type):
            table = table.set_column(place, field.name, column.cast(pa.large_string()))
        elif pa.types.is_dictionary(field.type) and pa.types.is_string_view(field.type.value_type):
            chunks = [
                pa.DictionaryArray.from_arrays(
                    chunk.indices, chunk.dictionary.cast(pa.large_string())
                )
                for chunk in column.chunks
            ]
            kind = pa.dictionary(field.type.index_type, pa.large_string())
            table = table.set_column(place, field.name, pa.chunked_array(chunks, kind))
    return table


def image_bytes(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.ChunkedArray | None]:
    """Split a column of images into encoded bytes and, where it names files, their paths."""
    if not pa.types.is_struct(column.type):
        return column.cast(pa.large_binary()), None
    encoded = pc.struct_field(column, "bytes").cast(pa.large_binary())
    if column.type.get_field_index("path") < 0:
        return encoded, None
    return encoded, pc.struct_field(column, "path").cast(pa.string())


def read_numbers(column: pa.ChunkedArray, name: str) -> NDArray[np.float32]:
    """Read a column as (N,) float32; missing = NaN.

    Durations are read in seconds. A text column is read as numbers too, where each cell is one or
    marks a missing value; that is how test data may differ from the training data.

    Raises:
        DataError: An infinity, a number beyond float32, or a text that is no number.
    """
    column = dense(column)
    if type_of(column.type) == "text":
        column = _numbers_in_text(column, name)
    elif type_of(column.type) not in ("number", "empty"):
        raise DataError(
            f"Column {quoted(name)} holds values of type {column.type}, expected numbers.",
            "Write the column as numbers, as in the training data.",
        )
    values = as_float32(column)
    refuse_infinite(values, f"Column {quoted(name)}")
    return values


UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # in a second


def as_float32(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """Bring numbers, booleans and durations (in seconds) to (N,) float32; null = NaN."""
    units = 1
    if pa.types.is_duration(column.type):
        units = UNITS[column.type.unit]
        column = column.cast(pa.int64())
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        column = column.cast(pa.float64())  # booleans, decimals, an empty column
    values = np.empty(len(column), np.float32)
    start = 0
    for chunk in column.chunks:
        part = chunk.to_numpy(zero_copy_only=False)  # nulls become NaN
        with np.errstate(over="ignore"):  # found by refuse_infinite
            values[start : start + len(part)] = part / units if units > 1 else part
        start += len(part)
    return values


def refuse_infinite(values: NDArray[np.float32], where: str, first_row: int = 0) -> None:
    """Refuse infinities, and numbers that float32 can only hold as one.

    Raises:
        DataError: Names ``where`` and the row.
    """
    rows = np.flatnonzero(np.isinf(values))
    if len(rows):
        raise DataError(
            f"{where} holds an infinite number, or one beyond 3.4e38, in row "
            f"{first_row + int(rows[0])} (counting from 0).",
            "Leave the cell empty if the number is unknown, clip it, or remove the column.",
        )


def trimmed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Take white space off texts, and make null of the usual marks of a missing value.

    Args:
        column: (N,) texts of any layout; other values are written as text.

    Returns:
        (N,) large strings.
    """
    cells = pc.utf8_trim_whitespace(dense(column).cast(pa.large_string()))
    missing = pc.is_in(cells, value_set=pa.array(sorted(MISSING_MARKERS), cells.type))
    return pc.if_else(missing, pa.scalar(None, cells.type), cells)


def count_distinct(column: pa.ChunkedArray) -> int:
    """Count the different texts of a column, white space and missing cells aside."""
    unique = pa.chunked_array([column.unique()])
    return int(pc.count_distinct(trimmed(unique), mode="only_valid").as_py())


def _numbers_in_text(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    cells = trimmed(column)
    try:
        return cells.cast(pa.float64())
    except pa.ArrowInvalid:
        row, cell = _first_non_number(cells)
        raise DataError(
            f"Column {quoted(name)} holds the text {quoted(cell)} in row {row} (counting from 0), "
            "expected a number.",
            "Correct the cell, or leave it empty if the number is unknown.",
        ) from None


def _first_non_number(cells: pa.ChunkedArray) -> tuple[int, str]:
    for row, cell in enumerate(cells.to_pylist()):
        if cell is not None:
            try:
                pa.scalar(cell).cast(pa.float64())
            except pa.ArrowInvalid:
                return row, cell
    return 0, ""


@dataclass(frozen=True)
class Texts:
    """A column as categories.

    Args:
        values: The distinct texts in sorted order, white space around them removed.
        codes: (N,) int64 positions in ``values``; -1 = missing.
    """

    values: tuple[str, ...]
    codes: NDArray[np.int64]


def read_texts(column: pa.ChunkedArray, name: str) -> Texts:
    """Read a column as categories; nulls and the usual marks of a missing value are missing.

    Numbers are read as categories too, named without a decimal point where they are whole.

    Raises:
        DataError: The column holds bytes, lists or structures.
    """
    kind = type_of(column.type)
    if kind in ("image", "other"):
        raise DataError(
            f"Column {quoted(name)} holds values of type {column.type}, expected categories.",
            "Write the column as text, as in the training data.",
        )
    column = dense(column)
    if kind in ("empty", "date"):
        column = column.cast(pa.large_string())
    if pa.types.is_decimal(column.type) or pa.types.is_float16(column.type):
        column = column.cast(pa.float64())
    encoded = column.dictionary_encode().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):  # no rows
        return Texts((), np.zeros(0, np.int64))
    index = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    names = [_text(value) for value in encoded.dictionary.to_pylist()]
    values = sorted(set(names) - MISSING_MARKERS)
    place = {value: position for position, value in enumerate(values)}
    codes = np.array([*(place.get(each, -1) for each in names), -1], np.int64)
    return Texts(tuple(values), codes[index])


def _text(value: object) -> str:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    return str(value).strip()


def is_number(text: str) -> bool:
    """Tell whether a text can be read as a number.

    >>> is_number("1e3"), is_number("12 m")
    (True, False)
    """
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text
