"""The file of labels: the rows that were clustered, in their order, with what was found out.

    the input's columns, in their types   …
    cluster      int32     -1 for noise; of every command
    is_core      bool      of DBSCAN
    distance     float64   of k-medoids: to the row's medoid

It is written row group by row group and appears whole or not at all. The schema keeps the input's
metadata and adds, under the key ``thresher``, a JSON object: the schema's version, and what the
labels were made with.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from thresher.cluster.open_points import Rows
from thresher.data.wording import quoted
from thresher.errors import DataError, ParameterError
from thresher.whole_file import whole_file

__all__ = ["METADATA_KEY", "SCHEMA_VERSION", "check_names", "write_labels"]

METADATA_KEY = b"thresher"
SCHEMA_VERSION = 1
GROUP_ROWS = 1 << 20  # of a row group, at most


def check_names(schema: pa.Schema, added: Mapping[str, Any] | tuple[str, ...]) -> None:
    """Refuse columns whose names the input has already.

    Raises:
        ParameterError: names the column.
    """
    for name in added:
        if name in schema.names:
            raise ParameterError(
                f"The input has a column {quoted(name)} already.",
                "Rename it, or write the labels alone with --only-labels.",
            )


def write_labels(
    out: str | os.PathLike[str],
    rows: Rows | None,
    added: Mapping[str, NDArray[Any]],
    facts: Mapping[str, Any],
    done: Callable[[float], None] | None = None,
) -> None:
    """Write rows beside their labels.

    Args:
        out: A .parquet.
        rows: N rows with all their columns; None writes the labels alone.
        added: (N,) arrays by the name of their column.
        facts: What the labels were made with, for the metadata; JSON must have words for it.
        done: Is told the share of the rows that are written.

    Raises:
        ParameterError: a column is there already.
        DataError: the input cannot be read any more, or has not N rows.
        RunError: the file cannot be written; names the system's reason.
    """
    count = len(next(iter(added.values())))
    source = pa.schema([]) if rows is None else rows.schema
    check_names(source, added)
    schema = source
    for name, values in added.items():
        schema = schema.append(pa.field(name, pa.from_numpy_dtype(values.dtype), nullable=False))
    described = json.dumps({"schema": SCHEMA_VERSION, **facts}).encode()
    schema = schema.with_metadata({**(source.metadata or {}), METADATA_KEY: described})
    with whole_file(out) as aside, pq.ParquetWriter(aside, schema, compression="zstd") as writer:
        start = 0
        for columns, size in _parts(rows, count):
            stop = start + size
            if stop > count:
                break
            found = [pa.array(each[start:stop]) for each in added.values()]
            together = pa.Table.from_arrays([*columns, *found], schema=schema)
            writer.write_table(together, row_group_size=GROUP_ROWS)
            start = stop
            if done is not None:
                done(start / count)
        if start != count or (rows is not None and rows.count != count):
            raise DataError(
                f"{Path(out).name} would have {count:,} labels for an input of other length.",
                "Do not write to the input while it is read.",
            )


def _parts(rows: Rows | None, count: int) -> Iterator[tuple[list[pa.ChunkedArray], int]]:
    """The input's columns and the number of their rows, part by part."""
    if rows is None:
        for start in range(0, count, GROUP_ROWS):
            yield [], min(GROUP_ROWS, count - start)
        return
    for table in rows.tables():
        for start in range(0, table.num_rows, GROUP_ROWS):
            part = table.slice(start, GROUP_ROWS)
            yield part.columns, part.num_rows
