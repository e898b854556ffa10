"""Table: columns of every kind become (N, d) float32 features, by one rule.

    choose_columns   looks at the training table once and decides what each column is
    encode_table     makes features by that decision, for the training table and any later one

The rule, by what a column holds:

    numbers      as they are; booleans as 0 and 1, durations in seconds
    categories   a 0/1 feature for each value, the 100 most frequent of many, and one for the rest
    dates        days since the first, year, month, day, weekday and hour, as far as they vary, as
                 numbers and cyclic pairs; also texts that are dates in ISO 8601
    vectors      lists of numbers of one length: each place a feature
    free text    named by the user, several columns as one: 128 features of its n-grams, or the
                 vector of an encoder
    left out     ids (whole numbers called so that never repeat, texts that hardly ever do), row
                 counters, free text that nobody named, bytes, structures; always said aloud

A missing number, date or vector is filled with the median (vectors: the mean) of the training data,
a missing category or text sets nothing; where training data had missing cells, a feature of its own
tells them apart, so that "unknown" can be learned as a value. Nothing looks at the labels: a
feature made of them would carry the wrong ones to the network.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from thresher.data.categories import MOST_CATEGORIES, choose_category, set_categories
from thresher.data.columns import (
    MISSING_MARKERS,
    dense,
    read_numbers,
    read_texts,
    trimmed,
    type_of,
)
from thresher.data.dates import NO_DATE, choose_date, date_features, holds_dates, read_dates
from thresher.data.encoder import embed_texts, load_encoder
from thresher.data.encoding import (
    CategoryColumn,
    Column,
    DateColumn,
    EmbeddedColumn,
    Encoding,
    NumberColumn,
    TextColumn,
    VectorColumn,
)
from thresher.data.keys import (
    MISSING,
    Words,
    bytes_key,
    float_words,
    mix,
    row_keys,
    text_words,
)
from thresher.data.text import fit_text, joined_texts, read_free_texts, text_vectors
from thresher.data.vectors import choose_vector, read_vectors, vector_width
from thresher.data.wording import counted, listed, quoted
from thresher.errors import DataError, nearest

__all__ = ["Features", "choose_columns", "encode_table", "missing_notes"]

COUNTER_NAMES = frozenset(["", "id", "idx", "index", "row", "row_id", "rowid", "unnamed: 0"])
INDEX_PREFIX = "__index_level_"  # how pandas stores a table's index in Arrow
ID_NAME = re.compile(r"(?i:(.*[^a-z])?(id|uuid|guid))|.*[a-z](Id|ID)", re.DOTALL)
FEW_ROWS = 20  # whose whole numbers may all differ


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
    table: pa.Table,
    names: Sequence[str],
    text: Sequence[str] = (),
    encoder: str | None = None,
) -> tuple[tuple[Column, ...], tuple[str, ...]]:
    """Decide what each column of the training table is used as.

    Args:
        table: At least one row.
        names: The columns to look at, without label and ids.
        text: Those of them that are free text to learn from.
        encoder: Turns free text into vectors, by its name; None = character n-grams.

    Returns:
        The texts as one column, the others in the table's order, and notes about what was left out.

    Raises:
        DataError: A column is empty or holds an infinity, a column named as text is lacking or
            holds none, or no column is left.
        ModelError, MissingPackageError: The encoder cannot be loaded.
    """
    for name in text:
        if name not in names:
            raise DataError(f"There is no column {quoted(name)}.", nearest(name, names))
    texts = tuple(dict.fromkeys(text))
    columns: list[Column] = [_text_column(table, texts, encoder)] if texts else []
    left_out: dict[str, list[str]] = {}
    for name in names:
        if name in texts:
            continue
        chosen = _choose(name, table[name])
        if isinstance(chosen, str):
            left_out.setdefault(chosen, []).append(name)
        else:
            columns.append(chosen)
    notes = tuple(
        LEFT_OUT[why].format(
            listed(map(quoted, found)), options=" ".join(f"--text {shlex.quote(n)}" for n in found)
        )
        for why, found in left_out.items()
    )
    if not columns:
        raise DataError(
            " ".join(["No column is left to learn from.", *notes]),
            "Name the text to learn from."
            if "free text" in left_out
            else "Add a column of numbers, of categories, or of text that is named as such.",
        )
    many = [quoted(c.name) for c in columns if isinstance(c, CategoryColumn) and c.rest]
    if many:
        notes += (
            f"Categories beyond the {MOST_CATEGORIES} most frequent share one feature: "
            f"{listed(many)}.",
        )
    return tuple(columns), notes


LEFT_OUT = {
    "free text": "Left out, as it looks like free text: {}; to learn from it, name it: {options}.",
    "ids": "Left out, as they look like ids: {}.",
    "numbers as text": "Left out, as they look like ids, written as text: {}; to use one, store "
    "it as a number.",
    "counter": "Left out, as they only number the rows, or have no name: {}.",
    "image": "Left out, as they hold bytes: {}.",
    "lists": "Left out, as their lists are of different lengths: {}.",
    "other": "Left out, as they are neither numbers nor categories: {}; to use one, give each of "
    "its parts a column.",
}


def _choose(name: str, column: pa.ChunkedArray) -> Column | str:
    """Return what a column is used as, or the reason to leave it out."""
    use = type_of(column.type)
    if _is_counter(name, column):
        return "counter"
    if use == "empty" or column.null_count == len(column):
        raise _empty(name)
    if use == "number":
        return "ids" if _is_id(name, column) else _number_column(name, column)
    if use == "text":
        if trimmed(column).null_count == len(column):
            raise _empty(name)
        if not holds_dates(column):
            return choose_category(name, column)
        use = "date"
    if use == "date":
        return choose_date(name, column)
    if use == "vector":
        width = vector_width(column)
        return choose_vector(name, column, width) if width else "lists"
    return use


def _number_column(name: str, column: pa.ChunkedArray) -> NumberColumn:
    values = read_numbers(column, name)
    present = values[~np.isnan(values)]
    if not len(present):
        raise _empty(name)
    return NumberColumn(name, float(np.median(present)), flagged=len(present) < len(values))


def _text_column(table: pa.Table, names: tuple[str, ...], encoder: str | None) -> Column:
    for name in names:
        blank = read_free_texts(table[name], name).null_count
        if blank == table.num_rows:
            raise _empty(name)
    texts = joined_texts(table, names)
    if encoder is None:
        return fit_text(names, texts)
    first = embed_texts(encoder, load_encoder(encoder), texts.drop_null().slice(0, 1))
    return EmbeddedColumn(names, encoder, first.shape[1], flagged=texts.null_count > 0)


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


def _is_id(name: str, column: pa.ChunkedArray) -> bool:
    """Recognise whole numbers that are called an id and never repeat."""
    if not pa.types.is_integer(column.type) or not ID_NAME.fullmatch(name.strip()):
        return False
    present = len(column) - column.null_count
    return bool(present > FEW_ROWS and pc.count_distinct(column).as_py() == present)


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
        DataError: A column is lacking (names the nearest), or holds what does not fit.
        ModelError, MissingPackageError: The encoder of a text cannot be loaded, or fails.
    """
    present = set(table.column_names)
    for name in encoding.sources:
        if name not in present:
            raise DataError(
                f"Column {quoted(name)} is lacking; the model was trained with it.",
                nearest(name, present),
            )
    starts = encoding.starts
    inputs = np.zeros((table.num_rows, starts[-1]), np.float32)
    keys = np.zeros(table.num_rows, np.uint64)
    missing: dict[str, int] = {}
    unseen: dict[str, tuple[str, ...]] = {}
    for column, start in zip(encoding.columns, starts[:-1], strict=True):
        width = len(column.features) - column.flagged
        into = inputs[:, start : start + width]
        if isinstance(column, TextColumn | EmbeddedColumn):
            cells = _encode_texts(column, table, into)
        else:
            cells = _encode(column, table[column.name], into)
        keys += mix(cells.words ^ _salt(column.name))
        if cells.absent.any():
            missing[column.name] = int(cells.absent.sum())
            if column.flagged:
                inputs[cells.absent, start + width] = 1.0
        if cells.unseen:
            unseen[column.name] = cells.unseen
    for name in identifying:
        if type_of(table.schema.field(name).type) == "text":
            keys += mix(_words(table[name]) ^ _salt(name))
    notes = [*missing_notes(encoding, missing)]
    if unseen:
        named = (f"{quoted(name)} ({listed(map(quoted, new), 3)})" for name, new in unseen.items())
        notes.append(f"Categories unknown from training, taken as none of them: {listed(named)}.")
    return Features(inputs, mix(keys), tuple(notes))


