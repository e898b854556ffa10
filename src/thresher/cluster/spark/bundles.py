"""What tasks have found of every part of a dictionary, as one file that every machine gets.

    tasks → a row of bytes for each part → driver: one after another into a file → workers map it

One file, whatever the number of parts: Spark names the files of a session to every task it starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.spark import arrays
from thresher.cluster.spark.carried import carry, folder_of_workers, place_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["Bundle", "bundled", "mapped_figure", "tell"]

Array = NDArray[Any]


class Bundle(NamedTuple):
    """Arrays of every part, for workers."""

    name: str
    folder: str  # as `carried.folder_of_workers` has it
    layouts: dict[int, str]  # of the parts that have any
    places: dict[int, tuple[int, int]]  # where the bytes of each begin, and how many there are

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return sum(size for _, size in self.places.values())

    def read(self, part: int) -> dict[str, Array]:
        """The arrays of a part, mapped into memory."""
        return _read(place_of(self.folder, self.name), self.layouts[part], *self.places[part])


@lru_cache(maxsize=1 << 14)
def _read(path: Path, layout: str, start: int, size: int) -> dict[str, Array]:
    return arrays.mapped(path, layout, start, size)


def bundled(
    spark: SparkSession,
    folder: Path,
    rows: Iterable[Any],
    look: Callable[[int, dict[str, Array]], None] = lambda part, held: None,
) -> Bundle:
    """Write what tasks tell, a row for each part, and have Spark carry it to every machine.

    Args:
        spark: Its session.
        folder: Of the job, which must stay as long as the file is read.
        rows: Of `arrays.SCHEMA`.
        look: Is shown every part's arrays as they pass.
    """
    path = folder / f"thresher-{uuid4().hex}"
    layouts, places = {}, {}
    with path.open("wb") as file:
        for row in rows:
            part = row["number"]
            layouts[part], places[part] = row["layout"], (file.tell(), len(row["bytes"]))
            look(part, arrays.unpacked(row["layout"], row["bytes"]))
            file.write(row["bytes"])
    carry(spark, path)
    order = sorted(layouts)
    return Bundle(
        path.name,
        folder_of_workers(spark, folder),
        {part: layouts[part] for part in order},
        {part: places[part] for part in order},
    )


# ---------------------------------------------------------------------- one array of all
def tell(spark: SparkSession, path: Path, figures: Iterable[Array]) -> None:
    """Write arrays one after another, and have Spark carry the file to every machine."""
    with path.open("wb") as file:
        for figure in figures:
            file.write(np.ascontiguousarray(figure).data)
        if not file.tell():
            file.write(bytes(8))  # an empty file cannot be mapped
    carry(spark, path)


@lru_cache(maxsize=16)
def mapped_figure(path: Path, kind: str) -> Array:
    """All of an array that was told; what a worker writes to it stays its own."""
    return np.asarray(np.memmap(path, kind, mode="c"))
