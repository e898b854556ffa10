"""Columns of a table as coordinates: which ones, of what type, and as rows of numbers.

    table → choose_coordinates → TablePoints → parts (rows, d)

Nothing is converted as a whole: a part is made of its slice of every column when it is asked for,
without one Python object a row. A missing cell becomes NaN, which `check_finite` names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from thresher.cluster.points import PART_ROWS
from thresher.data.wording import listed, quoted
from thresher.errors import DataError, nearest

__all__ = ["Coordinates", "TablePoints", "TableRows", "choose_coordinates", "coordinate_rows"]

Columns = Sequence[str | int] | str | None
Starts = NDArray[np.int64]

# float32 holds their values exactly: halves the memory of what is read
SHORT = frozenset(map(str, ("bool", "int8", "uint8", "int16", "uint16", "halffloat", "float")))


class Coordinates(NamedTuple):
    """The columns that are read.

    Args:
        columns: Their names in the table: d columns of numbers, or one of lists of d numbers.
        axes: (d,) names for people.
        dtype: float32 where that holds every value exactly, else float64.
        lists: Whether it is one column of lists.
    """

    columns: tuple[str, ...]
    axes: tuple[str, ...]
    dtype: np.dtype[Any]
    lists: bool


def choose_coordinates(
    schema: pa.Schema,
    columns: Columns,
    width_of: Callable[[str], int],
    without: Sequence[str] = (),
    *,
    empty: bool = False,
) -> Coordinates:
    """Find the columns that are coordinates: the named ones, or all if all can be.

    Args:
        schema: Of the table.
        columns: Names, in this order; None takes all.
        width_of: Is told a column of lists, and gives the length of its first list.
        without: Names that are no coordinates, such as the one of the weights.
        empty: There are no rows: a column without a type may be one of numbers.

    Raises:
        DataError: a column is unknown, there twice, or neither numbers nor lists of numbers; or
            numbers stand beside lists, and nobody said which are meant.
    """
    if columns is None:
        names = [name for name in schema.names if name not in without]
    else:
        names = [columns] if isinstance(columns, str) else [str(each) for each in columns]
    if not names:
        raise DataError("No column is left to be a coordinate.", "Name at least one.")
    for name in names:
        if name not in schema.names:
            raise DataError(f"There is no column {quoted(name)}.", nearest(name, set(schema.names)))
        if schema.names.count(name) > 1 or names.count(name) > 1:
            raise DataError(
                f"Column {quoted(name)} is there twice.", "Name each column once; rename the other."
            )
    kinds = {name: kind_of(schema.field(name).type, empty=empty) for name in names}
    for name, kind in kinds.items():
        if kind not in ("numbers", "lists"):
            usable = [each for each, other in kinds.items() if other in ("numbers", "lists")]
            raise DataError(
                f"Column {quoted(name)} holds {kind} ({schema.field(name).type}); coordinates are "
                "numbers.",
                _choose_words(usable) if columns is None else "Leave it out, or make it numbers.",
            )
    lists = [name for name, kind in kinds.items() if kind == "lists"]
    if lists and len(names) > 1:
        raise DataError(
            f"Column {quoted(lists[0])} holds lists of numbers, and there are {len(names) - 1:,} "
            "more columns: coordinates are one column of lists, or columns of numbers.",
            _choose_words(lists[:1]),
        )
    if lists:
        width = width_of(names[0])
        axes = tuple(f"{names[0]}[{place}]" for place in range(width))
    else:
        axes = tuple(names)
    types = [_plain(schema.field(name).type) for name in names]
    if lists:
        types = [_plain(types[0].value_type)]
    short = all(str(each) in SHORT for each in types)
    return Coordinates(tuple(names), axes, np.dtype("f4" if short else "f8"), bool(lists))


def _choose_words(names: Sequence[str]) -> str:
    if not names:
        return "Convert the columns that matter to numbers."
    chosen = ", ".join(f'"{each}"' for each in names[:2])
    return (
        f"Say which columns are coordinates, as in columns=[{chosen}] (on the command line "
        f"--columns {','.join(names[:2])}). Numbers are in {listed(map(quoted, names))}."
    )


def kind_of(kind: pa.DataType, *, empty: bool = False) -> str:
    """What a column of this type holds, in words: "numbers", "lists", or what is no coordinate.

    >>> kind_of(pa.decimal128(8, 2)), kind_of(pa.list_(pa.float32(), 64)), kind_of(pa.string())
    ('numbers', 'lists', 'text')
    """
    kind, types = _plain(kind), pa.types
    if types.is_null(kind):
        return "numbers" if empty else "nothing but missing values"
    if (
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_boolean(kind)
        or types.is_decimal(kind)
    ):
        return "numbers"
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return "lists" if kind_of(kind.value_type) == "numbers" else "lists of something else"
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "text"
    if types.is_temporal(kind):
        return "dates or times"
    return "no numbers"


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type below dictionaries and extensions."""
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(kind.storage_type)
    return _plain(kind.value_type) if pa.types.is_dictionary(kind) else kind


