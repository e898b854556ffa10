"""Assembly: inputs and labels from any source become samples, with their ids and what to say.

from_table    an Arrow table of features, of text, or with a column of images
from_files    files of images
from_array    features or pixels in memory or mapped
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thresher.data.arrays import (
    choose_array_columns,
    encode_array,
    flat_features,
    image_array,
    is_image_array,
)
from thresher.data.column_choice import choose_columns
from thresher.data.columns import image_bytes
from thresher.data.conflicts import with_conflicts
from thresher.data.encoded import EncodedImages, ImageCells, ImageFiles
from thresher.data.encoding import Encoding
from thresher.data.images import LONGEST_SIDE, Decoded, Progress, decode_images
from thresher.data.keys import row_keys, sample_ids
from thresher.data.label_file import chosen_labels
from thresher.data.labels import Labels, read_labels, refuse_untrainable
from thresher.data.roles import (
    ID_NAME,
    LABEL_NAMES,
    ORIGINAL_NAME,
    PATH_NAMES,
    class_codes,
    file_paths,
    find_aside,
    find_groups,
    find_image,
    find_label,
    given_ids,
    refuse_unusable,
)
from thresher.data.samples import SKIPPED, Samples
from thresher.data.table import encode_table
from thresher.data.wording import counted, listed, quoted
from thresher.errors import DataError

__all__ = ["Request", "from_array", "from_files", "from_table"]


@dataclass(frozen=True)
class Request:
    """What the caller of ``open_data`` asked for, of a path (on disk) or an object."""

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
    in_memory: int | None = None
    longest_side: int = LONGEST_SIDE
    progress: Progress | None = None
    on_disk: bool = False
    aside: tuple[str, ...] = ()


# ---------------------------------------------------------------------- arrays
def from_array(
    array: NDArray[Any],
    request: Request,
    column: pa.ChunkedArray | None,
    codes: Sequence[str] = (),
) -> Samples:
    """Assemble samples from an array of features or pixels and a column of labels."""
    name = request.image or "X"
    encoding = request.encoding
    _refuse_aside(request)
    column, called, codes = chosen_labels(
        column, request.label or "y", codes or _codes(encoding), _label_source(request)
    )
    if column is None and request.labelled:
        raise DataError("There are no labels: X came alone.", "Give the pair (X, y).")
    labels = _labels(column, called, len(array), request, codes)
    inputs: NDArray[Any]
    notes: tuple[str, ...] = ()
    if is_image_array(array):
        inputs = image_array(array, name)
        encoding = _image_array_encoding(inputs, request, name, codes)
        keys = row_keys(inputs)
    else:
        _refuse_kind(encoding, "features", name)
        flat = flat_features(array, name)
        if array.ndim > 2 and encoding is None:
            notes += (
                f"The rows of {name}, of shape {array.shape[1:]}, are taken as "
                f"{flat.shape[1]:,} features each; images are of type uint8, here it is "
                f"{array.dtype}.",
            )
        if encoding is None:
            columns = choose_array_columns(flat, name)
            encoding = Encoding(
                "features",
                columns,
                label=request.label,
                image=request.image,
                class_codes=tuple(codes),
            )
        features = encode_array(flat, encoding, name)
        inputs, keys = features.inputs, features.keys
        notes += features.notes
    samples = Samples(
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
    return with_conflicts(samples, keys)


def _image_array_encoding(
    inputs: NDArray[Any], request: Request, name: str, codes: Sequence[str]
) -> Encoding:
    """Describe pixels as they are, or check them against the training data's."""
    height, width, channels = inputs.shape[1:]
    if request.encoding is None:
        return Encoding(
            "images",
            size=(height, width),
            channels=channels,
            label=request.label,
            image=request.image,
            class_codes=tuple(codes),
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


def _refuse_aside(request: Request) -> None:
    """Refuse a column to set aside, of a source that has none beside inputs and labels."""
    if request.aside and request.encoding is None:
        raise DataError(
            f"There is no column {quoted(request.aside[0])}: {request.source} holds inputs and "
            "labels alone.",
            "Give a table, or an .npz with an array of that name.",
        )


# ---------------------------------------------------------------------- labels
def _codes(encoding: Encoding | None) -> tuple[str, ...]:
    return encoding.class_codes if encoding else ()


def _label_source(request: Request) -> str | None:
    """The file of labels that is to be used, if any."""
    return request.labels if request.labelled else None


def _several_labels(table: pa.Table, request: Request) -> bool:
    """Whether more than one column is called as labels are, and none is named."""
    return request.label is None and (
        sum(name.strip().lower() in LABEL_NAMES for name in table.column_names) > 1
    )


def _further_labels(features: Sequence[str]) -> tuple[str, ...]:
    """Say that a column is learned from whose name is one of labels."""
    suspect = [quoted(name) for name in features if name.strip().lower() in LABEL_NAMES]
    if not suspect:
        return ()
    return (
        f"Learned from, though their names are those of labels: {listed(suspect)}; remove them if "
        "they hold the answer.",
    )


def _labels(
    column: pa.ChunkedArray | None, name: str, rows: int, request: Request, codes: Sequence[str]
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


# ---------------------------------------------------------------------- tables
def from_table(
    table: pa.Table,
    request: Request,
    given: pa.ChunkedArray | None,
    notes: tuple[str, ...],
    files: ImageFiles | None = None,
) -> Samples:
    """Assemble samples from an Arrow table; labels come from a column of it, or are given."""
    refuse_unusable(table, request.source)
    label, column, name = None, given, "y"
    if given is None:
        # with labels from elsewhere, a column of labels is still no feature
        own = request.labelled and (request.labels is None or _several_labels(table, request))
        aside = [each for each in request.aside if each in table.column_names]
        candidates = table.drop_columns(aside) if request.label is None else table
        label, said = find_label(candidates, request.label, request.encoding, own)
        notes += said if own or not request.labelled else ()
        if label is not None:
            column, name = table[label], f"Column {quoted(label)}"
    codes: Sequence[str] = class_codes(table, label) or _codes(request.encoding)
    column, name, codes = chosen_labels(column, name, codes, _label_source(request))
    labels = _labels(column, name, table.num_rows, request, codes)
    kept = find_aside(table, request.aside, label, known=request.encoding is not None)
    if files is not None:
        _refuse_kind(request.encoding, "images", request.source)
        roles = _Roles(label, None, column, name, codes)
        return _from_images(table, files, files.paths, request, roles, labels, notes, kept)
    image, said = find_image(table, request.image, request.encoding, label)
    notes += said
    if image is not None:
        cells, beside = image_bytes(table[image])
        roles = _Roles(label, image, column, name, codes)
        paths = file_paths(table, beside)
        # a path in a file could name any other file of this machine
        images = ImageCells(cells, None if request.on_disk else _joined(beside))
        return _from_images(table, images, paths, request, roles, labels, notes, kept)
    encoding = request.encoding
    if encoding is None:
        reserved = (label, ID_NAME, ORIGINAL_NAME, request.group, *request.aside)
        features = [each for each in table.column_names if each not in reserved]
        notes += _further_labels(features)
        if ORIGINAL_NAME in table.column_names and label != ORIGINAL_NAME:
            notes += (f"Not learned from: {quoted(ORIGINAL_NAME)}, the labels before correction.",)
        columns, said = choose_columns(table, features, request.text, request.encoder)
        encoding = Encoding("features", columns, label=label, class_codes=tuple(codes))
        notes += said
    _refuse_kind(encoding, "features", request.source)
    ids = given_ids(table, label)
    used = {label, ID_NAME, ORIGINAL_NAME, *encoding.sources, *request.aside}
    identifying = [each for each in table.column_names if each not in used] if ids is None else []
    encoded = encode_table(table, encoding, identifying)
    samples = Samples(
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
        texts=table.select(encoding.texts) if encoding.texts else None,
        aside=kept,
    )
    # a column that is not learned from, such as a row number, does not make two rows different
    return with_conflicts(samples, row_keys(samples.inputs) if identifying else encoded.keys)


# ---------------------------------------------------------------------- images
def from_files(
    files: ImageFiles,
    request: Request,
    column: pa.ChunkedArray | None,
    name: str,
    notes: tuple[str, ...],
) -> Samples:
    """Assemble samples from files of images and a column of labels."""
    _refuse_aside(request)
    column, name, codes = chosen_labels(
        column, name, _codes(request.encoding), _label_source(request)
    )
    if column is None and request.labelled:
        raise DataError("There are no labels: the images came alone.", "Give the pair (paths, y).")
    _refuse_kind(request.encoding, "images", request.source)
    labels = _labels(column, name, len(files), request, codes)
    table = pa.table({"path": files.paths})
    roles = _Roles(None, None, column, name, codes)
    return _from_images(table, files, files.paths, request, roles, labels, notes)


@dataclass(frozen=True)
class _Roles:
    """What a table with images holds where."""

    label: str | None
    image: str | None
    column: pa.ChunkedArray | None  # of labels
    name: str  # what errors call it
    codes: Sequence[str]


def _from_images(
    table: pa.Table,
    encoded: EncodedImages,
    paths: pa.StringArray | None,
    request: Request,
    roles: _Roles,
    labels: Labels,
    notes: tuple[str, ...],
    aside: pa.Table | None = None,
) -> Samples:
    """Assemble samples from encoded images; broken ones are set aside."""
    ids = given_ids(table, roles.label)
    groups = find_groups(table, request.group)
    if request.encoding is None:
        used = {roles.label, roles.image, ID_NAME, ORIGINAL_NAME, request.group, *PATH_NAMES}
        used |= {*request.aside}
        other = [quoted(name) for name in table.column_names if name not in used]
        if other:
            notes += (f"Not used, as the samples are images: {listed(other)}.",)
    asked = request.encoding
    decoded = decode_images(
        encoded,
        asked.size if asked else None,
        asked.channels if asked else None,
        longest_side=request.longest_side,
        scratch=request.scratch,
        in_memory=request.in_memory,
        progress=request.progress,
    )
    if ids is None:
        ids = _path_ids(paths)
    if ids is None:
        ids = sample_ids(decoded.keys, labels.values)
    rows = pa.array(decoded.rows)
    if decoded.errors:
        first, error = next(iter(decoded.errors.items()))
        notes += (
            f"{counted(len(decoded.errors), 'image')} of {len(encoded):,} left out as unreadable; "
            f"the first {encoded.where(first)}: {error}.",
        )
    if decoded.errors and roles.column is not None:
        name = f"{roles.name} (unreadable images aside)"
        labels = _labels(roles.column.take(rows), name, len(decoded.rows), request, roles.codes)
    elif decoded.errors:
        labels = replace(labels, values=labels.values[decoded.rows])
    height, width, channels = decoded.images.shape[1:]
    samples = Samples(
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
        aside=None if aside is None else aside.take(rows),
    )
    return with_conflicts(samples, decoded.keys[decoded.rows])


def _joined(column: pa.ChunkedArray | None) -> pa.StringArray | None:
    return None if column is None else pa.concat_arrays(column.cast(pa.string()).chunks)


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
