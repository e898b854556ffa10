"""Where points come from: arrays, data frames, Arrow, files.

    anything → open_rows → points(columns) → check_finite

What is in memory stays where it is, in its own type; files are read by parts, columns that are no
coordinates not at all. float32 and float64 are kept; other numbers become float32 where that holds
every value of their type, float64 elsewhere, part by part.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.points import PART_ROWS, ArrayPoints, Phase, Points
from thresher.cluster.threads import each
from thresher.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ArrayRows", "ConvertedPoints", "Rows", "check_finite", "open_points", "open_rows"]

SHORT = ("f2", "i1", "u1", "i2", "u2", "?")  # held exactly by float32
MOST_COLUMNS = 64  # of an array that become a column each; more become one column of lists


class Rows(Protocol):
    """Rows with all their columns: where points come from, and what labels are written beside."""

    count: int

    @property
    def schema(self) -> pa.Schema:
        """Of all columns."""
        ...

    def points(
        self, columns: Sequence[str | int] | str | None = None, without: Sequence[str] = ()
    ) -> Points:
        """The coordinates among the columns; None takes all but the ones left out."""
        ...

    def tables(self) -> Iterator[pa.Table]:
        """All columns, by parts in the order of the rows."""
        ...


def open_points(X: Any, columns: Sequence[str | int] | str | None = None) -> Points:
    """Take anything that holds rows of numbers as points.

    Args:
        X: A NumPy array (N, d) or what becomes one; a pandas or polars frame, an Arrow table, or
            whatever else has ``__arrow_c_stream__``; an Arrow dataset; a path: .npy (mapped into
            memory), .parquet or a folder of them (read by parts), .csv or .tsv; or points.
        columns: The coordinates, in this order: names, of an array positions. None takes all.

    Raises:
        DataError: it has not two dimensions, holds no numbers, or lacks a column.
    """
    if isinstance(X, str | os.PathLike) or not _is_points(X):
        return open_rows(X).points(columns)
    if columns is not None:
        raise DataError("Points have no columns to choose from.", "Choose when opening them.")
    return cast(Points, X)


def open_rows(X: Any) -> Rows:
    """Take anything that `open_points` takes but points, with all its columns.

    Raises:
        DataError: it cannot be read, or is no table of rows.
    """
    if isinstance(X, str | os.PathLike):
        return _open_path(X)
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(X, pandas.DataFrame):
        kinds = set(X.dtypes)
        if len(kinds) == 1 and kinds <= {np.dtype("f4"), np.dtype("f8")}:
            return ArrayRows(X.to_numpy(), [str(name) for name in X.columns])
        return _table_of(X)
    if type(X).__module__.startswith("pyspark."):
        raise DataError(
            "The points are a DataFrame of Spark, which this machine need not hold.",
            "Call thresher.cluster.spark.dbscan(df, …); if they fit here, pass df.toArrow().",
        )
    if _is_dataset(X):
        return _dataset_rows(X)
    if getattr(X, "ndim", 2) == 2 and (
        hasattr(X, "__arrow_c_stream__") or hasattr(X, "__arrow_c_array__")
    ):
        return _table_of(X)
    if hasattr(X, "toarray") and hasattr(X, "nnz"):
        raise DataError(
            f"The points are a sparse matrix ({type(X).__name__}); they must be dense.",
            "Call toarray() if it fits in memory, or reduce its columns with TruncatedSVD.",
        )
    return ArrayRows(_as_array(X))


def _is_points(X: Any) -> bool:
    return all(hasattr(X, name) for name in ("starts", "part", "take", "rows", "dimension"))


def _is_dataset(X: Any) -> bool:
    module = sys.modules.get("pyarrow.dataset")
    return module is not None and isinstance(X, module.Dataset)


def _open_path(name: str | os.PathLike[str]) -> Rows:
    from thresher.data.files import as_path, existing

    path = existing(as_path(name))
    suffix = path.suffix.lower()
    if path.is_dir() or suffix in (".parquet", ".pq"):
        from thresher.cluster.parquet_points import open_parquet

        return open_parquet(path)
    if suffix == ".npy":
        return ArrayRows(_mapped(path))
    if suffix in (".csv", ".tsv", ".txt"):
        from thresher.cluster.table_points import TableRows

        return TableRows(_delimited(path))
    raise DataError(
        f"{path} has an ending that says nothing of points.",
        "Name a .parquet, a folder of them, a .csv, a .tsv or a .npy.",
    )


def _mapped(path: Path) -> NDArray[Any]:
    from thresher.data.files import reading

    with reading(path, ".npy"):
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(values, np.ndarray):
        raise DataError(f"{path} is an archive of several arrays.", "Save one array as .npy.")
    return values


def _delimited(path: Path) -> pa.Table:
    """A table of delimited text; with column names alone, one without rows."""
    import csv

    import pyarrow as pa

    from thresher.data.delimited import read_delimited, sniff
    from thresher.data.files import reading

    with reading(path, "a table"):
        dialect = sniff(path)
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        records = (fields for fields in csv.reader(file, delimiter=dialect.delimiter) if fields)
        next(records, None)
        has_rows = next(records, None) is not None
    if not has_rows:
        return pa.table({name.strip(): pa.nulls(0) for name in dialect.header})
    return read_delimited(path, lambda name: False)[0]


def _table_of(X: Any) -> Rows:
    """Rows of a data frame or of whatever hands out Arrow data."""
    import pyarrow as pa

    from thresher.cluster.table_points import TableRows

    pandas = sys.modules.get("pandas")
    try:
        if pandas is not None and isinstance(X, pandas.DataFrame):
            table = pa.Table.from_pandas(X, preserve_index=False)
        else:
            table = pa.table(X)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(
            f"{type(X).__name__} is no table of rows: {' '.join(str(error).split())[:200]}.",
            "Pass a table with a column for each coordinate.",
        ) from error
    return TableRows(table)


def _dataset_rows(dataset: Any) -> Rows:
    import pyarrow as pa
    from pyarrow.dataset import ParquetFileFragment

    from thresher.cluster.parquet_points import ParquetRows
    from thresher.cluster.table_points import TableRows

    try:
        by_parts = all(isinstance(each, ParquetFileFragment) for each in dataset.get_fragments())
    except ValueError:  # it has a filter, which only a scan of the whole applies
        by_parts = False
    try:
        return ParquetRows(dataset) if by_parts else TableRows(dataset.to_table())
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"The dataset cannot be read: {' '.join(str(error).split())[:200]}.",
            "Check its files and its schema.",
        ) from error


class _NotNumbersError(DataError, TypeError):
    """Objects of Python that are no numbers: a TypeError too, as NumPy raises it."""


def _as_array(X: Any) -> NDArray[Any]:
    """An array of two dimensions that holds numbers; without a copy if it is one.

    Raises:
        DataError: it is not; says how to make it.
    """
    if np.ma.isMaskedArray(X) and np.ma.is_masked(X):
        raise DataError(
            f"{int(np.sum(X.mask)):,} numbers of the masked array are masked.",
            "Drop their rows, or fill them: array.filled(value).",
        )
    try:
        array = np.asarray(X)
    except ValueError as error:  # lists of different lengths
        raise DataError(f"The points are no array: {error}.", "Give rows of one length.") from error
    if array.ndim != 2:
        shape = "a single value" if array.ndim == 0 else f"shape {array.shape}"
        repair = {
            1: "Reshape your data: array.reshape(-1, 1) if these are N points on a line, "
            "array.reshape(1, -1) if it is one point.",
        }
        raise DataError(
            f"Points must have two dimensions (rows, coordinates), got {shape}.",
            repair.get(array.ndim, "Reshape your data: array.reshape(len(array), -1)."),
        )
    if array.shape[1] == 0:
        raise DataError(
            f"The points have 0 feature(s) (shape={array.shape}) while a minimum of 1 is required.",
            "Give every row a coordinate at least.",
        )
    if array.dtype.kind == "O":
        return _from_objects(array)
    if array.dtype.kind == "c":
        raise DataError(
            f"Complex data not supported: the points are {array.dtype}.",
            "Put real and imaginary parts into columns of their own.",
        )
    if array.dtype.kind not in "fiub":
        raise DataError(
            f"The points are {array.dtype}, which are no numbers.",
            "Keep the columns of numbers, and convert the others.",
        )
    return array


def _from_objects(array: NDArray[Any]) -> NDArray[np.float64]:
    repair = "Keep the columns of numbers: array.astype(float) must work."
    try:
        return array.astype(np.float64)
    except TypeError as error:
        raise _NotNumbersError(f"The points are objects, not numbers: {error}.", repair) from error
    except ValueError as error:
        raise DataError(f"The points are objects, not numbers: {error}.", repair) from error


class ArrayRows:
    """An array in memory or on disk with its columns.

    Args:
        array: (N, d) of numbers.
        names: (d,) names of the columns; None calls them "x0", "x1", ….
    """

    def __init__(self, array: NDArray[Any], names: Sequence[str] | None = None) -> None:
        self._array = array = _as_array(array)
        self.count = len(array)
        self._named = names is not None
        self.names = [f"x{j}" for j in range(array.shape[1])] if names is None else list(names)

    @property
    def schema(self) -> pa.Schema:
        """A column a coordinate; of more than 64 nameless ones, a single column "x" of lists."""
        import pyarrow as pa

        kind = pa.from_numpy_dtype(self._array.dtype.newbyteorder("="))
        if not self._named and len(self.names) > MOST_COLUMNS:
            return pa.schema([pa.field("x", pa.list_(kind, len(self.names)))])
        return pa.schema([pa.field(name, kind) for name in self.names])

    def points(
        self, columns: Sequence[str | int] | str | None = None, without: Sequence[str] = ()
    ) -> Points:
        """Its coordinates; columns by name or position.

        Raises:
            DataError: a column is unknown.
        """
        chosen = self._places(columns, without)
        axes = tuple(self.names[place] for place in chosen)
        first, last = chosen[0], chosen[-1]
        if chosen != list(range(first, last + 1)):
            return ConvertedPoints(self._array, axes, chosen)
        neighbours = self._array[:, first : last + 1]  # a view
        if str(neighbours.dtype) in ("float32", "float64"):  # of this machine's byte order
            points = ArrayPoints(neighbours)
            points.axes = axes  # type: ignore[attr-defined]
            return points
        return ConvertedPoints(neighbours, axes)

    def _places(
        self, columns: Sequence[str | int] | str | None, without: Sequence[str]
    ) -> list[int]:
        if columns is None:
            left_out = {self._place(name) for name in without}
            places = [j for j in range(len(self.names)) if j not in left_out]
        else:
            places = [self._place(each) for each in _listed(columns)]
        if not places or len(set(places)) < len(places):
            raise DataError(
                "No column is left to be a coordinate, or one is named twice.",
                "Name each column once.",
            )
        return places

    def _place(self, column: str | int) -> int:
        from thresher.errors import nearest

        if column in self.names:
            return self.names.index(str(column))
        try:
            place = int(column)
        except ValueError:
            place = -1
        if not 0 <= place < len(self.names):
            raise DataError(f'There is no column "{column}".', nearest(str(column), self.names))
        return place

    def tables(self) -> Iterator[pa.Table]:
        """All columns in their own type, by parts."""
        import pyarrow as pa

        schema = self.schema
        native = self._array.dtype.newbyteorder("=")
        for start in range(0, self.count, PART_ROWS):
            part = np.asarray(self._array[start : start + PART_ROWS]).astype(native, copy=False)
            if len(schema) == len(self.names):
                columns = [pa.array(np.ascontiguousarray(part[:, j])) for j in range(len(schema))]
            else:
                flat = pa.array(np.ascontiguousarray(part).ravel())
                columns = [pa.FixedSizeListArray.from_arrays(flat, len(self.names))]
            yield pa.table(columns, schema=schema)


def _listed(columns: Sequence[str | int] | str) -> Sequence[str | int]:
    return [columns] if isinstance(columns, str) else columns


class ConvertedPoints:
    """The rows of an array of other numbers, or of some columns of one, converted by parts.

    Args:
        array: (N, d) of numbers.
        axes: Names of the coordinates.
        places: Columns, in this order; None takes all.
    """

    def __init__(
        self, array: NDArray[Any], axes: tuple[str, ...], places: Sequence[int] | None = None
    ) -> None:
        self._array, self._places = array, None if places is None else list(places)
        self.axes = axes
        self.rows, self.dimension = len(array), len(axes)
        short = array.dtype.newbyteorder("=") in [np.dtype(each) for each in (*SHORT, "f4")]
        self.dtype: np.dtype[Any] = np.dtype("f4" if short else "f8")
        self.starts = np.append(np.arange(0, self.rows, PART_ROWS), self.rows).astype(np.int64)

    def part(self, number: int) -> NDArray[Any]:
        """The rows of one part, made anew."""
        return self._converted(self._array[self.starts[number] : self.starts[number + 1]])

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Some rows by their numbers."""
        return self._converted(self._array[rows])

    def _converted(self, rows: NDArray[Any]) -> NDArray[Any]:
        chosen = rows if self._places is None else rows[:, self._places]
        return np.ascontiguousarray(chosen, dtype=self.dtype)


