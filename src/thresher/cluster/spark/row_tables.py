"""Tables of rows as files that every worker maps into memory: one copy a machine.

rows    (m, d) float64    slots   of their hashes    and, of labels: labels   (m,) int32
                                                                     core     (m,) bool
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.row_table import empty_slots, find, slots_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["numbers_in", "ship", "shipped"]

Array = NDArray[Any]


def ship(spark: SparkSession, folder: Path, rows: Array, **figures: Array) -> str:
    """Write a table and have Spark carry it to every machine.

    Args:
        spark: Its session.
        folder: Of this job, which must stay as long as the table is read.
        rows: (m, d) float64, all different.
        figures: (m,) of the rows.

    Returns:
        The name by which it is found.
    """
    name = f"thresher-{uuid4().hex}"
    slots = slots_of(rows, empty_slots(len(rows)))
    for field, array in {"rows": rows, "slots": slots, **figures}.items():
        path = folder / f"{name}-{field}.npy"
        np.save(path, array)
        spark.sparkContext.addFile(str(path))
    return name


@lru_cache(maxsize=16)
def shipped(name: str, field: str) -> Array:
    """An array of a table, mapped into memory."""
    from pyspark import SparkFiles

    array: Array = np.load(SparkFiles.get(f"{name}-{field}.npy"), mmap_mode="r")
    return array


def numbers_in(name: str, rows: Array) -> NDArray[np.int32]:
    """Which row of a table each of some rows (b, d) is; -1 for none."""
    return find(rows, shipped(name, "slots"), shipped(name, "rows"))
