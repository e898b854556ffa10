"""Rows on Spark as rows of k-medoids: a pass is one map over the partitions.

    driver      a gathering → its bytes → every task
    tasks       parts → tiles → what is gathered of the task's rows → its bytes
    driver      what the tasks have gathered, put together

Rows stay in their tasks, but for those that a search asks for by number. Nothing is shuffled,
unless there are so many tasks that what they gathered is put together by tasks first.
"""

from __future__ import annotations

import math
import pickle
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thresher.cluster.medoid_rows import Gathering, Taken, Taking, Tile, drawn_rows, lot_scale
from thresher.cluster.medoid_space import TILE_ROWS, embedded
from thresher.cluster.metric import RadianPoints
from thresher.cluster.points import ArrayPoints, Phase
from thresher.cluster.spark import pieces
from thresher.cluster.spark.measured import Phases
from thresher.cluster.spark.medoid_draws import Drawing, WeightLots
from thresher.cluster.spark.part_rows import counted_from, finite_rows, row_weights
from thresher.cluster.spark.source import Part, Source
from thresher.cluster.table_points import Coordinates
from thresher.errors import DataError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["Counted", "Reading", "SparkRows", "count_rows"]

TOGETHER = 64  # tasks whose gatherings the driver puts together itself

SCHEMA = pa.schema(
    [
        pa.field("gathered", pa.binary()),
        pa.field("fault", pa.string()),  # what a task cannot go on with
    ]
)

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
S = TypeVar("S")


