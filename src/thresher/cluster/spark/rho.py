"""How fine cells may be: the smallest rho whose dictionary fits.

One cell in 128 of the side eps / √d is looked into, those whose hash says so, in all tasks alike.
So the sample of a cell is all of it, and a coarser dictionary is counted from a finer one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thresher.cluster.distinct import hashes_of
from thresher.cluster.row_table import RowTable
from thresher.cluster.spark import pieces
from thresher.cluster.spark.dictionary import Snapping, bytes_a_cell
from thresher.cluster.spark.source import Part, Source
from thresher.errors import DataError

__all__ = ["COARSEST", "FINEST", "affordable"]

FINEST = 0.01  # the paper's
COARSEST = 0.64
ONE_IN = 128


def affordable(source: Source, snapping: Snapping, limit: int) -> Snapping:
    """The snapping with the first of .01, .02, … .64 whose dictionary fits.

    Args:
        source: Of the rows.
        snapping: With the smallest rho.
        limit: Bytes of the driver.

    Raises:
        DataError: a task's; or none fits.
    """
    from pyspark.sql.pandas.types import from_arrow_schema

    schema = from_arrow_schema(pieces.SCHEMA)
    frame = source.frame(partial(_sample, snapping), schema, snapping.columns)
    table = RowTable(snapping.dimension, snapping.weight_type)
    faults = []
    for row in frame.toArrow().to_pylist():
        if row["fault"]:
            faults.append(row["fault"])
        elif row["cells"]:
            table.add(*pieces.decoded(row, snapping.dimension, snapping.side))
    pieces.raise_faults(faults)
    needed = 0
    coarser = replace(snapping, rho=FINEST / 2)
    while coarser.rho < COARSEST:
        coarser = replace(coarser, rho=2 * coarser.rho)
        needed = ONE_IN * distinct(table.rows, coarser.side) * bytes_a_cell(snapping.dimension)
        if needed <= limit:
            return coarser
    raise DataError(
        f"Even with rho={coarser.rho:g} the dictionary would take about {needed / 2**20:,.1f} "
        f"MiB of the driver, which may take {limit / 2**20:,.1f}.",
        "Raise the limit of the driver, or take a larger eps.",
    )


def distinct(rows: NDArray[Any], side: float) -> int:
    """How many cells of a side some points lie in."""
    table = RowTable(rows.shape[1])
    count = len(rows)
    table.add(np.floor(rows / side), np.ones(count, np.int64), np.arange(count))
    return table.count


def _sample(snapping: Snapping, parts: Iterator[Part]) -> Iterator[pa.RecordBatch]:
    """A task: the cells of its points that lie in chosen cells of the side eps / √d."""
    table = RowTable(snapping.dimension, snapping.weight_type)
    whole = snapping.radius / np.sqrt(snapping.dimension)
    task = 0
    try:
        for part in parts:
            task = part.task
            centres, weights = snapping.centres(part), snapping.weights(part)
            chosen = hashes_of(np.floor(centres / whole)) % np.uint64(ONE_IN) == 0
            numbers = part.first + np.flatnonzero(chosen)
            table.add(centres[chosen], weights[chosen], numbers)
    except DataError as error:
        yield pieces.fault(task, error)
        return
    yield from pieces.pieces(table, snapping.side, 1)
