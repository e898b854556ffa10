"""Parquet, a file or many, as points that are read when they are asked for.

    files → blocks (row groups) → parts (65,536 rows at most)

A block is one row group, or small neighbouring ones of one file. A large one is decoded once a pass
and handed out in parts as it comes: what waits in memory are the parts that other threads have not
fetched yet, not the row group.
"""

from __future__ import annotations

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet as pq
from numpy.typing import NDArray

from thresher.cluster.points import PART_ROWS
from thresher.cluster.table_points import (
    Columns,
    Coordinates,
    Starts,
    choose_coordinates,
    coordinate_rows,
    first_width,
)
from thresher.data.files import reading
from thresher.data.wording import quoted
from thresher.errors import DataError

__all__ = [
    "Block",
    "ParquetPoints",
    "ParquetRows",
    "block_tables",
    "is_address",
    "open_parquet",
    "place_in",
]

STREAMS = 4  # blocks that are being handed out at a time
SUFFIXES = (".parquet", ".pq")
BUFFER = 1 << 20  # bytes of a column that are read ahead


class Block(NamedTuple):
    """Neighbouring row groups of one file."""

    fragment: Any  # pyarrow.dataset.ParquetFileFragment
    groups: tuple[int, ...]  # their numbers in the file
    start: int  # number of the first row
    rows: int


def open_parquet(path: Path | str) -> ParquetRows:
    """Open a Parquet file, or all of a folder in the order of the bytes of their paths.

    Folders named key=value become columns; files may lack columns that others have. Hidden files,
    and those that start with "_", are left out.

    Args:
        path: A path, or an address that PyArrow has a file system for: s3://, gs://, abfs://,
            hdfs://.

    Raises:
        DataError: there are none, one is damaged, or their columns do not fit together.
    """
    with reading(path, "Parquet"):
        files, folder, names = _listed(path)
        schemas = []
        for name in names:
            with reading(name, "Parquet"):
                schemas.append(pq.read_schema(name, filesystem=files))
        options: dict[str, Any] = {"format": "parquet", "filesystem": files}
        if folder is not None:
            options["partitioning"] = pa.dataset.partitioning(flavor="hive")
            options["partition_base_dir"] = folder
        schemas.append(pa.dataset.dataset(names, **options).schema)  # knows those of the folders
        schema = pa.unify_schemas(schemas, promote_options="permissive")
        schema = schema.with_metadata(schemas[0].metadata)
        return ParquetRows(pa.dataset.dataset(names, schema=schema, **options))


def _listed(path: Path | str) -> tuple[Any, str | None, list[str]]:
    """The file system (None: this machine's), the folder if it is one, and the files."""
    if not is_address(path):
        here = Path(path)
        if here.is_file():
            return None, None, [str(here)]
        return None, str(here), [str(file) for file in _files_below(here)]
    files, place = pa.fs.FileSystem.from_uri(re.sub(r"^s3[an]://", "s3://", str(path)))
    if files.get_file_info(place).type == pa.fs.FileType.File:
        return files, None, [place]
    below = files.get_file_info(pa.fs.FileSelector(place, recursive=True))
    start = len(place.rstrip("/")) + 1
    found = [
        each.path
        for each in below
        if each.type == pa.fs.FileType.File
        and each.path.lower().endswith(SUFFIXES)
        and not any(name.startswith((".", "_")) for name in each.path[start:].split("/"))
    ]
    if not found:
        raise DataError(f"{path} holds no Parquet files.", "Name a file, or another folder.")
    return files, place, sorted(found, key=os.fsencode)


