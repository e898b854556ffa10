"""Every row with its nearest medoid, when somebody asks for the rows.

Apart from the driver's part, so that workers import no more than they need.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from thresher.cluster.medoid_space import NearestMedoid
from thresher.cluster.spark.medoid_rows import Reading
from thresher.cluster.spark.source import Part, Source

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["ADDED", "labelled"]

ADDED = pa.schema(
    [
        pa.field("cluster", pa.int32(), nullable=False),
        pa.field("distance", pa.float64(), nullable=False),
    ]
)


def labelled(source: Source, reading: Reading, find: NearestMedoid | None) -> DataFrame:
    """The rows with their clusters and distances; None finds nothing, as there are no rows."""
    from pyspark.sql.pandas.types import from_arrow_schema

    schema = pa.schema([*source.schema, *ADDED])
    work = partial(_label, reading, find, schema)
    return source.frame(work, from_arrow_schema(schema), source.schema.names)


def _label(
    reading: Reading, find: NearestMedoid | None, schema: pa.Schema, parts: Iterator[Part]
) -> Iterator[pa.RecordBatch]:
    """A task of the last pass."""
    for part in parts:
        rows = reading.rows(part)
        labels, distances = np.empty(len(rows), np.int32), np.empty(len(rows))
        for tile in reading.tiles(part, rows):
            if find is not None:
                first = tile.first - part.first
                here = slice(first, first + len(tile))
                labels[here], distances[here] = find(tile.places)
        columns = [*part.table.columns, pa.array(labels), pa.array(distances)]
        yield from pa.Table.from_arrays(columns, schema=schema).to_batches()
