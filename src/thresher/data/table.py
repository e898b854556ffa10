"""Table: columns of every kind become (N, d) float32 features, as an encoding says.

What each column is used as was decided once, on the training data (`thresher.data.column_choice`).
A missing number, date or vector is filled with the median (vectors: the mean) of the training data;
a missing category or text sets nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thresher.data.categories import set_categories
from thresher.data.columns import MISSING_MARKERS, dense, read_numbers, read_texts, type_of
from thresher.data.dates import NO_DATE, date_features, read_dates
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
from thresher.data.text import joined_texts, text_vectors
from thresher.data.vectors import read_vectors
from thresher.data.wording import counted, listed, quoted
from thresher.errors import DataError, nearest

__all__ = ["Features", "encode_table", "missing_notes"]


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
    if encoding.positional and present.isdisjoint(encoding.sources):
        raise DataError(
            f"The columns have names, {listed(map(quoted, table.column_names), 3)}; those of the "
            f"training data, an array of {len(encoding.columns):,}, have none to find them by.",
            "Give an array with the same columns in the same order.",
        )
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
