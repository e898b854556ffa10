"""Table: columns of numbers and categories become (N, d) float32 features.

    choose_columns   looks at the training table once and decides what each column is
    encode_table     makes features by that decision, for the training table and any later one

Missing numbers are filled with the column's median and flagged in a feature of their own, so that
"unknown" can be learned as a value; a category gets one 0/1 feature per value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thresher.data.columns import Texts, is_number, read_numbers, read_texts, type_of
from thresher.data.encoding import CategoryColumn, Column, Encoding, NumberColumn
from thresher.data.keys import MISSING, Words, bytes_key, float_words, mix, text_words
from thresher.data.wording import counted, listed, quoted
from thresher.errors import DataError, nearest

__all__ = ["Features", "choose_columns", "encode_table", "missing_notes"]

MOST_CATEGORIES = 100
COUNTER_NAMES = frozenset(["", "id", "idx", "index", "row", "row_id", "rowid", "unnamed: 0"])
INDEX_PREFIX = "__index_level_"  # how pandas stores a table's index in Arrow


@dataclass(frozen=True)
class Features:
    """What a table was turned into.

    Args:
        inputs: (N, d) float32, nothing missing.
        keys: (N,) uint64 content keys of the rows as read.
        notes: What must be said aloud.
    """

    inputs: NDArray[np.float32]
    keys: Words
    notes: tuple[str, ...]


def choose_columns(
    table: pa.Table, names: Sequence[str]
) -> tuple[tuple[Column, ...], tuple[str, ...]]:
    """Decide what each column of the training table is used as.

    Args:
        table: At least one row.
        names: The columns to look at, without label and ids.

    Returns:
        The columns in the table's order, and notes about those that were left out: texts and ids
        (more than 100 different values, or more than half of more than 20), dates, row counters,
        lists and structures.

    Raises:
        DataError: A column is empty or holds an infinity, or no column is left.
    """
    columns: list[Column] = []
    left_out: dict[str, list[str]] = {}
    for name in names:
        column = table[name]
        use = type_of(column.type)
        if _is_counter(name, column):
            left_out.setdefault("counter", []).append(quoted(name))
            continue
        if use == "empty" or column.null_count == len(column):
            raise _empty(name)
        if use == "number":
            columns.append(_number_column(name, read_numbers(column, name)))
        elif use == "text":
            chosen = _category_column(name, column)
            if isinstance(chosen, str):
                left_out.setdefault(chosen, []).append(quoted(name))
            else:
                columns.append(chosen)
        else:
            left_out.setdefault(use, []).append(quoted(name))
    notes = tuple(LEFT_OUT[why].format(listed(found)) for why, found in left_out.items())
    if not columns:
        raise DataError(
            " ".join(["No column is left to learn from.", *notes]),
            "Add a column of numbers or of categories (at most 100 different texts).",
        )
    return tuple(columns), notes


LEFT_OUT = {
    "text": "Left out, as they look like text or ids: {}.",
    "numbers as text": "Left out, as they look like ids, written as text: {}; to use one, store "
    "it as a number.",
    "date": "Left out, as they are dates or times: {}; to use one, convert it to a number, such "
    "as the days since a fixed day.",
    "counter": "Left out, as they only number the rows, or have no name: {}.",
    "image": "Left out, as they hold bytes: {}.",
    "other": "Left out, as they are neither numbers nor categories: {}; to use one, give each of "
    "its parts a column.",
}


def _number_column(name: str, values: NDArray[np.float32]) -> NumberColumn:
    present = values[~np.isnan(values)]
    if not len(present):
        raise _empty(name)
    return NumberColumn(name, float(np.median(present)), flagged=len(present) < len(values))


def _category_column(name: str, column: pa.ChunkedArray) -> CategoryColumn | str:
    """Return the column's categories, or the reason to leave it out."""
    head = read_texts(column.slice(0, 10_000), name)  # spares a long text column its full pass
    texts = head if len(head.values) > MOST_CATEGORIES else read_texts(column, name)
    present = int((texts.codes >= 0).sum())
    if not present:
        raise _empty(name)
    distinct = len(texts.values)
    if distinct > MOST_CATEGORIES or (present > 20 and distinct > present / 2):
        return "numbers as text" if all(map(is_number, texts.values)) else "text"
    return CategoryColumn(name, texts.values, flagged=present < len(texts.codes))


