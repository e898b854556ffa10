"""Where the rows of a Spark job come from: a DataFrame, or a folder of Parquet files.

    DataFrame       its partitions, in their order and in the order of the rows in each
    Parquet         files in the order of the bytes of their paths, row groups in theirs: as on one
                    machine, by the same reader, which each task opens for its own row groups

A task gets tables of rows with the number of the first. Numbers ascend in the order of the rows;
those of a DataFrame have gaps, unless somebody has counted its partitions first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pyarrow as pa

from thresher.cluster.parquet_points import (
    Block,
    ParquetRows,
    block_tables,
    is_address,
    open_parquet,
    place_in,
)
from thresher.cluster.points import PART_ROWS
from thresher.cluster.table_points import Coordinates, choose_coordinates, first_width
from thresher.data.files import reading
from thresher.errors import DataError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["FolderSource", "FrameSource", "Part", "Source", "check_added", "open_source"]

PARTITION_BITS = 40  # of a row's number within its partition
ROWS_A_TASK = 1 << 20  # of a folder, about; a task has a row group at least


class Part(NamedTuple):
    """Some rows of a task."""

    table: pa.Table
    first: int  # number of the first row
    task: int
    where: Callable[[int], str]  # in which file or partition a row of the table stands


Work = Callable[[Iterator[Part]], Iterator[pa.RecordBatch]]


class Source(Protocol):
    """Rows that tasks read, each time anew."""

    schema: pa.Schema

    def choose(self, columns: Sequence[str] | None, without: Sequence[str]) -> Coordinates:
        """Which columns are coordinates."""
        ...

    def frame(self, work: Work, schema: Any, columns: Sequence[str]) -> DataFrame:
        """What work makes of each task's parts, which hold these columns."""
        ...

    def held(self, columns: Sequence[str]) -> Source:
        """These columns, so that they may be read many times: in the same order, and not anew."""
        ...

    def numbered(self, counted: Mapping[int, int]) -> Source:
        """The same rows without gaps in their numbers.

        Args:
            counted: Rows of every task that has any.
        """
        ...

    def release(self) -> None:
        """Nobody reads them again."""
        ...


class FrameSource:
    """The rows of a DataFrame.

    Args:
        frame: Its partitions.
        counted: Rows of every partition that has any, or None where nobody has counted them.
    """

    def __init__(self, frame: DataFrame, counted: Mapping[int, int] | None = None) -> None:
        from pyspark.sql.pandas.types import to_arrow_schema

        self._frame, self._counted, self._persisted = frame, counted, False
        self.schema: pa.Schema = to_arrow_schema(frame.schema)

    def choose(self, columns: Sequence[str] | None, without: Sequence[str]) -> Coordinates:
        """Which columns are coordinates; the width of lists is that of the first row's.

        Raises:
            DataError: as `choose_coordinates`.
        """
        return choose_coordinates(self.schema, columns, self._width_of, without)

    def _width_of(self, name: str) -> int:
        from pyspark.sql import functions

        column = self._frame.select(name).where(functions.col(f"`{name}`").isNotNull())
        return first_width(column.limit(1).toArrow().column(0))

    def frame(self, work: Work, schema: Any, columns: Sequence[str]) -> DataFrame:
        """What work makes of each partition's parts."""
        quoted = [f"`{name}`" for name in columns]
        over = partial(_over_partition, work, self._counted)
        return self._frame.select(*quoted).mapInArrow(over, schema)

    def held(self, columns: Sequence[str]) -> FrameSource:
        """These columns, kept by Spark, unless the DataFrame is kept already.

        A query that is run again may give its rows in another order.
        """
        from pyspark import StorageLevel

        level = self._frame.storageLevel
        if level.useMemory or level.useDisk:
            return self
        chosen = self._frame.select(*(f"`{name}`" for name in columns))
        kept = FrameSource(chosen.persist(StorageLevel.MEMORY_AND_DISK))
        kept._persisted = True
        return kept

    def numbered(self, counted: Mapping[int, int]) -> FrameSource:
        """The same rows without gaps in their numbers."""
        return FrameSource(self._frame, dict(counted))

    def release(self) -> None:
        """Let Spark forget what it kept."""
        if self._persisted:
            self._frame.unpersist()


