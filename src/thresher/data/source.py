"""Source: a file, a table or arrays become samples.

files    source.py → delimited.py | json_lines.py | parquet.py → roles.py → labels.py
         → table.py | images.py → keys.py → samples.py
arrays   source.py → npz.py → labels.py → arrays.py → keys.py → samples.py
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thresher.data.arrays import (
    as_array,
    choose_array_columns,
    encode_array,
    flat_features,
    image_array,
    is_image_array,
)
from thresher.data.columns import image_bytes
from thresher.data.delimited import read_delimited
from thresher.data.encoding import CategoryColumn, Encoding
from thresher.data.files import READABLE, existing, one_line
from thresher.data.images import Decoded, decode_images
from thresher.data.json_lines import read_json_lines
from thresher.data.keys import row_keys, sample_ids
from thresher.data.labels import Labels, array_column, read_labels, refuse_untrainable
from thresher.data.npz import array_names, read_array
from thresher.data.parquet import read_parquet
from thresher.data.roles import (
    ID_NAME,
    LABEL_NAMES,
    class_codes,
    file_paths,
    find_groups,
    find_image,
    find_label,
    given_ids,
    refuse_unusable,
)
from thresher.data.samples import SKIPPED, Samples
from thresher.data.table import choose_columns, encode_table
from thresher.data.wording import listed, quoted
from thresher.errors import DataError

__all__ = ["open_data"]

IN_MEMORY = "arrays in memory"


@dataclass(frozen=True)
class _Request:
    """What the caller of ``open_data`` asked for."""

    source: str
    label: str | None
    image: str | None
    encoding: Encoding | None
    classes: tuple[str, ...] | None
    labelled: bool
    text: tuple[str, ...] = ()
    encoder: str | None = None
    group: str | None = None
    labels: str | None = None
    scratch: Path | None = None


def open_data(
    data: Any,
    *,
    label: str | None = None,
    image: str | None = None,
    text: Sequence[str] = (),
    encoder: str | None = None,
    group: str | None = None,
    labels: str | None = None,
    encoding: Encoding | None = None,
    classes: Sequence[str] | None = None,
    labelled: bool = True,
    scratch: Path | None = None,
) -> Samples:
    """Read samples from a file, a table in memory, or arrays.

    Args:
        data: The path of a .csv, .tsv, .parquet, .jsonl, .ndjson or .npz file, or of a folder of
            Parquet part files; a table with the Arrow C stream (pandas, polars, pyarrow); an array
            X (N, …), of uint8 and three or four dimensions for images; or a pair (X, y) of a table
            or array with its labels.
        label: The column, or the array of an .npz, that holds the labels. None takes the only
            column called label, labels, target, class or y; in an .npz, y.
        image: The column of encoded images, or the array of an .npz that holds the inputs. None
            takes the only column of bytes, if there is one; in an .npz, X or x.
        text: The columns of free text that are learned from.
        encoder: What turns texts into vectors; None = character n-grams.
        group: The column that names the group a sample belongs to; groups are never split.
        labels: A file that holds the labels of the rows in their order, "file" or "file:name".
        encoding: Of the training data, for test and new data. None chooses one here.
        classes: Class names of the training data, for test data. None finds them here.
        labelled: False for data to predict: a label column may be lacking, and is dropped.
        scratch: A folder for memory-mapped copies of large inputs; None keeps them in memory.

    Raises:
        DataError: The data cannot be read, or do not hold what they must.
        LabelError: The labels cannot be learned from, or hold a class unknown from training.
    """
    known = None if classes is None else tuple(classes)
    request = _Request(
        IN_MEMORY,
        label,
        image,
        encoding,
        known,
        labelled,
        tuple(text),
        encoder,
        group,
        labels,
        scratch,
    )
    if isinstance(data, (str, os.PathLike)):
        return _open_path(Path(data), replace(request, source=os.fspath(data)))
    given: Any = None
    if isinstance(data, tuple):
        if len(data) != 2:
            raise DataError(
                f"Got a tuple of {len(data)}, expected a pair (X, y).", "Give the pair, or X alone."
            )
        data, given = data
    column = array_column(given) if given is not None and labelled else None
    if hasattr(data, "__arrow_c_stream__"):
        return _from_table(_arrow_table(data), request, column, ())
    return _from_array(as_array(data), request, column)


def _open_path(path: Path, request: _Request) -> Samples:
    existing(path)
    kind = ".parquet" if path.is_dir() else path.suffix.lower()
    notes: tuple[str, ...] = ()
    if kind == ".npz":
        return _open_npz(path, request)
    if kind in (".csv", ".tsv"):
        table, notes = read_delimited(path, _stays_text(request))
    elif kind in (".jsonl", ".ndjson"):
        table = read_json_lines(path)
    elif kind == ".parquet":
        table = read_parquet(path)
    else:
        raise DataError(
            f"{path} ends in {quoted(kind)}, a format that is not read.",
            f"Give a file that ends in {listed(READABLE)}.",
        )
    samples = _from_table(table, request, None, notes)
    del table
    pa.default_memory_pool().release_unused()  # Arrow keeps what it frees, and training needs it
    return samples


def _stays_text(request: _Request) -> Callable[[str], bool]:
    """Tell the columns of a CSV that must not become numbers: labels, ids, known categories."""
    encoding = request.encoding
    names = {ID_NAME, request.label or (encoding.label if encoding else None)}
    if encoding:
        names |= {each.name for each in encoding.columns if isinstance(each, CategoryColumn)}
    guess = request.label is None

    def stays_text(name: str) -> bool:
        return name in names or (guess and name.lower() in LABEL_NAMES)

    return stays_text


def _arrow_table(data: Any) -> pa.Table:
    try:
        return pa.table(data)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise DataError(
            f"The table cannot be read: {one_line(error)}",
            "Give every column its own name, and one type of value.",
        ) from error


def _open_npz(path: Path, request: _Request) -> Samples:
    names = array_names(path)
    encoding = request.encoding
    inputs = request.image or _first((encoding.image if encoding else None, "X", "x"), names)
    labels = request.label or _first((encoding.label if encoding else None, "y"), names)
    if inputs is None or (labels is None and request.labelled):
        lacking = "inputs, X or x" if inputs is None else "labels, y"
        raise DataError(
            f"{path} has no array of {lacking}; it holds {listed(map(quoted, names))}.",
            "Name the arrays: image for the inputs, label for the labels.",
        )
    column: pa.ChunkedArray | None = None
    if request.labelled and labels is not None:
        column = array_column(read_array(path, labels), labels)
    array = as_array(read_array(path, inputs), inputs)
    return _from_array(array, replace(request, image=inputs, label=labels), column)


def _first(wanted: Sequence[str | None], names: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in names), None)


def _from_array(array: NDArray[Any], request: _Request, column: pa.ChunkedArray | None) -> Samples:
    """Assemble samples from an array of features or pixels and a column of labels."""
    if column is None and request.labelled:
        raise DataError("There are no labels: X came alone.", "Give the pair (X, y).")
    name = request.image or "X"
    encoding = request.encoding
    labels = _labels(column, request.label or "y", len(array), request, _codes(encoding))
    inputs: NDArray[Any]
    notes: tuple[str, ...] = ()
    if is_image_array(array):
        inputs = image_array(array, name)
        encoding = _image_array_encoding(inputs, request, name)
        keys = row_keys(inputs)
    else:
        _refuse_kind(encoding, "features", name)
        flat = flat_features(array, name)
        if encoding is None:
            columns = choose_array_columns(flat, name)
            encoding = Encoding("features", columns, label=request.label, image=request.image)
        features = encode_array(flat, encoding, name)
        inputs, keys, notes = features.inputs, features.keys, features.notes
    return Samples(
        inputs=inputs,
        labels=labels.values,
        classes=labels.classes,
        sample_id=sample_ids(keys, labels.values),
        paths=None,
        encoding=encoding,
        skipped=SKIPPED.empty_table(),
        notes=(*labels.notes, *notes),
        source=request.source,
    )


def _image_array_encoding(inputs: NDArray[Any], request: _Request, name: str) -> Encoding:
    """Describe pixels as they are, or check them against the training data's."""
    height, width, channels = inputs.shape[1:]
    if request.encoding is None:
        return Encoding(
            "images",
            size=(height, width),
            channels=channels,
            label=request.label,
            image=request.image,
        )
    _refuse_kind(request.encoding, "images", name)
    size, expected = request.encoding.size, request.encoding.channels
    if size != (height, width) or expected != channels:
        raise DataError(
            f"{name} holds images of shape {(height, width, channels)}, the training data of "
            f"{(*(size or ()), expected)} (height, width, channels).",
            "Resize or convert the images as the training data were.",
        )
    return request.encoding