def _salt(name: str) -> np.uint64:
    return np.uint64(bytes_key(name.encode()))


class _Cells(NamedTuple):
    """What a column's cells hold beside their features."""

    words: Words  # (N,) hashes of the cells
    absent: NDArray[np.bool_]  # (N,) whether a cell is missing
    unseen: tuple[str, ...] = ()  # categories that training did not have


def _encode(
    column: NumberColumn | CategoryColumn | DateColumn | VectorColumn,
    source: pa.ChunkedArray,
    into: NDArray[np.float32],
) -> _Cells:
    """Write the features of one column, the flag aside: (N, number of features), zeros before."""
    name = column.name
    match column:
        case NumberColumn():
            values = read_numbers(source, name)
            absent = np.isnan(values)
            into[:, 0] = np.where(absent, np.float32(column.median), values)
            return _Cells(float_words(values), absent)
        case CategoryColumn():
            texts = read_texts(source, name)
            words = np.append(text_words(texts.values), MISSING)[texts.codes]
            return _Cells(words, texts.codes < 0, set_categories(column, texts, into))
        case DateColumn():
            moments = read_dates(source, name)
            absent = moments == NO_DATE
            into[absent] = column.medians
            into[~absent] = date_features(moments[~absent], column.parts, column.first)
            return _Cells(moments.view(np.uint64).copy(), absent)
        case VectorColumn():
            vectors = read_vectors(source, name, len(column.means))
            lacking = np.isnan(vectors)
            into[:] = np.where(lacking, np.array(column.means, np.float32), vectors)
            return _Cells(row_keys(vectors), np.any(lacking, axis=1))


