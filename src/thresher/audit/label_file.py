"""Given labels and class names in files, as the command line takes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from thresher.audit.stored_matrix import stored_array
from thresher.errors import DataError, ParameterError, nearest

__all__ = ["read_classes", "read_labels"]

_TABLES = (".csv", ".parquet")


def read_labels(place: str) -> NDArray[Any]:
    """Read one label a row from FILE or FILE:COLUMN.

    Args:
        place: A .npy; or a .csv with a head line or a .parquet, with the column where there are
            several. An empty field is a missing label.

    Returns:
        (N,) whole numbers, -1 = none, or objects, None = none; floats as they are.

    Raises:
        DataError: the file cannot be read.
        ParameterError: another kind of file, or an unknown or no column.
    """
    path, column = _split(place)
    if path.suffix == ".npy":
        if column is not None:
            raise ParameterError(f"A .npy has no column {column!r}.", f"Pass {path} alone.")
        return np.array(stored_array(path))
    if path.suffix not in _TABLES:
        raise ParameterError(
            f'Labels come from .npy, .csv or .parquet, got "{path.name}".',
            "Example: --labels train.csv:label",
        )
    names = _column_names(path)
    if column is None and len(names) != 1:
        raise ParameterError(
            f"{path} has {len(names)} columns.", f"Name the one with the labels: {path}:COLUMN"
        )
    column = names[0] if column is None else column
    if column not in names:
        raise ParameterError(f'{path} has no column "{column}".', nearest(column, names))
    return _plain(_read_column(path, column))


def read_classes(words: str) -> list[str]:
    """Class names from a list with commas, or from a text file with one a line.

    >>> read_classes("cat,dog")
    ['cat', 'dog']

    Raises:
        DataError: the file is no UTF-8 text.
    """
    try:
        is_file = Path(words).is_file()
    except OSError:  # too long for a name
        is_file = False
    if not is_file:
        return words.split(",")
    try:
        return Path(words).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{words} cannot be read: {error}.", "Write one class name a line, as UTF-8."
        ) from error


def _split(place: str) -> tuple[Path, str | None]:
    """FILE and COLUMN; a colon within the name of a file is left to it."""
    for suffix in (".npy", *_TABLES):
        file, found, column = place.partition(f"{suffix}:")
        if found:
            return Path(file + suffix), column
    return Path(place), None


def _column_names(path: Path) -> list[str]:
    try:
        if path.suffix == ".parquet":
            names: Sequence[str] = pq.read_schema(path).names
        else:
            with pyarrow.csv.open_csv(path) as reader:
                names = reader.schema.names
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error
    return list(names)


def _read_column(path: Path, column: str) -> pa.ChunkedArray:
    try:
        if path.suffix == ".parquet":
            return pq.read_table(path, columns=[column])[column]
        options = pyarrow.csv.ConvertOptions(
            include_columns=[column], null_values=[""], strings_can_be_null=True
        )
        return pyarrow.csv.read_csv(path, convert_options=options)[column]
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def _plain(column: pa.ChunkedArray) -> NDArray[Any]:
    """An array without nulls of Arrow's own."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_integer(column.type):
        return np.asarray(column.fill_null(-1).to_numpy())
    if pa.types.is_floating(column.type):
        return np.asarray(column.to_numpy())
    return np.array([*column.to_pylist(), None], dtype=object)[:-1]  # lists stay what they are


def _unreadable(path: Path, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path} does not exist.", "Check the path.")
    reason = (str(error).splitlines() or ["it is damaged"])[0].rstrip(".")
    return DataError(f"{path} cannot be read: {reason}.", "Check that it is what its name says.")
