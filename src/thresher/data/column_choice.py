"""Column choice: what each column of a training table is used as, by one rule.

By what a column holds:

    numbers      as they are; booleans as 0 and 1, durations in seconds
    categories   a 0/1 feature for each value, the 100 most frequent of many, and one for the rest
    dates        days since the first, year, month, day, weekday and hour, as far as they vary, as
                 numbers and cyclic pairs; also texts that are dates in ISO 8601
    vectors      lists of numbers of one length: each place a feature
    free text    named by the user, several columns as one: 128 features of its n-grams, or the
                 vector of an encoder
    left out     ids (whole numbers called so that never repeat, texts that hardly ever do), row
                 counters, free text that nobody named, dates in another form, numbers with texts
                 among them, bytes, structures; always said aloud

Where training data have missing cells, a feature of its own tells them apart, so that "unknown" can
be learned as a value. Nothing looks at the labels: a feature made of them would carry the wrong
ones to the network.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from thresher.data.categories import MOST_CATEGORIES, choose_category
from thresher.data.columns import read_numbers, trimmed, type_of
from thresher.data.dates import choose_date, holds_dates
from thresher.data.encoder import embed_texts, load_encoder
from thresher.data.encoding import CategoryColumn, Column, EmbeddedColumn, NumberColumn
from thresher.data.files import IMAGE_SUFFIXES
from thresher.data.text import fit_text, joined_texts, read_free_texts
from thresher.data.vectors import choose_vector, vector_width
from thresher.data.wording import listed, quoted
from thresher.errors import DataError, nearest

__all__ = ["choose_columns"]

COUNTER_NAMES = frozenset(["", "id", "idx", "index", "row", "row_id", "rowid", "unnamed: 0"])
INDEX_PREFIX = "__index_level_"  # how pandas stores a table's index in Arrow
ID_NAME = re.compile(r"(?i:(.*[^a-z])?(id|uuid|guid))|.*[a-z](Id|ID)", re.DOTALL)
FEW_ROWS = 20  # whose whole numbers may all differ


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
            _how_to_learn(table, left_out),
        )
    many = [quoted(c.name) for c in columns if isinstance(c, CategoryColumn) and c.rest]
    if many:
        notes += (
            f"Categories beyond the {MOST_CATEGORIES} most frequent share one feature: "
            f"{listed(many)}.",
        )
    return tuple(columns), notes


def _how_to_learn(table: pa.Table, left_out: Mapping[str, Sequence[str]]) -> str:
    if any(_names_images(table[name]) for name in left_out.get("ids", ())):
        return (
            "To learn from the images, call the table metadata.csv, .jsonl or .parquet, its column "
            "of their paths file_name, and give the folder that holds it."
        )
    if "free text" in left_out:
        return "Name the text to learn from."
    return "Add a column of numbers, of categories, or of text that is named as such."


def _names_images(column: pa.ChunkedArray) -> bool:
    first = trimmed(column.slice(0, 1))[0].as_py() or ""
    return Path(first).suffix.lower() in IMAGE_SUFFIXES


LEFT_OUT = {
    "free text": "Left out, as it looks like free text: {}; to learn from it, name it: {options}.",
    "ids": "Left out, as they look like ids: {}.",
    "numbers as text": "Left out, as they look like ids, written as text: {}; to use one, store "
    "it as a number.",
    "numbers and texts": "Left out, as they hold numbers and texts that are none: {}; to use one, "
    "correct the texts, or leave the cells empty.",
    "dates": "Left out, as not all of their dates are written as 2026-11-05 or 2026-11-05 14:30: "
    "{}; to use one, write them so.",
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
