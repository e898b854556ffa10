"""Pass 2: every row with the label of its cell, when somebody asks for the rows.

Apart from the driver's part, so that workers import no more than they need.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from thresher.cluster.spark.dictionary import Snapping
from thresher.cluster.spark.label_table import look_up
from thresher.cluster.spark.source import Part, Source

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["ADDED", "labelled"]

ADDED = pa.schema(
    [
        pa.field("cluster", pa.int32(), nullable=False),
        pa.field("is_core", pa.bool_(), nullable=False),
    ]
)


def labelled(source: Source, snapping: Snapping, name: str) -> DataFrame:
    """Pass 2, when somebody asks for its rows."""
    from pyspark.sql.pandas.types import from_arrow_schema

    schema = pa.schema([*source.schema, *ADDED])
    work = partial(_label, snapping, name, schema)
    return source.frame(work, from_arrow_schema(schema), source.schema.names)


def _label(
    snapping: Snapping, name: str, schema: pa.Schema, parts: Iterator[Part]
) -> Iterator[pa.RecordBatch]:
    """A task of the second pass."""
    for part in parts:
        labels, core = look_up(name, snapping.centres(part))
        columns = [*part.table.columns, pa.array(labels), pa.array(core)]
        yield from pa.Table.from_arrays(columns, schema=schema).to_batches()