def _refuse_kind(encoding: Encoding | None, kind: str, name: str) -> None:
    if encoding is not None and encoding.kind != kind:
        raise DataError(
            f"{name} holds {kind}, the model was trained on {encoding.kind}.",
            "Give uint8 images of shape (N, H, W) or (N, H, W, C) for images, and rows of numbers "
            "or a table for features.",
        )


def _codes(encoding: Encoding | None) -> tuple[str, ...]:
    return encoding.class_codes if encoding else ()


def _labels(
    column: pa.ChunkedArray | None, name: str, rows: int, request: _Request, codes: Sequence[str]
) -> Labels:
    """Read the labels, or -1 for every row of data to predict."""
    if column is None or not request.labelled:
        return Labels(np.full(rows, -1, np.int64), request.classes or (), ())
    if len(column) != rows:
        raise DataError(
            f"{name} holds {len(column):,} labels for {rows:,} rows.", "Give one label per row."
        )
    labels = read_labels(column, name=name, classes=request.classes, codes=codes)
    if request.classes is None:
        refuse_untrainable(labels, name)
    return labels


def _from_table(
    table: pa.Table, request: _Request, given: pa.ChunkedArray | None, notes: tuple[str, ...]
) -> Samples:
    """Assemble samples from an Arrow table; labels come from a column of it, or are given."""
    refuse_unusable(table, request.source)
    label, column, name = None, given, "y"
    if given is None:
        label, said = find_label(table, request.label, request.encoding, request.labelled)
        notes += said
        if label is not None:
            column, name = table[label], f"Column {quoted(label)}"
    codes = class_codes(table, label) or _codes(request.encoding)
    labels = _labels(column, name, table.num_rows, request, codes)
    image, said = find_image(table, request.image, request.encoding, label)
    notes += said
    if image is not None:
        return _from_images(
            table, request, _Roles(label, image, column, name, codes), labels, notes
        )
    encoding = request.encoding
    if encoding is None:
        reserved = (label, ID_NAME, request.group)
        features = [each for each in table.column_names if each not in reserved]
        columns, said = choose_columns(table, features)
        encoding = Encoding("features", columns, label=label, class_codes=tuple(codes))
        notes += said
    _refuse_kind(encoding, "features", request.source)
    ids = given_ids(table, label)
    used = {label, ID_NAME, *(each.name for each in encoding.columns)}
    identifying = [each for each in table.column_names if each not in used] if ids is None else []
    encoded = encode_table(table, encoding, identifying)
    return Samples(
        inputs=encoded.inputs,
        labels=labels.values,
        classes=labels.classes,
        sample_id=sample_ids(encoded.keys, labels.values) if ids is None else ids,
        paths=None,
        encoding=encoding,
        skipped=SKIPPED.empty_table(),
        notes=(*notes, *labels.notes, *encoded.notes),
        source=request.source,
        groups=find_groups(table, request.group),
    )