def check_finite(points: Points, jobs: int, phase: Phase | None = None) -> None:
    """Refuse points that are not finite; a missing cell is NaN.

    Args:
        points: From `open_points`.
        jobs: Threads.
        phase: Is told how far it is, as "checking".

    Raises:
        DataError: names the first such row (counting from 0), its column and, of a file, its place.
    """
    parts = len(points.starts) - 1
    first = [-1] * parts  # in every part

    def check(number: int) -> None:
        finite = np.isfinite(points.part(number))
        if not finite.all():
            first[number] = int(np.argmin(finite.all(axis=1)))

    each(check, parts, jobs, None if phase is None else lambda share: phase("checking", share))
    bad = next((number for number in range(parts) if first[number] >= 0), None)
    if bad is None:
        return
    row = int(points.starts[bad]) + first[bad]
    values = points.take(np.array([row], np.int64))[0]
    place = int(np.argmin(np.isfinite(values)))
    axes = getattr(points, "axes", None)
    column = f'"{axes[place]}"' if axes else str(place)
    what = "NaN (or missing)" if np.isnan(values[place]) else "infinity"
    where = f" ({points.where(row)})" if hasattr(points, "where") else ""
    raise DataError(
        f"Row {row:,} (counting from 0) has {what} in column {column}{where}; every coordinate "
        "must be a finite number.",
        "Remove or fill rows with NaN or infinity first.",
    )
