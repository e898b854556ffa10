"""The dictionary of cells: how many points lie in each, and which comes first.

    tasks       parts → rows at the centres of their cells → a table → pieces
    shuffle     of the pieces: those whose cells' hashes begin alike meet
    tasks       pieces → one table → pieces of all
    driver      what it holds, and the pieces one after another

Source: the cell dictionary of Song & Lee, RP-DBSCAN, SIGMOD 2018. No point leaves its task.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thresher.cluster.metric import RadianPoints, euclidean_view
from thresher.cluster.points import ArrayPoints, Points
from thresher.cluster.row_table import RowTable
from thresher.cluster.snapped import cube_side, snap
from thresher.cluster.spark import pieces
from thresher.cluster.spark.part_rows import counted_from, finite_rows, row_weights
from thresher.cluster.spark.row_tables import RowSet, new_file
from thresher.cluster.spark.source import Part, Source
from thresher.cluster.table_points import Coordinates
from thresher.errors import DataError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = [
    "Counted",
    "Gathered",
    "Snapping",
    "bytes_a_cell",
    "collected",
    "counted",
    "dictionary",
    "in_chunks",
]

MOST_BYTES = 32 << 20  # of a task's tables, before their pieces are handed on
BUCKETS_A_TASK = 32  # small enough for a core's cache
MOST_BUCKETS = 2_048  # each takes a task's memory and a row of its own
TOGETHER = 1 << 17  # rows that are dealt out to buckets together
CHUNK_BYTES = 32 << 20  # that the driver takes at once

Array = NDArray[Any]


@dataclass(frozen=True)
class Snapping:
    """How a row of the data becomes the centre of its cell.

    Args:
        chosen: The coordinates.
        weight: The column of weights, or None.
        metric: As of DBSCAN.
        eps: As of DBSCAN; radians for haversine.
        degrees: The coordinates are degrees.
        rho: As of DBSCAN, > 0.
    """

    chosen: Coordinates
    weight: Coordinates | None
    metric: str
    eps: float
    degrees: bool
    rho: float

    @property
    def columns(self) -> list[str]:
        """The columns that are read."""
        named = [*self.chosen.columns, *(self.weight.columns if self.weight else ())]
        return list(dict.fromkeys(named))

    @property
    def radius(self) -> float:
        """Eps as a Euclidean distance between centres."""
        return self._view(np.zeros((1, len(self.chosen.axes))))[1]

    @property
    def dimension(self) -> int:
        """Of the centres."""
        return self._view(np.zeros((1, len(self.chosen.axes))))[0].dimension

    @property
    def side(self) -> float:
        """Of the cells."""
        return cube_side(self.radius, self.dimension, self.rho)

    def _view(self, rows: Array) -> tuple[Points, float]:
        points: Points = ArrayPoints(rows, max(1, len(rows)))
        if self.degrees:
            points = RadianPoints(points)
        return euclidean_view(points, self.metric, self.eps)

    def places(self, part: Part) -> Array:
        """A part's rows as points of Euclidean space, (b, d).

        Raises:
            DataError: a coordinate cannot be one.
        """
        rows = finite_rows(part, self.chosen)
        if not len(rows):
            return np.empty((0, self.dimension))
        with counted_from(part):
            return self._view(rows)[0].part(0)

    def centres(self, places: Array) -> Array:
        """The centres of the cells that such points lie in, (b, d) float64."""
        return snap(places, self.side)

    def weights(self, part: Part) -> Array:
        """The weights of a part's rows, (b,): int64 ones where there is no column of them.

        Raises:
            DataError: one is negative or not finite.
        """
        if self.weight is None:
            return np.ones(part.table.num_rows, np.int64)
        return row_weights(part, self.weight)

    @property
    def weight_type(self) -> Any:
        """Of the sums of weights."""
        return np.int64 if self.weight is None else np.float64


class Counted(NamedTuple):
    """What tasks have told of a dictionary's pieces, which Spark keeps."""

    frame: DataFrame
    rows: int  # of the dictionary
    points: int  # that tasks have counted
    found: int  # rows in the pieces of all tasks, which were shuffled
    weight: float  # of the points
    largest: float  # absolute coordinate