def is_address(place: Path | str) -> bool:
    """Whether it is no path of this machine but names a file system, as s3://bucket/folder does."""
    return isinstance(place, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", place) is not None


def _files_below(folder: Path) -> list[Path]:
    with reading(folder, "a folder"):
        found = [
            each
            for each in folder.rglob("*")
            if each.suffix.lower() in SUFFIXES
            and not any(name[0] in "._" for name in each.relative_to(folder).parts)
            and each.is_file()
        ]
    if not found:
        raise DataError(
            f"The folder {folder} holds no Parquet files.", "Name a file, or another folder."
        )
    return sorted(found, key=lambda each: os.fsencode(each.relative_to(folder)))


class ParquetRows:
    """Parquet files with all their columns: where points come from, and what labels join.

    Args:
        dataset: Of Parquet fragments, without a filter.

    Raises:
        DataError: a file cannot be read.
    """

    def __init__(self, dataset: Any) -> None:
        self.schema = dataset.schema
        self.blocks: list[Block] = []
        self.count = 0
        for fragment in dataset.get_fragments():
            with reading(Path(fragment.path), "Parquet"):
                groups = [(each.id, each.num_rows) for each in fragment.row_groups]
            gathered: list[int] = []
            rows = 0
            for number, size in groups:
                if gathered and rows + size > PART_ROWS:
                    self._add(fragment, gathered, rows)
                    gathered, rows = [], 0
                gathered.append(number)
                rows += size
            if rows:
                self._add(fragment, gathered, rows)

    def _add(self, fragment: Any, groups: list[int], rows: int) -> None:
        self.blocks.append(Block(fragment, tuple(groups), self.count, rows))
        self.count += rows

    def points(self, columns: Columns = None, without: Sequence[str] = ()) -> ParquetPoints:
        """Their coordinates; nothing but the columns is ever read.

        Raises:
            DataError: as `choose_coordinates`.
        """
        return ParquetPoints(self.blocks, self.choose(columns, without))

    def choose(self, columns: Columns = None, without: Sequence[str] = ()) -> Coordinates:
        """Which columns are coordinates.

        Raises:
            DataError: as `choose_coordinates`.
        """
        empty = self.count == 0
        return choose_coordinates(self.schema, columns, self._width_of, without, empty=empty)

    def tables(self) -> Iterator[pa.Table]:
        """All columns, block by block in the order of the rows."""
        for block in self.blocks:
            with reading(Path(block.fragment.path), "Parquet"):
                groups = block.fragment.subset(row_group_ids=list(block.groups))
                yield groups.to_table(schema=self.schema, use_threads=False)

    def _width_of(self, name: str) -> int:
        for block in self.blocks:
            for table in block_tables(block, [name], 1024):
                if name in table.column_names and (width := first_width(table.column(name))):
                    return width
        kind = self.schema.field(name).type
        return int(kind.list_size) if pa.types.is_fixed_size_list(kind) else 0


class ParquetPoints:
    """Rows of Parquet files, decoded part by part; by any threads, best in order.

    Args:
        blocks: In the order of their rows.
        chosen: Which columns are coordinates.
        part_rows: Rows of a part, at most.
    """

    def __init__(
        self, blocks: Sequence[Block], chosen: Coordinates, part_rows: int = PART_ROWS
    ) -> None:
        self._blocks, self._chosen, self._part_rows = blocks, chosen, part_rows
        self.axes, self.dtype, self.dimension = chosen.axes, chosen.dtype, len(chosen.axes)
        firsts = [
            np.arange(block.start, block.start + block.rows, part_rows, dtype=np.int64)
            for block in blocks
        ]
        self.rows = blocks[-1].start + blocks[-1].rows if blocks else 0
        self.starts: Starts = np.concatenate([*firsts, np.array([self.rows], np.int64)])
        self._first_part = np.cumsum([0, *map(len, firsts)])
        self._streams: OrderedDict[int, _Stream] = OrderedDict()
        self._lock = threading.Lock()

    def part(self, number: int) -> NDArray[Any]:
        """The rows of one part, decoded anew.

        Raises:
            DataError: the file cannot be read, or is no longer what it was.
        """
        owner = int(np.searchsorted(self._first_part, number, side="right")) - 1
        place, count = number - self._first_part[owner], np.diff(self._first_part)[owner]
        if count == 1:
            return next(self._decoded(self._blocks[owner]))
        with self._lock:
            stream = self._streams.get(owner)
            if stream is None:
                stream = self._streams[owner] = _Stream(self, self._blocks[owner])
                if len(self._streams) > STREAMS:
                    self._streams.popitem(last=False)
        rows = stream.part(int(place))
        if stream.spent(int(count)):
            with self._lock:
                if self._streams.get(owner) is stream:
                    del self._streams[owner]
        return rows

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Some rows by their numbers; decodes every block that holds one."""
        taken = np.empty((len(rows), self.dimension), self.dtype)
        owners = np.searchsorted([block.start for block in self._blocks], rows, side="right") - 1
        for owner in np.unique(owners):
            block = self._blocks[owner]
            wanted = np.flatnonzero(owners == owner)
            inside = rows[wanted] - block.start
            for part, decoded in enumerate(self._decoded(block)):
                here = inside // self._part_rows == part
                taken[wanted[here]] = decoded[inside[here] % self._part_rows]
        return taken

    def where(self, row: int) -> str:
        """File, row group and row in it, for messages."""
        block = next(each for each in self._blocks if row < each.start + each.rows)
        return place_in(block, row - block.start)

    def _decoded(self, block: Block) -> Iterator[NDArray[Any]]:
        """The parts of a block, one after another."""
        sizes = [
            min(self._part_rows, block.rows - first)
            for first in range(0, block.rows, self._part_rows)
        ]
        start = block.start
        tables = block_tables(block, list(self._chosen.columns), self._part_rows)
        with reading(Path(block.fragment.path), "Parquet"):
            for table in _cut(tables, sizes, block.fragment.path):
                yield coordinate_rows(table, self._chosen, start)
                start += table.num_rows


class _Stream:
    """One block, decoded from its start, whose parts are fetched by whoever needs them."""

    def __init__(self, points: ParquetPoints, block: Block) -> None:
        self._points, self._block = points, block
        self._lock = threading.Lock()
        self._ready: dict[int, NDArray[Any]] = {}
        self._decoded: Iterator[NDArray[Any]] = iter(())
        self._next = -1  # the part that is decoded next

    def part(self, number: int) -> NDArray[Any]:
        with self._lock:
            if number in self._ready:
                return self._ready.pop(number)
            if not 0 <= self._next <= number:  # fetched before: from the start again
                self._decoded, self._next = self._points._decoded(self._block), 0
                self._ready.clear()
            while self._next < number:
                self._ready[self._next] = next(self._decoded)
                self._next += 1
            self._next += 1
            return next(self._decoded)

    def spent(self, count: int) -> bool:
        """Whether all parts have been fetched."""
        with self._lock:
            return self._next == count and not self._ready


def place_in(block: Block, row: int) -> str:
    """File, row group and row in it, of a row of a block, for messages."""
    for group in block.groups:
        size = block.fragment.metadata.row_group(group).num_rows
        if row < size:
            break
        row -= size
    return f"row {row:,} of row group {group} in {block.fragment.path}"


def block_tables(block: Block, columns: list[str], rows: int) -> Iterator[pa.Table]:
    """Columns of a block by batches; those that the names of its folders give among them."""
    fragment = block.fragment
    with reading(Path(fragment.path), "Parquet"), fragment.open() as source:
        file = pq.ParquetFile(source, metadata=fragment.metadata, buffer_size=BUFFER)
        stored = [name for name in columns if name in file.schema_arrow.names]
        keys = pa.dataset.get_partition_keys(fragment.partition_expression)
        for batch in file.iter_batches(
            rows, row_groups=list(block.groups), columns=stored, use_threads=False
        ):
            table = pa.Table.from_batches([batch])
            for name in columns:
                if name in keys and name not in stored:
                    repeated = pa.repeat(pa.scalar(keys[name]), batch.num_rows)
                    table = table.append_column(name, repeated)
            yield table


def _cut(tables: Iterable[pa.Table], sizes: Sequence[int], name: str) -> Iterator[pa.Table]:
    """Cut a stream of tables anew, into tables of the given numbers of rows."""
    source = iter(tables)
    held: list[pa.Table] = []
    for size in sizes:
        while sum(each.num_rows for each in held) < size:
            table = next(source, None)
            if table is None:
                raise DataError(
                    f"{quoted(name)} has fewer rows than it says.",
                    "Do not write to it while it is read; copy it again.",
                )
            held.append(table)
        together = held[0] if len(held) == 1 else pa.concat_tables(held)
        yield together.slice(0, size)
        held = [together.slice(size)] if together.num_rows > size else []
