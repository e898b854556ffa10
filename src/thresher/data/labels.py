"""Labels: a column of given labels becomes class indices, or an error that says why it cannot."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from thresher.data.columns import MISSING_MARKERS, dense, is_number
from thresher.data.files import one_line
from thresher.data.wording import counted, listed, quoted
from thresher.errors import LabelError, nearest

__all__ = ["Labels", "array_column", "read_labels", "refuse_untrainable"]

WHOLE = re.compile(r"[+-]?\d+")
CHOOSE_ANOTHER = "Name the column that holds the classes, or give each range of values a name."


@dataclass(frozen=True)
class Labels:
    """Given labels as read.

    Args:
        values: (N,) int64 in 0..k-1; -1 = no label.
        classes: The k class names, sorted.
        notes: What must be said aloud.
    """

    values: NDArray[np.int64]
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def read_labels(
    column: pa.ChunkedArray,
    *,
    name: str,
    classes: Sequence[str] | None = None,
    codes: Sequence[str] = (),
) -> Labels:
    """Number the classes of a label column.

    A null, an empty text and NaN are no label. Whole numbers are named without a decimal point, so
    1, 1.0 and "1.0" are one class. Other usual marks of a missing value ("NA", "?", …) are no label
    among numbers, and a class of their own among texts, which is said aloud.

    Args:
        column: (N,) texts, whole numbers, booleans, decimals or dates.
        name: What errors call the column.
        classes: Class names of the training data; None = find them here. With it, a column may
            hold one class, single samples, or no label at all, but no further class.
        codes: Class names of the integer labels 0, 1, …, if the source gives them.

    Raises:
        LabelError: No label at all, numbers that look continuous, one class, a class of one sample,
            or a class that is not among ``classes``.
    """
    column = _labelled_type(column, name)
    distinct, index = _distinct(column)
    names, notes = _class_names(distinct, name, codes, classes)
    if classes is None:
        _refuse_continuous(distinct, names, index, name)
        classes = sorted({each for each in names if each is not None}, key=_class_order)
    place = {each: position for position, each in enumerate(classes)}
    for position, each in enumerate(names):
        if each is not None and each not in place:
            raise LabelError(
                f"{name} holds the class {quoted(each)} (first in row "
                f"{_first(index, position)}, counting from 0), which the training data lack.",
                nearest(each, classes),
            )
    by_index = [-1 if each is None else place[each] for each in names]
    values = np.array([*by_index, -1], np.int64)[index]  # index -1 = null takes the last
    missing = int((values < 0).sum())
    if missing:
        notes.append(
            f"{counted(missing, 'row')} of {len(values):,} without a label: "
            "predicted, never trained on."
        )
    return Labels(values, tuple(classes), tuple(notes))


def refuse_untrainable(labels: Labels, name: str) -> None:
    """Refuse training labels of fewer than two classes, or a class of one sample.

    Raises:
        LabelError: Names the class, and where it stands.
    """
    counts = np.bincount(labels.values[labels.values >= 0], minlength=len(labels.classes))
    if not counts.any():
        raise LabelError(
            f"{name} holds no label: all {counted(len(labels.values), 'row')} are empty.",
            "Name another column, or label at least two samples of two classes.",
        )
    if np.count_nonzero(counts) == 1:
        only = labels.classes[int(counts.argmax())]
        raise LabelError(
            f"{name} holds one class only: {quoted(only)}.",
            "A classifier needs two or more classes: name another column, or add samples.",
        )
    single = np.flatnonzero(counts == 1)
    if len(single):
        row = _first(labels.values, int(single[0]))
        more = f"; the same is true of {len(single) - 1:,} more" if len(single) > 1 else ""
        raise LabelError(
            f"{name}: the class {quoted(labels.classes[single[0]])} has one sample only (row "
            f"{row}, counting from 0){more}.",
            "Merge it with another class, or remove it; a class needs two samples or more.",
        )


def array_column(labels: Any, name: str = "y") -> pa.ChunkedArray:
    """Take one label per row from an array, a sequence or a series.

    Args:
        labels: (N,) or (N, 1) of whole numbers, texts, booleans or whole floats; NaN, None and ""
            are no label.
        name: What errors call it.

    Raises:
        LabelError: Another shape (one-hot rows, for instance), or values that do not mix.
    """
    try:
        array = np.asarray(labels)
    except (TypeError, ValueError, RuntimeError) as error:  # a tensor on a device, ragged lists
        raise LabelError(
            f"{name} cannot be read as an array: {one_line(error)}",
            "Give one label per row as a NumPy array; move tensors to the CPU and detach them.",
        ) from error
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise LabelError(
            f"{name} has shape {array.shape}, expected one label per row, (N,).",
            "Use y.argmax(axis=1) to turn one-hot rows into labels."
            if array.ndim
            else "Give an array of labels; a column of a table is named by label.",
        )
    try:
        values = pa.array(array.astype(array.dtype.newbyteorder("=")), from_pandas=True)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise LabelError(
            f"{name} of type {array.dtype} cannot be read as labels: {one_line(error)}",
            "Give all labels as texts, or all as whole numbers.",
        ) from error
    return pa.chunked_array([values])


def _labelled_type(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Bring a column to a type whose distinct values Arrow can find; NaN becomes null."""
    column = dense(column)
    kind = column.type
    if pa.types.is_nested(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary(kind):
        raise LabelError(
            f"{name} holds values of type {kind}, expected one class name or number per row.",
            "Name another column, or write the class as text.",
        )
    if pa.types.is_decimal(kind) or pa.types.is_floating(kind):
        column = column.cast(pa.float64())
        return pc.if_else(pc.is_nan(column), pa.scalar(None, pa.float64()), column)
    if pa.types.is_temporal(kind):
        return column.cast(pa.large_string())
    return column


def _distinct(column: pa.ChunkedArray) -> tuple[list[Any], NDArray[np.int64]]:
    """Find the distinct values, and for each row the position of its own (-1 = null)."""
    if pa.types.is_null(column.type):
        return [], np.full(len(column), -1, np.int64)
    encoded = column.dictionary_encode().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):  # no rows
        return [], np.zeros(0, np.int64)
    index = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return encoded.dictionary.to_pylist(), index


