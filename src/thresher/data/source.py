"""Source: whatever form labelled data have, they become samples.

tables   source.py → delimited.py | json_lines.py | parquet.py → assembly.py → roles.py
         → label_file.py → labels.py → column_choice.py, table.py | images.py → keys.py
         → samples.py
images   source.py → folders.py → encoded.py → assembly.py → label_file.py → labels.py → images.py
         → pixels.py, scratch.py → keys.py → samples.py
arrays   source.py → npz.py | cifar.py | datasets.py, items.py → assembly.py → label_file.py
         → labels.py → arrays.py → keys.py → samples.py
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from thresher.data.arrays import as_array
from thresher.data.assembly import Request, from_array, from_files, from_table
from thresher.data.cifar import Place, find_cifar, read_cifar
from thresher.data.columns import without_views
from thresher.data.datasets import (
    hugging_face_table,
    is_hugging_face,
    is_map_style,
    refuse_stream,
)
from thresher.data.delimited import read_delimited
from thresher.data.encoded import ImageFiles
from thresher.data.encoding import CategoryColumn, Encoding
from thresher.data.files import IMAGE_SUFFIXES, READABLE, as_path, existing, one_line
from thresher.data.folders import Listing, list_images, read_image_folder
from thresher.data.images import LONGEST_SIDE, Progress
from thresher.data.items import read_items
from thresher.data.json_lines import read_json_lines
from thresher.data.labels import array_column
from thresher.data.lists import TEXT_NAME, is_column, path_list, text_list
from thresher.data.npz import array_names, labels_beside, read_array, read_npy
from thresher.data.parquet import read_parquet
from thresher.data.roles import ID_NAME, LABEL_NAMES
from thresher.data.samples import Samples
from thresher.data.wording import listed, quoted
from thresher.errors import DataError, ParameterError

__all__ = ["open_data"]

IN_MEMORY = "arrays in memory"


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
    in_memory: int | None = None,
    longest_side: int = LONGEST_SIDE,
    progress: Progress | None = None,
    aside: Sequence[str] = (),
) -> Samples:
    """Read samples from files, a table, arrays, or another library's data set.

    Args:
        data: A path: a .csv, .tsv, .parquet, .jsonl, .ndjson, .npz or .npy file; a folder of
            images with a folder for each class, or with metadata.csv, .jsonl or .parquet beside
            them; a folder of Parquet part files, or part-*.parquet; CIFAR's folder or archive; to
            predict, any folder of images or one image. Or an object: a table with the Arrow C
            stream (pandas, polars, pyarrow); an array X (N, …), of uint8 and three or four
            dimensions for images; a map-style data set of pairs (x, y) or dictionaries; a Hugging
            Face data set; a list of paths of images, or of texts; or a pair (X, y) of one of these
            with its labels.
        label: The column, or the array of an .npz, that holds the labels. None takes the only
            column called label, labels, target, class or y; in an .npz, y.
        image: The column of encoded images, or the array of an .npz that holds the inputs. None
            takes the only column of bytes, if there is one; in an .npz, X or x.
        text: The columns of free text that are learned from.
        encoder: What turns texts into vectors; None = character n-grams.
        group: The column that names the group a sample belongs to; groups are never split.
        labels: A file that holds the labels of the rows in their order, "file" or "file:name"
            (.npy, .npz, .csv, .parquet, .jsonl, .pt). They are used instead of the source's own,
            which are compared with the clean labels of the file, if it has any, and dropped.
        encoding: Of the training data, for test and new data. None chooses one here.
        classes: Class names of the training data, for test data. None finds them here.
        labelled: False for data to predict: a label column may be lacking, and is dropped.
        scratch: A folder for copies of more than 256 MiB of decoded images, which are mapped into
            memory and found again by a run that is resumed; None keeps them in memory.
        in_memory: Bytes of decoded image files that stay in memory, >= 0, instead of 256 MiB; 0
            where several processes are to map one copy.
        longest_side: Most pixels of the longer side of images, >= 1; larger ones are scaled down.
        progress: Called with (images decoded, images in all) now and then.
        aside: Columns, or arrays of an .npz, that are never learned from and handed on as
            `Samples.aside`; with an encoding, those that the source has.

    Raises:
        DataError: The data cannot be read, or do not hold what they must.
        LabelError: The labels cannot be learned from, or hold a class unknown from training.
        ParameterError: longest_side is below 1.
        RunError: A copy cannot be written to ``scratch``.
    """
    if longest_side < 1:
        raise ParameterError(
            f"longest_side must be 1 or more, got {longest_side}.", "Leave it at 224."
        )
    known = None if classes is None else tuple(classes)
    request = Request(
        source=IN_MEMORY,
        label=label,
        image=image,
        encoding=encoding,
        classes=known,
        labelled=labelled,
        text=tuple(text),
        encoder=encoder,
        group=group,
        labels=labels,
        scratch=scratch,
        in_memory=in_memory,
        longest_side=longest_side,
        progress=progress,
        aside=tuple(aside),
    )
    if isinstance(data, (str, os.PathLike)):
        return _open_path(as_path(data), replace(request, source=os.fspath(data), on_disk=True))
    given: Any = None
    if isinstance(data, tuple):
        if len(data) != 2:
            raise DataError(
                f"Got a tuple of {len(data)}, expected a pair (X, y).", "Give the pair, or X alone."
            )
        data, given = data
    column = array_column(given) if given is not None and labelled else None
    texts = text_list(data)
    if texts is not None:
        return from_table(texts, replace(request, text=(TEXT_NAME,)), column, ())
    if hasattr(data, "__arrow_c_stream__") and not is_column(data):
        return from_table(_arrow_table(data), request, column, ())
    paths = path_list(data)
    if paths is not None:
        return from_files(ImageFiles(None, paths), request, column, "y", ())
    refuse_stream(data)
    if is_hugging_face(data):
        return from_table(hugging_face_table(data), request, column, ())
    if is_map_style(data):
        return _from_items(data, request, column)
    return from_array(as_array(data), request, column)


def _open_path(path: Path, request: Request) -> Samples:
    if place := find_cifar(path):
        return _open_cifar(place, request)
    existing(path)
    if path.is_dir():
        found = list_images(path)
        if len(found) > found.data_files:
            return _open_folder(path, found, request)
    kind = ".parquet" if path.is_dir() else path.suffix.lower()
    notes: tuple[str, ...] = ()
    if kind == ".npz":
        return _open_npz(path, request)
    if kind == ".npy":
        return _open_npy(path, request)
    if kind in IMAGE_SUFFIXES:
        return _open_image(path, request)
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
    samples = from_table(table, request, None, notes)
    del table
    pa.default_memory_pool().release_unused()  # Arrow keeps what it frees, and training needs it
    return samples


# ---------------------------------------------------------------------- tables
def _stays_text(request: Request) -> Callable[[str], bool]:
    """Tell the columns of a CSV that stay text: labels, ids, free text, known categories."""
    encoding = request.encoding
    names = {ID_NAME, request.label or (encoding.label if encoding else None)}
    if encoding:
        names |= {each.name for each in encoding.columns if isinstance(each, CategoryColumn)}
        names |= set(encoding.texts)
    names |= {*request.text, *request.aside}
    guess = request.label is None

    def stays_text(name: str) -> bool:
        return name in names or (guess and name.lower() in LABEL_NAMES)

    return stays_text


def _arrow_table(data: Any) -> pa.Table:
    try:
        return without_views(pa.table(data))
    except Exception as error:  # what is behind a stream, such as a query, may raise anything
        raise DataError(
            f"The table cannot be read: {one_line(error)}",
            "Give every column its own name, and one type of value that Arrow knows.",
        ) from error


# ---------------------------------------------------------------------- images
def _open_folder(path: Path, found: Listing, request: Request) -> Samples:
    folder = read_image_folder(
        path, found, labelled=request.labelled, optional=request.labels is not None
    )
    unlabelled = request.labelled and request.labels is None and folder.labels is None
    if unlabelled or folder.table.num_columns > 1:
        return from_table(folder.table, request, None, folder.notes, folder.files)
    name = f"The folder {path}"
    return from_files(folder.files, request, folder.labels, name, folder.notes)


def _open_image(path: Path, request: Request) -> Samples:
    if request.labelled:
        raise DataError(
            f"{path} is one image, which can be predicted; training needs many.",
            "Give a folder that holds a folder of images for each class.",
        )
    files = ImageFiles(path.parent, pa.array([path.name]))
    return from_files(files, request, None, "", ())


# ---------------------------------------------------------------------- arrays
def _open_npz(path: Path, request: Request) -> Samples:
    names = array_names(path)
    encoding = request.encoding
    inputs = request.image or _first((encoding.image if encoding else None, "X", "x"), names)
    if inputs is None and not request.labelled:
        inputs = _only_input(names, encoding)
    labels = request.label or _first((encoding.label if encoding else None, "y"), names)
    unlabelled = labels is None and request.labelled and request.labels is None
    if inputs is None or unlabelled:
        lacking = "inputs, X or x" if inputs is None else "labels, y"
        raise DataError(
            f"{path} has no array of {lacking}; it holds {listed(map(quoted, names))}.",
            "Name the arrays: image for the inputs, label for the labels."
            if request.labelled
            else "Call the array of the inputs X, or keep it in a file of its own.",
        )
    column: pa.ChunkedArray | None = None
    if request.labelled and labels is not None:
        column = array_column(read_array(path, labels), labels)
    array = as_array(read_array(path, inputs), inputs)
    samples = from_array(array, replace(request, image=inputs, label=labels, aside=()), column)
    there = [each for each in request.aside if each in names or encoding is None]
    if not there:
        return samples
    columns = {each: array_column(read_array(path, each), each) for each in there}
    return replace(samples, aside=_beside(columns, len(samples)))


def _only_input(names: Sequence[str], encoding: Encoding | None) -> str | None:
    """The only array that is not called as labels are, of data to predict."""
    labels = {*LABEL_NAMES, encoding.label if encoding else None}
    inputs = [name for name in names if name not in labels]
    return inputs[0] if len(inputs) == 1 else None


def _open_npy(path: Path, request: Request) -> Samples:
    """Open inputs in one file, their labels in another one beside it."""
    array = as_array(read_npy(path), path.name)
    if not request.labelled or request.labels is not None:
        return from_array(array, request, None)
    beside = labels_beside(path)
    if beside is None:
        raise DataError(
            f"There are no labels beside {path}: no {path.stem}_labels.npy, labels.npy or y.npy.",
            "Name their file with --labels FILE, in Python labels=…, or give the pair (X, y).",
        )
    column = array_column(read_npy(beside), beside.name)
    samples = from_array(array, request, column)
    note = f"The labels are taken from {beside.name}."
    return replace(samples, notes=(note, *samples.notes))


def _beside(columns: dict[str, pa.ChunkedArray], rows: int) -> pa.Table:
    """Arrays of one value a row as a table.

    Raises:
        DataError: One has another length.
    """
    for name, column in columns.items():
        if len(column) != rows:
            raise DataError(
                f"{name} holds {len(column):,} values for {rows:,} rows.", "Give one per row."
            )
    return pa.table(columns)


def _first(wanted: Sequence[str | None], names: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in names), None)


def _open_cifar(place: Place, request: Request) -> Samples:
    label = request.label or (request.encoding.label if request.encoding else None)
    found = read_cifar(place, label)
    column = pa.chunked_array([found.labels]) if request.labelled else None
    return from_array(
        found.images, replace(request, label=found.label), column, codes=found.classes
    )


def _from_items(data: Any, request: Request, column: pa.ChunkedArray | None) -> Samples:
    """Assemble samples from the rows of a map-style data set."""
    encoding = request.encoding
    items = read_items(
        data,
        image=request.image or (encoding.image if encoding else None),
        label=request.label or (encoding.label if encoding else None),
        labelled=request.labelled,
        size=encoding.size if encoding else None,
        channels=encoding.channels if encoding else None,
        longest_side=request.longest_side,
        # every process reads the rows anew: it would write over the copy of another one
        scratch=request.scratch if request.in_memory is None else None,
        progress=request.progress,
    )
    if column is None and items.labels is not None and request.labelled:
        column = array_column(items.labels, request.label or "y")
    samples = from_array(items.inputs, request, column, codes=items.codes)
    return replace(samples, notes=(*items.notes, *samples.notes))
