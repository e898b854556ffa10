"""Parquet with corrected labels: the parts, columns, types and metadata of the source."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from thresher.data.files import reading
from thresher.data.roles import ORIGINAL_NAME
from thresher.errors import DataError

__all__ = ["correct_parquet", "with_original"]


def correct_parquet(
    parts: Sequence[tuple[Path, Path]],
    label: str,
    column: pa.ChunkedArray,
    like: NDArray[np.int64],
    stays: NDArray[np.bool_],
) -> None:
    """Write Parquet files anew, row group by row group, with a last column ``label_original``.

    Args:
        parts: Each file and where it goes, N rows together, in the order of the rows.
        label: Name of the column of labels.
        column: (N,) labels as read.
        like: (N,) the row whose label each one gets; its own for most.
        stays: (N,) False leaves a row out.

    Raises:
        DataError: the labels of a part are the name of its folder, or the rows are not N.
    """
    start = 0
    for source, out in parts:
        with reading(source, "Parquet"):
            file = pq.ParquetFile(source)
            if label not in file.schema_arrow.names:
                raise DataError(
                    f"{source} has no column {label!r}: its folder names it, or it has none.",
                    "Write one file with --out corrected.parquet, or a list with --changes.",
                )
            compression = "snappy"
            if file.num_row_groups and file.metadata.num_columns:
                compression = file.metadata.row_group(0).column(0).compression.lower()
        out.parent.mkdir(parents=True, exist_ok=True)
        empty = with_original(file.schema_arrow.empty_table(), label)
        with pq.ParquetWriter(out, empty.schema, compression=compression) as writer:
            for number in range(file.num_row_groups):
                with reading(source, "Parquet"):
                    group = file.read_row_group(number)
                here = slice(start, start + group.num_rows)
                start += group.num_rows
                table = with_original(group, label)
                if (like[here] != np.arange(here.start, here.stop)).any():
                    kind = group.schema.field(label).type
                    new = _of_type(column.take(pa.array(like[here])), kind)
                    place = group.column_names.index(label)
                    table = table.set_column(place, group.schema.field(label), new)
                if not stays[here].all():
                    table = table.filter(pa.array(stays[here]))
                writer.write_table(table.cast(empty.schema))
    if start != len(like):
        raise DataError(
            f"The Parquet files have not the {len(like):,} rows that the run read.",
            "Pass the data that the run was made from.",
        )


def _of_type(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Labels as the type of a part, which may differ from the type that all parts share."""
    if pa.types.is_dictionary(kind):
        plain = column.cast(kind.value_type)
        encoded = plain.dictionary_encode()
        return encoded.cast(kind)
    return column.cast(kind)


def with_original(table: pa.Table, label: str) -> pa.Table:
    """Add the labels again as the last column, ``label_original``, unless there is one."""
    if ORIGINAL_NAME in table.column_names:
        return table
    field = table.schema.field(label).with_name(ORIGINAL_NAME)
    added = table.append_column(field, table[label])
    metadata = dict(table.schema.metadata or {})
    try:
        described = json.loads(metadata[b"huggingface"])
        features = described["info"]["features"]
        features[ORIGINAL_NAME] = features[label]
    except (KeyError, TypeError, ValueError):
        return added
    metadata[b"huggingface"] = json.dumps(described).encode()
    return added.replace_schema_metadata(metadata)