def _class_names(
    distinct: list[Any], name: str, codes: Sequence[str], classes: Sequence[str] | None
) -> tuple[list[str | None], list[str]]:
    """Name the class of each distinct value; None = no label."""
    if distinct and isinstance(distinct[0], str):
        return _text_names([text.strip() for text in distinct], name)
    names: list[str | None] = [_number_name(value) for value in distinct]
    if codes and all(type(value) is int and -1 <= value < len(codes) for value in distinct):
        # -1 is how such metadata mark a sample without a label
        coded = [None if value < 0 else codes[value] for value in distinct]
        if classes is None or {each for each in coded if each is not None} <= set(classes):
            said = "Class names are taken from the metadata of the file."
            return list(coded), [said] if classes is None else []
    return names, []


def _text_names(texts: list[str], name: str) -> tuple[list[str | None], list[str]]:
    names: list[str | None] = [None if text in ("", "nan", "NaN") else text for text in texts]
    rest = [each for each in names if each is not None and each not in MISSING_MARKERS]
    if rest and all(map(is_number, rest)):
        kept = [None if each in MISSING_MARKERS else each for each in names]
        return [None if each is None else _numeric_text_name(each) for each in kept], []
    marks = sorted({each for each in names if each in MISSING_MARKERS and each is not None})
    if not marks:
        return names, []
    return names, [
        f"{name}: {listed(map(quoted, marks))} is taken as a class; leave cells empty where "
        "there is no label."
    ]


def _numeric_text_name(text: str) -> str:
    """Keep whole numbers as written ("007"), and name "1.0" or "1e0" as 1."""
    return text if WHOLE.fullmatch(text) else _number_name(float(text))


def _number_name(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _class_order(name: str) -> tuple[bool, int, str]:
    """Whole numbers first and by value, then texts by code point."""
    whole = WHOLE.fullmatch(name) is not None and len(name) < 1000
    return not whole, int(name) if whole else 0, name


def _refuse_continuous(
    distinct: list[Any], names: list[str | None], index: NDArray[np.int64], name: str
) -> None:
    """Refuse numbers that are measured rather than named.

    That is: a number that is not whole, or more than 50 distinct numbers that make up more than a
    tenth of the labelled rows (5,000 classes of 40 samples each are classes; 200 ages of 1,000
    people are not).
    """
    numeric = [
        (position, each)
        for position, each in enumerate(names)
        if each is not None and (not isinstance(distinct[position], bool)) and is_number(each)
    ]
    if len(numeric) < sum(each is not None for each in names):
        return
    for position, each in numeric:
        if WHOLE.fullmatch(each) is None:
            raise LabelError(
                f"{name} looks continuous: it holds numbers that are not whole, such as {each} "
                f"(row {_first(index, position)}, counting from 0).",
                CHOOSE_ANOTHER,
            )
    labelled = int((index >= 0).sum())
    if len(numeric) > 50 and len(numeric) > labelled / 10:
        raise LabelError(
            f"{name} looks continuous: it holds {len(numeric):,} different numbers in "
            f"{counted(labelled, 'labelled row')}.",
            CHOOSE_ANOTHER,
        )


def _first(index: NDArray[np.int64], value: int) -> int:
    return int(np.flatnonzero(index == value)[0])
