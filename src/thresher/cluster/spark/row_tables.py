"""Tables of rows as files that every worker maps into memory: one copy a machine.

rows    (m, d) float64    slots   of their hashes    and, of labels: labels   (m,) int32
                                                                     core     (m,) bool
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.row_table import find, slots_for, slots_of
from thresher.cluster.spark.carried import carry, folder_of_workers, place_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["Found", "LabelTable", "RowSet", "Table", "new_file", "ship"]

Array = NDArray[Any]


class Found(NamedTuple):
    """What a table of labels has of some rows."""

    labels: NDArray[np.int32]  # (b,)
    core: NDArray[np.bool_]  # (b,)
    missing: NDArray[np.bool_]  # (b,) there is no such row


class RowSet(Protocol):
    """Rows that workers can tell from others."""

    def contains(self, rows: Array) -> NDArray[np.bool_]:
        """Whether each of some rows (b, d) is one of them."""
        ...


class LabelTable(Protocol):
    """Rows whose labels workers can look up."""

    def look_up(self, rows: Array) -> Found:
        """Labels and core marks of some rows (b, d)."""
        ...


class Table(NamedTuple):
    """A table that was shipped: what tasks must know of it."""

    name: str
    folder: str  # as `carried.folder_of_workers` has it

    def contains(self, rows: Array) -> NDArray[np.bool_]:
        """Whether each of some rows (b, d) is in it."""
        return self._numbers(rows) >= 0

    def look_up(self, rows: Array) -> Found:
        """Labels and core marks of some rows (b, d), of a table of labels."""
        labels, core = self._array("labels"), self._array("core")
        if not len(labels):
            nothing = np.zeros(len(rows), np.bool_)
            return Found(np.full(len(rows), -1, np.int32), nothing, ~nothing)
        numbers = self._numbers(rows)
        return Found(labels[numbers], core[numbers], numbers < 0)

    def _numbers(self, rows: Array) -> NDArray[np.int32]:
        return find(rows, self._array("slots"), self._array("rows"))

    def _array(self, field: str) -> Array:
        return _mapped(place_of(self.folder, f"{self.name}-{field}.npy"))


def ship(spark: SparkSession, folder: Path, rows: Array, **figures: Array) -> Table:
    """Write a table and have Spark carry it to every machine.

    Args:
        spark: Its session.
        folder: Of this job, which must stay as long as the table is read.
        rows: (m, d) float64, all different.
        figures: (m,) of the rows.
    """
    name = f"thresher-{uuid4().hex}"
    slots = new_file(folder / f"{name}-slots.npy", np.int32, slots_for(len(rows)))
    slots[:] = -1
    slots_of(rows, slots)
    del slots  # and so it is written
    for field, array in {"rows": rows, **figures}.items():
        np.save(folder / f"{name}-{field}.npy", array)
    for field in ("rows", "slots", *figures):
        carry(spark, folder / f"{name}-{field}.npy")
    return Table(name, folder_of_workers(spark, folder))


def new_file(path: Path, kind: Any, *shape: int) -> Array:
    """An array that lies in a new file, so that the system may put it out of memory."""
    if not all(shape):
        return np.empty(shape, kind)  # an empty file cannot be mapped
    made: Array = np.lib.format.open_memmap(path, "w+", kind, shape)
    return np.asarray(made)


@lru_cache(maxsize=16)
def _mapped(path: Path) -> Array:
    array: Array = np.load(path, mmap_mode="r")
    return array
