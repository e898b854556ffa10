"""Delimited text: CSV and its relatives become an Arrow table.

Arrow reads and types the file. Python's slower csv reader looks at the first lines to find the
delimiter, and again only when something is wrong, to say on which line.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from thresher.data.columns import MISSING_MARKERS
from thresher.data.files import one_line, reading
from thresher.data.wording import counted, listed, quoted
from thresher.errors import DataError

__all__ = ["Dialect", "read_delimited", "sniff"]

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
SNIFFED_RECORDS = 100
DECIMAL_COMMA = re.compile(r"-?\d+,\d+")
DECIMAL_POINT = re.compile(r"-?\d*\.\d+")


class Dialect(NamedTuple):
    """How a delimited file is written.

    Args:
        delimiter: One of , ; tab |.
        header: The column names as they stand in the file.
        decimal_point: "." or ",".
    """

    delimiter: str
    header: tuple[str, ...]
    decimal_point: str


def read_delimited(
    path: Path, stays_text: Callable[[str], bool]
) -> tuple[pa.Table, tuple[str, ...]]:
    """Read a delimited text file in UTF-8, with or without a byte order mark.

    Cells that hold a usual mark of a missing value ("", "NA", "?", …) are null in columns that
    otherwise hold numbers; texts are kept as they stand.

    Args:
        path: First line (or quoted lines): column names.
        stays_text: Tells, by its name, a column to keep as text whatever it looks like.

    Returns:
        The table, names without white space around them, and what must be said aloud.

    Raises:
        DataError: No rows, rows of unequal length, two columns of one name, not UTF-8, or an
            unclosed quote; names the line.
    """
    with reading(path, "a table"):
        dialect = sniff(path)
    names = [name.strip() for name in dialect.header]
    twice = [quoted(name) for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(
            f"{path} has more than one column named {listed(twice)}.",
            "Give every column its own name in the first line.",
        )
    texts = {raw: pa.string() for raw in dialect.header if stays_text(raw.strip())}
    try:
        with reading(path, "a table"):
            table = _read(path, dialect, texts)
    except DataError:
        _explain(path, dialect)
        raise
    if any(pa.types.is_binary(column.type) for column in table.columns):  # Arrow's last resort
        _explain(path, dialect)
        raise DataError(f"{path} is not UTF-8 text.", "Save it as UTF-8.")
    if table.num_rows == 0:
        raise DataError(f"{path} holds column names but no rows.", "Add a row for each sample.")
    _refuse_open_quote(path, dialect, table)
    table = table.rename_columns(names)
    for place, name in enumerate(names):
        if not stays_text(name) and pa.types.is_string(table.field(place).type):
            table = table.set_column(place, name, _numbers_if_all(table.column(place)))
    said = dialect.decimal_point == ","
    return table, (("Numbers are read with a decimal comma, as in 1,5.",) if said else ())


def _read(path: Path, dialect: Dialect, texts: dict[str, pa.DataType]) -> pa.Table:
    return pa.csv.read_csv(
        path,
        parse_options=pa.csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(
            column_types=texts,
            null_values=sorted(MISSING_MARKERS),
            strings_can_be_null=False,
            decimal_point=dialect.decimal_point,
        ),
    )


def sniff(path: Path) -> Dialect:
    """Find the delimiter that cuts the first 100 records most evenly, then into most fields.

    Raises:
        DataError: The file is not text in UTF-8, or blank.
    """
    with path.open("rb") as file:
        if b"\0" in file.read(4096):
            raise DataError(
                f"{path} is not a text file in UTF-8: it holds zero bytes.",
                "Save it as UTF-8, or name it by its format.",
            )
    order = (
        sorted(DELIMITERS, key=lambda each: each != "\t") if path.suffix == ".tsv" else DELIMITERS
    )
    best: tuple[float, int] = (0.0, 0)
    found: tuple[str, list[list[str]]] | None = None
    for delimiter in order:
        records = _first_records(path, delimiter)
        if not records:
            raise DataError(f"{path} is empty: it holds blank lines only.", "Name another file.")
        width = len(records[0])
        even = sum(len(fields) == width for fields in records) / len(records)
        score = (even if width > 1 else 0.0, width)
        if found is None or score > best:
            best, found = score, (delimiter, records)
    assert found is not None  # DELIMITERS is not empty
    delimiter, records = found
    cells = [cell.strip() for fields in records[1:] for cell in fields]
    comma = (
        delimiter != ","
        and any(map(DECIMAL_COMMA.fullmatch, cells))
        and not any(map(DECIMAL_POINT.fullmatch, cells))
    )
    return Dialect(delimiter, tuple(records[0]), "," if comma else ".")


class _ParseError(DataError):
    """Python's csv reader gives up, as on a field beyond its limit of 128 kB."""


def _first_records(path: Path, delimiter: str) -> list[list[str]]:
    records: list[list[str]] = []
    try:
        for _, fields in islice(_records(path, delimiter), SNIFFED_RECORDS):
            records.append(fields)
    except _ParseError:
        if not records:
            raise
    return records


def _records(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line on which each record begins (from 1) and its fields; skip blank lines."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter)
        line = 1
        try:
            for fields in reader:
                if fields:
                    yield line, fields
                line = reader.line_num + 1
        except UnicodeDecodeError:
            bad = _first_line_not_utf8(path)
            raise DataError(
                f"{path} is not UTF-8 text (line {bad}).", "Save it as UTF-8."
            ) from None
        except csv.Error as error:
            raise _ParseError(
                f"{path} cannot be read from line {line} on: {one_line(error)}.",
                "Look for a quote that is not closed; double the quotes inside a quoted field.",
            ) from None


def _first_line_not_utf8(path: Path) -> int:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1


def _explain(path: Path, dialect: Dialect) -> None:
    """Read again, slowly, and raise a DataError at the line that is wrong, if it is found."""
    expected = len(dialect.header)
    for line, fields in _records(path, dialect.delimiter):
        if len(fields) != expected:
            raise DataError(
                f"{path}, line {line}: expected {counted(expected, 'field')} as in the first "
                f"line, found {len(fields):,}.",
                f"Correct the line; quote fields that hold a {DELIMITERS[dialect.delimiter]}.",
            )


def _refuse_open_quote(path: Path, dialect: Dialect, table: pa.Table) -> None:
    """Refuse a quote that is never closed: Arrow takes the rest of the file as one cell.

    Such a cell is the last of all and spans lines, and the file does not end in a quote.
    """
    last = table.column(table.num_columns - 1)
    if not pa.types.is_string(last.type) or "\n" not in (last[-1].as_py() or ""):
        return
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        if file.read().rstrip().endswith(b'"'):
            return
    line = max(line for line, _ in _records(path, dialect.delimiter))
    raise DataError(
        f"{path}, line {line}: a quote is opened and never closed.",
        "Close the quote; double the quotes inside a quoted field.",
    )


def _numbers_if_all(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Read a text column as numbers if each cell is one, or a mark of a missing value.

    Arrow does so itself unless white space surrounds a mark, as in "1, ?, 3".
    """
    if _as_numbers(column.slice(0, 1000)) is None:  # spares long text columns a full pass
        return column
    numbers = _as_numbers(column)
    return column if numbers is None else numbers


def _as_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    trimmed = pc.utf8_trim_whitespace(column)
    missing = pc.is_in(trimmed, value_set=pa.array(sorted(MISSING_MARKERS), pa.string()))
    try:
        return pc.if_else(missing, pa.scalar(None, pa.string()), trimmed).cast(pa.float64())
    except pa.ArrowInvalid:
        return None
