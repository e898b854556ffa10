"""Roles: which column of a table holds the labels, the images, the ids, the file names."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from thresher.data.columns import dense, is_number, read_texts, type_of
from thresher.data.encoding import Encoding
from thresher.data.wording import counted, listed, quoted
from thresher.errors import DataError, nearest

__all__ = [
    "ID_NAME",
    "LABEL_NAMES",
    "ORIGINAL_NAME",
    "class_codes",
    "file_paths",
    "find_aside",
    "find_groups",
    "find_image",
    "find_label",
    "given_ids",
    "refuse_unusable",
]

ID_NAME = "sample_id"
LABEL_NAMES = ("label", "labels", "target", "class", "y")
ORIGINAL_NAME = "label_original"  # of corrected data: the labels as they were before
PATH_NAMES = ("path", "file", "file_name")


def refuse_unusable(table: pa.Table, source: str) -> None:
    """Refuse a table without rows or columns, or with two columns of one name.

    Raises:
        DataError: Names the column.
    """
    twice = [quoted(name) for name, count in Counter(table.column_names).items() if count > 1]
    if twice:
        raise DataError(
            f"{source} has more than one column named {listed(twice)}.",
            "Give every column its own name.",
        )
    if table.num_rows == 0 or table.num_columns == 0:
        raise DataError(
            f"{source} holds {counted(table.num_rows, 'row')} and "
            f"{counted(table.num_columns, 'column')}: there is nothing to read.",
            "Add a row for each sample.",
        )


def find_label(
    table: pa.Table, label: str | None, encoding: Encoding | None, labelled: bool
) -> tuple[str | None, tuple[str, ...]]:
    """Find the label column: the one named, else that of the training data, else the only guess.

    Returns:
        Its name, None if data to predict have none; and what must be said aloud.

    Raises:
        DataError: The column named is lacking, or there is not exactly one candidate.
    """
    names = table.column_names
    if label is not None:
        if label in names:
            return label, ()
        if labelled:
            raise DataError(f"There is no column {quoted(label)}.", nearest(label, names))
        return None, ()
    if encoding is not None and encoding.label in names:
        return encoding.label, ()
    candidates = [name for name in names if name.strip().lower() in LABEL_NAMES]
    if not labelled and encoding is not None:
        return None, ()  # every column that training did not use is ignored anyway
    if len(candidates) == 1:
        return candidates[0], (f"The labels are taken from column {quoted(candidates[0])}.",)
    if not labelled:
        return None, ()
    if encoding is not None and encoding.label and not candidates:
        raise DataError(
            f"There is no column {quoted(encoding.label)}, which held the labels in training.",
            nearest(encoding.label, names),
        )
    found = f"{listed(map(quoted, candidates))} could be it" if candidates else "none is named so"
    columns = listed(map(quoted, names), 20)
    header = " The first line must hold the column names." if all(map(is_number, names)) else ""
    raise DataError(
        f"Which column holds the labels? Of {listed(LABEL_NAMES)}, {found}; "
        f"the columns are {columns}.",
        f"Name it with --label COLUMN, in Python label=….{header}",
    )


def find_image(
    table: pa.Table, image: str | None, encoding: Encoding | None, label: str | None
) -> tuple[str | None, tuple[str, ...]]:
    """Find the column of encoded images: the one named, else the only column of bytes.

    Returns:
        Its name, None if the samples are rows of features; and what must be said aloud.

    Raises:
        DataError: The column named is lacking or holds no bytes, or several hold bytes.
    """
    if encoding is not None and encoding.kind == "features":
        return None, ()
    if image is None and encoding is not None and encoding.image in table.column_names:
        image = encoding.image
    if image is not None:
        if image not in table.column_names:
            raise DataError(
                f"There is no column {quoted(image)}.", nearest(image, table.column_names)
            )
        kind = table.schema.field(image).type
        if type_of(kind) != "image":
            raise DataError(
                f"Column {quoted(image)} holds values of type {kind}, expected encoded images.",
                "Store whole image files (PNG, JPEG, …) as bytes in the column.",
            )
        return image, ()
    candidates = [
        field.name
        for field in table.schema
        if type_of(field.type) == "image" and field.name != label
    ]
    if len(candidates) > 1:
        raise DataError(
            f"Which column holds the images? {listed(map(quoted, candidates))} hold bytes.",
            "Name the image column.",
        )
    if not candidates:
        return None, ()
    return candidates[0], (f"The images are taken from column {quoted(candidates[0])}.",)


def class_codes(table: pa.Table, label: str | None) -> tuple[str, ...]:
    """Find the class names of the integer labels 0, 1, … in the schema's metadata.

    Two places are known: the features that Hugging Face datasets write, and a JSON list under the
    key "classes".
    """
    if label is None or not pa.types.is_integer(table.schema.field(label).type):
        return ()
    metadata = table.schema.metadata or {}
    features = _json(metadata.get(b"huggingface"), "info", "features", label, "names")
    names = features if features is not None else _json(metadata.get(b"classes"))
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return ()
    return tuple(names) if len(set(names)) == len(names) else ()


def _json(text: bytes | None, *keys: str) -> Any:
    """Follow keys into a JSON text; None where there is nothing."""
    try:
        found = json.loads(text or b"null")
    except ValueError:
        return None
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def given_ids(table: pa.Table, label: str | None) -> pa.StringArray | None:
    """Take the ids from the column "sample_id", if there is one beside the label: (N,) strings.

    Raises:
        DataError: They are neither texts nor whole numbers, or not unique, or one is missing.
    """
    if ID_NAME not in table.column_names or label == ID_NAME:
        return None
    column = dense(table[ID_NAME])
    if not (pa.types.is_integer(column.type) or pa.types.is_large_string(column.type)):
        raise DataError(
            f'Column "{ID_NAME}" holds values of type {column.type}, expected texts or whole '
            "numbers.",
            "Rename the column, or write an id for each row.",
        )
    ids = pa.concat_arrays(column.cast(pa.string()).chunks)
    if ids.null_count or pc.any(pc.equal(ids, "")).as_py():
        row = pc.index(pc.equal(ids.fill_null(""), ""), True).as_py()
        raise DataError(
            f'Column "{ID_NAME}" has no id in row {row} (counting from 0).',
            "Write an id for each row, or remove the column.",
        )
    if pc.count_distinct(ids).as_py() < len(ids):
        counts = ids.value_counts()
        most = counts[pc.index(counts.field("counts"), pc.max(counts.field("counts"))).as_py()]
        raise DataError(
            f'Column "{ID_NAME}" names {quoted(most["values"])} '
            f"{counted(most['counts'].as_py(), 'time')}; ids must be unique.",
            "Make the ids unique, or rename the column to use it as a feature.",
        )
    return ids


def find_groups(table: pa.Table, group: str | None) -> NDArray[np.int64] | None:
    """Number the groups that a column names; a row without a name is a group of its own.

    Returns:
        (N,) int64; None if no column was named.

    Raises:
        DataError: The column is lacking.
    """
    if group is None:
        return None
    if group not in table.column_names:
        raise DataError(f"There is no column {quoted(group)}.", nearest(group, table.column_names))
    texts = read_texts(table[group], group)
    alone = np.arange(table.num_rows) + len(texts.values)
    return np.where(texts.codes >= 0, texts.codes, alone)


def find_aside(
    table: pa.Table, names: Sequence[str], label: str | None, *, known: bool
) -> pa.Table | None:
    """Set the columns aside that are read for an evaluator and never learned from.

    Args:
        table: As read.
        names: Of the columns.
        label: The column that is learned.
        known: The table is of test or new data: a column that it lacks is left out.

    Returns:
        The columns; None if there are none.

    Raises:
        DataError: A column is lacking, or is the one with the labels.
    """
    for name in names:
        if name == label:
            raise DataError(
                f"Column {quoted(name)} holds the labels that are learned.",
                "Name another column, or other labels.",
            )
        if name not in table.column_names and not known:
            raise DataError(
                f"There is no column {quoted(name)}.", nearest(name, table.column_names)
            )
    found = [name for name in names if name in table.column_names]
    return table.select(found) if found else None


def file_paths(table: pa.Table, beside_images: pa.ChunkedArray | None) -> pa.StringArray | None:
    """Find the samples' files: beside the images' bytes, else in a column path, file or file_name.

    Returns:
        (N,) strings with nulls where there is no path; None if there is none at all.
    """
    columns = [beside_images] if beside_images is not None else []
    columns += [
        dense(table[name])
        for name in PATH_NAMES
        if name in table.column_names and type_of(table.schema.field(name).type) == "text"
    ]
    for column in columns:
        if column.null_count < len(column):
            return pa.concat_arrays(column.cast(pa.string()).chunks)
    return None