@dataclass(frozen=True)
class Reading:
    """How rows of the data become tiles.

    Args:
        chosen: The coordinates.
        weight: The column of weights, or None.
        metric: The kernels' number.
        degrees: The coordinates are degrees.
    """

    chosen: Coordinates
    weight: Coordinates | None
    metric: int
    degrees: bool

    @property
    def columns(self) -> list[str]:
        """The columns that are read."""
        named = [*self.chosen.columns, *(self.weight.columns if self.weight else ())]
        return list(dict.fromkeys(named))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the rows of tiles."""
        return np.dtype("f8") if self.degrees else self.chosen.dtype

    def rows(self, part: Part) -> NDArray[Any]:
        """The coordinates of a part's rows, (b, d), finite, radians where degrees were given.

        Raises:
            DataError: a coordinate cannot be one.
        """
        rows = finite_rows(part, self.chosen)
        if not self.degrees or not len(rows):
            return rows.astype(self.dtype, copy=False)
        with counted_from(part):
            return RadianPoints(ArrayPoints(rows, len(rows))).part(0)

    def tiles(self, part: Part, rows: NDArray[Any]) -> Iterator[Tile]:
        """Tiles of a part with these rows.

        Raises:
            DataError: a weight cannot be one.
        """
        weights = None if self.weight is None else row_weights(part, self.weight)
        for start in range(0, len(rows), TILE_ROWS):
            here = slice(start, start + TILE_ROWS)
            weighted = None if weights is None else weights[here]
            yield Tile(self.metric, part.first + start, rows[here], weighted)


class Counted(NamedTuple):
    """What the first pass says of all rows."""

    rows: dict[int, int]  # of every task that has any
    heaviest: float  # the largest weight

    @property
    def total(self) -> int:
        """All rows."""
        return sum(self.rows.values())


def count_rows(source: Source, reading: Reading) -> Counted:
    """Count the rows of every task, and check each of them.

    Raises:
        DataError: a coordinate or a weight cannot be one; all weights are 0.
    """
    told: list[tuple[int, int, float]] = []
    for found in _collected(source.frame(partial(_check, reading), _schema(), reading.columns))[0]:
        told.extend(found)
    rows: dict[int, int] = {}
    for task, count, _ in sorted(told):
        rows[task] = count
    counted = Counted(rows, max((heaviest for _, _, heaviest in told), default=0.0))
    if counted.total and not counted.heaviest:
        raise DataError(
            "All weights are zero: no row counts.",
            "Sample weights must contain at least one non-zero number.",
        )
    return counted


def _check(reading: Reading, parts: Iterator[Part]) -> Iterator[pa.RecordBatch]:
    """A task of the first pass."""
    task, count, heaviest = 0, 0, 0.0
    try:
        for part in parts:
            task = part.task
            rows = reading.rows(part)
            for tile in reading.tiles(part, rows):
                _check_places(reading, part, tile)
                heaviest = max(heaviest, float(tile.weights.max()))
            count += len(rows)
    except DataError as error:
        yield _fault(error)
        return
    if count:
        yield _row(gathered=_bytes([(task, count, heaviest)]))


def _check_places(reading: Reading, part: Part, tile: Tile) -> None:
    """Refuse rows that the metric has no place for; names the first of them."""
    try:
        embedded(reading.metric, tile.rows)
    except DataError:
        for row in range(len(tile)):
            try:
                embedded(reading.metric, tile.rows[row : row + 1])
            except DataError as error:
                where = part.where(tile.first - part.first + row)
                raise DataError(f"{error.cause} It is {where}.", error.fix) from error
        raise


class SparkRows:
    """All rows, as Spark has them.

    Args:
        source: Whose rows have numbers without gaps.
        reading: Of the rows.
        counted: By `count_rows`, N >= 1.
        phases: Of the run.
        jobs: Threads of the driver.
    """

    keeps_labels = False

    def __init__(
        self, source: Source, reading: Reading, counted: Counted, phases: Phases, jobs: int
    ) -> None:
        self._source, self._reading, self._counted = source, reading, counted
        self._phases = phases
        self.metric, self.dtype = reading.metric, reading.dtype
        self.count, self.jobs = counted.total, jobs
        self.phase: Phase = phases
        self.passes, self.gathered_bytes = 0, 0

    def over(self, name: str, gathering: Gathering[S]) -> S:
        """One pass: what every task has gathered, put together.

        Raises:
            DataError: a task's.
        """
        with self._phases.phase(name):
            work = partial(_gather, self._reading, gathering)
            frame = self._source.frame(work, _schema(), self._reading.columns)
            tasks = len(self._counted.rows)
            if tasks > TOGETHER:
                merging = partial(_put_together, gathering)
                frame = frame.repartition(math.isqrt(tasks)).mapInArrow(merging, _schema())
            states, size = _collected(frame)
            self.passes += 1
            self.gathered_bytes += size
            found = gathering.begin()
            for state in states:
                gathering.merge(found, state)
        return found

    def take(self, numbers: Numbers) -> Taken:
        """Rows by their numbers, in one pass."""
        taking = Taking(numbers)
        return taking.ordered(self.over("fetching rows", taking), numbers)

    def draw(self, uniforms: Floats) -> Taken:
        """Rows at random, in one pass; in two where they have weights."""
        if self._reading.weight is None:
            return self.take(drawn_rows(self.count, uniforms, None))
        lots = WeightLots(lot_scale(self.count, self._counted.heaviest))
        drawing = Drawing(lots, self.over("adding weights", lots), uniforms)
        return drawing.ordered(self.over("fetching rows", drawing))


# ---------------------------------------------------------------------- tasks, and what they tell
def _gather(
    reading: Reading, gathering: Gathering[Any], parts: Iterator[Part]
) -> Iterator[pa.RecordBatch]:
    """A task of a pass."""
    state, count = gathering.begin(), 0
    try:
        for part in parts:
            for tile in reading.tiles(part, reading.rows(part)):
                gathering.add(state, tile)
                count += len(tile)
    except DataError as error:
        yield _fault(error)
        return
    if count:
        yield _row(gathered=_bytes(state))


def _put_together(
    gathering: Gathering[Any], batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """A task after the others; faults go on to the driver."""
    state, count = gathering.begin(), 0
    for batch in batches:
        for row in batch.to_pylist():
            if row["fault"]:
                yield _row(**row)
            else:
                gathering.merge(state, _state(row["gathered"]))
                count += 1
    if count:
        yield _row(gathered=_bytes(state))


def _collected(frame: DataFrame) -> tuple[list[Any], int]:
    """What tasks have gathered, and how many bytes that came in.

    Raises:
        DataError: a task's.
    """
    told = frame.toArrow()
    pieces.raise_faults([fault for fault in told["fault"].to_pylist() if fault])
    gathered = told["gathered"].to_pylist()
    return [_state(each) for each in gathered], sum(map(len, gathered))


def _schema() -> Any:
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(SCHEMA)


def _row(**values: Any) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{name: values.get(name) for name in SCHEMA.names}], SCHEMA)


def _fault(error: DataError) -> pa.RecordBatch:
    return _row(fault=pieces.fault(0, error).column("fault")[0].as_py())


def _bytes(state: Any) -> bytes:
    return zlib.compress(pickle.dumps(state, pickle.HIGHEST_PROTOCOL), 1)  # sums are mostly zeros


def _state(held: bytes) -> Any:
    return pickle.loads(zlib.decompress(held))
