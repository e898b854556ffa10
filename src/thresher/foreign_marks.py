"""Foreign marks: samples known to be out of distribution, which no method may relabel.

    a run, a file, an array → read_marks → Marks → marked → Samples.out_of_distribution
                                           Marks → out-of-distribution.parquet of the run

A run's audit names such samples itself where it kept features: its folder is a file of marks.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from thresher.data import Samples
from thresher.data.columns import trimmed
from thresher.data.delimited import read_delimited
from thresher.data.files import existing
from thresher.data.json_lines import read_json_lines
from thresher.data.npz import read_npy
from thresher.data.parquet import read_parquet
from thresher.data.roles import ID_NAME
from thresher.data.wording import counted, listed, quoted
from thresher.errors import DataError, RunError
from thresher.openset import VERDICTS
from thresher.run_folder import RunFolder
from thresher.whole_file import whole_file

__all__ = ["Marks", "keep_marks", "kept_marks", "marked", "marks_of_column", "read_marks"]

NAME = "out_of_distribution"  # of a column of marks
VERDICT, FOREIGN = "verdict", VERDICTS[2]  # of an audit

READERS: dict[str, Callable[[Path], pa.Table]] = {
    ".csv": lambda path: read_delimited(path, lambda _: True)[0],
    ".tsv": lambda path: read_delimited(path, lambda _: True)[0],
    ".parquet": read_parquet,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
}


@dataclass(frozen=True)
class Marks:
    """Which samples are out of distribution: by their names, or row by row.

    Args:
        source: What errors call them.
        names: (M,) Arrow strings, each a sample_id; or None.
        rows: (N,) bool, one for each row of the data as they were read; or None.
    """

    source: str
    names: pa.StringArray | None = None
    rows: NDArray[np.bool_] | None = None


def read_marks(given: Any) -> Marks:
    """Take marks from whatever holds them.

    Args:
        given: The folder of a run whose audit has verdicts; a table (.csv, .tsv, .parquet, .jsonl)
            with a column sample_id of those that are marked, with a column out_of_distribution or
            verdict beside it of which are, or with the former alone, a row for a row; an .npy
            of (N,) bool; an array or a series of (N,) bool; or a list of sample_ids.

    Raises:
        DataError: it holds none of these.
        RunError: the run has no verdicts.
    """
    if isinstance(given, str | os.PathLike):
        return _read_path(Path(given))
    try:
        values = np.asarray(given)
    except ValueError:  # of lists of several lengths
        values = np.empty((0, 0))
    if values.ndim == 1 and values.dtype == np.bool_:
        return Marks(NAME, rows=values)
    if values.ndim == 1 and len(values) and all(isinstance(each, str) for each in values.tolist()):
        return Marks(NAME, names=pa.array(values.tolist(), pa.string()))
    raise DataError(
        f"{NAME} is of shape {values.shape} and type {values.dtype}.",
        "Give one True or False for every sample, or a list of their sample_ids.",
    )


def _read_path(path: Path) -> Marks:
    existing(path)
    if path.is_dir():
        table = _table_of_run(RunFolder.open(path))
        return Marks(str(path), names=_named(table, _foreign(table[VERDICT], path)))
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return replace(read_marks(read_npy(path)), source=str(path))
    if suffix not in READERS:
        raise DataError(
            f"{path} ends in {quoted(path.suffix)}, which marks are not read from.",
            f"Give the folder of a run, or a file that ends in {listed([*READERS, '.npy'])}.",
        )
    table = READERS[suffix](path)
    columns = table.column_names
    if ID_NAME not in columns and NAME in columns:
        return Marks(str(path), rows=marks_of_column(table[NAME], NAME))
    if ID_NAME not in columns:
        raise DataError(
            f"{path} has neither a column {quoted(ID_NAME)} nor {quoted(NAME)}; its columns are "
            f"{listed(map(quoted, columns), 20)}.",
            f"Name the samples in a column {ID_NAME}, as audit.parquet does.",
        )
    if NAME in columns:
        return Marks(str(path), names=_named(table, marks_of_column(table[NAME], NAME)))
    chosen = _foreign(table[VERDICT], path) if VERDICT in columns else None
    return Marks(str(path), names=_named(table, chosen))


def _table_of_run(run: RunFolder) -> pa.Table:
    """The audit of a run, with its verdicts."""
    if not run.require_complete().audit.is_file():
        raise RunError(f"The run in {run.path} has no audit.", "Train again with an audit.")
    table = read_parquet(run.audit)
    if VERDICT not in table.column_names:
        raise RunError(
            f"The audit of {run.path} does not say which samples are out of distribution.",
            "Train it again with --features, or name the samples in a file.",
        )
    return table


def _foreign(verdicts: pa.ChunkedArray, path: Path) -> pa.ChunkedArray:
    """Which verdicts say that a sample is of none of the classes."""
    texts = verdicts.cast(pa.string())
    known = pc.is_in(texts, value_set=pa.array(VERDICTS))
    other = pc.index(pc.or_(known, texts.is_null()), False).as_py()
    if other >= 0:
        raise DataError(
            f"Column {quoted(VERDICT)} of {path} holds {quoted(texts[other].as_py())} in row "
            f"{other} (counting from 0), expected {listed(map(quoted, VERDICTS))}.",
            "Write the verdicts as audit.parquet does, or name the marked samples alone.",
        )
    return pc.equal(texts, FOREIGN)


def _named(table: pa.Table, chosen: Any) -> pa.StringArray:
    names = table[ID_NAME].cast(pa.string())
    if chosen is not None:
        names = names.filter(
            pa.chunked_array([chosen]) if isinstance(chosen, np.ndarray) else chosen
        )
    return pa.concat_arrays(names.chunks) if names.num_chunks else pa.array([], pa.string())


def marks_of_column(column: pa.ChunkedArray, name: str) -> NDArray[np.bool_]:
    """Read a column of marks: true and false, 1 and 0, or these as texts; missing = not marked.

    Args:
        column: (N,).
        name: What errors call it.

    Raises:
        DataError: it holds anything else.
    """
    texts = trimmed(column.cast(pa.string()))
    lowered = pc.utf8_lower(texts)
    true = pc.is_in(lowered, value_set=pa.array(["true", "1", "1.0"]))
    known = pc.is_in(lowered, value_set=pa.array(["true", "1", "1.0", "false", "0", "0.0"]))
    other = pc.index(pc.or_(known, texts.is_null()), False).as_py()
    if other >= 0:
        raise DataError(
            f"Column {quoted(name)} holds {quoted(texts[other].as_py())} in row {other} (counting "
            "from 0), expected true or false.",
            "Write true for samples that are out of distribution, false for all others.",
        )
    found: NDArray[np.bool_] = true.fill_null(False).to_numpy().astype(np.bool_)
    return found


def keep_marks(marks: Marks, path: Path) -> None:
    """Write what a run was started with, since its source may change.

    Raises:
        RunError: the file cannot be written.
    """
    column = {ID_NAME: marks.names} if marks.rows is None else {NAME: marks.rows}
    with whole_file(path) as aside:
        pq.write_table(pa.table(column), aside)


def kept_marks(path: Path) -> Marks:
    """Read what `keep_marks` wrote.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        return _read_path(path)
    except DataError as error:
        raise RunError(f"{path} cannot be read: {error}.", "Start the run again.") from error


