"""Converted: a corrected table in another form than that of its source, by the name of the file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from thresher.corrected.parquet import with_original
from thresher.data.columns import dense
from thresher.data.files import one_line
from thresher.errors import DataError

__all__ = ["write_converted"]

BLOCK = 1 << 14  # rows that become Python objects at a time


def write_converted(
    table: pa.Table,
    out: Path,
    suffix: str,
    label: str,
    like: NDArray[np.int64],
    stays: NDArray[np.bool_],
) -> None:
    """Write a table with corrected labels and a last column ``label_original``.

    Args:
        table: N rows as read, with the types that they were read as.
        out: The file to write.
        suffix: .parquet, .csv, .tsv, .jsonl or .ndjson.
        label: Name of the column of labels.
        like: (N,) the row whose label each one gets; its own for most.
        stays: (N,) False leaves a row out.

    Raises:
        DataError: a column holds what the form has no words for, such as bytes in JSON.
    """
    corrected = with_original(table, label)
    labels = dense(table[label]).take(pa.array(like))
    place = table.column_names.index(label)
    corrected = corrected.set_column(place, label, labels).filter(pa.array(stays))
    try:
        if suffix == ".parquet":
            pq.write_table(corrected, out)
        elif suffix in (".csv", ".tsv"):
            delimiter = "\t" if suffix == ".tsv" else ","
            options = pa.csv.WriteOptions(delimiter=delimiter)
            pa.csv.write_csv(corrected, out, options)
        else:
            with out.open("w", encoding="utf-8") as file:
                for batch in corrected.to_batches(BLOCK):
                    file.writelines(
                        json.dumps(row, ensure_ascii=False) + "\n" for row in batch.to_pylist()
                    )
    except (pa.ArrowException, TypeError, UnicodeEncodeError) as error:
        raise DataError(
            f"The table cannot be written as {suffix}: {one_line(error)}.",
            "Write it in the form of its source, or as .parquet.",
        ) from error
