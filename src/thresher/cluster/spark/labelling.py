"""The last pass: every row with the label of its cell, or its own, when somebody asks for the rows.

Apart from the driver's part, so that workers import no more than they need.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thresher.cluster.spark.dictionary import Snapping
from thresher.cluster.spark.row_tables import numbers_in, shipped
from thresher.cluster.spark.source import Part, Source
from thresher.errors import DataError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["ADDED", "Labels", "labelled"]

ADDED = pa.schema(
    [
        pa.field("cluster", pa.int32(), nullable=False),
        pa.field("is_core", pa.bool_(), nullable=False),
    ]
)


class Labels(NamedTuple):
    """Names of the tables that workers look labels up in."""

    cells: str
    points: str | None  # of the cells that are not in the first table; None where all are


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
        columns = [*part.table.columns, *map(pa.array, looked_up(snapping, labels, part))]
        yield from pa.Table.from_arrays(columns, schema=schema).to_batches()


def looked_up(
    snapping: Snapping, labels: Labels, part: Part
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """The label and the core mark of every row of a part.

    Raises:
        DataError: a row is in no table, as the data were changed meanwhile.
    """
    places = snapping.places(part)
    found = numbers_in(labels.cells, snapping.centres(places))
    label, core = _taken(labels.cells, found)
    missing = found < 0
    if labels.points is not None and missing.any():
        found = numbers_in(labels.points, places[missing])
        label[missing], core[missing] = _taken(labels.points, found)
        missing = found < 0
    if missing.any():
        raise DataError(
            "A point lies in a cell that was not there when the points were read first.",
            "Do not write to the data while they are clustered; a query that gives other rows each "
            "time must be written out first.",
        )
    return label, core


def _taken(name: str, found: NDArray[np.int32]) -> tuple[Any, Any]:
    """Labels and core marks of the rows of a table; anything where there is none."""
    labels, core = shipped(name, "labels"), shipped(name, "core")
    if not len(labels):
        return np.full(len(found), -1, np.int32), np.zeros(len(found), np.bool_)
    return labels[found], core[found]