def _over_partition(
    work: Work, counted: Mapping[int, int] | None, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    from pyspark import TaskContext

    context = TaskContext.get()
    task = 0 if context is None else context.partitionId()
    before = task << PARTITION_BITS
    start = before if counted is None else sum(n for each, n in counted.items() if each < task)

    def parts() -> Iterator[Part]:
        read = 0
        for batch in batches:
            table = pa.Table.from_batches([batch])
            yield Part(table, start + read, task, partial(_in_partition, before + read))
            read += len(batch)
        if counted is not None and read != counted.get(task, 0):
            raise DataError(
                f"Partition {task} had {counted.get(task, 0):,} rows, and now has {read:,}.",
                "A query that gives other rows each time must be written out first.",
            )

    return work(parts())


def _in_partition(first: int, row: int) -> str:
    task, before = divmod(first, 1 << PARTITION_BITS)
    return f"row {before + row:,} of partition {task}"


class FolderSource:
    """The rows of Parquet files.

    Args:
        rows: Of the files, as the engines of one machine read them.
        session: The tasks run in.
        tasks: How many there are at least, if there are so many row groups.
    """

    def __init__(self, rows: ParquetRows, session: SparkSession, tasks: int) -> None:
        self._rows, self._session = rows, session
        self.schema = rows.schema
        self.shares = _shares(rows.blocks, max(tasks, -(-rows.count // ROWS_A_TASK)))

    def choose(self, columns: Sequence[str] | None, without: Sequence[str]) -> Coordinates:
        """Which columns are coordinates.

        Raises:
            DataError: as `choose_coordinates`.
        """
        return self._rows.choose(columns, without)

    def frame(self, work: Work, schema: Any, columns: Sequence[str]) -> DataFrame:
        """What work makes of the parts of each task's row groups."""
        fields = pa.schema([self.schema.field(name) for name in columns])
        numbers = self._session.range(0, len(self.shares), 1, max(1, len(self.shares)))
        return numbers.mapInArrow(partial(_over_blocks, work, self.shares, fields), schema)

    def held(self, columns: Sequence[str]) -> FolderSource:
        """The files: they are as they are."""
        return self

    def numbered(self, counted: Mapping[int, int]) -> FolderSource:
        """The files: what they say of their row groups has numbered the rows."""
        return self

    def release(self) -> None:
        """Nothing is kept."""


def _shares(blocks: Sequence[Block], tasks: int) -> list[list[Block]]:
    """Neighbouring blocks for each task, of about equally many rows."""
    rows = blocks[-1].start + blocks[-1].rows if blocks else 0
    shares: list[list[Block]] = []
    for block in blocks:
        if not shares or block.start >= len(shares) * rows / tasks:
            shares.append([])
        shares[-1].append(block)
    return shares


def _over_blocks(
    work: Work,
    shares: list[list[Block]],
    fields: pa.Schema,
    batches: Iterable[pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for task in batch.column(0).to_pylist():
            yield from work(_parts_of(shares[task], fields, task))


def _parts_of(blocks: list[Block], fields: pa.Schema, task: int) -> Iterator[Part]:
    for block in blocks:
        first = block.start
        for table in block_tables(block, fields.names, PART_ROWS):
            here = partial(_place, block, first - block.start)
            yield Part(_conformed(table, fields, block), first, task, here)
            first += table.num_rows


def _place(block: Block, before: int, row: int) -> str:
    return place_in(block, before + row)


def _conformed(table: pa.Table, fields: pa.Schema, block: Block) -> pa.Table:
    """A file's table with the columns and types that all files have together."""
    columns = []
    with reading(block.fragment.path, "Parquet"):
        for field in fields:
            if field.name in table.column_names:
                columns.append(table.column(field.name).cast(field.type))
            else:
                columns.append(pa.nulls(table.num_rows, field.type))
    return pa.Table.from_arrays(columns, schema=fields)


def open_source(data: Any, spark: SparkSession) -> Source:
    """Rows of a DataFrame or of a path."""
    if isinstance(data, str | os.PathLike):
        # workers stand in folders of their own
        place = data if isinstance(data, str) and is_address(data) else Path(data).absolute()
        rows = open_parquet(place)
        return FolderSource(rows, spark, spark.sparkContext.defaultParallelism)
    return FrameSource(data)


def check_added(schema: pa.Schema, names: Sequence[str]) -> None:
    """Refuse rows that have a column of the result already.

    Raises:
        DataError: names the column.
    """
    for name in names:
        if name in schema.names:
            raise DataError(f'The rows have a column "{name}" already.', "Rename it.")