def coordinate_rows(table: pa.Table, chosen: Coordinates, start: int = 0) -> NDArray[Any]:
    """The coordinates of a table's rows, (rows, d), C-contiguous; NaN where a cell is missing.

    Args:
        table: Holds the chosen columns; one that is lacking is missing everywhere.
        chosen: Columns and type.
        start: Number of the first row, for messages.

    Raises:
        DataError: lists of different lengths; names the first row.
    """
    rows = np.empty((table.num_rows, len(chosen.axes)), chosen.dtype)
    for place, name in enumerate(chosen.columns):
        if name not in table.column_names:
            rows[:, place] = np.nan
            continue
        first = 0
        for chunk in table.column(name).chunks:
            into = rows[first : first + len(chunk)]
            if chosen.lists:
                _fill_lists(_without_wrapping(chunk), into, name, start + first)
            else:
                into[:, place] = _numbers(_without_wrapping(chunk))
            first += len(chunk)
    return rows


def _without_wrapping(chunk: pa.Array) -> pa.Array:
    while isinstance(chunk, pa.ExtensionArray | pa.DictionaryArray):
        is_extension = isinstance(chunk, pa.ExtensionArray)
        chunk = chunk.storage if is_extension else chunk.dictionary_decode()
    return chunk


def _numbers(chunk: pa.Array) -> NDArray[Any]:
    if pa.types.is_decimal(chunk.type) or pa.types.is_null(chunk.type):
        chunk = chunk.cast(pa.float64())
    if chunk.null_count and pa.types.is_boolean(chunk.type):  # NumPy has no missing booleans
        chunk = chunk.cast(pa.uint8())
    values: NDArray[Any] = chunk.to_numpy(zero_copy_only=False)
    return values


def _fill_lists(chunk: pa.Array, into: NDArray[Any], name: str, start: int) -> None:
    width = into.shape[1]
    if not pa.types.is_fixed_size_list(chunk.type):
        different = pc.fill_null(pc.not_equal(pc.list_value_length(chunk), width), False)
        if pc.any(different).as_py():
            row = pc.index(different, True).as_py()
            raise DataError(
                f"Column {quoted(name)} holds a list of {len(chunk[row]):,} numbers in row "
                f"{start + row:,} (counting from 0), and one of {width:,} in the first row.",
                "Give every row a list of the same length.",
            )
    values = _numbers(_without_wrapping(chunk.flatten()))  # skips missing lists
    if chunk.null_count:
        into[:] = np.nan
        into[chunk.is_valid().to_numpy(zero_copy_only=False)] = values.reshape(-1, width)
    else:
        into[:] = values.reshape(-1, width)


class TablePoints:
    """Rows of an Arrow table, which is not copied.

    Args:
        table: Any chunks.
        chosen: Which columns are coordinates.
        part_rows: Rows of a part.
    """

    def __init__(self, table: pa.Table, chosen: Coordinates, part_rows: int = PART_ROWS) -> None:
        self._table = table.select(list(chosen.columns))
        self._chosen = chosen
        self.axes = chosen.axes
        self.rows, self.dimension = table.num_rows, len(chosen.axes)
        self.dtype = chosen.dtype
        self.starts: Starts = np.append(np.arange(0, self.rows, part_rows), self.rows).astype("i8")

    def part(self, number: int) -> NDArray[Any]:
        """The rows of one part, made anew."""
        start = int(self.starts[number])
        here = self._table.slice(start, int(self.starts[number + 1]) - start)
        return coordinate_rows(here, self._chosen, start)

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Some rows by their numbers."""
        return coordinate_rows(self._table.take(pa.array(rows, pa.int64())), self._chosen)


class TableRows:
    """A table in memory with all its columns: where points come from, and what labels join."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self.schema, self.count = table.schema, table.num_rows

    def points(self, columns: Columns = None, without: Sequence[str] = ()) -> TablePoints:
        """Its coordinates.

        Raises:
            DataError: as `choose_coordinates`.
        """
        chosen = choose_coordinates(
            self.schema, columns, self._width_of, without, empty=self.count == 0
        )
        return TablePoints(self.table, chosen)

    def tables(self) -> Iterator[pa.Table]:
        """All columns, by parts in the order of the rows."""
        yield self.table

    def _width_of(self, name: str) -> int:
        return first_width(self.table.column(name))


def first_width(column: pa.ChunkedArray) -> int:
    """Length of the first list that is not missing; 0 if there is none."""
    for chunk in map(_without_wrapping, column.chunks):
        if pa.types.is_fixed_size_list(chunk.type):
            return int(chunk.type.list_size)
        lengths = pc.list_value_length(chunk).drop_null()
        if len(lengths):
            return int(lengths[0].as_py())
    kind = _plain(column.type)
    return int(kind.list_size) if pa.types.is_fixed_size_list(kind) else 0
