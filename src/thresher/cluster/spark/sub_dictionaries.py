"""A dictionary of cells in parts, for what the driver cannot hold: trees as files on every machine.

    driver      a sample of the cells → a tree of medians: which part a place belongs to
    shuffle     of the pieces, by part
    tasks       the pieces of a part → a tree of its cells, and what is asked of it later
    driver      a file for each part, which Spark carries to every machine
    tasks       map what they need: one copy a machine, however many workers

Source: the sub-dictionaries of Song & Lee, RP-DBSCAN, SIGMOD 2018: there cut where halves are most
even, here at medians of a sample; a part out of reach is skipped by the box around all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thresher.cluster.kernels.cell_tree import lift_weights, name_balls
from thresher.cluster.kernels.tree_build import Tree, route, top_tree
from thresher.cluster.points import ArrayPoints
from thresher.cluster.row_table import empty_slots, find, slots_of
from thresher.cluster.spark import arrays, pieces
from thresher.cluster.spark.carried import carry, folder_of_workers, place_of
from thresher.cluster.spark.dictionary import Counted, Snapping, in_chunks
from thresher.cluster.tree import SAMPLED, grow

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["Parting", "SubDictionaries", "SubDictionary", "in_order", "parting_of", "split"]

MOST_LEVELS = 14
BYTES_A_CELL = 64  # of the files, about
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2⁶⁴ over the golden ratio: Fibonacci hashing

Array = NDArray[Any]


class Parting(NamedTuple):
    """Which part a place belongs to: a full binary tree of splits."""

    dimensions: NDArray[np.int64]
    values: NDArray[np.float64]
    levels: int

    def parts_of(self, places: Array) -> NDArray[np.uint16]:
        """(b,) the part of every place (b, d)."""
        parts, counts = np.empty(len(places), np.uint16), np.zeros(1 << self.levels, np.int64)
        rows = np.ascontiguousarray(places, np.float64)
        route(rows, self.dimensions, self.values, self.levels, parts, counts)
        return parts


class SubDictionary(NamedTuple):
    """The cells of a part, in the order of its tree."""

    tree: Tree
    weights: Array  # (n,)
    node_weights: Array  # (nodes,)
    lowest: NDArray[np.int64]  # (n,) the lowest number of a point
    balls: NDArray[np.int32]  # (n,) ascending: cells within eps of each other
    slots: NDArray[np.int32]  # of the cells' hashes

    def numbers(self, rows: Array) -> NDArray[np.int32]:
        """Which cell each row (b, d) is; -1 for none."""
        return find(rows, self.slots, self.tree.columns.T)


class SubDictionaries(NamedTuple):
    """What a task must know to read them."""

    name: str  # of the files
    folder: str  # as `carried.folder_of_workers` has it
    parting: Parting
    layouts: dict[int, str]  # of the parts that have cells
    firsts: dict[int, int]  # number of each one's first cell, of all
    first_balls: dict[int, int]
    balls: int  # of all
    lows: Array  # (parts, d) the box around each
    highs: Array
    size: int  # bytes of all files

    def read(self, part: int) -> SubDictionary:
        """One of them, mapped into memory."""
        return _read(place_of(self.folder, f"{self.name}-{part}"), self.layouts[part])

    def owned(self, part: int, tasks: int) -> NDArray[np.int64]:
        """(n,) which of so many tasks is asked about each cell: by a hash of its ball's number."""
        numbers = self.first_balls[part] + np.arange(self.read(part).balls[-1] + 1)
        mixed = (numbers.astype(np.uint64) + np.uint64(1)) * GOLDEN >> np.uint64(33)
        return (mixed % np.uint64(tasks)).astype(np.int64)[self.read(part).balls]

    def carry(
        self, spark: SparkSession, folder: Path, part: int, name: str, content: bytes
    ) -> None:
        """Have Spark carry a file of a part's figures to every machine."""
        path = folder / f"{self.name}-{part}-{name}"
        arrays.write_packed(path, content)
        carry(spark, path)

    def file(self, part: int, name: str) -> Path:
        """Where a file that was carried lies on this machine."""
        return place_of(self.folder, f"{self.name}-{part}-{name}")

    def marks(self, part: int, name: str) -> NDArray[np.uint8]:
        """(n,) 1 or 0, of a file of a bit for each cell of a part."""
        bits = np.fromfile(self.file(part, name), np.uint8)
        return np.unpackbits(bits, count=len(self.read(part).weights))

    def near(self, low: Array, high: Array, radius: float) -> list[int]:
        """Parts that have a cell within a radius of a box, perhaps."""
        gaps = np.maximum(0.0, np.maximum(self.lows - high, low - self.highs))
        reach = (radius * (1 + 1e-9)) ** 2
        found = (gaps * gaps).sum(axis=1) <= reach
        return [part for part, here in zip(self.layouts, found, strict=True) if here]


@lru_cache(maxsize=1 << 14)
def _read(path: Path, layout: str) -> SubDictionary:
    return subdictionary(arrays.mapped(path, layout))


def subdictionary(held: dict[str, Array]) -> SubDictionary:
    """A part out of its arrays."""
    tree = Tree(*(held[name] for name in Tree._fields))
    return SubDictionary(tree, *(held[name] for name in SubDictionary._fields[1:]))