def marked(samples: Samples, marks: Marks) -> tuple[Samples, str]:
    """Mark samples as out of distribution.

    Args:
        samples: As read, before any is left out.
        marks: Of these samples.

    Returns:
        The samples with their marks, and what is to be said of them.

    Raises:
        DataError: there is a mark for another number of rows, or none of the names is among them.
    """
    lost = 0
    if marks.rows is not None:
        rows = marks.rows
        total = len(samples) + len(samples.skipped)
        if len(rows) != total:
            raise DataError(
                f"{marks.source} holds {len(rows):,} marks for {total:,} rows.",
                "Give one True or False for every row of the data.",
            )
        found = np.delete(rows, samples.skipped["row"].to_numpy())
    else:
        assert marks.names is not None
        there = pc.is_in(marks.names, value_set=samples.sample_id)
        lost = pc.sum(pc.invert(there)).as_py() or 0
        if lost == len(marks.names) > 0:
            raise DataError(
                f"None of the {lost:,} samples that {marks.source} names is in {samples.source}.",
                "Name them as the column sample_id of audit.parquet does.",
            )
        found = pc.is_in(samples.sample_id, value_set=marks.names).to_numpy(zero_copy_only=False)
    sentence = f"Known to be out of distribution: {counted(int(found.sum()), 'sample')}."
    if lost:
        sentence += f" {lost:,} named samples are not in these data."
    return replace(samples, out_of_distribution=found), sentence
