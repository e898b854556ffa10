"""The last pass: every row with the label of its cell, or its own, when somebody asks for the rows.

Apart from the driver's part, so that workers import no more than they need.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from thresher.cluster.spark.dictionary import Snapping
from thresher.cluster.spark.row_tables import Found, LabelTable, RowSet
from thresher.cluster.spark.source import Part, Source
from thresher.errors import DataError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["ADDED", "Labels", "data_changed", "labelled"]

ADDED = pa.schema(
    [
        pa.field("cluster", pa.int32(), nullable=False),
        pa.field("is_core", pa.bool_(), nullable=False),
    ]
)


class Labels(NamedTuple):
    """What workers look labels up in."""

    table: LabelTable
    by_points: RowSet | None  # cells whose points are in the table themselves


def labelled(source: Source, snapping: Snapping, labels: Labels) -> DataFrame:
    """The rows with their labels, when somebody asks for them."""
    from pyspark.sql.pandas.types import from_arrow_schema

    schema = pa.schema([*source.schema, *ADDED])
    work = partial(_label, snapping, labels, schema)
    return source.frame(work, from_arrow_schema(schema), source.schema.names)


def _label(
    snapping: Snapping, labels: Labels, schema: pa.Schema, parts: Iterator[Part]
) -> Iterator[pa.RecordBatch]:
    """A task of the last pass."""
    for part in parts:
        found = looked_up(snapping, labels, part)
        columns = [*part.table.columns, pa.array(found.labels), pa.array(found.core)]
        yield from pa.Table.from_arrays(columns, schema=schema).to_batches()


def looked_up(snapping: Snapping, labels: Labels, part: Part) -> Found:
    """The label and the core mark of every row of a part.

    Raises:
        DataError: a row is not in the table, as the data were changed meanwhile.
    """
    places = snapping.places(part)
    rows = snapping.centres(places)
    if labels.by_points is not None:
        themselves = labels.by_points.contains(rows)
        rows[themselves] = places[themselves]
    found = labels.table.look_up(rows)
    if found.missing.any():
        raise data_changed()
    return found


def data_changed() -> DataError:
    """What is said of rows that are no longer those that were read first."""
    return DataError(
        "The points are not those that were read first.",
        "Do not write to the data while they are clustered; a query that gives other rows each "
        "time must be written out first.",
    )
