"""Labels of cells as files that every worker maps into memory: one copy a machine.

cells   (m, d) float64    slots   of their hashes    labels   (m,) int32    core   (m,) bool
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.row_table import empty_slots, find, slots_of
from thresher.errors import DataError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["LabelTable", "look_up", "ship"]

Array = NDArray[Any]


class LabelTable(NamedTuple):
    """Arrays of one number for each cell."""

    cells: Array
    slots: Array
    labels: Array
    core: Array


def ship(spark: SparkSession, folder: Path, cells: Array, labels: Array, core: Array) -> str:
    """Write a table and have Spark carry it to every machine.

    Args:
        spark: Its session.
        folder: Of this job, which must stay as long as the result is read.
        cells: (m, d) float64, all different.
        labels: (m,) int32.
        core: (m,) bool.

    Returns:
        The name by which `look_up` finds it.
    """
    name = f"thresher-{uuid4().hex}"
    slots = slots_of(cells, empty_slots(len(cells)))
    table = LabelTable(cells, slots, labels, core)
    for field, array in zip(LabelTable._fields, table, strict=True):
        path = folder / f"{name}-{field}.npy"
        np.save(path, array)
        spark.sparkContext.addFile(str(path))
    return name


@lru_cache(maxsize=1)
def _mapped(name: str) -> LabelTable:
    from pyspark import SparkFiles

    paths = (SparkFiles.get(f"{name}-{field}.npy") for field in LabelTable._fields)
    return LabelTable(*(np.load(path, mmap_mode="r") for path in paths))


def look_up(name: str, rows: Array) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """The label and the core mark of every row's cell.

    Raises:
        DataError: there is no such cell, as the data were changed meanwhile.
    """
    table = _mapped(name)
    found = find(rows, table.slots, table.cells)
    if len(found) and found.min() < 0:
        raise DataError(
            "A point lies in a cell that was not there when the points were read first.",
            "Do not write to the data while they are clustered; a query that gives other rows each "
            "time must be written out first.",
        )
    return table.labels[found], table.core[found]