@dataclass(frozen=True)
class _Roles:
    """What a table with images holds where."""

    label: str | None
    image: str
    column: pa.ChunkedArray | None  # of labels
    name: str  # what errors call it
    codes: Sequence[str]


def _from_images(
    table: pa.Table, request: _Request, roles: _Roles, labels: Labels, notes: tuple[str, ...]
) -> Samples:
    """Assemble samples from a column of encoded images; broken ones are set aside."""
    column, beside = image_bytes(table[roles.image])
    paths = file_paths(table, beside)
    ids = given_ids(table, roles.label)
    groups = find_groups(table, request.group)
    if request.encoding is None:
        used = {roles.label, roles.image, ID_NAME, request.group}
        other = [quoted(name) for name in table.column_names if name not in used]
        if other:
            notes += (f"Not used, as the samples are images: {listed(other)}.",)
    asked = request.encoding
    decoded = decode_images(
        column, asked.size if asked else None, asked.channels if asked else None
    )
    if ids is None:
        ids = _path_ids(paths)
    if ids is None:
        ids = sample_ids(decoded.keys, labels.values)
    rows = pa.array(decoded.rows)
    if decoded.errors and roles.column is not None:
        labels = _labels(
            roles.column.take(rows), roles.name, len(decoded.rows), request, roles.codes
        )
    elif decoded.errors:
        labels = replace(labels, values=labels.values[decoded.rows])
    height, width, channels = decoded.images.shape[1:]
    return Samples(
        inputs=decoded.images,
        labels=labels.values,
        classes=labels.classes,
        sample_id=ids.take(rows),
        paths=None if paths is None else paths.take(rows),
        encoding=asked
        or Encoding(
            "images",
            size=(height, width),
            channels=channels,
            label=roles.label,
            image=roles.image,
            class_codes=tuple(roles.codes),
        ),
        skipped=_skipped(decoded, ids, paths),
        notes=(*notes, *labels.notes, *decoded.notes),
        source=request.source,
        groups=None if groups is None else groups[decoded.rows],
    )


def _path_ids(paths: pa.StringArray | None) -> pa.StringArray | None:
    """Use the paths as ids if each row has its own."""
    unique = paths is not None and not paths.null_count and len(paths.unique()) == len(paths)
    return paths if unique else None


def _skipped(decoded: Decoded, ids: pa.StringArray, paths: pa.StringArray | None) -> pa.Table:
    rows = pa.array(sorted(decoded.errors), pa.int64())
    missing = pa.nulls(len(rows), pa.string())
    found = missing if paths is None else paths.take(rows)
    errors = pa.array([decoded.errors[row] for row in rows.to_pylist()], pa.string())
    return pa.table([rows, ids.take(rows), found, errors], schema=SKIPPED)
