"""How fine cells are: rho by what the dictionary takes.

One cell in 128 of the side eps / √d is looked into, those whose hash says so, in all tasks alike.
So the sample of a cell is all of it, and a coarser dictionary is counted from a finer one.
"""

from __future__ import annotations

import math
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


def affordable(source: Source, snapping: Snapping, limit: int, *, exact: bool) -> Snapping:
    """The snapping with one of .01, .02, … .64 whose dictionary fits.

    It is the finest, or where points will be read as well, the one that promises the least to be
    held: cells, and about √rho of the points (measured on mixtures of Gaussians: .9 √rho in two
    dimensions, 1.2 to 1.6 √rho in three; far less where clusters lie apart). If none fits, that one
    all the same: then tasks hold it.

    Args:
        source: Of the rows.
        snapping: With the smallest rho.
        limit: Bytes of the driver.
        exact: The points of cells that decide will be read.

    Raises:
        DataError: a task's; or none fits, and no points are to be read.
    """
    rows, points = sampled(source, snapping)
    needed = 0
    best: tuple[bool, float, Snapping] | None = None  # too large, what is held
    coarser = replace(snapping, rho=FINEST / 2)
    while coarser.rho < COARSEST:
        coarser = replace(coarser, rho=2 * coarser.rho)
        cells = distinct(rows, coarser.side)
        needed = ONE_IN * cells * bytes_a_cell(snapping.dimension)
        held = cells + (math.sqrt(coarser.rho) * points if exact else 0)
        if best is None or (needed > limit, held) < best[:2]:
            best = (needed > limit, held, coarser)
        if not exact and needed <= limit:
            break
    if best is None or (best[0] and not exact):
        raise DataError(
            f"Even with rho={coarser.rho:g} the dictionary would take about "
            f"{needed / 2**20:,.1f} MiB of the driver, which may take {limit / 2**20:,.1f}.",
            "Raise the limit of the driver, or say which rho: then tasks hold the dictionary.",
        )
    return best[2]


def sampled(source: Source, snapping: Snapping) -> tuple[NDArray[Any], int]:
    """Centres of the cells that lie in chosen cells of the side eps / √d, and their points.

    Raises:
        DataError: a task's.
    """
    from pyspark.sql.pandas.types import from_arrow_schema

    schema = from_arrow_schema(pieces.SCHEMA)
    frame = source.frame(partial(_sample, snapping), schema, snapping.columns)
    table = RowTable(snapping.dimension, snapping.weight_type)
    faults, points = [], 0
    for row in frame.toArrow().to_pylist():
        if row["fault"]:
            faults.append(row["fault"])
        elif row["cells"]:
            table.add(*pieces.decoded(row, snapping.dimension, snapping.side))
        points += row["points"] or 0
    pieces.raise_faults(faults)
    return table.rows, points


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
    task, points = 0, 0
    try:
        for part in parts:
            task = part.task
            centres, weights = snapping.centres(snapping.places(part)), snapping.weights(part)
            chosen = hashes_of(np.floor(centres / whole)) % np.uint64(ONE_IN) == 0
            numbers = part.first + np.flatnonzero(chosen)
            table.add(centres[chosen], weights[chosen], numbers)
            points += len(numbers)
    except DataError as error:
        yield pieces.fault(task, error)
        return
    yield from pieces.pieces(table, snapping.side, 1)
    yield pieces.total(task, points, table.count)