class Gathered(NamedTuple):
    """A dictionary in files of the driver."""

    rows: Array  # (m, d) float64: centres of cells, or points
    weights: Array  # (m,)
    lowest: Array  # (m,) int64, the lowest number of a point


def dictionary(
    source: Source, snapping: Snapping, tasks: int, within: RowSet | None = None
) -> DataFrame:
    """The pieces of the whole dictionary, as Spark makes them when it is asked to.

    Args:
        source: Of the rows.
        snapping: Of the rows.
        tasks: That put pieces together.
        within: Cells that workers know: then it is a dictionary of points, of those in these
            cells.
    """
    from pyspark.sql.pandas.types import from_arrow_schema

    schema = from_arrow_schema(pieces.SCHEMA)
    buckets = max(tasks, min(BUCKETS_A_TASK * tasks, MOST_BUCKETS))
    gathered = source.frame(partial(_gather, snapping, buckets, within), schema, snapping.columns)
    # bucket by bucket, so that a task holds one at a time
    shuffled = gathered.repartition(tasks, "bucket").sortWithinPartitions("bucket")
    return shuffled.mapInArrow(partial(_put_together, snapping, within), schema)


class BucketTables:
    """Distinct rows in tables by the beginnings of their hashes: each fits into a core's cache.

    Args:
        buckets: How many there are.
        dimension: Of the rows.
        weight_type: Of the sums of weights.
    """

    def __init__(self, buckets: int, dimension: int, weight_type: Any) -> None:
        self._buckets = buckets
        self._new = partial(RowTable, dimension, weight_type)
        self._tables: dict[int, RowTable] = {}
        self._waiting: list[tuple[Array, Array, Array]] = []
        self._count = 0

    @property
    def count(self) -> int:
        """Rows, equal ones among them that have not met yet."""
        return self._count + sum(len(rows) for rows, *_ in self._waiting)

    def add(self, rows: Array, weights: Array, numbers: Array) -> None:
        """Add rows (b, d) with their weights (b,) and numbers (b,)."""
        self._waiting.append((rows, weights, numbers))
        if sum(len(each) for each, *_ in self._waiting) >= TOGETHER:
            self._deal_out()

    def _deal_out(self) -> None:
        if not self._waiting:
            return
        rows, weights, numbers = map(np.concatenate, zip(*self._waiting, strict=True))
        self._waiting = []
        bucket_of = pieces.buckets_of(rows, self._buckets)
        order = np.argsort(bucket_of, kind="stable")
        ends = np.cumsum(np.bincount(bucket_of, minlength=self._buckets)).tolist()
        first = 0
        for bucket, end in enumerate(ends):
            if end > first:
                here = order[first:end]
                table = self._tables.get(bucket) or self._tables.setdefault(bucket, self._new())
                before = table.count
                table.add(rows[here], weights[here], numbers[here])
                self._count += table.count - before
            first = end

    def pieces(self, side: float | None) -> Iterator[pa.RecordBatch]:
        """All of it as pieces; afterwards there is none.

        Args:
            side: Of the cells; None for points.
        """
        self._deal_out()
        tables, self._tables, self._count = self._tables, {}, 0
        for bucket, table in tables.items():
            yield from pieces.of_bucket(table, side, bucket)