def _is_counter(name: str, column: pa.ChunkedArray) -> bool:
    """Recognise a stored row index: named like one and counting up by one, or without a name.

    Where rows are sorted by class, such a column would give the labels away.
    """
    if name.startswith(INDEX_PREFIX) or (name == "" and type_of(column.type) != "text"):
        return True
    if name.strip().lower() not in COUNTER_NAMES or not pa.types.is_integer(column.type):
        return False
    if column.null_count or len(column) < 2:
        return False
    steps = np.diff(column.to_numpy())
    return bool((steps == 1).all())


def _empty(name: str) -> DataError:
    return DataError(
        f"Column {quoted(name)} is empty: every cell is missing.",
        "Remove the column, or fill it.",
    )


def encode_table(table: pa.Table, encoding: Encoding, identifying: Sequence[str] = ()) -> Features:
    """Make features of a table by an encoding.

    Args:
        table: Holds every column of the encoding; others are not looked at.
        encoding: Of the training data, kind "features".
        identifying: Further columns, of which those of text tell rows apart in their keys: rows
            with equal features are often different samples with a name of their own.

    Raises:
        DataError: A column is lacking (names the nearest), holds an infinity, or text for numbers.
    """
    present = set(table.column_names)
    for column in encoding.columns:
        if column.name not in present:
            raise DataError(
                f"Column {quoted(column.name)} is lacking; the model was trained with it.",
                nearest(column.name, present),
            )
    starts = encoding.starts
    inputs = np.zeros((table.num_rows, starts[-1]), np.float32)
    keys = np.zeros(table.num_rows, np.uint64)
    missing: dict[str, int] = {}
    unseen: dict[str, tuple[str, ...]] = {}
    for column, start in zip(encoding.columns, starts[:-1], strict=True):
        source = table[column.name]
        salt = np.uint64(bytes_key(column.name.encode()))
        if isinstance(column, NumberColumn):
            values = read_numbers(source, column.name)
            keys += mix(float_words(values) ^ salt)
            absent = np.isnan(values)
            values[absent] = column.median
            inputs[:, start] = values
        else:
            texts = read_texts(source, column.name)
            keys += mix(_words(texts) ^ salt)
            absent = texts.codes < 0
            new = _set_category(inputs, texts, column, int(start))
            if new:
                unseen[column.name] = new
        if absent.any():
            missing[column.name] = int(absent.sum())
            if column.flagged:
                inputs[absent, start + len(column.features) - 1] = 1.0
    for name in identifying:
        if type_of(table.schema.field(name).type) == "text":
            salt = np.uint64(bytes_key(name.encode()))
            keys += mix(_words(read_texts(table[name], name)) ^ salt)
    notes = [*missing_notes(encoding, missing)]
    if unseen:
        named = (f"{quoted(name)} ({listed(map(quoted, new), 3)})" for name, new in unseen.items())
        notes.append(f"Categories unknown from training, taken as none of them: {listed(named)}.")
    return Features(inputs, mix(keys), tuple(notes))


def _words(texts: Texts) -> Words:
    words = np.append(text_words(texts.values), MISSING)
    return words[texts.codes]


def _set_category(
    inputs: NDArray[np.float32], texts: Texts, column: CategoryColumn, start: int
) -> tuple[str, ...]:
    """Set the 0/1 features of one column; return the categories that training did not have."""
    place = {value: position for position, value in enumerate(column.values)}
    known = np.array([*(place.get(value, -1) for value in texts.values), -1], np.int64)
    feature = known[texts.codes]
    rows = np.flatnonzero(feature >= 0)
    inputs[rows, start + feature[rows]] = 1.0
    return tuple(value for value in texts.values if value not in place)


def missing_notes(encoding: Encoding, missing: dict[str, int]) -> tuple[str, ...]:
    """Say what became of missing cells.

    Args:
        encoding: Kind "features".
        missing: Number of missing cells by column, where there are any.
    """
    found: dict[str, list[str]] = {}
    for column in encoding.columns:
        if column.name in missing:
            what = MISSING_CELLS[isinstance(column, NumberColumn), column.flagged]
            count = counted(missing[column.name], "row")
            found.setdefault(what, []).append(f"{quoted(column.name)} ({count})")
    return tuple(f"{what}: {listed(columns)}." for what, columns in found.items())


MISSING_CELLS = {  # (numbers, flagged)
    (True, True): "Missing numbers are filled with the column's median and flagged",
    (True, False): "Missing numbers are filled with the median of the training data",
    (False, True): "Missing categories have a feature of their own",
    (False, False): "Missing categories, unknown from training, are taken as none",
}
