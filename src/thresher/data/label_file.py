"""Label file: labels of the rows of another source, in their order.

    CIFAR-10_human.pt:worse_label      one array of a PyTorch file, as CIFAR-10N and CIFAR-100N come
    labels.npz:noisy, labels.npy       NumPy arrays
    labels.csv:worse, labels.csv       a column of a table (.csv, .tsv, .parquet, .jsonl)

Nothing says that the rows of two files are in the same order. A file that brings the clean labels
as well can be checked against the labels of the source itself.

Source: the human labels of CIFAR are those of Wei et al., Learning with noisy labels revisited: a
study using real-world human annotations, ICLR 2022.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from thresher.data.columns import is_number
from thresher.data.delimited import read_delimited
from thresher.data.files import existing, reading
from thresher.data.json_lines import read_json_lines
from thresher.data.labels import array_column, read_labels
from thresher.data.npz import array_names, read_array, read_npy
from thresher.data.parquet import read_parquet
from thresher.data.roles import LABEL_NAMES
from thresher.data.wording import counted, listed, quoted
from thresher.errors import DataError, LabelError, nearest

__all__ = ["LabelFile", "chosen_labels", "codes_of", "read_label_file", "refuse_other_order"]

CLEAN_NAME = "clean_label"
FORMATS = (".pt", ".pth", ".npy", ".npz", ".csv", ".tsv", ".parquet", ".jsonl", ".ndjson")


@dataclass(frozen=True)
class LabelFile:
    """Labels from a file of their own.

    Args:
        name: What errors call them.
        column: (N,) one label per row.
        clean: (N,) the clean labels, where the file brings them beside; only ever compared.
    """

    name: str
    column: pa.ChunkedArray
    clean: pa.ChunkedArray | None


def read_label_file(source: str) -> LabelFile:
    """Read the labels that "file" or "file:name" names.

    Args:
        source: The path, and behind the last colon the array or column, where there are several.

    Raises:
        DataError: The file cannot be read, or does not say which of its arrays is meant.
        LabelError: The array does not hold one label per row.
    """
    path, name = _taken_apart(source)
    arrays = _arrays(path)
    if name is None:
        name = _only(path, arrays)
    elif name not in arrays and "" in arrays:
        raise DataError(
            f"{path} has no labels {quoted(name)}: it holds one array without a name.",
            f"Name the file alone: {path}.",
        )
    elif name not in arrays:
        raise DataError(
            f"{path} has no labels {quoted(name)}; it holds {listed(map(quoted, arrays))}.",
            nearest(name, arrays),
        )
    title = f"{path}:{name}" if name else str(path)
    clean = arrays.get(CLEAN_NAME) if name != CLEAN_NAME else None
    return LabelFile(
        title,
        _column(arrays[name], title),
        None if clean is None else _column(clean, f"{path}:{CLEAN_NAME}"),
    )


def chosen_labels(
    column: pa.ChunkedArray | None, name: str, codes: Sequence[str], source: str | None
) -> tuple[pa.ChunkedArray | None, str, Sequence[str]]:
    """Put the labels of a file, if one is named, in the place of those that a source brings.

    Args:
        column: (N,) labels of the source; None = it has none.
        name: What errors call them.
        codes: Class names of the integer labels 0, 1, ….
        source: "file" or "file:name"; None = the source's labels stay.

    Returns:
        The labels to use, what errors call them, and names for their integers.

    Raises:
        DataError: The file cannot be read.
        LabelError: Its clean labels are not those of the source.
    """
    if source is None:
        return column, name, codes
    file = read_label_file(source)
    if column is not None:
        codes = codes or codes_of(read_labels(column, name=name).classes)
        if file.clean is not None:
            refuse_other_order(file, column, codes)
    return file.column, file.name, codes


def codes_of(classes: Sequence[str]) -> tuple[str, ...]:
    """Names for the integer labels 0, 1, … of a file, from a source that gives its classes names.

    Classes that are numbers themselves are no names: there 1 means the class 1.

    >>> codes_of(("cat", "dog")), codes_of(("1", "2"))
    (('cat', 'dog'), ())
    """
    return () if all(map(is_number, classes)) else tuple(classes)


def refuse_other_order(file: LabelFile, own: pa.ChunkedArray, codes: Sequence[str]) -> None:
    """Refuse a file whose clean labels are not those of the source, row by row.

    Args:
        file: With its clean labels.
        own: (N,) labels of the source.
        codes: Class names of the integer labels 0, 1, …; empty = they are no names.

    Raises:
        LabelError: Says how many rows differ, and which orders are known.
    """
    assert file.clean is not None
    if len(file.clean) != len(own):
        raise LabelError(
            f"{file.name} holds {len(file.clean):,} labels for {len(own):,} rows.",
            "Give the data that the labels were made for, whole and in their order.",
        )
    known = read_labels(own, name="The labels of the data", codes=codes)
    try:
        clean = read_labels(file.clean, name=CLEAN_NAME, classes=known.classes, codes=codes)
        differ = int((clean.values != known.values).sum())
    except LabelError:  # a class that the source lacks
        differ = len(own)
    if differ:
        raise LabelError(
            f"{file.name} is in another order than the data: its {CLEAN_NAME} differs from their "
            f"own labels in {counted(differ, 'row')} of {len(own):,}.",
            "CIFAR-N follows the order of the Python batches, which torchvision keeps; "
            "TensorFlow's data sets are shuffled. Read the data from the authors' archive.",
        )


# ---------------------------------------------------------------------- reading
def _taken_apart(source: str) -> tuple[Path, str | None]:
    """The path, and the name behind the last colon; a colon may be part of the path."""
    head, colon, tail = source.rpartition(":")
    if colon and not Path(source).exists():
        return existing(Path(head)), tail
    return existing(Path(source)), None


def _arrays(path: Path) -> Mapping[str, Any]:
    suffix = path.suffix.lower()
    if suffix in (".pt", ".pth"):
        return _torch_arrays(path)
    if suffix == ".npy":
        return {"": read_npy(path)}
    if suffix == ".npz":
        return {name: read_array(path, name) for name in array_names(path)}
    if suffix in (".csv", ".tsv"):
        table, _ = read_delimited(path, lambda _: True)
    elif suffix == ".parquet":
        table = read_parquet(path)
    elif suffix in (".jsonl", ".ndjson"):
        table = read_json_lines(path)
    else:
        what = "is a folder" if path.is_dir() else f"ends in {quoted(path.suffix)}"
        raise DataError(
            f"{path} {what}, which labels are not read from.",
            f"Give a file that ends in {listed(FORMATS, 20)}.",
        )
    return {name: table[name] for name in table.column_names}


def _torch_arrays(path: Path) -> dict[str, Any]:
    """Read the arrays and tensors of a dictionary that torch.save wrote; nothing is executed."""
    import torch

    admitted: list[Any] = [np.ndarray, np.dtype, *_dtype_classes()]
    empty_array = np.ndarray(0).__reduce__()[0]
    admitted += [
        (empty_array, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")
    ]
    try:
        with torch.serialization.safe_globals(admitted), reading(path, "a PyTorch file"):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path} is refused: it holds more than tensors, arrays and texts, which could run a "
            "program. Nothing was run.",
            "Save the labels as a dictionary of arrays, or as .npz.",
        ) from error
    if not isinstance(found, Mapping):
        found = {"": found}
    return {
        str(name): value.numpy() if isinstance(value, torch.Tensor) else value
        for name, value in found.items()
    }


def _dtype_classes() -> list[type]:
    """The classes of NumPy's whole numbers and texts, which newer files name."""
    return sorted({type(np.dtype(kind)) for kind in "bBhHiIlLqQSU"}, key=lambda each: each.__name__)


def _only(path: Path, arrays: Mapping[str, Any]) -> str:
    """The only array, or the only one that is named like labels."""
    if len(arrays) == 1:
        return next(iter(arrays))
    named = [name for name in arrays if name.lower() in LABEL_NAMES]
    if len(named) == 1:
        return named[0]
    raise DataError(
        f"Which labels of {path}? It holds {listed(map(quoted, arrays), 20)}.",
        f"Name them behind a colon: {path.name}:{next(iter(arrays), 'name')}.",
    )


def _column(values: Any, name: str) -> pa.ChunkedArray:
    return values if isinstance(values, pa.ChunkedArray) else array_column(values, name)
