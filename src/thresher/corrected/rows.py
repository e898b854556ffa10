"""Rows: which row of the data each sample of an audit is, and that the data are still the same.

Samples are found by their names where those are cheap to have: paths, or a column of ids. Else they
come in the order of the data, without the rows that could not be read; then the content of every
row that shall change is compared with the name of its sample, which was made of it. Only a run on
a part of a table, drawn, left by earlier decisions or without marked rows, has all its rows named
anew.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from thresher.corrected.source import Rows, Source
from thresher.data import Encoding, Samples, open_data
from thresher.data.columns import image_bytes
from thresher.data.roles import file_paths, given_ids
from thresher.errors import RunError
from thresher.run_folder import RunFolder
from thresher.settings import FitSettings

__all__ = [
    "changed_data",
    "name_all",
    "refuse_other_rows",
    "row_names",
    "rows_by_name",
    "rows_in_order",
    "stored_encoding",
]

PREFIX = "encoding/"  # of the tensors that are the encoding's
HASH = 16  # characters of a name that was made of a row's content; behind them, a copy's number


def changed_data(source: str | Path, why: str) -> RunError:
    """The error about data that are not those of the run."""
    return RunError(
        f"The data in {source} changed since the run: {why}.",
        "Pass the data that the run was made from with --data.",
    )


def row_names(rows: Rows, encoding: Encoding) -> pa.StringArray | None:
    """The sample_id of each row, where it can be had without the content of the rows.

    Returns:
        (N,) unique strings; None where names are made of the content.
    """
    ids = given_ids(rows.table, encoding.label)
    if ids is not None:
        return ids
    paths = rows.files
    if paths is None and encoding.image in rows.table.column_names:
        _, beside = image_bytes(rows.table[encoding.image])
        paths = file_paths(rows.table, beside)
    if paths is None or paths.null_count or len(paths.unique()) < len(paths):
        return None
    return paths


def rows_in_order(samples: int, skipped: Sequence[int]) -> NDArray[np.int64]:
    """The row of each sample, where every row was read but the skipped ones.

    >>> rows_in_order(3, [0, 2])
    array([1, 3, 4])
    """
    every = np.arange(samples + len(skipped))
    return np.delete(every, np.array(skipped, np.int64))


def rows_by_name(ids: pa.ChunkedArray, names: pa.StringArray, source: Path) -> NDArray[np.int64]:
    """The row of each sample, by its name.

    Raises:
        RunError: a sample is not among the rows.
    """
    found = pc.index_in(ids, value_set=names)
    if found.null_count:
        lost = ids[pc.index(found.is_null(), True).as_py()].as_py()
        raise changed_data(source, f'the sample "{lost}" is gone')
    rows: NDArray[np.int64] = found.to_numpy().astype(np.int64)
    return rows


def name_all(settings: FitSettings, source: Source, classes: Sequence[str]) -> Samples:
    """Read the data as the training did, for the names of all rows; labels are as they stand."""
    assert source.path is not None
    return open_data(source.path, **settings.reading(), classes=classes, aside=settings.aside())


def refuse_other_rows(
    table: pa.Table, ids: pa.ChunkedArray, encoding: Encoding, source: Path
) -> None:
    """Compare the content of rows with the names of the samples that they are taken for.

    Args:
        table: M rows.
        ids: (M,) their names.
        encoding: Of the run.
        source: What errors call the data.

    Raises:
        RunError: a row has another content.
    """
    if not len(table):
        return
    found = open_data(table, encoding=encoding, labelled=False).sample_id
    same = pc.equal(pc.utf8_slice_codeunits(found, 0, HASH), _hashes(ids))
    if not pc.all(same).as_py():
        other = ids[pc.index(same, False).as_py()].as_py()
        raise changed_data(source, f'the row of the sample "{other}" holds something else')


def _hashes(ids: pa.ChunkedArray) -> pa.StringArray:
    return pa.concat_arrays(pc.utf8_slice_codeunits(ids, 0, HASH).chunks)


def stored_encoding(folder: RunFolder) -> Encoding:
    """How the inputs of a run were made; the network is not loaded, nor torch.

    Raises:
        RunError: the model of the run is missing or torn.
    """
    described, weights = folder.model / "preprocess.json", folder.model / "model.safetensors"
    try:
        encoding = json.loads(described.read_text(encoding="utf-8"))["encoding"]
        with safe_open(weights, "np") as file:
            arrays = {
                name.removeprefix(PREFIX): file.get_tensor(name)
                for name in file.keys()  # noqa: SIM118
                if name.startswith(PREFIX)
            }
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"The model in {folder.model} cannot be read: {error}.", "Train again."
        ) from error
    return Encoding.from_json(encoding, arrays)