# ---------------------------------------------------------------------- which part is whose
def parting_of(frame: DataFrame, snapping: Snapping, cells: int, most: int) -> Parting:
    """Medians of a sample of the cells, so that a part has at most about so many of them.

    Args:
        frame: Pieces of the dictionary.
        snapping: Of the rows.
        cells: How many there are.
        most: Of a part.
    """
    levels = min(MOST_LEVELS, max(0, (-(-cells // most) - 1).bit_length()))
    step = max(1, cells // (SAMPLED << levels))
    drawn = frame.where("cells > 0").mapInArrow(partial(_sample, snapping, step), _arrows())
    found = [
        arrays.unpacked(row["layout"], row["bytes"])["rows"] for row in drawn.toArrow().to_pylist()
    ]
    sample = np.concatenate(found) if found else np.empty((0, snapping.dimension))
    sample = np.ascontiguousarray(sample[np.lexsort(sample.T)])  # whatever the order of the pieces
    return Parting(*top_tree(sample, levels), levels)


def _sample(
    snapping: Snapping, step: int, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """One cell in so many, those whose hash says so."""
    from thresher.cluster.distinct import hashes_of

    for row in pieces.one_by_one(batches):
        rows = pieces.decoded(row, snapping.dimension, snapping.side).rows
        chosen = (hashes_of(rows) & np.uint64(0xFFFFFFFF)) % np.uint64(step) == 0
        yield from arrays.packed(row["bucket"], 0, {"rows": rows[chosen]})


def _arrows() -> Any:
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(arrays.SCHEMA)


# ---------------------------------------------------------------------- the parts
def split(
    told: Counted, snapping: Snapping, parting: Parting, radius: float, folder: Path
) -> SubDictionaries:
    """Build all parts, write their files, and have Spark carry these to every machine.

    Args:
        told: Of the dictionary.
        snapping: Of the rows.
        parting: Which cell belongs to which part.
        radius: Cells within it are neighbours.
        folder: Of the job.
    """
    from pyspark import StorageLevel
    from pyspark.sql.pandas.types import from_arrow_schema

    parts = 1 << parting.levels
    schema = from_arrow_schema(pieces.SCHEMA)
    cells_only = told.frame.where("cells > 0")
    routed = cells_only.mapInArrow(partial(_route, snapping, parting), schema)
    ordered = routed.repartition(parts, "bucket").sortWithinPartitions("bucket")
    built = ordered.mapInArrow(partial(_build, snapping, radius), _arrows())
    built = built.persist(StorageLevel.DISK_ONLY)
    spark = told.frame.sparkSession
    name = f"thresher-{uuid4().hex}"
    found: dict[int, tuple[str, int, int, Array, Array]] = {}
    size = 0
    try:
        built.select("number").toArrow()  # all of them, side by side
        for row in in_chunks(built, told.rows * BYTES_A_CELL):
            held = arrays.unpacked(row["layout"], row["bytes"])
            path = folder / f"{name}-{row['number']}"
            arrays.write_packed(path, row["bytes"])
            carry(spark, path)
            box = held["boxes"][0].reshape(2, -1).copy()
            sizes = held["columns"].shape[1], int(held["balls"][-1]) + 1
            found[row["number"]] = (row["layout"], *sizes, box[0], box[1])
            size += len(row["bytes"])
    finally:
        built.unpersist()
    order = sorted(found)
    cells = {part: found[part][1] for part in order}
    balls = {part: found[part][2] for part in order}
    return SubDictionaries(
        name,
        folder_of_workers(spark, folder),
        parting,
        {part: found[part][0] for part in order},
        counted_up(cells),
        counted_up(balls),
        sum(balls.values()),
        np.array([found[part][3] for part in order]),
        np.array([found[part][4] for part in order]),
        size,
    )


def counted_up(sizes: dict[int, int]) -> dict[int, int]:
    """How many come before each."""
    before = np.cumsum([0, *sizes.values()])[:-1].tolist()
    return dict(zip(sizes, before, strict=True))


def _route(
    snapping: Snapping, parting: Parting, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Every piece in pieces of parts."""
    for row in pieces.one_by_one(batches):
        piece = pieces.decoded(row, snapping.dimension, snapping.side)
        parts = parting.parts_of(piece.rows).astype(np.int32)
        yield from pieces.sorted_into(piece, parts, 1 << parting.levels, snapping.side)


def _build(
    snapping: Snapping, radius: float, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """The parts of a task, one after another: their pieces come so."""
    held: list[pieces.Piece] = []
    part = -1
    for row in pieces.one_by_one(batches):
        if row["bucket"] != part and held:
            yield from arrays.packed(part, 0, in_order(held, radius))
            held = []
        part = row["bucket"]
        held.append(pieces.decoded(row, snapping.dimension, snapping.side))
    if held:
        yield from arrays.packed(part, 0, in_order(held, radius))


def in_order(held: list[pieces.Piece], radius: float) -> dict[str, Array]:
    """A tree of pieces' cells, and what is asked of it: the arrays of a sub-dictionary."""
    rows, weights, lowest = (np.concatenate(each) for each in zip(*held, strict=True))
    tree = grow(ArrayPoints(rows), 0.0, 1, lambda *_: None)
    weights, lowest = weights[tree.rows], lowest[tree.rows]
    node_weights = np.empty(len(tree.skip), weights.dtype)
    lift_weights(tree, weights, node_weights)
    balls = np.empty(len(weights), np.int32)
    name_balls(tree, radius * radius, balls)
    cells = tree.columns.T
    slots = slots_of(cells, empty_slots(len(weights)))
    tree = tree._replace(rows=tree.rows[:0])  # in which order they came is of no use
    more = SubDictionary(tree, weights, node_weights, lowest, balls, slots)
    return {**tree._asdict(), **{name: getattr(more, name) for name in more._fields[1:]}}