def _gather(
    snapping: Snapping, buckets: int, within: RowSet | None, parts: Iterator[Part]
) -> Iterator[pa.RecordBatch]:
    """A task of a pass that counts."""
    side = snapping.side if within is None else None
    most = MOST_BYTES // (2 * (8 * snapping.dimension + 32))  # tables grow by doubling
    tables = BucketTables(buckets, snapping.dimension, snapping.weight_type)
    count, found, task, weight, largest = 0, 0, 0, 0.0, 0.0
    try:
        for part in parts:
            task = part.task
            rows, weights = snapping.places(part), snapping.weights(part)
            numbers = np.arange(part.first, part.first + part.table.num_rows)
            centres = snapping.centres(rows)
            if within is None:
                rows = centres
            else:
                chosen = within.contains(centres)
                rows, weights, numbers = rows[chosen], weights[chosen], numbers[chosen]
            tables.add(rows, weights, numbers)
            count += len(rows)
            weight += float(weights.sum())
            largest = max(largest, float(np.abs(rows).max(initial=0.0)))
            if tables.count > most:
                for piece in tables.pieces(side):
                    found += piece.column("cells")[0].as_py()
                    yield piece
    except DataError as error:
        yield pieces.fault(task, error)
        return
    for piece in tables.pieces(side):
        found += piece.column("cells")[0].as_py()
        yield piece
    yield pieces.total(task, count, found, weight=weight, largest=largest)


def _put_together(
    snapping: Snapping, within: RowSet | None, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """A task after the shuffle: equal cells become one; what is no piece goes on to the driver."""
    side = snapping.side if within is None else None
    bucket, table = -1, RowTable(snapping.dimension, snapping.weight_type)
    for row in pieces.one_by_one(batches):
        if not row["cells"]:
            yield pa.RecordBatch.from_pylist([row], pieces.SCHEMA)
            continue
        if row["bucket"] != bucket:
            yield from pieces.of_bucket(table, side, bucket)
            bucket, table = row["bucket"], RowTable(snapping.dimension, snapping.weight_type)
        table.add(*pieces.decoded(row, snapping.dimension, side))
    yield from pieces.of_bucket(table, side, bucket)


def counted(frame: DataFrame) -> Counted:
    """Have the tasks of a dictionary run.

    Raises:
        DataError: a task's.
    """
    from pyspark import StorageLevel

    frame.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        told = frame.drop(*pieces.OF_CELLS).toArrow().to_pylist()
        pieces.raise_faults([row["fault"] for row in told if row["fault"]])
    except BaseException:
        frame.unpersist()
        raise
    rows, points, found, weight = (
        sum(row[name] or 0 for row in told) for name in ("cells", "points", "found", "weight")
    )
    largest = max((row["largest"] or 0.0 for row in told), default=0.0)
    return Counted(frame, rows, points, found, weight, largest)


def collected(told: Counted, snapping: Snapping, folder: Path) -> Gathered:
    """A dictionary in the driver: in files of a folder, which it need not keep in memory."""
    name, kind = f"thresher-{uuid4().hex}", snapping.weight_type
    rows = new_file(folder / f"{name}-rows.npy", np.float64, told.rows, snapping.dimension)
    weights = new_file(folder / f"{name}-weights.npy", kind, told.rows)
    lowest = new_file(folder / f"{name}-lowest.npy", np.int64, told.rows)
    first = 0
    held = told.frame.where("cells > 0").select(*pieces.OF_CELLS)
    for row in in_chunks(held, told.rows * (8 * snapping.dimension + 16)):
        piece = pieces.decoded(row, snapping.dimension, snapping.side)
        here = slice(first, first + len(piece.rows))
        rows[here], weights[here], lowest[here] = piece
        first = here.stop
    return Gathered(rows, weights, lowest)


def in_chunks(frame: DataFrame, size: int) -> Iterator[dict[str, Any]]:
    """The rows of a frame, of some partitions at a time.

    Args:
        frame: Persisted.
        size: Bytes of all of it, about.
    """
    from pyspark.sql import functions as f

    chunks = max(1, size // CHUNK_BYTES)
    for chunk in range(chunks):
        here = frame.where(f.pmod(f.spark_partition_id(), f.lit(chunks)) == chunk)
        yield from pieces.one_by_one(here.toArrow().to_batches())


def bytes_a_cell(dimension: int) -> int:
    """Of the driver, at most, while the dictionary is clustered; the cells lie in files."""
    from thresher.cluster.forecast import needed_memory

    engine = "grid" if dimension <= 3 else "tree"
    return needed_memory(engine, 1, dimension, 8, 0)