def _encode_texts(
    column: TextColumn | EmbeddedColumn, table: pa.Table, into: NDArray[np.float32]
) -> _Cells:
    texts = joined_texts(table, column.names)
    if isinstance(column, TextColumn):
        text_vectors(column, texts, into)
    else:
        into[:] = _embedded(column, texts)
    words = np.zeros(table.num_rows, np.uint64)
    for name in column.names:
        words += mix(_words(table[name]) ^ _salt(name))
    return _Cells(words, np.asarray(texts.is_null().to_numpy(), bool))


def _words(texts: pa.ChunkedArray) -> Words:
    """Hash texts: (N,) uint64, of missing ones all alike."""
    encoded = dense(texts).dictionary_encode().combine_chunks()
    values = (value.strip() for value in encoded.dictionary.to_pylist())
    words = [MISSING if each in MISSING_MARKERS else bytes_key(each.encode()) for each in values]
    codes = encoded.indices.fill_null(-1).to_numpy()
    hashed: Words = np.array([*words, MISSING], np.uint64)[codes]
    return hashed


def _embedded(column: EmbeddedColumn, texts: pa.ChunkedArray) -> NDArray[np.float32]:
    vectors = embed_texts(column.encoder, load_encoder(column.encoder), texts)
    if vectors.shape[1] != column.width:
        raise DataError(
            f"The encoder {quoted(column.encoder)} gives {vectors.shape[1]:,} numbers a text, in "
            f"training it gave {column.width:,}.",
            "Use the encoder that the model was trained with.",
        )
    return vectors


def missing_notes(encoding: Encoding, missing: dict[str, int]) -> tuple[str, ...]:
    """Say what became of missing cells.

    Args:
        encoding: Kind "features".
        missing: Number of missing cells by column, where there are any.
    """
    found: dict[str, list[str]] = {}
    for column in encoding.columns:
        if column.name in missing:
            what = MISSING_CELLS[type(column)][column.flagged]
            count = counted(missing[column.name], "row")
            found.setdefault(what, []).append(f"{quoted(column.name)} ({count})")
    return tuple(f"{what}: {listed(columns)}." for what, columns in found.items())


_TEXTS = ("Missing texts are taken as empty", "Missing texts have a feature of their own")
MISSING_CELLS: dict[type[Column], tuple[str, str]] = {  # without and with a flag
    NumberColumn: (
        "Missing numbers are filled with the median of the training data",
        "Missing numbers are filled with the column's median and flagged",
    ),
    CategoryColumn: (
        "Missing categories, unknown from training, are taken as none",
        "Missing categories have a feature of their own",
    ),
    DateColumn: (
        "Missing dates are filled with the medians of the training data",
        "Missing dates are filled with the column's medians and flagged",
    ),
    VectorColumn: (
        "Missing vectors are filled with the mean of the training data",
        "Missing vectors are filled with the column's mean and flagged",
    ),
    TextColumn: _TEXTS,
    EmbeddedColumn: _TEXTS,
}
