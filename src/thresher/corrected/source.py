"""Source: which form the data of a run have, their rows and their labels."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thresher.data.cifar import find_cifar
from thresher.data.columns import type_of
from thresher.data.delimited import read_delimited
from thresher.data.files import SPLITS
from thresher.data.folders import list_images, metadata_file, read_image_folder
from thresher.data.json_lines import read_json_lines
from thresher.data.parquet import SPLIT_NAME, part_files, read_parquet
from thresher.data.roles import ID_NAME
from thresher.data.splits import training_and_test
from thresher.errors import RunError
from thresher.settings import FitSettings

__all__ = [
    "SUFFIXES",
    "Form",
    "Rows",
    "Source",
    "find_source",
    "names_a_test",
    "parts_of",
    "read_rows",
    "read_tested",
]

Form = Literal["class folders", "image table", "delimited", "json lines", "parquet", "other"]

#: The form of a table by the end of its name.
SUFFIXES: dict[str, Form] = {
    ".csv": "delimited",
    ".tsv": "delimited",
    ".jsonl": "json lines",
    ".ndjson": "json lines",
    ".parquet": "parquet",
}
SPLIT_COLUMN = "split"


@dataclass(frozen=True)
class Source:
    """Where the training data of a run are.

    Attributes:
        form: What is written anew in the same form; of "other" only a list of changes can be.
        beneath: The form of data whose labels lie in a file of their own, which makes them "other".
        path: The training data; None = arrays in memory.
        places: What must not be written to: the data as named, the training data, test data.
        table: Of images with a table beside them, that table.
        label: Column of the labels; None of class folders.
        testing: Whether the data are named as a test split.
        notes: What must be said aloud.
    """

    form: Form
    path: Path | None
    beneath: Form = "other"
    places: tuple[Path, ...] = ()
    table: Path | None = None
    label: str | None = None
    testing: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rows:
    """The N rows of a source.

    Attributes:
        table: As they were read for the training; of class folders a column of paths.
        labels: (N,) labels as they stand there.
        tested: (N,) bool, rows that a column "split" calls test.
        files: (N,) paths of images relative to the source; None where the rows are no files.
    """

    table: pa.Table
    labels: pa.ChunkedArray
    tested: NDArray[np.bool_]
    files: pa.StringArray | None = None

    def __len__(self) -> int:
        return len(self.labels)


def find_source(settings: FitSettings, data: str | Path | None = None) -> Source:
    """Find the training data of a run, without reading them.

    Args:
        settings: Of the run.
        data: Where the data are now; None = where they were.

    Raises:
        RunError: they are not there.
    """
    named = data if data is not None else settings.data
    if named is None:
        return Source("other", None)
    given = Path(named)
    training, test, _ = training_and_test(given, settings.test)
    path = Path(training)
    cifar = find_cifar(path)
    if cifar is None and not path.exists() and not ("*" in path.name and path.parent.is_dir()):
        raise RunError(
            f"The data of the run are not in {given}.", "Say with --data where they are now."
        )
    parts = (settings.test, settings.labels)
    places = [given, path, *(Path(each.rpartition(":")[0] or each) for each in parts if each)]
    places += [Path(each) for each in parts if each]
    source = Source(
        "other",
        path,
        places=tuple(dict.fromkeys(places)),
        label=settings.label,
        testing=_is_test(path),
        notes=(f"The test data, {test}, are not part of it.",) if test and given != path else (),
    )
    if cifar is not None:
        return source
    source = _formed(source, path)
    return source if settings.labels is None else replace(source, form="other", beneath=source.form)


def _formed(source: Source, path: Path) -> Source:
    """The same source with its form."""
    if path.is_dir():
        found = list_images(path)
        if len(found) > found.data_files:
            beside = metadata_file(path)
            if beside is None:
                lone = {each.split("/")[0] for each in found.folders}
                testing = source.testing or all(_is_test(Path(each)) for each in lone)
                return replace(source, form="class folders", testing=testing)
            return replace(source, form="image table", table=beside)
        return replace(source, form="parquet")
    return replace(source, form=SUFFIXES.get(path.suffix.lower(), "other"))


def read_rows(source: Source, text: Sequence[str] = ()) -> Rows:
    """Read the rows of a source that can be written anew, typed as the training read them.

    Args:
        source: Of any form but "other".
        text: Columns of free text.

    Raises:
        DataError: they cannot be read.
        RunError: the labels are not there any more.
    """
    path = source.path
    assert path is not None
    files: pa.StringArray | None = None
    if source.form in ("class folders", "image table"):
        folder = read_image_folder(path, list_images(path))
        table, files = folder.table, folder.files.paths
        if folder.labels is not None:
            return Rows(table, folder.labels, np.zeros(len(table), dtype=bool), files)
    else:
        table = _read_table(path, source.form, {ID_NAME, source.label, *text})
    if source.label not in table.column_names:
        raise RunError(
            f"{path} has no column {source.label!r}, which held the labels of the run.",
            "Pass the data that the run was made from with --data.",
        )
    return Rows(table, table[source.label], _tested(table), files)


def read_tested(source: Source) -> NDArray[np.bool_] | None:
    """Find the test rows of data whose labels lie in a file of their own.

    Args:
        source: Of the form "other".

    Returns:
        (N,) bool, rows that a column "split" calls test; None where the data have no columns.

    Raises:
        DataError: they cannot be read.
    """
    if source.path is None or source.beneath in ("other", "class folders"):
        return None
    if source.beneath == "image table":
        return _tested(read_image_folder(source.path, list_images(source.path)).table)
    return _tested(_read_table(source.path, source.beneath, ()))


def _read_table(path: Path, form: Form, texts: Collection[str | None]) -> pa.Table:
    """Read a table of any form; of a delimited one, the columns that are texts come as texts."""
    if form == "delimited":
        return read_delimited(path, lambda name: name in texts)[0]
    return read_json_lines(path) if form == "json lines" else read_parquet(path)


def parts_of(path: Path) -> list[Path]:
    """The Parquet files of a source, in the order of its rows."""
    if path.is_file():
        return [path]
    return sorted(path.parent.glob(path.name)) if "*" in path.name else part_files(path)


def _tested(table: pa.Table) -> NDArray[np.bool_]:
    """Rows that a column "split" calls test."""
    name = next((each for each in table.column_names if each.lower() == SPLIT_COLUMN), None)
    if name is None or type_of(table.schema.field(name).type) != "text":
        return np.zeros(len(table), dtype=bool)
    encoded = table[name].cast(pa.string()).dictionary_encode().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    test = np.array(
        [*(_is_called_test(str(each)) for each in encoded.dictionary.to_pylist()), False]
    )
    tested: NDArray[np.bool_] = test[encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)]
    return tested


def names_a_test(column: str, values: Sequence[str]) -> bool:
    """Whether a column of these values tells a test split from others.

    >>> names_a_test("Split", ["test", "train"]), names_a_test("exam", ["test", "train"])
    (True, False)
    """
    return column.lower() == SPLIT_COLUMN and any(map(_is_called_test, values))


def _is_called_test(word: str) -> bool:
    return SPLITS.get(word.strip().lower()) == "test"


def _is_test(path: Path) -> bool:
    """Whether data are named as a test split: test/, test.csv, test-*.parquet."""
    name = SPLIT_NAME.match(path.name)
    word = name.group(1) if name else path.stem
    return _is_called_test(word)
